"""Keys of Oura's documents and columns of its trends, and what they measure."""

from __future__ import annotations

COLLECTIONS = (
    "data", "sleep", "daily_sleep", "daily_activity", "daily_readiness", "daily_spo2", "heartrate", "heart_rate",
    "workout", "session", "vo2_max",
)  # fmt: skip
#: Key of a night → metric, unit, code.
NIGHT: dict[str, tuple[str, str | None, str | None]] = {
    "total_sleep_duration": ("sleep_duration", "s", None),
    "time_in_bed": ("time_in_bed", "s", None),
    "deep_sleep_duration": ("sleep_deep", "s", None),
    "light_sleep_duration": ("sleep_light", "s", None),
    "rem_sleep_duration": ("sleep_rem", "s", None),
    "awake_time": ("sleep_awake", "s", None),
    "latency": ("sleep_latency", "s", None),
    "efficiency": ("sleep_efficiency", "%", None),
    "lowest_heart_rate": ("resting_heart_rate_lowest", "bpm", None),
    "average_heart_rate": ("heart_rate", "bpm", "mean of the night"),
    "average_hrv": ("hrv_rmssd", "ms", "mean of the night"),
    "average_breath": ("respiratory_rate", "/min", None),
    # the first version
    "total": ("sleep_duration", "s", None),
    "duration": ("time_in_bed", "s", None),
    "deep": ("sleep_deep", "s", None),
    "light": ("sleep_light", "s", None),
    "rem": ("sleep_rem", "s", None),
    "awake": ("sleep_awake", "s", None),
    "onset_latency": ("sleep_latency", "s", None),
    "hr_lowest": ("resting_heart_rate_lowest", "bpm", None),
    "hr_average": ("heart_rate", "bpm", "mean of the night"),
    "rmssd": ("hrv_rmssd", "ms", "mean of the night"),
    "breath_average": ("respiratory_rate", "/min", None),
}
#: Key of a day → metric, unit, code.
DAY: dict[str, tuple[str, str | None, str | None]] = {
    "steps": ("steps_daily", None, None),
    "active_calories": ("active_energy", "kcal", None),
    "total_calories": ("total_energy", "kcal", None),
    "equivalent_walking_distance": ("distance", "m", "equivalent of walking"),
    "high_activity_time": ("active_minutes", "s", "high"),
    "medium_activity_time": ("active_minutes", "s", "medium"),
    "low_activity_time": ("active_minutes", "s", "low"),
    "sedentary_time": ("sedentary_minutes", "s", None),
    "temperature_deviation": ("skin_temperature_deviation", "C", None),
    "vo2_max": ("vo2max", None, None),
}
#: Column of the trends, in lower case → metric, unit, code, whether it is of the night.
TRENDS: dict[str, tuple[str, str | None, str | None, bool]] = {
    "total sleep duration": ("sleep_duration", "s", None, True),
    "total sleep time": ("sleep_duration", "s", None, True),
    "total bedtime": ("time_in_bed", "s", None, True),
    "awake time": ("sleep_awake", "s", None, True),
    "rem sleep duration": ("sleep_rem", "s", None, True),
    "rem sleep time": ("sleep_rem", "s", None, True),
    "light sleep duration": ("sleep_light", "s", None, True),
    "light sleep time": ("sleep_light", "s", None, True),
    "deep sleep duration": ("sleep_deep", "s", None, True),
    "deep sleep time": ("sleep_deep", "s", None, True),
    "sleep latency": ("sleep_latency", "s", None, True),
    "sleep efficiency": ("sleep_efficiency", "%", None, True),
    "average resting heart rate": ("heart_rate", "bpm", "mean of the night", True),
    "lowest resting heart rate": ("resting_heart_rate_lowest", "bpm", None, True),
    "average hrv": ("hrv_rmssd", "ms", "mean of the night", True),
    "respiratory rate": ("respiratory_rate", "/min", None, True),
    "sleep score": ("sleep_score", None, None, False),
    "readiness score": ("readiness_score", None, None, False),
    "activity score": ("activity_score", None, None, False),
    "temperature deviation": ("skin_temperature_deviation", "C", None, False),
    "activity burn": ("active_energy", "kcal", None, False),
    "total burn": ("total_energy", "kcal", None, False),
    "steps": ("steps_daily", None, None, False),
    "equivalent walking distance": ("distance", "m", "equivalent of walking", False),
    "inactive time": ("sedentary_minutes", "s", None, False),
    "low activity time": ("active_minutes", "s", "low", False),
    "medium activity time": ("active_minutes", "s", "medium", False),
    "high activity time": ("active_minutes", "s", "high", False),
}
