"""Days and nights of Polar Flow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from metapulse.record.clock import US, Stamp
from metapulse.record.readers.base import Context
from metapulse.record.readers.text import noted, number, number_noted
from metapulse.record.schema import Device, Row

POLAR = Device("Polar")
RECOVERY = {"meanNightlyRecoveryRmssd", "meanNightlyRecoveryRri", "meanNightlyRecoveryRespirationInterval"}
STAGES = {"WAKE": "awake", "REM": "rem", "NONREM1": "light", "NONREM2": "light", "NONREM12": "light", "NONREM3": "deep"}
PHASES = {"wake": "sleep_awake", "rem": "sleep_rem", "light": "sleep_light", "deep": "sleep_deep"}
#: Level of a day's activity → metric, code.
LEVELS = {
    "SEDENTARY": ("sedentary_minutes", None),
    "LIGHT": ("active_minutes", "light"),
    "CONTINUOUS_MODERATE": ("active_minutes", "moderate"),
    "INTERMITTENT_MODERATE": ("active_minutes", "moderate, with breaks"),
    "MODERATE": ("active_minutes", "moderate"),
    "CONTINUOUS_VIGOROUS": ("active_minutes", "vigorous"),
    "INTERMITTENT_VIGOROUS": ("active_minutes", "vigorous, with breaks"),
    "VIGOROUS": ("active_minutes", "vigorous"),
}
_DURATION = re.compile(r"P(?:(\d{1,4})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,8})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?")


def seconds(text: Any) -> float | None:
    """ISO 8601: "PT7H30M10.5S"."""
    found = _DURATION.fullmatch(text) if isinstance(text, str) and text != "P" else None
    if not found:
        return None
    return sum(float(part) * scale for part, scale in zip(found.groups(), (86_400, 3600, 60, 1), strict=True) if part)


def deep(item: Any, *keys: str) -> Any:
    """What is under one key after another; None where there is nothing."""
    for key in keys:
        item = item.get(key) if isinstance(item, dict) else None
    return item


def day(context: Context, item: dict[str, Any]) -> Iterator[Row]:
    """A day's totals, its steps minute by minute, and heart rate all day."""
    whole = context.clock.read(item["date"])
    if whole is None or whole.end is None:
        return
    samples, summary = item.get("samples"), item.get("summary")
    if isinstance(samples, list):
        device = POLAR._replace(unit=str(item["deviceId"])[:60]) if item.get("deviceId") else POLAR
        yield from _pulse(context, item["date"], samples, device)
    row = Row("", whole.start, None, None, 0, whole.end, whole.offset_min, None, POLAR, whole.marks)
    if isinstance(summary, dict):
        guessed = (*whole.marks, "unit_assumed")
        if (value := number_noted(context, summary, "stepCount")) is not None:
            yield row._replace(metric="steps_daily", value=value)
        if (value := number_noted(context, summary, "calories")) is not None:
            yield row._replace(metric="total_energy", value=value, unit="kcal", quality=guessed)
        if (value := number_noted(context, summary, "stepsDistance")) is not None:
            yield row._replace(metric="distance", value=value, unit="m", quality=guessed)
        levels = summary.get("activityLevels")
        for each in levels if isinstance(levels, list) else []:
            metric, code = LEVELS.get(str(deep(each, "level")), ("", None))
            if metric and (length := seconds(deep(each, "duration"))) is not None:
                yield row._replace(metric=metric, value=length, unit="s", code=code)
    steps = deep(samples, "steps")
    for each in steps if isinstance(steps, list) else []:
        start, value = _at(context, item["date"], deep(each, "localTime")), number(deep(each, "value"))
        if start is None or value is None:
            context.note("steps without a time")
        else:
            until = start.start + 60 * US
            yield Row("steps", start.start, value, None, 0, until, start.offset_min, None, POLAR, start.marks)


def _at(context: Context, date: str, time: Any) -> Stamp | None:
    return context.clock.read(f"{date}T{time}") if isinstance(time, str) else None


