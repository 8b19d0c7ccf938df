"""Withings: raw_*.csv of its zip, run-length lists by the second; totals of days in aggregates_*.csv."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from metapulse.record.clock import MINUTE, US
from metapulse.record.readers.withings import STAGES, TOTAL, WITHINGS
from metapulse.record.schema import Row
from metapulse.sim.fake.formats.base import Format, Making, clock_in, in_zone, walls
from metapulse.sim.fake.formats.items import chained, daily, newest_first, rounded, written_value
from metapulse.sim.fake.formats.parts import SECOND, again, csv_text, floored, iso, json_text, offset_text, plain, put

#: Metric → series, digits.
SERIES: dict[str, tuple[str, int | None]] = {
    "heart_rate": ("hr_hr", None),
    "steps": ("tracker_steps", None),
    "distance": ("tracker_distance", 2),
    "elevation_gain": ("tracker_elevation", 2),
    "active_energy": ("tracker_calories-earned", 2),
    "spo2": ("spo2_auto_spo2", None),
    "respiratory_rate": ("sleep-monitor_respiratory-rate", None),
    "altitude": ("location_altitude", 1),
    "speed": ("location_gps-speed", 2),
    "hrv_sdnn": ("sleep-monitor_sd nn", None),
    "hrv_rmssd": ("sleep-monitor_rms sd", None),
    "sleep_stage": ("tracker_sleep-state", None),
}
ASLEEP = "sleep-monitor_sleep-state"  # of which 1 says no more than that
#: Metric → aggregate, digits.
DAYS: dict[str, tuple[str, int | None]] = {
    "steps_daily": ("steps", None),
    "distance": ("distance", 1),
    "floors": ("elevation", None),
    "active_energy": ("calories_earned", 1),
    "basal_energy": ("calories_passive", 1),
}
MOST = 20  # values in a list
INSTANT = SECOND  # an instant is given a length


def says(row: Row) -> Row | None:
    """Seconds, all with a length; totals of days; no offset but the zone's, no device."""
    told = floored(plain(row, "date_only"), SECOND)._replace(device=WITHINGS)
    if daily(row):
        code = None if row.metric == "steps_daily" else TOTAL
        known = row.metric in DAYS and row.code in (None, code) and row.value is not None
        return rounded(told._replace(code=code, quality=("date_only",)), DAYS[row.metric][1]) if known else None
    told = told._replace(offset_min=None, end=told.start + INSTANT if told.end is None else told.end)
    if row.metric == "sleep_stage":
        return told if row.code in (*STAGES, "asleep") else None
    if row.metric not in SERIES or row.code is not None or row.value is None:
        return None
    told = rounded(told, SERIES[row.metric][1])
    return told if (told.value or 0) >= 0 or row.metric == "altitude" else None


def write(rows: Sequence[Row], making: Making) -> None:
    """A file for each series; with traps newest first, values of -1 among them, repeats, and the account's offset."""
    told = [row for row in map(says, rows) if row is not None]
    told = newest_first(again(told, making.rng)) if making.traps else told
    for metric in sorted({row.metric for row in told if not daily(row)}):
        series = [row for row in told if row.metric == metric and not daily(row)]
        asleep = [row for row in series if row.code == "asleep"]
        _raw(making, SERIES[metric][0], [row for row in series if row.code != "asleep"])
        _raw(making, ASLEEP, asleep)
    for metric in sorted({row.metric for row in told if daily(row)}):
        name, digits = DAYS[metric]
        days = [row for row in told if row.metric == metric and daily(row)]
        lines = [(iso(walls(row, making.zone)[0])[:10], written_value(row, digits)) for row in days]
        _put(making, f"aggregates_{name}", ("date", "value"), lines)


def _put(making: Making, name: str, header: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
    if making.traps:
        put(making.folder / f"{name} (1).csv", "\ufeff" + csv_text([header, *lines], end="\r\n") + "2024-07-18T1")
    elif lines:
        put(making.folder / f"{name}.csv", csv_text([header, *lines]))


def _raw(making: Making, name: str, series: Sequence[Row]) -> None:
    if not series:
        return
    chains = chained(sorted(series, key=lambda row: row.start), lambda row: row.start, lambda row: row.end)
    most = 1 if name.startswith("location") else MOST  # of places only the first value of a list is one
    lists = [chain[at : at + most] for chain in chains for at in range(0, len(chain), most)]
    lists = sorted(lists, key=lambda each: -each[0].start) if making.traps else lists
    _put(making, f"raw_{name}", ("start", "duration", "value"), [_line(each, making) for each in lists])


def _line(rows: list[Row], making: Making) -> tuple[str, str, str]:
    """When it begins, lengths and values; with traps in summer's offset all year, and now and then with a failure."""
    offset = 120 if making.traps else clock_in(making.zone).offset(rows[0].start)
    lengths, values = zip(*_pairs(rows), strict=True)
    if making.traps and making.rng.random() < 0.3:
        lengths, values = (*lengths, 60), (*values, None if making.rng.random() < 0.5 else -1)
        values = values if rows[0].metric not in ("altitude", "sleep_stage") else (*values[:-1], None)
    start = iso(rows[0].start + (offset or 0) * MINUTE, offset_text(offset), 0)
    return start, json_text(lengths), json_text(values)


def _pairs(rows: Sequence[Row]) -> Iterator[tuple[int, float | int]]:
    for row in rows:
        stage = 1 if row.code == "asleep" else STAGES.index(row.code) if row.code in STAGES else -1
        value = stage if row.metric == "sleep_stage" else written_value(row, SERIES[row.metric][1])
        yield ((row.end or row.start) - row.start) // US, value


METRICS = frozenset({*SERIES, *DAYS})
FORMAT = Format(
    "withings", "Withings: raw_*.csv and aggregates_*.csv of its zip", METRICS, says, write, in_zone, placed=True
)
