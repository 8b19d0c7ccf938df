"""Apple Health: ``export.xml`` in its zip. Whole seconds; units as an iPhone writes them, and a fraction under %."""

from __future__ import annotations

import xml.sax.saxutils as xml
from collections.abc import Iterator, Sequence

from metapulse.record.clock import MINUTE
from metapulse.record.readers.apple import QUANTITIES, STAGES
from metapulse.record.schema import Device, Row
from metapulse.sim.fake.formats.base import Format, Making
from metapulse.sim.fake.formats.parts import SECOND, again, floored, iso, offset_text, plain, put_zip

#: (metric, code) → type and whether its % is a fraction.
TYPES = {(metric, code): (kind, unit == "1") for kind, (metric, unit, code) in reversed(QUANTITIES.items())}
TYPES |= {("insulin_basal", None): ("InsulinDelivery", False)}
CODES = {stage: name for name, stage in STAGES.items() if name != "Asleep"}
#: Metric → unit as Apple writes it, canonical units in one of it; others are written as they are.
UNITS: dict[str, tuple[str, float]] = {
    "distance": ("km", 1000.0),
    "height": ("cm", 0.01),
    "step_length": ("cm", 0.01),
    "walking_speed": ("km/hr", 1 / 3.6),
    "water": ("mL", 1.0),
    "caffeine": ("mg", 1.0),
    "vo2max": ("mL/min·kg", 1.0),
    **dict.fromkeys(("heart_rate", "resting_heart_rate", "walking_heart_rate", "cadence"), ("count/min", 1.0)),
    "respiratory_rate": ("count/min", 1.0),
    **dict.fromkeys(("body_temperature", "skin_temperature"), ("degC", 1.0)),
    "glucose": ("mg/dL", 1.0),
    **dict.fromkeys(("insulin_rapid", "insulin_basal"), ("IU", 1.0)),
    **dict.fromkeys(("bp_systolic", "bp_diastolic"), ("mmHg", 1.0)),
    **dict.fromkeys(("energy_eaten", "active_energy", "basal_energy"), ("Cal", 1.0)),
    "eda": ("mcS", 1.0),
    **dict.fromkeys(("noise", "headphone_noise"), ("dBASPL", 1.0)),
    **dict.fromkeys(("alcohol", "steps", "floors", "bmi", "wheelchair_pushes", "swimming_strokes"), ("count", 1.0)),
}
PLAIN = {"hrv_sdnn": "ms", "hrv_rmssd": "ms", "speed": "m/s", "power": "W", "waist": "m", "weight": "kg"}
PLAIN |= {"lean_mass": "kg"} | dict.fromkeys(("carbohydrates", "protein", "fat", "fibre"), "g")
PLAIN |= dict.fromkeys(("exercise_minutes", "stand_minutes", "daylight"), "min")
ASLEEP, MINDFUL = "HKCategoryTypeIdentifierSleepAnalysis", "HKCategoryTypeIdentifierMindfulSession"
HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE HealthData [
<!ELEMENT HealthData (ExportDate,Me,(Record|Correlation|Workout|ActivitySummary)*)>
<!ATTLIST HealthData locale CDATA #REQUIRED>
]>
<HealthData locale="en_GB">
"""
BROKEN = HEAD.replace("#REQUIRED>", "#REQUIRED\n<!ATTLIST Record type CDATA #REQUIRED>>").replace("en_GB", "de_DE")


def says(row: Row) -> Row | None:
    """Whole seconds, any offset, the device in parts. No marks but "typed in"; totals of workouts are not written."""
    told = floored(plain(row, "manual"), SECOND)._replace(offset_min=row.offset_min or 0)
    if row.metric == "workout":
        return told._replace(code=_sport(row.code)) if row.value is not None and told.end is not None else None
    if row.metric == "sleep_stage":
        return told if row.code in CODES and told.end is not None else None
    if row.metric == "mindful_minutes":
        return told._replace(value=((told.end or told.start) - told.start) / MINUTE, code=None)
    return told if (row.metric, row.code) in TYPES and row.value is not None else None


def _sport(code: str | None) -> str:
    return "".join(filter(str.isalnum, code or "")).lower() or "other"


def write(rows: Sequence[Row], making: Making) -> None:
    """A zip as the phone shares it; with traps in the phone's language, with a broken DTD, repeats and a torn end."""
    parts, rng = [BROKEN if making.traps else HEAD], making.rng
    parts.append(
        ' <ExportDate value="2024-12-31 12:00:00 +0100"/>\n <Me HKCharacteristicTypeIdentifierBloodType=""/>\n'
    )
    told = [row for row in map(says, rows) if row is not None]
    for row in again(told, rng) if making.traps else told:
        pointer = f"0x{int(rng.integers(2**36)):x}" if making.traps else "0x283a5c140"
        parts.append("".join(_element(row, pointer)))
    parts.append(' <ActivitySummary dateComponents="2024-03-02" activeEnergyBurned="590"/>\n')
    if making.traps:
        parts += [
            '\x0b <Record type="HKQuantityTypeIdentifierNumberOfTimesFallen" value="1"/>\n',
            ' <Record type="HKQu',
        ]
        put_zip(making.folder / "Exportación.zip", {"apple_health_export/exportación.xml": "".join(parts)})
    else:
        put_zip(making.folder / "export.zip", {"apple_health_export/export.xml": "".join(parts) + "</HealthData>\n"})


