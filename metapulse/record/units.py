"""Units as vendors write them, in any language, to UCUM; and from there to a metric's canonical unit.

A conversion is value × scale + shift. Where a unit is canonical already scale is exactly 1 and shift exactly 0, so
that the number stays to the digit. Glucose goes between mass and amount of substance by 18.0156 (mg/dL)/(mmol/L), or
by the molar mass that the unit itself names (``mmol<180.1558800000541>/L``).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from metapulse.record.metrics import metric

GLUCOSE = 18.0156  # mg/dL of 1 mmol/L
KCAL = 4.184  # kJ of 1 kcal

#: UCUM → (kind of quantity, scale, shift) to the first unit of its kind.
UNITS: dict[str, tuple[str, float, float]] = {
    "/min": ("rate", 1.0, 0.0),
    "Hz": ("rate", 60.0, 0.0),
    "/s": ("rate", 60.0, 0.0),
    "/h": ("rate", 1 / 60, 0.0),
    "ms": ("time", 1.0, 0.0),
    "us": ("time", 1e-3, 0.0),
    "s": ("time", 1e3, 0.0),
    "min": ("time", 6e4, 0.0),
    "h": ("time", 3.6e6, 0.0),
    "d": ("time", 8.64e7, 0.0),
    "uV": ("voltage", 1.0, 0.0),
    "mV": ("voltage", 1e3, 0.0),
    "V": ("voltage", 1e6, 0.0),
    "%": ("fraction", 1.0, 0.0),
    "1": ("fraction", 100.0, 0.0),
    "Cel": ("temperature", 1.0, 0.0),
    "[degF]": ("temperature", 5 / 9, -160 / 9),
    "K": ("temperature", 1.0, -273.15),
    "uS": ("conductance", 1.0, 0.0),
    "S": ("conductance", 1e6, 0.0),
    "mg/dL": ("mass concentration", 1.0, 0.0),
    "g/L": ("mass concentration", 100.0, 0.0),
    "mg/L": ("mass concentration", 0.1, 0.0),
    "mmol/L": ("concentration", 1.0, 0.0),
    "umol/L": ("concentration", 1e-3, 0.0),
    "mol/L": ("concentration", 1e3, 0.0),
    "mg/dL/min": ("mass concentration rate", 1.0, 0.0),
    "mmol/L/min": ("concentration rate", 1.0, 0.0),
    "U": ("insulin", 1.0, 0.0),
    "m[IU]": ("insulin", 1e-3, 0.0),
    "U/h": ("insulin rate", 1.0, 0.0),
    "g": ("mass", 1.0, 0.0),
    "mg": ("mass", 1e-3, 0.0),
    "ug": ("mass", 1e-6, 0.0),
    "kg": ("mass", 1e3, 0.0),
    "[lb_av]": ("mass", 453.59237, 0.0),
    "[oz_av]": ("mass", 28.349523125, 0.0),
    "[stone_av]": ("mass", 6350.29318, 0.0),
    "mL": ("volume", 1.0, 0.0),
    "L": ("volume", 1e3, 0.0),
    "dL": ("volume", 100.0, 0.0),
    "[foz_us]": ("volume", 29.5735295625, 0.0),
    "[cup_us]": ("volume", 236.5882365, 0.0),
    "count": ("count", 1.0, 0.0),
    "m": ("length", 1.0, 0.0),
    "cm": ("length", 0.01, 0.0),
    "mm": ("length", 1e-3, 0.0),
    "km": ("length", 1e3, 0.0),
    "[mi_i]": ("length", 1609.344, 0.0),
    "[ft_i]": ("length", 0.3048, 0.0),
    "[in_i]": ("length", 0.0254, 0.0),
    "[yd_i]": ("length", 0.9144, 0.0),
    "m/s": ("speed", 1.0, 0.0),
    "km/h": ("speed", 1 / 3.6, 0.0),
    "[mi_i]/h": ("speed", 0.44704, 0.0),
    "W": ("power", 1.0, 0.0),
    "kcal": ("energy", 1.0, 0.0),
    "cal": ("energy", 1e-3, 0.0),
    "kJ": ("energy", 1 / KCAL, 0.0),
    "J": ("energy", 1e-3 / KCAL, 0.0),
    "mL/kg/min": ("oxygen uptake", 1.0, 0.0),
    "m/s2": ("acceleration", 1.0, 0.0),
    "[g]": ("acceleration", 9.80665, 0.0),
    "kg/m2": ("body mass index", 1.0, 0.0),
    "mm[Hg]": ("pressure", 1.0, 0.0),
    "kPa": ("pressure", 7.50061682704, 0.0),
    "dB": ("level", 1.0, 0.0),
    "stage": ("stage", 1.0, 0.0),
}

#: What is written, in lower case without blanks → UCUM. UCUM itself needs no line here.
SPELLINGS = {
    **dict.fromkeys(
        ("bpm", "rpm", "count/min", "counts/min", "beats/min", "beats/minute", "{beats}/min", "{beat}/min"), "/min"
    ),
    **dict.fromkeys(
        ("breaths/min", "breaths/minute", "{breaths}/min", "1/min", "min-1", "/minute", "brpm", "spm"), "/min"
    ),
    **dict.fromkeys(("count/s", "1/s"), "/s"),
    **dict.fromkeys(("msec", "millisecond", "milliseconds", "msek"), "ms"),
    **dict.fromkeys(("sec", "secs", "second", "seconds", "sek", "sekunden"), "s"),
    **dict.fromkeys(("mins", "minute", "minutes", "minuten", "minuti", "minutos"), "min"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours", "std", "stunden", "ore", "horas", "heures"), "h"),
    **dict.fromkeys(("day", "days", "tage"), "d"),
    **dict.fromkeys(("µv", "μv", "mcv"), "uV"),
    **dict.fromkeys(("percent", "pct", "prozent"), "%"),
    **dict.fromkeys(("{score}", "score", "unitless", "ratio", "fraction"), "1"),
    **dict.fromkeys(("c", "°c", "degc", "celsius", "cel", "℃"), "Cel"),
    **dict.fromkeys(("f", "°f", "degf", "fahrenheit", "℉"), "[degF]"),
    **dict.fromkeys(("µs", "μs", "mcs", "microsiemens"), "uS"),
    **dict.fromkeys(("mg/dl", "mgdl", "mg/100ml", "milligramsperdeciliter"), "mg/dL"),
    **dict.fromkeys(("g/l",), "g/L"),
    **dict.fromkeys(("mmol/l", "mmol", "mmoll", "millimolesperliter"), "mmol/L"),
    **dict.fromkeys(("mg/dl/min",), "mg/dL/min"),
    **dict.fromkeys(("mmol/l/min",), "mmol/L/min"),
    **dict.fromkeys(
        (
            "u",
            "e",
            "ie",
            "iu",
            "ui",
            "unit",
            "units",
            "einheit",
            "einheiten",
            "eenheden",
            "[iu]",
            "unités",
            "unità",
            "unidades",
            "eenh.",
            "enheter",
            "enheder",
            "jednostki",
        ),
        "U",
    ),
    **dict.fromkeys(("u/h", "u/hr", "e/u", "e/h", "ie/h", "iu/h", "units/hour", "ui/h", "[iu]/h"), "U/h"),
    **dict.fromkeys(("gram", "grams", "gramm", "gr", "grammes", "grammi", "gramos", "gramas", "gramy", "grammaa"), "g"),
    **dict.fromkeys(("mcg", "µg", "μg"), "ug"),
    **dict.fromkeys(("kgs", "kilogram", "kilograms", "kilogramm"), "kg"),
    **dict.fromkeys(("lb", "lbs", "pound", "pounds"), "[lb_av]"),
    **dict.fromkeys(("oz", "ounce", "ounces"), "[oz_av]"),
    **dict.fromkeys(("st", "stone"), "[stone_av]"),
    **dict.fromkeys(("ml",), "mL"),
    **dict.fromkeys(("l", "liter", "litre", "liters", "litres"), "L"),
    **dict.fromkeys(("dl",), "dL"),
    **dict.fromkeys(("fl_oz_us", "floz", "fl_oz"), "[foz_us]"),
    **dict.fromkeys(("cup_us",), "[cup_us]"),
    **dict.fromkeys(
        (
            "counts",
            "steps",
            "{steps}",
            "step",
            "schritte",
            "pas",
            "passi",
            "pasos",
            "floors",
            "{count}",
            "{floors}",
            "{#}",
        ),
        "count",
    ),
    **dict.fromkeys(("meter", "metre", "meters", "metres"), "m"),
    **dict.fromkeys(("kilometer", "kilometers", "kilometre", "kilometres", "kms"), "km"),
    **dict.fromkeys(("mi", "mile", "miles", "meilen"), "[mi_i]"),
    **dict.fromkeys(("ft", "feet", "foot"), "[ft_i]"),
    **dict.fromkeys(("in", "inch", "inches"), "[in_i]"),
    **dict.fromkeys(("yd", "yard", "yards"), "[yd_i]"),
    **dict.fromkeys(("mps", "meterspersecond"), "m/s"),
    **dict.fromkeys(("kmh", "km/hr", "kph"), "km/h"),
    **dict.fromkeys(("mph", "mi/hr", "mi/h"), "[mi_i]/h"),
    **dict.fromkeys(("watt", "watts"), "W"),
    **dict.fromkeys(("kcals", "calories", "kilocalories", "kilokalorien"), "kcal"),
    **dict.fromkeys(("kilojoule", "kilojoules"), "kJ"),
    **dict.fromkeys(("ml/min·kg", "ml/(kg*min)", "ml/min/kg", "ml/(min·kg)", "ml/kg·min", "ml/(kg·min)"), "mL/kg/min"),
    **dict.fromkeys(("m/s^2", "m/s²"), "m/s2"),
    **dict.fromkeys(("kg/m^2", "kg/m²"), "kg/m2"),
    **dict.fromkeys(("mmhg",), "mm[Hg]"),
    **dict.fromkeys(("dbaspl", "decibel", "db(a)"), "dB"),
}
#: Where upper and lower case are two units: Apple's Cal is a kilocalorie.
EXACT = {"Cal": "kcal", "µs": "us", "μs": "us"}
_FOLDED = {name.lower(): name for name in reversed(UNITS)}
LONGEST = 128  # characters of a unit, with blanks; what is longer is none
_MOLAR = re.compile(r"mmol<\s*(\d{1,5}(?:\.\d{1,20})?)\s*>/l", re.IGNORECASE)


class Conversion(NamedTuple):
    """value × scale + shift is in ``unit``; ``known`` is false, and nothing done, for a unit of something else."""

    unit: str
    scale: float
    shift: float
    known: bool


def ucum(text: str) -> str:
    """A unit as it is written → UCUM; "" if it is none that is known.

    Args:
        text: as in the file: "Count/min", "mmHg", "Einheiten", "°F".
    """
    return _ucum(text) if len(text) <= LONGEST else ""


@lru_cache(4096)
def _ucum(text: str) -> str:
    text = text.strip()
    if text in UNITS:
        return text
    if text in EXACT:
        return EXACT[text]
    folded = "".join(text.lower().split())
    return SPELLINGS.get(folded) or _FOLDED.get(folded, "")


def conversion(name: str, text: str | None) -> Conversion:
    """How a value of a metric gets into the metric's canonical unit.

    Args:
        name: the metric.
        text: the unit as the file writes it; None: the canonical one.
    """
    if text is not None and len(text) > LONGEST:
        return Conversion(text, 1.0, 0.0, False)
    return _conversion(name, text)


@lru_cache(4096)
def _conversion(name: str, text: str | None) -> Conversion:
    wanted = metric(name).unit
    if text is None:
        return Conversion(wanted, 1.0, 0.0, True)
    molar = _MOLAR.fullmatch(text.strip())
    given = "mmol/L" if molar else ucum(text)
    if given == wanted:
        return Conversion(wanted, 1.0, 0.0, True)
    if not given or given not in UNITS or wanted not in UNITS:
        return Conversion(text, 1.0, 0.0, False)
    (kind, scale, shift), (target, wanted_scale, wanted_shift) = UNITS[given], UNITS[wanted]
    if kind != target:
        factor = _substance(name, kind, target, float(molar[1]) if molar else 10 * GLUCOSE)
        if not factor:
            return Conversion(text, 1.0, 0.0, False)
        scale, shift = scale * factor, shift * factor
    return Conversion(wanted, scale / wanted_scale, (shift - wanted_shift) / wanted_scale, True)


def _substance(name: str, given: str, wanted: str, molar_mass: float) -> float:
    """Factor between amount and mass of substance for glucose; 0 for other pairs. mmol/L × g/mol / 10 = mg/dL."""
    if name.startswith("glucose") and given.startswith("concentration") and wanted == f"mass {given}":
        return molar_mass / 10
    return 0.0
