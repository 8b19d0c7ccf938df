"""Tidepool: the JSON of its export and of its API, an array of data each with a type.

``time`` is UTC and decides; ``timezoneOffset`` says where the device's clock stood, ``deviceTime`` is for data that
have nothing else. Glucose is in mmol/L inside Tidepool, whatever the device showed. A value beyond the sensor's
range is annotated with the threshold. Lengths of basal and bolus are in ms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from metapulse.errors import ConfigError
from metapulse.record.clock import DAY, MINUTE, Clock, Stamp, epoch, zone
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.text import json_items, noted, number, number_noted
from metapulse.record.schema import NO_DEVICE, Device, Row
from metapulse.record.units import ucum

TYPES = ("cbg", "smbg", "bolus", "basal", "wizard", "food", "bloodKetone", "physicalActivity", "insulin", "upload",
         "pumpSettings", "cgmSettings", "deviceEvent", "dosingDecision", "alert", "controllerSettings",
         "controllerStatus", "pumpStatus", "reportedState", "water", "continuousGlucose")  # fmt: skip
MMOL_BELOW = 35.0  # without a unit: as mg/dL no sensor shows it, as mmol/L no meter shows more
LENGTHS = {"hours": 60.0, "minutes": 1.0, "seconds": 1 / 60, "milliseconds": 1 / 60_000}  # in minutes
FOOD = (("carbohydrate", "carbohydrates"), ("protein", "protein"), ("fat", "fat"))
LONG = ("intermediate", "long")
_TYPE = re.compile(r'"type"\s*:\s*"(' + "|".join(TYPES) + r')"')


def sniff(sample: Sample) -> str:
    """By the types that only Tidepool's data have, and the words beside them."""
    head = sample.json[:16_384]
    words = ("deviceId", "deviceTime", "uploadId", "timezoneOffset", "conversionOffset", "guid", "dataSetId")
    if _TYPE.search(head) and sum(f'"{word}"' in head for word in words) >= 2:
        return "data with a type and a device, as Tidepool keeps them"
    return ""


def read(context: Context) -> Iterator[Row]:
    """Every datum."""
    for at, item in json_items(context):
        kind = str(item.get("type"))[:40] if isinstance(item, dict) else "no object"
        stamp = _stamp(context, item) if isinstance(item, dict) else None
        if stamp is None:
            context.skip(f"a stamp that is no time: {kind}" if isinstance(item, dict) else kind)
            continue
        marks = stamp.marks
        if item.get("_active") is False or item.get("deletedTime") or item.get("archivedTime"):
            marks = (*marks, "superseded")
        whole = Row("", stamp.start, None, None, at, None, stamp.offset_min, None, _device(item), marks)
        rows = list(_values(context, item, kind, whole))
        yield from rows
        if not rows:
            context.skip(f"no measurement: {kind}")


def _stamp(context: Context, item: dict[str, Any]) -> Stamp | None:
    """The instant, and the offset of the device's clock or of the zone that is named."""
    given = item.get("time")
    given = given.get("$date") if isinstance(given, dict) else given  # as MongoDB writes it
    instant = epoch(given) if isinstance(given, (int, float)) else None
    stamp = context.clock.read(given) if isinstance(given, str) else None
    if stamp is not None and stamp.offset_min is not None:
        instant = stamp.start
    if instant is None:
        local = item.get("deviceTime")
        stamp = stamp or (context.clock.read(local) if isinstance(local, str) else None)
        return stamp if stamp is not None and stamp.end is None else None
    offset = number(item.get("timezoneOffset"))
    if offset is not None and abs(offset) <= 1080:
        return Stamp(instant, round(offset))
    return Stamp(instant, (_zone(item.get("timezone")) or context.clock).offset(instant))


def _zone(name: Any) -> Clock | None:
    try:
        return Clock(zone(name)) if isinstance(name, str) and name else None
    except ConfigError:
        return None


def _device(item: dict[str, Any]) -> Device:
    """The id names model and unit; the origin is the app that handed it on."""
    origin = item.get("origin")
    app = origin.get("name") if isinstance(origin, dict) else None
    makers = item.get("deviceManufacturers")
    found = (makers[0] if isinstance(makers, list) and makers else None, item.get("deviceModel"))
    maker, model = (text[:60] if isinstance(text, str) and text else None for text in found)
    unit = item.get("deviceSerialNumber") or item.get("deviceId")
    texts = [text[:100] if isinstance(text, str) and text else None for text in (unit, app)]
    return Device(maker, model, unit=texts[0], app=texts[1]) if any((maker, model, *texts)) else NO_DEVICE


