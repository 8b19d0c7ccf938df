"""Withings: what its zip keeps a line each: activities, weight, blood pressure, height. Whole seconds.

Nights are not written: a line of sleep.csv is always read as several values, and a row is one.
"""

from __future__ import annotations

from collections.abc import Sequence

from metapulse.record.clock import MINUTE
from metapulse.record.readers.withings_logs import SCALE, WITHINGS
from metapulse.record.schema import Row
from metapulse.sim.fake.formats.base import Format, Making, in_zone, walls
from metapulse.sim.fake.formats.items import gathered, newest_first, rounded, written_value
from metapulse.sim.fake.formats.parts import SECOND, again, csv_text, floored, iso, of_day, offset_text, plain, put

PRESSURE = ("bp_systolic", "bp_diastolic")
#: File → metrics, header, the header in German.
FILES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "weight": (
        SCALE,
        ("Date", "Weight (kg)", "Fat mass (kg)", "Bone mass (kg)", "Muscle mass (kg)", "Hydration (kg)", "Comments"),
        ("Datum", "Gewicht (kg)", "Fettmasse (kg)", "Knochenmasse (kg)", "Muskelmasse (kg)", "Wasser (kg)", "Text"),
    ),
    "bp": (PRESSURE, ("Date", "Heart rate", "Systolic", "Diastolic", "Comments"), ()),
    "height": (("height",), ("Date", "Height (m)"), ()),
}
DIGITS = {metric: None if metric in PRESSURE else 2 for metrics, _, _ in FILES.values() for metric in metrics}
ACTIVITY = ("from", "to", "from (manual)", "to (manual)", "Timezone", "Activity type", "Data", "GPS", "Modified")


def says(row: Row) -> Row | None:
    """A workout with its offset; what a scale or a cuff measured, without; 0 is none."""
    if row.value is None or of_day(row):
        return None
    told = floored(plain(row), SECOND)._replace(device=WITHINGS)
    if row.metric == "workout":
        if told.end is None or told.end < told.start:
            return None
        length = (told.end - told.start) / MINUTE
        return told._replace(value=length, code=(row.code or "unknown").lower()[:60], offset_min=row.offset_min or 0)
    if row.metric not in DIGITS or row.code is not None:
        return None
    told = rounded(told._replace(end=None), DIGITS[row.metric])
    return told if told.value else None


def write(rows: Sequence[Row], making: Making) -> None:
    """A file a kind; with traps newest first, a scale's header in German, repeats and a torn end."""
    told = [row for row in map(says, rows) if row is not None]
    told = newest_first(again(told, making.rng)) if making.traps else told
    for name, (metrics, header, german) in FILES.items():
        lines = [
            [_local(item, making), *([""] if name == "bp" else []), *(_cell(item.get(metric)) for metric in metrics)]
            for item in gathered(
                (row for row in told if row.metric in metrics), lambda row: (row.start, row.offset_min)
            )
        ]
        _put(making, name, german if making.traps and german else header, lines)
    workouts = [row for row in told if row.metric == "workout"]
    _put(making, "activities", ACTIVITY, [_activity(row, making) for row in workouts])


def _put(making: Making, name: str, header: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    torn, end = ("2024-07-1", "\r\n") if making.traps else ("", "\n")
    if lines:
        text = csv_text([header, *([*line, *[""] * (len(header) - len(line))] for line in lines)], end=end)
        put(making.folder / f"{name}.csv", text + torn)


def _local(item: dict[object, Row], making: Making) -> str:
    return iso(walls(next(iter(item.values())), making.zone)[0], "", 0).replace("T", " ")


def _cell(row: Row | None) -> str:
    return "" if row is None else str(written_value(row, DIGITS[row.metric]))


def _activity(row: Row, making: Making) -> list[object]:
    start, end = (iso(at + (row.offset_min or 0) * MINUTE, offset_text(row.offset_min), 0)
                  for at in (row.start, row.end or row.start))  # fmt: skip
    data = '{"calories": 0, "distance": 0, "steps": 120}' if making.traps else "{}"
    return [start, end, "", "", making.zone, (row.code or "").capitalize(), data, "", ""]


METRICS = frozenset({*DIGITS, "workout"})
FORMAT = Format(
    "withings_logs", "Withings: activities, weight, bp and height of its zip", METRICS, says, write, in_zone,
    lambda row: row.metric != "workout",
)  # fmt: skip
