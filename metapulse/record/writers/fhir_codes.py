"""What a metric is called in FHIR: LOINC and IEEE 11073 (MDC) from the reader's table, else our own system; and units.

A kind of value, such as "sitting" or "minimum", has a code of its own in LOINC, or is one of the metric's values like
any other. A statistic without a code of its own is no such value: it goes under our own system alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from metapulse.record.metrics import metric
from metapulse.record.readers.codes import CODES, METRIC
from metapulse.record.readers.openmhealth import STATISTICS

LOINC, MDC = "http://loinc.org", "urn:iso:std:iso:11073:10101"
UCUM = "http://unitsofmeasure.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
PRESSURE = {"coding": [{"system": LOINC, "code": "85354-9"}], "text": "Blood pressure"}
#: LOINC codes that the profiles of vital signs ask for beside another.
BESIDE = {"59408-5": "2708-6"}
#: Canonical units that UCUM spells otherwise; "stage" is none. U is a unit of enzymes there.
SPELLED = {"count": "{count}", "U": "[iU]", "U/h": "[iU]/h"}
#: Canonical unit → code of UCUM.
UNITS = {
    **{unit: unit for unit in ("/min", "ms", "uV", "1", "%", "Cel", "uS", "mg/dL", "mg/dL/min", "mmol/L", "g", "kcal")},
    **{unit: unit for unit in ("mL", "mg", "m", "m/s", "W", "min", "mL/kg/min", "m/s2", "kg", "kg/m2", "mm[Hg]", "dB")},
    **SPELLED,
}
GROUPS = {
    "vital-signs": (
        *("heart_rate", "resting_heart_rate", "respiratory_rate", "spo2", "body_temperature", "weight", "height"),
        *("bmi", "bp_systolic", "bp_diastolic"),
    ),
    "laboratory": ("glucose", "glucose_blood", "glucose_lab", "ketones", "hba1c"),
    "activity": (
        *("steps", "steps_daily", "distance", "floors", "elevation_gain", "active_energy", "total_energy", "workout"),
        *("workout_distance", "workout_energy", "workout_hr_mean", "workout_hr_max", "active_minutes"),
        *("exercise_minutes", "stand_minutes", "stand_hours", "sedentary_minutes", "cadence", "speed", "power"),
        *("wheelchair_pushes", "swimming_strokes", "activity_level"),
    ),
}
OF = {name: group for group, names in GROUPS.items() for name in names}


def category(name: str) -> dict[str, Any]:
    """The category of an Observation; {} where FHIR has none that fits."""
    return {"category": [{"coding": [{"system": CATEGORY, "code": OF[name]}]}]} if name in OF else {}


@lru_cache(4096)
def concept(name: str, kind: str | None) -> dict[str, Any]:
    """What was measured.

    Args:
        name: the metric.
        kind: what kind of value.
    """
    codes = [(MDC if "-" not in code else LOINC, code) for code in _codes(name, kind)]
    codings = [{"system": system, "code": code} for system, code in codes or [(METRIC, name)]]
    return {"coding": codings, "text": metric(name).title}


@lru_cache(4096)
def is_ours(name: str, kind: str | None) -> bool:
    """Whether only our own system has a code for it."""
    return not _codes(name, kind)


@lru_cache(4096)
def is_said(name: str, kind: str) -> bool:
    """Whether a code says the kind of value too."""
    return any((m.metric, m.code, m.marks) == (name, kind, ()) for m in CODES.values())


def _codes(name: str, kind: str | None) -> list[str]:
    exact = [c for c, m in CODES.items() if (m.metric, m.code, m.marks) == (name, kind, ())]
    loinc = [code for code in exact if "-" in code][:1] if kind else [metric(name).loinc]
    mdc = [code for code in exact if "-" not in code][:1]
    if kind and not loinc and not mdc:
        return [] if kind in STATISTICS or " per " in kind else _codes(name, None)
    return [code for first in loinc if first for code in (first, *filter(None, [BESIDE.get(first)]))] + mdc
