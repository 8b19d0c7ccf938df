"""Kinds of devices, and which of them go with a vendor's format."""

from __future__ import annotations

from dataclasses import dataclass

from metapulse.record.schema import Device


@dataclass(frozen=True)
class Kit:
    """A kind of device.

    Args:
        name: also the address of what is drawn for it.
        device: as a record names it.
        sees: metrics.
        every: minutes between samples.
        bias: standard deviation of what such devices are wrong by, as a share.
        charging: minutes a day that it is not worn.
        left: share of days on which it is not worn at all.
    """

    name: str
    device: Device
    sees: frozenset[str]
    every: int = 1
    bias: float = 0.01
    charging: int = 50
    left: float = 0.03


MOVES = frozenset({"steps", "distance", "active_energy", "floors", "elevation_gain", "steps_daily"})
NIGHTS = frozenset({"sleep_stage", "sleep_duration", "sleep_deep", "sleep_light", "sleep_rem", "sleep_awake"})
NIGHTS |= {"time_in_bed", "sleep_efficiency", "sleep_latency", "sleep_score", "hrv_rmssd", "hrv_sdnn", "spo2"}
NIGHTS |= {"respiratory_rate", "skin_temperature", "skin_temperature_deviation", "readiness_score"}
HEART = frozenset({"heart_rate", "resting_heart_rate", "vo2max", "stress", "body_battery", "strain"})
ENERGY = frozenset({"total_energy", "basal_energy", "active_minutes", "sedentary_minutes", "exercise_minutes"})
EATEN = frozenset({"carbohydrates", "energy_eaten", "protein", "fat", "fibre", "water"})
WATCH = Kit(
    "watch", Device("Acme", "Watch 3", "W3,1", "7.2", None, "Acme Watch"), MOVES | NIGHTS | HEART | ENERGY | {"workout"}
)
RING = Kit("ring", Device("Acme", "Ring 2"), MOVES | NIGHTS | HEART | ENERGY | {"workout"}, 5, charging=35)
PHONE = Kit("phone", Device("Acme", "Phone 14", "P14", "17.3", None, "Phone"), MOVES, bias=0.04, charging=200, left=0.0)
SENSOR = Kit(
    "sensor", Device("Acme", "CGM 7", app="CGM"), frozenset({"glucose", "glucose_blood"}) | EATEN, 5, 0.03, 0, 0.0
)
SCALE = Kit(
    "scale",
    Device("Acme", "Scale S", app="Scale"),
    frozenset({"weight", "bmi", "body_fat", "fat_mass", "lean_mass", "body_water", "muscle_mass", "bone_mass"}),
    left=0.15,
)
CUFF = Kit("cuff", Device("Acme", "Cuff 1"), frozenset({"bp_systolic", "bp_diastolic"}), left=0.4)
STRAP = Kit("strap", Device("Acme", "Strap H"), frozenset({"rr_interval"}), left=0.0)
BAND = Kit("band", Device("Acme", "Band E"), frozenset({"heart_rate", "rr_interval", "skin_temperature"}), 5, left=0.0)
#: Format → what is worn; others have a watch and a scale.
WORN = {
    **dict.fromkeys(("apple", "healthconnect", "googlefit", "samsung"), (WATCH, PHONE, SCALE, SENSOR, CUFF)),
    **dict.fromkeys(("dexcom", "libre", "carelink", "nightscout", "tidepool"), (SENSOR,)),
    "oura": (RING,),
    "polar": (WATCH, STRAP),
    "empatica": (BAND,),
    **dict.fromkeys(("hl7", "fhir", "openmhealth", "own", "ihealth"), (WATCH, SCALE, SENSOR, CUFF)),
    **dict.fromkeys(("withings", "withings_api", "withings_logs"), (WATCH, SCALE, CUFF)),
}
