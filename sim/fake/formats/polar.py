"""Polar Flow: the JSON of an account's export, a file a kind. Local times, but of sessions and nights with an offset.

Heart rate by the second of the day, beats by the ms, steps by the minute, stages as changes within a night.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metapulse.record.clock import DAY, MINUTE
from metapulse.record.readers.polar_day import POLAR
from metapulse.record.schema import Device, Row
from metapulse.sim.fake.formats.base import Format, Making, in_zone
from metapulse.sim.fake.formats.items import daily, rounded
from metapulse.sim.fake.formats.parts import (
    MILLISECOND,
    SECOND,
    again,
    floored,
    json_text,
    plain,
    put,
)
from metapulse.sim.fake.formats.polar_days import polar_beats, polar_days, polar_pulse, polar_recoveries
from metapulse.sim.fake.formats.polar_keys import ACTIVE, COUNTED, LOCAL, MEAN, NIGHTLY, STAGES, SUMMARY, TOTALS, WORDS
from metapulse.sim.fake.formats.polar_nights import polar_nights, polar_sessions


@dataclass(frozen=True)
class _Lasting(Format):
    """Where what lasts has a length, and not an end on the person's clock."""

    def said(self, row: Row, zone: str) -> Row | None:
        told = super().said(row, zone)
        return told._replace(end=told.start + MINUTE) if told is not None and told.metric == "steps" else told


def says(row: Row) -> Row | None:
    """Days, nights and sessions; samples of heart rate, beats and steps as they come by the minute."""
    metric, code = row.metric, row.code
    if metric == "workout" or (not daily(row) and (metric == "sleep_stage" or metric in TOTALS)):
        return _spanned(row)
    if row.value is None:
        return None
    told = plain(row)._replace(device=POLAR)
    if daily(row) or metric == "sleep_score" or code == MEAN:
        return _of_day(told, row)
    if code is not None:
        return None
    if metric in ("heart_rate", "rr_interval"):
        unit = SECOND if metric == "heart_rate" else MILLISECOND
        told = rounded(floored(told, unit, keep_end=False), None)._replace(device=_device(row))
        return told if told.value else None
    start = row.start // MINUTE * MINUTE
    short = metric == "steps" and row.end is not None and 0 < row.end - row.start <= MINUTE
    return rounded(told, None)._replace(start=start, end=start + MINUTE) if short else None


def _spanned(row: Row) -> Row | None:
    """Of a night or a session, with its offset."""
    told = floored(plain(row), MILLISECOND if row.metric == "workout" else SECOND)
    told = told._replace(device=_device(row), offset_min=row.offset_min or 0)
    if told.end is None or told.end < told.start or daily(row):
        return None
    if row.metric == "sleep_stage":
        return told if row.code in STAGES else None
    if row.metric == "workout":
        length = (told.end - told.start) / MINUTE
        return told._replace(value=length, code=(row.code or "unknown").lower()[:40]) if length < 30 * 1440 else None
    if row.code is not None or row.value is None:
        return None
    return rounded(told, None, 1.0 if row.metric in COUNTED else 1 / 60)


def _of_day(told: Row, row: Row) -> Row | None:
    """Of a day; what is of a night is of the day when it ends."""
    metric, code = row.metric, WORDS.get(row.code or "", row.code)
    marks: tuple[str, ...] = ("date_only",)
    if metric == "sleep_score" or metric in NIGHTLY or metric == "respiratory_rate":
        start = row.start if daily(row) or row.end is None else row.end
        told = told._replace(start=start, end=start + DAY, quality=marks)
        if metric == "respiratory_rate":
            breath = round(60_000 / row.value) if row.value else 0
            known = 100 <= breath <= 60_000 and code in (None, MEAN)
            return told._replace(value=60_000 / breath, code=None) if known else None
        told = rounded(told, None)._replace(code=code)
        return told if code == (None if metric == "sleep_score" else MEAN) and (told.value or code is None) else None
    if not daily(row):
        return None
    if metric in SUMMARY and code is None:
        marks = marks if metric == "steps_daily" else (*marks, "unit_assumed")
        return rounded(told, None)._replace(quality=marks, code=None)
    known = (metric == "active_minutes" and code in ACTIVE) or (metric == "sedentary_minutes" and code is None)
    return rounded(told, None, 1 / 60)._replace(quality=marks, code=code) if known else None


def _device(row: Row) -> Device:
    return POLAR._replace(unit=row.device.unit)


def write(rows: Sequence[Row], making: Making) -> None:
    """A file a kind and a file a day; with traps of an older version, with repeats and torn ends."""
    told = [row for row in map(says, rows) if row is not None]
    told = again(told, making.rng) if making.traps else told
    days = polar_days(told, making)
    for at, (name, item) in enumerate([*days, *polar_sessions(told, making)]):
        put(making.folder / f"{name}-{at:04d}.json", json_text(item) + ('\n{"exportVersion' if making.traps else ""))
    lists = {"sleep_result": polar_nights(told), "nightly_recovery": polar_recoveries(told, making)}
    pulse = [row for row in told if (row.metric, daily(row)) == ("heart_rate", False)]
    beats = [row for row in told if (row.metric, row.code) == ("rr_interval", None)]
    lists["ppi_samples"] = [{"devicePpiSamplesList": polar_beats(beats, making)}] if beats else []
    for name, items in lists.items():
        if items:
            text = json_text(items)
            put(making.folder / f"{name}.json", text[:-1] + ',{"night": "20' if making.traps else text)
    if pulse:
        text = json_text({"deviceDays": polar_pulse(pulse, making)})
        put(making.folder / "247ohr.json", text[:-2] + ',{"date": "20' if making.traps else text)


METRICS = frozenset({*TOTALS, *SUMMARY, *NIGHTLY, *LOCAL, "sleep_stage", "workout", "sleep_score", "respiratory_rate",
                     "active_minutes", "sedentary_minutes"})  # fmt: skip
FORMAT = _Lasting(
    "polar", "Polar Flow: JSON of an account's export", METRICS, says, write, in_zone,
    lambda row: daily(row) or (row.metric in LOCAL),
)  # fmt: skip
