"""Polar Flow: the JSON of an account's export, a file a kind. Local times, but of sessions and nights with an offset.

Heart rate by the second of the day, beats by the ms, steps by the minute, stages as changes within a night.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metapulse.record.clock import DAY, MINUTE, US
from metapulse.record.readers.polar_day import LEVELS, PHASES, POLAR
from metapulse.record.schema import Device, Row
from metapulse.sim.fake.formats.base import Format, Making, in_zone, walls
from metapulse.sim.fake.formats.items import chained, daily, gathered, rounded, written_value
from metapulse.sim.fake.formats.parts import (
    MILLISECOND,
    SECOND,
    again,
    floored,
    iso,
    json_text,
    offset_text,
    plain,
    put,
)

STAGES = {"awake": "WAKE", "rem": "REM", "light": "NONREM12", "deep": "NONREM3", "unknown": "UNKNOWN"}
#: Metric of a night → where it is in an evaluation.
TOTALS = {metric: ("phaseDurations", phase) for phase, metric in PHASES.items()} | {
    "sleep_duration": ("asleepDuration",),
    "time_in_bed": ("sleepSpan",),
    "sleep_efficiency": ("analysis", "efficiencyPercent"),
    "sleep_disturbances": ("interruptions", "totalCount"),
}
COUNTED = ("sleep_efficiency", "sleep_disturbances")  # of a night, all else are durations
#: Code of a day's active minutes → level.
ACTIVE = {code: level for level, (metric, code) in reversed(LEVELS.items()) if metric == "active_minutes"}
WORDS = {"lightly": "light", "fairly": "moderate", "very": "vigorous", "daily": None}  # of others → of Polar
SUMMARY = {"steps_daily": "stepCount", "total_energy": "calories", "distance": "stepsDistance"}
NIGHTLY = {"hrv_rmssd": "meanNightlyRecoveryRmssd", "rr_interval": "meanNightlyRecoveryRri"}
BREATH = "meanNightlyRecoveryRespirationInterval"
MEAN = "mean of the night"
LOCAL = ("heart_rate", "rr_interval", "steps")  # without an offset


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
    days = _days(told, making)
    for at, (name, item) in enumerate([*days, *_sessions(told, making)]):
        put(making.folder / f"{name}-{at:04d}.json", json_text(item) + ('\n{"exportVersion' if making.traps else ""))
    lists = {"sleep_result": _nights(told), "nightly_recovery": _recoveries(told, making)}
    pulse = [row for row in told if (row.metric, daily(row)) == ("heart_rate", False)]
    beats = [row for row in told if (row.metric, row.code) == ("rr_interval", None)]
    lists["ppi_samples"] = [{"devicePpiSamplesList": _beats(beats, making)}] if beats else []
    for name, items in lists.items():
        if items:
            text = json_text(items)
            put(making.folder / f"{name}.json", text[:-1] + ',{"night": "20' if making.traps else text)
    if pulse:
        text = json_text({"deviceDays": _pulse(pulse, making)})
        put(making.folder / "247ohr.json", text[:-2] + ',{"date": "20' if making.traps else text)


def _day(row: Row, making: Making) -> str:
    return iso(walls(row, making.zone)[0])[:10]


def _duration(row: Row) -> str:
    """ISO 8601, of whole seconds."""
    seconds = int(written_value(row, None, 1 / 60))
    return f"PT{seconds // 3600}H{seconds // 60 % 60}M{seconds % 60}S"


def _days(told: Sequence[Row], making: Making) -> list[tuple[str, dict[str, Any]]]:
    """Totals of days, and steps of their minutes."""
    of_days = [row for row in told if daily(row) and (row.metric in SUMMARY or row.metric.endswith("_minutes"))]
    items: dict[str, list[dict[str, Any]]] = {}
    for item in gathered(of_days, lambda row: _day(row, making), lambda row: (row.metric, row.code)):
        levels = [
            {"level": ACTIVE[row.code] if row.code else "SEDENTARY", "duration": _duration(row)}
            for row in item.values()
            if row.metric not in SUMMARY
        ]
        summary = {SUMMARY[row.metric]: written_value(row, None) for row in item.values() if row.metric in SUMMARY}
        day = {"summary": {**summary, "activityLevels": levels}, "samples": {"mets": [], "steps": []}}
        items.setdefault(_day(next(iter(item.values())), making), []).append(day)
    for row in told:
        if row.metric == "steps":
            stamp = iso(walls(row, making.zone)[0], "", 0)
            days = items.setdefault(stamp[:10], [])
            days += [] if days else [{"samples": {"mets": [], "steps": []}}]
            days[0]["samples"]["steps"].append({"localTime": stamp[11:], "value": written_value(row, None)})
    return [
        (f"activity-{date}", {"exportVersion": "1.2", "date": date, **day}) for date in items for day in items[date]
    ]


def _sessions(told: Sequence[Row], making: Making) -> list[tuple[str, dict[str, Any]]]:
    sessions = []
    for row in told:
        if row.metric == "workout":
            length, offset = ((row.end or row.start) - row.start) // MILLISECOND, row.offset_min or 0
            lasting = {"duration": f"PT{length / 1000:.3f}S"} if making.traps else {"durationMillis": length}
            start = iso(row.start + offset * MINUTE, "")
            item = {"exportVersion": "1.6", "startTime": start, "timezoneOffset": offset, **lasting}
            item |= {"deviceId": row.device.unit, "exercises": [{"sport": (row.code or "").upper()}]}
            sessions.append((f"training-session-{start[:10]}", item))
    return sessions


def _nights(told: Sequence[Row]) -> list[dict[str, Any]]:
    """Stages one after another; totals of nights."""
    stages = [row for row in told if row.metric == "sleep_stage"]
    facts = [row for row in told if row.metric in TOTALS and not daily(row)]
    nights = []
    for chain in chained(
        sorted(stages, key=lambda row: row.start),
        lambda row: (row.start, row.offset_min, row.device),
        lambda row: (row.end, row.offset_min, row.device),
    ):
        changes = [
            {"offsetFromStart": f"PT{(row.start - chain[0].start) // US}S", "state": STAGES[row.code or ""]}
            for row in chain
        ]
        nights.append({"sleepResult": {"hypnogram": _hypnogram(chain[0], chain[-1], changes)}})
    for item in gathered(facts, lambda row: (row.start, row.end, row.offset_min, row.device)):
        row, evaluation = next(iter(item.values())), {}
        for each in item.values():
            *above, name = TOTALS[each.metric]
            value = written_value(each, None) if each.metric in COUNTED else _duration(each)
            (evaluation.setdefault(above[0], {}) if above else evaluation)[name] = value
        nights.append({"evaluation": evaluation, "sleepResult": {"hypnogram": _hypnogram(row, row, [])}})
    return nights


def _hypnogram(first: Row, last: Row, changes: list[dict[str, str]]) -> dict[str, Any]:
    start, end = (iso(at + (first.offset_min or 0) * MINUTE, offset_text(first.offset_min))
                  for at in (first.start, last.end or last.start))  # fmt: skip
    return {"sleepStart": start, "sleepEnd": end, "sleepStateChanges": changes, "deviceId": first.device.unit}


def _recoveries(told: Sequence[Row], making: Making) -> list[dict[str, Any]]:
    """What is of a night and has its date alone."""
    dated = [row for row in told if row.metric in (*NIGHTLY, "sleep_score", "respiratory_rate") and daily(row)]
    nights = []
    for item in gathered(dated, lambda row: _day(row, making)):
        night: dict[str, Any] = {"night": _day(next(iter(item.values())), making), "sleepStateChanges": None}
        for metric, row in item.items():
            if metric == "sleep_score":
                night["sleepScoreResult"] = {"sleepScore": written_value(row, None)}
            elif metric == "respiratory_rate":
                night[BREATH] = round(60_000 / (row.value or 1.0))
            else:
                night[NIGHTLY[str(metric)]] = written_value(row, None)
        nights.append(night)
    return nights


def _pulse(pulse: Sequence[Row], making: Making) -> list[dict[str, Any]]:
    days: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for row in pulse:
        wall = walls(row, making.zone)[0]
        sample = {"heartRate": written_value(row, None), "secondsFromDayStart": wall % DAY // US, "source": "24_7"}
        days.setdefault((iso(wall)[:10], row.device.unit), []).append(sample)
    return [{"date": date, "deviceId": unit, "samples": samples} for (date, unit), samples in days.items()]


def _beats(beats: Sequence[Row], making: Making) -> list[dict[str, Any]]:
    devices: dict[str | None, list[dict[str, Any]]] = {}
    for row in beats:
        sample = {"sampleDateTime": iso(walls(row, making.zone)[0], ""), "pulseLength": written_value(row, None)}
        devices.setdefault(row.device.unit, []).append(sample)
    return [{"deviceId": unit, "ppiSamples": samples} for unit, samples in devices.items()]


METRICS = frozenset({*TOTALS, *SUMMARY, *NIGHTLY, *LOCAL, "sleep_stage", "workout", "sleep_score", "respiratory_rate",
                     "active_minutes", "sedentary_minutes"})  # fmt: skip
FORMAT = _Lasting(
    "polar", "Polar Flow: JSON of an account's export", METRICS, says, write, in_zone,
    lambda row: daily(row) or (row.metric in LOCAL),
)  # fmt: skip
