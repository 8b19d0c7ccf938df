"""Google Fit: *Daily activity metrics* of Takeout, a line a day, and a file a day of quarters of an hour."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from metapulse.record.clock import DAY, MINUTE
from metapulse.record.schema import NO_DEVICE, Row
from metapulse.sim.fake.formats.base import Format, Making, in_zone, walls
from metapulse.sim.fake.formats.parts import (
    MILLISECOND,
    again,
    csv_text,
    floored,
    iso,
    of_day,
    offset_text,
    plain,
    put,
    together,
)

#: (metric, code) or "" → the column in English and in Dutch; their order is the file's.
COLUMNS: dict[tuple[str, str | None], tuple[str, str]] = {
    ("active_minutes", None): ("Move Minutes count", "Aantal minuten bewogen"),
    ("total_energy", None): ("Calories (kcal)", "Calorieën (kcal)"),
    ("distance", None): ("Distance (m)", "Afstand (m)"),
    ("", "points"): ("Heart Points", "Cardiopunten"),
    ("heart_rate", None): ("Average heart rate (bpm)", "Gemiddelde hartslag (bpm)"),
    ("heart_rate", "maximum"): ("Max heart rate (bpm)", "Max. hartslag (bpm)"),
    ("heart_rate", "minimum"): ("Min heart rate (bpm)", "Min. hartslag (bpm)"),
    ("", "place"): ("Low latitude (deg)", "Laagste breedtegraad (deg)"),
    ("speed", None): ("Average speed (m/s)", "Gemiddelde snelheid (m/s)"),
    ("speed", "maximum"): ("Max speed (m/s)", "Max. snelheid (m/s)"),
    ("speed", "minimum"): ("Min speed (m/s)", "Min. snelheid (m/s)"),
    ("steps", None): ("Step count", "Aantal stappen"),
    ("weight", None): ("Average weight (kg)", "Gemiddeld gewicht (kg)"),
    ("weight", "maximum"): ("Max weight (kg)", "Max. gewicht (kg)"),
    ("weight", "minimum"): ("Min weight (kg)", "Min. gewicht (kg)"),
    ("", "walking"): ("Walking duration (ms)", "Wandelen (ms)"),
}
FOLDER = "Takeout/Fit/Daily activity metrics"


def says(row: Row) -> Row | None:
    """Days; spans of less than a day with their offset, in milliseconds. Never a device."""
    told = plain(row, "date_only")._replace(device=NO_DEVICE, offset_min=row.offset_min or 0)
    key = _key(row)
    if key not in COLUMNS or row.value is None:
        return None
    if of_day(row):
        return told._replace(metric="steps_daily") if row.metric == "steps" else told
    told = floored(told, MILLISECOND)
    fits = told.end is not None and 0 < told.end - told.start < DAY and row.metric != "steps_daily"
    return told if fits else None


def _key(row: Row) -> tuple[str, str | None]:
    return ("steps" if row.metric == "steps_daily" and of_day(row) else row.metric), row.code


def write(rows: Sequence[Row], making: Making) -> None:
    """A file of days, and a file of each day; with traps in Dutch, with a byte order mark, repeats."""
    told = [row for row in map(says, rows) if row is not None]
    files: dict[str, list[Row]] = defaultdict(list)
    for row in again(told, making.rng) if making.traps else told:
        files["" if of_day(row) else _day(row, making.zone)].append(row)
    for date, found in files.items():
        head = ["Datum"] if making.traps else ["Date"]
        if date:
            head = ["Starttijd", "Eindtijd"] if making.traps else ["Start time", "End time"]
        lines = [[*head, *(names[making.traps] for names in COLUMNS.values())]]
        for group in together(found, lambda row: repr(_key(row))):
            row = next(iter(group.values()))
            cells = {_key(r): repr(float(r.value or 0.0)) for r in group.values()}
            stamps = [_time(row.start, row), _time(row.end or row.start, row)] if date else [_day(row, making.zone)]
            lines.append([*stamps, *(cells.get(key, "") for key in COLUMNS)])
        name = date or ("Dagelijkse activiteitsstatistieken" if making.traps else "Daily activity metrics")
        put(making.folder / FOLDER / f"{name}.csv", ("\ufeff" if making.traps else "") + csv_text(lines))


def _day(row: Row, zone: str) -> str:
    return iso(walls(row, zone)[0], "")[:10]


def _time(at: int, row: Row) -> str:
    return iso(at + (row.offset_min or 0) * MINUTE, offset_text(row.offset_min))[11:]


METRICS = frozenset(metric for metric, _ in COLUMNS if metric) | {"steps_daily"}
FORMAT = Format("googlefit_csv", "Google Fit: daily activity metrics (CSV of Takeout)", METRICS, says, write, in_zone)
