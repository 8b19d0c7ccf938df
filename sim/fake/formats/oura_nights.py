"""Nights of Oura: totals, stages as digits, series with their gaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from metapulse.record.clock import HOUR, MINUTE
from metapulse.record.readers.oura import PHASE, STAGES
from metapulse.record.readers.oura_keys import NIGHT
from metapulse.record.schema import Row
from metapulse.sim.fake.formats.items import chained, gathered, written_value
from metapulse.sim.fake.formats.parts import iso, offset_text

#: Metric of a night → code, key, whether its minutes are written as seconds; the names of the second version.
NIGHTS = {metric: (code, key, unit == "s") for key, (metric, unit, code) in reversed(NIGHT.items())}
SAMPLES = (("heart_rate", None), ("hrv_rmssd", None))
DIGITS = {"respiratory_rate": 3, "skin_temperature_deviation": 2, "vo2max": 1, "spo2": 3}  # of others none
LETTERS = {stage: digit for digit, stage in STAGES.items()}
GAP = HOUR  # of a series that nulls fill


def oura_stamp(row: Row, at: int | None = None) -> str:
    """An instant of a row with its offset."""
    at = row.start if at is None else at
    return iso(at + (row.offset_min or 0) * MINUTE, offset_text(row.offset_min))


def oura_nights(told: Sequence[Row]) -> list[dict[str, Any]]:
    """Totals with the stages that begin with them; other stages and series are nights of their own."""
    ordered = sorted(told, key=lambda row: row.start)
    phases = _phases(row for row in ordered if row.metric == "sleep_stage")
    nights = []
    totals = [row for row in told if row.metric in NIGHTS and (row.metric, row.code) not in SAMPLES]
    for item in gathered(totals, lambda row: (row.start, row.end, row.offset_min, row.code == "nap")):
        row = next(iter(item.values()))
        night: dict[str, Any] = {
            "type": "late_nap" if row.code == "nap" else "long_sleep",
            "bedtime_start": oura_stamp(row),
        }
        night |= {} if row.end is None else {"bedtime_end": oura_stamp(row, row.end)}
        for each in item.values():
            _, key, seconds = NIGHTS[each.metric]
            night[key] = written_value(each, DIGITS.get(each.metric), 1 / 60 if seconds else 1.0)
        if waiting := phases.get(night["bedtime_start"]):
            night["sleep_phase_5_min"] = waiting.pop()
        nights.append(night)
    for stamp, texts in phases.items():
        nights += [{"type": "long_sleep", "bedtime_start": stamp, "sleep_phase_5_min": text} for text in texts]
    for series in _series(row for row in ordered if (row.metric, row.code) == ("hrv_rmssd", None)):
        values = {(row.start - series[0].start) // PHASE: round(row.value or 0) for row in series}
        items = [values.get(at) for at in range(max(values) + 1)]
        hrv = {"interval": 300, "items": items, "timestamp": oura_stamp(series[0])}
        nights.append({"type": "long_sleep", "bedtime_start": oura_stamp(series[0]), "average_hrv": None, "hrv": hrv})
    return nights


def _phases(stages: Iterable[Row]) -> dict[str, list[str]]:
    """Digits of stages one after another, by when they begin; two of the same stage would be one."""
    found: dict[str, list[str]] = {}
    for chain in chained(stages, lambda row: (row.start, row.offset_min), lambda row: (row.end, row.offset_min)):
        for at, row in enumerate(chain):
            if not at or row.code == chain[at - 1].code:
                texts = found.setdefault(oura_stamp(row), [])
                texts.append("")
            texts[-1] += LETTERS[row.code or ""] * (((row.end or row.start) - row.start) // PHASE)
    return found


def _series(samples: Iterable[Row]) -> list[list[Row]]:
    """Samples that are whole intervals apart, with gaps that nulls can fill."""
    series: list[list[Row]] = []
    last: dict[Any, list[Row]] = {}
    for row in samples:
        key = (row.start % PHASE, row.offset_min)
        if key not in last or not 0 < row.start - last[key][-1].start <= GAP:
            last[key] = []
            series.append(last[key])
        last[key].append(row)
    return series