def _values(context: Context, item: dict[str, Any], kind: str, whole: Row) -> Iterator[Row]:
    """What was measured, injected, eaten or done."""
    if kind in ("cbg", "continuousGlucose", "smbg", "bloodKetone"):
        yield from _reading(item, kind, whole)
    elif kind == "bolus":
        amounts = [value for name in ("normal", "extended") if (value := number_noted(context, item, name)) is not None]
        if amounts:
            code = str(item.get("subType"))[:40] if item.get("subType") else None
            end = _end(whole, item.get("duration")) if number(item.get("extended")) else None
            yield whole._replace(metric="insulin_rapid", value=sum(amounts), unit="U", code=code, end=end)
    elif kind == "basal":
        rate, end = number_noted(context, item, "rate"), _end(whole, item.get("duration"))
        code = str(item.get("deliveryType"))[:40] if item.get("deliveryType") else None
        rate = 0.0 if rate is None and code == "suspend" else rate
        if rate is not None:
            yield whole._replace(metric="insulin_basal_rate", value=rate, unit="U/h", code=code, end=end)
    elif kind == "insulin":
        dose, total = item.get("dose"), None
        total = number(dose.get("total")) if isinstance(dose, dict) else None
        if total is not None:
            metric = _acting(item)
            yield whole._replace(metric=metric, value=total, unit="U", quality=(*whole.quality, "manual"))
    elif kind == "wizard":
        if (carbs := number(item.get("carbInput"))) and str(item.get("carbUnits") or "grams") == "grams":
            yield whole._replace(metric="carbohydrates", value=carbs, unit="g", quality=(*whole.quality, "manual"))
    elif kind == "food":
        yield from _food(context, item, whole)
    elif kind == "physicalActivity":
        yield from _activity(item, whole)


def _reading(item: dict[str, Any], kind: str, whole: Row) -> Iterator[Row]:
    """Glucose or ketones; the threshold where the value is beyond it."""
    value, marks, raw = number(item.get("value")), whole.quality, None
    if value is None:
        return
    given = item.get("units")
    unit = ucum(given) if isinstance(given, str) else ""
    if not unit:
        unit = "mmol/L" if value < MMOL_BELOW or kind == "bloodKetone" else "mg/dL"
        unit, marks = (given, marks) if isinstance(given, str) and given else (unit, (*marks, "unit_assumed"))
    for note in item["annotations"] if isinstance(item.get("annotations"), list) else ():
        if isinstance(note, dict) and note.get("code") == "bg/out-of-range" and note.get("value") in ("low", "high"):
            marks, raw = (*marks, f"censored_{note['value']}"), str(note["value"])
    metric = {"smbg": "glucose_blood", "bloodKetone": "ketones"}.get(kind, "glucose")
    if item.get("subType") == "manual":
        marks = (*marks, "manual")
    yield whole._replace(metric=metric, value=value, unit=unit, quality=marks, raw=raw)


def _end(whole: Row, given: Any) -> int | None:
    """The end of a length in ms; None where there is none, or one of more than a week."""
    length = number(given)
    return whole.start + round(length * 1000) if length is not None and 0 < length * 1000 <= 7 * DAY else None


def _acting(item: dict[str, Any]) -> str:
    """How long the insulin acts, where the formulation says so."""
    formulation = item.get("formulation")
    simple = formulation.get("simple") if isinstance(formulation, dict) else None
    acting = simple.get("actingType") if isinstance(simple, dict) else None
    return "insulin_long" if acting in LONG else "insulin_rapid" if acting in ("rapid", "short") else "insulin"


def _food(context: Context, item: dict[str, Any], whole: Row) -> Iterator[Row]:
    given = item.get("nutrition")
    nutrition: dict[str, Any] = given if isinstance(given, dict) else {}
    marks = (*whole.quality, "manual")
    for name, metric in FOOD:
        part = nutrition.get(name)
        value = noted(context, part.get("net", part.get("total")), name) if isinstance(part, dict) else None
        if value is not None:
            yield whole._replace(metric=metric, value=value, unit="g", quality=marks)
    if (amount := _measured(nutrition.get("energy"))) is not None:
        yield whole._replace(metric="energy_eaten", value=amount[0], unit=amount[1], quality=marks)


def _activity(item: dict[str, Any], whole: Row) -> Iterator[Row]:
    length = _measured(item.get("duration"))
    factor = LENGTHS.get(length[1], 0.0) if length else 0.0
    if length is None or not 0 < length[0] * factor < 10_000:
        return
    minutes = length[0] * factor
    code = str(item.get("name") or "unknown").strip().lower()[:60]
    whole = whole._replace(code=code, end=whole.start + round(minutes * MINUTE))
    yield whole._replace(metric="workout", value=minutes, unit="min")
    for name, metric in (("distance", "workout_distance"), ("energy", "workout_energy")):
        if (amount := _measured(item.get(name))) is not None:
            yield whole._replace(metric=metric, value=amount[0], unit=amount[1])


def _measured(given: Any) -> tuple[float, str] | None:
    """Value and unit of an object that has both."""
    value = number(given.get("value")) if isinstance(given, dict) else None
    return None if value is None else (value, str(given.get("units")).strip().lower()[:40])


READER = Reader("tidepool", "Tidepool: JSON", sniff, read)
