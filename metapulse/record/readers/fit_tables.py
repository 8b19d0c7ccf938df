"""What FIT messages measure: message, field, metric, unit."""

from __future__ import annotations

#: Message → field (or fields, of which the first that is there counts), metric, unit, code; at the message's time.
INSTANTS: dict[str, tuple[tuple[str, str, str | None, str | None], ...]] = {
    "record": (
        ("heart_rate", "heart_rate", "bpm", None),
        ("cadence", "cadence", "rpm", None),
        ("enhanced_speed speed", "speed", "m/s", None),
        ("power", "power", "W", None),
        ("enhanced_altitude altitude", "altitude", "m", None),
        ("temperature", "ambient_temperature", "C", None),
        ("core_temperature", "body_temperature", "C", None),
        ("skin_temperature", "skin_temperature", "C", None),
        ("enhanced_respiration_rate respiration_rate", "respiratory_rate", "/min", None),
    ),
    "monitoring": (
        ("heart_rate", "heart_rate", "bpm", None),
        ("temperature", "skin_temperature", "C", None),
    ),
    "monitoring_hr_data": (
        ("current_day_resting_heart_rate", "resting_heart_rate", "bpm", None),
        ("resting_heart_rate", "resting_heart_rate", "bpm", "mean of days"),
    ),
    "spo2_data": (("reading_spo2", "spo2", "%", None),),
    "respiration_rate": (("respiration_rate", "respiratory_rate", "/min", None),),
    "hrv_value": (("value", "hrv_rmssd", "ms", None),),
    "hrv_status_summary": (
        ("last_night_average", "hrv_rmssd", "ms", "mean of the night"),
        ("weekly_average", "hrv_rmssd", "ms", "mean of the week"),
    ),
    "stress_level": (("stress_level_value", "stress", None, None),),
    "max_met_data": (("vo2_max", "vo2max", None, None),),
    "skin_temp_overnight": (
        ("nightly_value", "skin_temperature", "C", "night"),
        ("average_deviation", "skin_temperature_deviation", "C", "night"),
    ),
    "sleep_assessment": (("overall_sleep_score", "sleep_score", None, None),),
    "weight_scale": (
        ("weight", "weight", "kg", None),
        ("percent_fat", "body_fat", "%", None),
        ("percent_hydration", "body_water", "%", None),
        ("muscle_mass", "muscle_mass", "kg", None),
        ("bone_mass", "bone_mass", "kg", None),
        ("bmi", "bmi", None, None),
    ),
    "blood_pressure": (
        ("systolic_pressure", "bp_systolic", "mmHg", None),
        ("diastolic_pressure", "bp_diastolic", "mmHg", None),
        ("heart_rate", "heart_rate", "bpm", None),
    ),
}
#: Where the time is, if not in ``timestamp``.
STAMPS = {"stress_level": "stress_level_time", "max_met_data": "update_time"}
#: Values below this say that there was nothing to measure.
LEAST = {"stress": 0, "respiratory_rate": 1, "resting_heart_rate": 1, "sleep_score": 1, "spo2": 1, "vo2max": 1}
#: Message → field with a value for every ``processing_interval`` seconds, metric, unit.
SERIES = {
    "hsa_heart_rate_data": ("heart_rate", "heart_rate", "bpm"),
    "hsa_step_data": ("steps", "steps", None),
    "hsa_spo2_data": ("reading_spo2", "spo2", "%"),
    "hsa_stress_data": ("stress_level", "stress", None),
    "hsa_respiration_data": ("respiration_rate", "respiratory_rate", "/min"),
    "hsa_body_battery_data": ("level", "body_battery", None),
    "hsa_wrist_temperature_data": ("value", "skin_temperature", "C"),
}
SESSION = (
    ("total_elapsed_time", "workout", "s"),
    ("avg_heart_rate", "workout_hr_mean", "bpm"),
    ("max_heart_rate", "workout_hr_max", "bpm"),
    ("total_calories", "workout_energy", "kcal"),
    ("total_distance", "workout_distance", "m"),
    ("total_ascent", "elevation_gain", "m"),
)
STAGES = {"unmeasurable": "unknown", "awake": "awake", "light": "light", "deep": "deep", "rem": "rem"}