def _pulse(context: Context, date: str, samples: list[Any], device: Device) -> Iterator[Row]:
    """Heart rate by the second of the day, which counts on the person's clock."""
    for each in samples:
        value, second = number(deep(each, "heartRate")), number(deep(each, "secondsFromDayStart"))
        if value is None or second is None or not 0 <= second < 86_400:
            context.note("heart rate without a time or a value")
            continue
        minutes, left = divmod(int(second), 60)
        stamp = context.clock.read(f"{date}T{minutes // 60:02d}:{minutes % 60:02d}:{left:02d}")
        if stamp is None:
            context.note("heart rate without a time or a value")
        else:
            yield Row("heart_rate", stamp.start, value, "bpm", 0, None, stamp.offset_min, None, device, stamp.marks)


def night(context: Context, item: dict[str, Any]) -> Iterator[Row]:
    """A night's stages and totals; its score and recovery, which come with a date alone."""
    dated = context.clock.read(item["night"]) if isinstance(item.get("night"), str) else None
    row = None
    if dated is not None and dated.end is not None:
        row = Row("", dated.start, None, None, 0, dated.end, dated.offset_min, None, POLAR, dated.marks)
        if (value := noted(context, deep(item, "sleepScoreResult", "sleepScore"), "sleepScore")) is not None:
            yield row._replace(metric="sleep_score", value=value)
        if value := number_noted(context, item, "meanNightlyRecoveryRmssd"):
            yield row._replace(metric="hrv_rmssd", value=value, unit="ms", code="mean of the night")
        if value := number_noted(context, item, "meanNightlyRecoveryRri"):
            yield row._replace(metric="rr_interval", value=value, unit="ms", code="mean of the night")
        interval = number_noted(context, item, "meanNightlyRecoveryRespirationInterval")
        if interval:
            yield row._replace(metric="respiratory_rate", value=60_000 / interval, unit="/min", raw=f"{interval:g} ms")
    hypnogram = deep(item, "sleepResult", "hypnogram")
    if isinstance(hypnogram, dict):
        yield from _hypnogram(context, hypnogram, item.get("evaluation"), row)


def _hypnogram(context: Context, hypnogram: dict[str, Any], evaluation: Any, dated: Row | None) -> Iterator[Row]:
    start, end = (context.clock.read(str(hypnogram.get(name))) for name in ("sleepStart", "sleepEnd"))
    device = POLAR._replace(unit=str(hypnogram["deviceId"])[:60]) if hypnogram.get("deviceId") else POLAR
    if start is not None and start.end is None and end is not None and end.start > start.start:
        whole = Row("", start.start, None, "s", 0, end.start, start.offset_min, None, device, start.marks)
        changes = hypnogram.get("sleepStateChanges")
        changes = changes if isinstance(changes, list) else []
        known = [
            (start.start + round(offset * US), STAGES.get(str(deep(each, "state")).rsplit("_", 1)[-1], "unknown"))
            for each in changes
            if (offset := seconds(deep(each, "offsetFromStart"))) is not None
        ]
        for _ in range(len(changes) - len(known)):
            context.note("a stage without a time")
        for at, (begin, stage) in enumerate(known):
            until = known[at + 1][0] if at + 1 < len(known) else end.start
            if begin < min(until, end.start):  # a last change may lie at the end or after it
                yield whole._replace(
                    metric="sleep_stage", start=begin, end=min(until, end.start), code=stage, unit=None
                )  # fmt: skip
    elif dated is not None:
        whole = dated._replace(unit="s")
    else:
        return
    asleep, span = seconds(deep(evaluation, "asleepDuration")), seconds(deep(evaluation, "sleepSpan"))
    for metric, value in (("sleep_duration", asleep), ("time_in_bed", span)):
        if value is not None:
            yield whole._replace(metric=metric, value=value)
    for phase, metric in PHASES.items():
        if (value := seconds(deep(evaluation, "phaseDurations", phase))) is not None:
            yield whole._replace(metric=metric, value=value)
    if (value := noted(context, deep(evaluation, "analysis", "efficiencyPercent"), "efficiencyPercent")) is not None:
        yield whole._replace(metric="sleep_efficiency", value=value, unit="%")
    if (value := noted(context, deep(evaluation, "interruptions", "totalCount"), "totalCount")) is not None:
        yield whole._replace(metric="sleep_disturbances", value=value, unit=None)
