"""Keys of Garmin Connect's JSON, and what they measure."""

from __future__ import annotations

CODE = "a code for a value that could not be measured"
CODES = (-1, -2)  # in place of an amount: not worn, too much movement; below 0 of stress are codes alone
NO_ZERO = ("resting_heart_rate", "heart_rate", "spo2")  # where 0 is "not known"
SIGNED = ("skin_temperature_deviation",)
#: Key of a day → metric, unit, code.
DAY: dict[str, tuple[str, str | None, str | None]] = {
    "totalSteps": ("steps_daily", None, None),
    "totalDistanceMeters": ("distance", "m", None),
    "activeKilocalories": ("active_energy", "kcal", None),
    "bmrKilocalories": ("basal_energy", "kcal", None),
    "totalKilocalories": ("total_energy", "kcal", None),
    "restingHeartRate": ("resting_heart_rate", "bpm", None),
    "minHeartRate": ("heart_rate", "bpm", "minimum"),
    "maxHeartRate": ("heart_rate", "bpm", "maximum"),
    "floorsAscended": ("floors", None, None),
    "floorsAscendedInMeters": ("elevation_gain", "m", None),
    "moderateIntensityMinutes": ("active_minutes", "min", "moderate"),
    "vigorousIntensityMinutes": ("active_minutes", "min", "vigorous"),
    "sedentarySeconds": ("sedentary_minutes", "s", None),
    "averageStressLevel": ("stress", None, "mean of the day"),
    "averageSpo2": ("spo2", "%", "mean of the day"),
    "averageSpo2Value": ("spo2", "%", "mean of the day"),
    "avgWakingRespirationValue": ("respiratory_rate", "/min", "mean of the day"),
    "lastNightAvg": ("hrv_rmssd", "ms", "mean of the night"),
    "vO2MaxValue": ("vo2max", None, None),
    "vo2MaxValue": ("vo2max", None, None),
}
#: What a day has within lists of objects: keys to the list, its elements' name and value, name → metric, unit, code.
LISTED: tuple[tuple[str, str, str, str, dict[str, tuple[str, str | None, str | None]]], ...] = (
    ("allDayStress", "aggregatorList", "type", "averageStressLevel", {"TOTAL": ("stress", None, "mean of the day")}),
    (
        "bodyBattery",
        "bodyBatteryStatList",
        "bodyBatteryStatType",
        "statsValue",
        {"HIGHEST": ("body_battery", None, "maximum"), "LOWEST": ("body_battery", None, "minimum")},
    ),
    (
        "",
        "metrics",
        "type",
        "value",
        {
            "HRV": ("hrv_rmssd", "ms", "mean of the night"),
            "SPO2": ("spo2", "%", "mean of the night"),
            "RESPIRATION": ("respiratory_rate", "/min", "mean of the night"),
            "SKIN_TEMP_C": ("skin_temperature_deviation", "C", "night"),
        },
    ),
)
#: Key of a night → metric, unit.
NIGHT: dict[str, tuple[str, str | None]] = {
    "deepSleepSeconds": ("sleep_deep", "s"),
    "lightSleepSeconds": ("sleep_light", "s"),
    "remSleepSeconds": ("sleep_rem", "s"),
    "awakeSleepSeconds": ("sleep_awake", "s"),
    "averageRespiration": ("respiratory_rate", "/min"),
    "averageRespirationValue": ("respiratory_rate", "/min"),
    "averageSpO2Value": ("spo2", "%"),
    "averageSPO2": ("spo2", "%"),
}
LEVELS = {0: "deep", 1: "light", 2: "rem", 3: "awake"}
#: Key of a list → metric, unit, key of the value and of the time where its elements are objects.
SERIES: dict[str, tuple[str, str | None, str, str]] = {
    "heartRateValues": ("heart_rate", "bpm", "", ""),
    "stressValuesArray": ("stress", None, "", ""),
    "bodyBatteryValuesArray": ("body_battery", None, "", ""),
    "respirationValuesArray": ("respiratory_rate", "/min", "", ""),
    "spO2SingleValues": ("spo2", "%", "", ""),
    "sleepHeartRate": ("heart_rate", "bpm", "value", "startGMT"),
    "sleepStress": ("stress", None, "value", "startGMT"),
    "sleepBodyBattery": ("body_battery", None, "value", "startGMT"),
    "hrvData": ("hrv_rmssd", "ms", "value", "startGMT"),
    "hrvReadings": ("hrv_rmssd", "ms", "hrvValue", "readingTimeGMT"),
    "wellnessEpochRespirationDataDTOList": ("respiratory_rate", "/min", "respirationValue", "startTimeGMT"),
    "wellnessEpochSPO2DataDTOList": ("spo2", "%", "spo2Reading", "epochTimestamp"),
}
#: Key of a weighing → metric, unit.
WEIGHT = {
    "weight": ("weight", "g"),
    "bmi": ("bmi", None),
    "bodyFat": ("body_fat", "%"),
    "bodyWater": ("body_water", "%"),
    "boneMass": ("bone_mass", "g"),
    "muscleMass": ("muscle_mass", "g"),
}
