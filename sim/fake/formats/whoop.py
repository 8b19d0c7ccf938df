"""Whoop: the CSVs of sleeps, cycles and workouts. Whole seconds of local time, the offset in a column of its own."""

from __future__ import annotations

from collections.abc import Sequence

from metapulse.record.clock import HOUR, MINUTE
from metapulse.record.readers.whoop import COLUMNS, LAYOUTS, WHOOP
from metapulse.record.schema import Row
from metapulse.sim.fake.formats.base import Format, Making
from metapulse.sim.fake.formats.items import gathered, newest_first, rounded, written_value
from metapulse.sim.fake.formats.parts import SECOND, again, csv_text, floored, iso, of_day, offset_text, plain, put

#: Ends of headers that have one.
ENDS = {
    "duration": "(min)", "debt": "(min)", "need": "(min)", "rate": "(rpm)", "hr": "(bpm)", "temp": "(celsius)",
    "variability": "(ms)", "oxygen": "%", "performance": "%", "score": "%", "efficiency": "%", "consistency": "%",
    "burned": "(cal)", "distance": "(meters)", "gain": "(meters)",
}  # fmt: skip
ITALIAN = (
    "Ora di inizio ciclo", "Ora di fine ciclo", "Fuso orario ciclo", "Inizio del sonno", "Inizio del risveglio",
    "Andamento del sonno %", "Frequenza respiratoria (rpm)", "Durata del sonno (min)", "Tempo a letto (min)",
    "Durata del sonno leggero (min)", "Durata profondo (SWS) (min)", "Durata REM (min)", "Durata del risveglio (min)",
    "Sonno richiesto (min)", "Sonno arretrato (min)", "Efficienza del sonno %", "Regolarità del sonno %",
    "Riposo breve",
)  # fmt: skip
SLEEPS, CYCLES, WORKOUTS = (layout for layout, _ in LAYOUTS)
OF_WORKOUTS = (*WORKOUTS, "distance", "altitude gain")
#: (metric, of what) → column.
NAMES = {(metric, of): name for name, (metric, _, of) in COLUMNS.items()} | {
    ("workout_energy", "workout"): "energy burned",
    ("workout_hr_max", "workout"): "max hr",
    ("workout_hr_mean", "workout"): "average hr",
    ("total_energy", "cycle"): "energy burned",
    ("maximum", "cycle"): "max hr",
    ("mean", "cycle"): "average hr",
}
DIGITS = {"respiratory_rate": 1, "skin_temperature": 2, "spo2": 2, "strain": 1, "workout_distance": 1}  # others none
CODES = {"maximum": "maximum", "mean": "mean", "mean of the day": "mean"}  # of heart rate
RECOVERY = ("readiness_score", "resting_heart_rate")
BRIEFEST = {"night": 10 * MINUTE, "cycle": 6 * HOUR, "workout": SECOND}  # what is shorter is none
OF_NIGHT = (None, "mean of the night", "night")


def says(row: Row) -> Row | None:
    """What is of a night, of a cycle, a day among them, or of a workout; recovery may be without its night."""
    told = floored(plain(row), SECOND)._replace(device=WHOOP, offset_min=row.offset_min or 0)
    of, length = _of(row), 0 if told.end is None else told.end - told.start
    if row.value is None or not of:
        return None
    if row.metric in RECOVERY and (of_day(row) or told.end is None):
        told = told._replace(end=None)
    elif length < BRIEFEST[of] or (of_day(row) and of != "cycle"):
        return None
    told = rounded(told, DIGITS.get(row.metric))
    if row.metric == "heart_rate":
        return told._replace(code=CODES[row.code or ""]) if told.value else None
    energy = ("unit_assumed",) if row.metric in ("total_energy", "workout_energy") else ()  # "cal", which are kcal
    if of == "workout":
        heart = row.metric.startswith("workout_hr")
        kind = (row.code or "").strip().lower()[:60] or "unknown"
        return told._replace(code=kind, quality=energy) if told.value or not heart else None
    return told._replace(code="nap" if row.code == "nap" else None, quality=energy)