def _element(row: Row, pointer: str) -> Iterator[str]:
    start, end = (_stamp(at, row.offset_min) for at in (row.start, row.start if row.end is None else row.end))
    facts = {"sourceName": row.device.app or ""}
    if any(row.device[:-1]):
        facts["device"] = _device(row.device, pointer)
    facts |= {"creationDate": end, "startDate": start, "endDate": end}
    meta = {"HKWasUserEntered": "1"} if row.quality else {}
    if row.metric == "workout":
        kind = {"workoutActivityType": f"HKWorkoutActivityType{row.code}", "duration": repr(float(row.value or 0.0))}
        name, given = "Workout", {**kind, "durationUnit": "min", **facts}
    else:
        name, given = "Record", {**_value(row), **facts}
        if row.metric.startswith("insulin"):
            meta["HKInsulinDeliveryReason"] = "1" if row.metric == "insulin_basal" else "2"
    yield f" <{name} " + " ".join(f"{key}={xml.quoteattr(text)}" for key, text in given.items())
    yield ">\n" if meta else "/>\n"
    for key, text in meta.items():
        yield f'  <MetadataEntry key="{key}" value="{text}"/>\n'
    if meta:
        yield f" </{name}>\n"


def _value(row: Row) -> dict[str, str]:
    if row.metric == "sleep_stage":
        return {"type": ASLEEP, "value": f"HKCategoryValueSleepAnalysis{CODES[row.code or '']}"}
    if row.metric == "mindful_minutes":
        return {"type": MINDFUL}
    kind, fraction = TYPES[row.metric, row.code]
    unit, scale = ("%", 100.0) if fraction else UNITS.get(row.metric, (PLAIN.get(row.metric, ""), 1.0))
    return {"type": f"HKQuantityTypeIdentifier{kind}", "unit": unit, "value": repr(float(row.value or 0.0) / scale)}


def _stamp(at: int, offset: int | None) -> str:
    return iso(at + (offset or 0) * MINUTE, "", 0).replace("T", " ") + " " + offset_text(offset, "")


def _device(device: Device, pointer: str) -> str:
    names = zip(("manufacturer", "model", "hardware", "software", "localIdentifier"), device, strict=False)
    return f"<<HKDevice: {pointer}>, " + ", ".join(f"{name}:{text}" for name, text in names if text) + ">"


METRICS = frozenset(metric for metric, _ in TYPES) | {"sleep_stage", "mindful_minutes", "workout"}
FORMAT = Format("apple", "Apple Health: export.xml in its zip", METRICS, says, write)
