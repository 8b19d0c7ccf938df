"""Keys of Polar Flow's export by what they measure, for writing; and its dates and durations."""

from __future__ import annotations

from metapulse.record.readers.polar_day import LEVELS, PHASES
from metapulse.record.schema import Row
from metapulse.sim.fake.formats.base import Making, walls
from metapulse.sim.fake.formats.items import written_value
from metapulse.sim.fake.formats.parts import iso

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


def polar_date(row: Row, making: Making) -> str:
    """The person's day."""
    return iso(walls(row, making.zone)[0])[:10]


def polar_duration(row: Row) -> str:
    """ISO 8601, of whole seconds."""
    seconds = int(written_value(row, None, 1 / 60))
    return f"PT{seconds // 3600}H{seconds // 60 % 60}M{seconds % 60}S"