def _of(row: Row) -> str:
    """Whether a row is of a night, a cycle or a workout; "" if of none."""
    metric, code = row.metric, row.code
    if metric == "heart_rate":
        return "cycle" if code in CODES else ""
    if (metric, "night") in NAMES:
        return "night" if code in OF_NIGHT or (code == "nap" and NAMES[metric, "night"] in SLEEPS) else ""
    if metric == "total_energy" or (metric == "strain" and code is None):
        return "cycle" if code is None else ""
    return "workout" if (metric, "workout") in NAMES and metric != "elevation_gain" else ""


def write(rows: Sequence[Row], making: Making) -> None:
    """Three files; with traps newest first, sleeps in Italian, a journal, repeats and a torn end."""
    told = [row for row in map(says, rows) if row is not None]
    told = newest_first(again(told, making.rng)) if making.traps else told
    lines: dict[str, list[dict[str, object]]] = {"sleeps": [], "physiological_cycles": [], "workouts": []}
    for item in gathered(told, _group, _name):
        row = next(iter(item.values()))
        file, of = _place(row)
        lines[file].append(_line(item, of) | ({"activity name": row.code} if of == "workout" else {}))
    for (name, found), layout in zip(lines.items(), (SLEEPS, CYCLES, OF_WORKOUTS), strict=True):
        if not found:
            continue
        italian = making.traps and name == "sleeps"
        header = ITALIAN if italian else [*map(_header, layout)]
        text = csv_text([header, *([line.get(column, "") for column in layout] for line in found)])
        put(making.folder / f"{'sonno' if italian else name}.csv", text + ("2024-04-0" if making.traps else ""))
    if making.traps:
        journal = ("Cycle start time", "Cycle end time", "Cycle timezone", "Question text", "Answered yes", "Notes")
        answer = ("2024-04-03 00:10:00", "", "UTC+02:00", "Have any alcoholic drinks?", "false", "")
        put(making.folder / "journal_entries.csv", csv_text([journal, answer]))


def _place(row: Row) -> tuple[str, str]:
    """File, and what it is of there."""
    of = _of(row)
    if of == "night" and NAMES[row.metric, of] in SLEEPS:
        return "sleeps", of
    return ("workouts" if of == "workout" else "physiological_cycles"), of


def _group(row: Row) -> tuple[object, ...]:
    """What rows of one line share."""
    kind = row.code if _of(row) == "workout" else row.code == "nap"
    return row.start, row.end, row.offset_min, kind, _place(row)


def _name(row: Row) -> str:
    return NAMES[row.code or "" if row.metric == "heart_rate" else row.metric, _of(row)]


def _line(item: dict[object, Row], of: str) -> dict[str, object]:
    """Cells by column; a cycle begins with its night or its workout."""
    row = next(iter(item.values()))
    start, end = (_stamp(row, at) for at in (row.start, row.end))
    line: dict[str, object] = {"cycle start time": start, "cycle timezone": f"UTC{offset_text(row.offset_min)}"}
    spans = {"night": ("sleep onset", "wake onset"), "workout": ("workout start time", "workout end time")}
    line |= {str(name): written_value(each, DIGITS.get(each.metric)) for name, each in item.items()}
    if row.end is None:  # of a recovery whose night is not told
        return line
    line |= dict(zip(spans.get(of, ("cycle start time", "cycle end time")), (start, end), strict=True))
    return line | ({"nap": "true" if row.code == "nap" else "false"} if of == "night" else {})


def _stamp(row: Row, at: int | None) -> str:
    return iso((at or 0) + (row.offset_min or 0) * MINUTE, "", 0).replace("T", " ")


def _header(column: str) -> str:
    end = ENDS.get("need" if column == "sleep need" else column.rsplit(" ", 1)[-1], "")
    return f"{column.capitalize()} {end}".rstrip()


METRICS = frozenset(metric for metric, _ in NAMES) - {"maximum", "mean", "elevation_gain"} | {"heart_rate"}
FORMAT = Format("whoop", "Whoop: CSV of sleeps, cycles and workouts", METRICS, says, write)
