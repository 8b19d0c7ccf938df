"""The CSV of fitbit.com: tables of days and of nights. Units of distance and weight are the account's, not written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from metapulse.record.clock import MINUTE
from metapulse.record.clock import zone as zone_of
from metapulse.record.readers.base import Options
from metapulse.record.readers.fitbit_csv import COLUMNS
from metapulse.record.readers.fitbit_items import FITBIT, weight_unit
from metapulse.record.schema import Row
from metapulse.sim.fake.formats.base import Format, Making, walls
from metapulse.sim.fake.formats.parts import again, csv_text, floored, moment, of_day, plain, put, together

PLACES = {(metric, code): column for column, (metric, _, code) in COLUMNS.items()}
ASSUMED = ("distance", "weight")
TABLES = {
    "Body": ("weight", "bmi", "fat"),
    "Foods": ("calories in",),
    "Activities": tuple(COLUMNS)[: list(COLUMNS).index("minutes asleep")],
    "Sleep": tuple(COLUMNS)[list(COLUMNS).index("minutes asleep") : list(COLUMNS).index("weight")],
}
NIGHT = TABLES["Sleep"]
STEP_KM = (0.0006, 0.0009)  # by such steps it shows that distances are in km


def says(row: Row) -> Row | None:
    """Days, and of nights local times of whole minutes; never a device."""
    column = PLACES.get((row.metric, row.code))
    if column is None or row.value is None:
        return None
    marks = ("unit_assumed",) if row.metric in ASSUMED else ()
    told = plain(row, "date_only")._replace(device=FITBIT)
    if column in NIGHT:
        told = floored(told, MINUTE)
        return told if told.end is not None and not of_day(row) else None
    return told._replace(quality=(*told.quality, *marks)) if of_day(row) else None


def write(rows: Sequence[Row], making: Making) -> None:
    """One file; with traps thousands with separators, every cell in quotes, columns that are empty, CRLF, repeats."""
    told = [row for row in map(says, rows) if row is not None]
    told = again(told, making.rng) if making.traps else told
    parts: list[str] = []
    for title, columns in TABLES.items():
        found = [row for row in told if PLACES[row.metric, row.code] in columns]
        if found:
            stamps = ["Start Time", "End Time"] if title == "Sleep" else ["Date"]
            head = [*stamps, *(column.title() for column in columns)]
            end = "\r\n" if making.traps else "\n"
            table = csv_text(_lines(found, columns, making), end=end, quote=making.traps)
            parts.append(csv_text([[title], head], end=end) + table + end)
    if parts:
        put(making.folder / "fitbit_export.csv", "".join(parts))


def _lines(rows: Sequence[Row], columns: Sequence[str], making: Making) -> Iterator[list[str]]:
    for group in together(rows, lambda row: PLACES[row.metric, row.code]):
        for cells in _apart(group):
            row = next(iter(cells.values()))
            start, end = walls(row, making.zone)
            stamps = [f"{moment(start):%d-%m-%Y}"]
            if columns is NIGHT:
                stamps = [f"{moment(at):%d-%m-%Y %I:%M%p}" for at in (start, end or start)]
            values = {name: _number(row, making.traps) for name, row in cells.items()}
            yield [*stamps, *(values.get(name, "") for name in columns)]


def _apart(cells: dict[str, Row]) -> Iterator[dict[str, Row]]:
    """One line, or several where values that stand together would be read as of other units, or as a day not worn."""
    value = {name: float(row.value or 0.0) for name, row in cells.items()}
    alone = set[str]()
    if "distance" in cells and "steps" in cells:
        low, high = (length * value["steps"] for length in STEP_KM)
        alone |= set() if low <= value["distance"] / 1000 <= high else {"distance"}
    if "weight" in cells and "bmi" in cells and weight_unit(value["weight"], value["bmi"] or None) != "kg":
        alone.add("bmi")
    if not value.get("steps", 1.0):
        alone.add("steps")
    yield from ({name: cells[name]} for name in sorted(alone))
    if rest := {name: row for name, row in cells.items() if name not in alone}:
        yield rest


def _number(row: Row, traps: bool) -> str:
    value = float(row.value or 0.0) / (1000 if row.metric == "distance" else 1)
    return f"{value:,}" if traps else repr(value)


def options(zone: str) -> Options:
    """The account's order of dates."""
    return Options(zone_of(zone), "dmy")


def local(row: Row) -> bool:
    """Days and nights."""
    return True


METRICS = frozenset(metric for metric, _ in PLACES)
FORMAT = Format("fitbit_csv", "Fitbit: CSV of fitbit.com", METRICS, says, write, options, local)
