"""Tidepool: the JSON of its export. Whole ms of UTC with the offset beside; glucose in mmol/L to five digits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metapulse.record.clock import DAY, MINUTE
from metapulse.record.readers.tidepool import FOOD
from metapulse.record.schema import Device, Row
from metapulse.record.units import GLUCOSE
from metapulse.sim.fake.formats.base import Format, Making, in_zone
from metapulse.sim.fake.formats.items import gathered, limit_of, limited, newest_first, rounded, written_value
from metapulse.sim.fake.formats.parts import MILLISECOND, again, floored, iso, json_text, of_day, plain, put

READINGS = {"glucose": "cbg", "glucose_blood": "smbg", "ketones": "bloodKetone"}
EATEN = {metric: name for name, metric in FOOD} | {"energy_eaten": "energy"}
INJECTED = {"insulin_long": {"simple": {"actingType": "long"}}, "insulin": {"name": "a mixture"}}
LOW, HIGH = 39, 401  # mg/dL: what stands for all that is beyond
DELIVERIES = ("scheduled", "temp", "automated", "suspend")
LONGEST = 7 * DAY
DIGITS = 5


def says(row: Row) -> Row | None:
    """Readings, amounts and basal rates with their lengths; food and injections are always typed in."""
    if row.value is None or of_day(row):
        return None
    told = floored(plain(row, "manual"), MILLISECOND)._replace(device=_device(row.device))
    metric, length = row.metric, 0 if told.end is None else told.end - told.start
    if metric in READINGS:
        return _reading(told._replace(end=None, code=None), row) if row.code is None else None
    if metric == "insulin_rapid":
        bolus = rounded(told, 3)._replace(quality=(), code="normal", end=None)
        return bolus._replace(code="square", end=told.end) if 0 < length <= LONGEST and bolus.value else bolus
    if metric == "insulin_basal_rate":
        told = rounded(told, 3)._replace(code=row.code if row.code in DELIVERIES else "scheduled", quality=())
        return told if 0 < length <= LONGEST else told._replace(end=None)
    if metric in EATEN or metric in INJECTED:
        return rounded(told, 2)._replace(code=None, end=None, quality=("manual",))
    if metric == "workout" and 0 < length < 9999 * MINUTE:
        code = (row.code or "unknown").strip().lower()[:60] or "unknown"
        return told._replace(value=length / MINUTE, code=code, quality=())
    return None


def _reading(told: Row, row: Row) -> Row:
    """A sensor says only of values from 40 to 400 mg/dL what they are; a finger's may be typed in."""
    if row.metric == "ketones":
        return rounded(told, DIGITS)
    if row.metric == "glucose_blood":
        return rounded(told, DIGITS, GLUCOSE)
    told = limited(told._replace(quality=()), row.quality, (LOW + 0.5, HIGH - 0.5), (LOW, HIGH))
    return rounded(told, DIGITS, GLUCOSE)


def _device(device: Device) -> Device:
    """Maker, model, serial number, and the app that handed it on."""
    return device._replace(hardware=None, firmware=None)


def write(rows: Sequence[Row], making: Making) -> None:
    """One list; with traps newest first, with data of no measurement, replaced data, stamps of MongoDB, and torn."""
    told = [row for row in map(says, rows) if row is not None]
    if not told:
        return
    told = newest_first(again(told, making.rng)) if making.traps else told
    meals = gathered((row for row in told if row.metric in EATEN), lambda row: (row.start, row.offset_min, row.device))
    items = [_item(row, making) for row in told if row.metric not in EATEN] + [_meal(meal, making) for meal in meals]
    items = [{"uploadId": "upid_1", "id": f"{at:032x}", **item} for at, item in enumerate(items)]
    if not making.traps:
        return put(making.folder / "TidepoolExport.json", json_text(items))
    settings = {"type": "pumpSettings", "time": "2024-01-01T00:00:00.000Z", "deviceId": "pump", "timezoneOffset": 60}
    replaced = [{**items[0], "_active": False}]
    text = json_text([settings, *items, *replaced], 1).rstrip("]\n")
    put(making.folder / "TidepoolExport.json", f'\ufeff{text},\n {{"type": "cbg", "deviceId": "x", "ti')


def _head(row: Row, kind: str, making: Making) -> dict[str, Any]:
    """What every datum has."""
    time: Any = iso(row.start)
    if making.traps and making.rng.random() < 0.3:
        time = {"$date": iso(row.start)} if making.rng.random() < 0.5 else row.start // MILLISECOND
    head = {"type": kind, "time": time, "deviceTime": iso(row.start + (row.offset_min or 0) * MINUTE, "", 0)}
    head |= {} if row.offset_min is None else {"timezoneOffset": row.offset_min}
    device = row.device
    head |= {"deviceManufacturers": [device.manufacturer]} if device.manufacturer else {}
    head |= {"deviceModel": device.model} if device.model else {}
    head |= {"deviceSerialNumber": device.unit} if device.unit else {}
    return head | ({"origin": {"name": device.app}} if device.app else {})


def _item(row: Row, making: Making) -> dict[str, Any]:
    """All but meals."""
    metric, length = row.metric, ((row.end or row.start) - row.start) // MILLISECOND
    if metric in READINGS:
        value = written_value(row, DIGITS, 1.0 if metric == "ketones" else GLUCOSE)
        item = {**_head(row, READINGS[metric], making), "units": "mmol/L", "value": value}
        limit = limit_of(row)
        item |= {"annotations": [{"code": "bg/out-of-range", "value": limit}]} if limit else {}
        return item | ({"subType": "manual"} if row.quality == ("manual",) else {})
    if metric == "insulin_rapid":
        amounts = {"extended": written_value(row, 3), "duration": length} if length else {"normal": row.value}
        return {**_head(row, "bolus", making), "subType": row.code, **amounts}
    if metric == "insulin_basal_rate":
        item = {**_head(row, "basal", making), "deliveryType": row.code, "rate": written_value(row, 3)}
        return item | ({"duration": length} if length else {})
    if metric == "workout":
        minutes = {"units": "minutes", "value": length * MILLISECOND / MINUTE}
        return {**_head(row, "physicalActivity", making), "name": row.code, "duration": minutes}
    dose = {"total": written_value(row, 2), "units": "Units"}
    return {**_head(row, "insulin", making), "dose": dose, "formulation": INJECTED[metric]}


def _meal(meal: dict[Any, Row], making: Making) -> dict[str, Any]:
    """What was eaten at one time."""
    parts: dict[str, Any] = {}
    for metric, row in meal.items():
        amount = written_value(row, 2)
        energy = metric == "energy_eaten"
        parts[EATEN[metric]] = {"value" if energy else "net": amount, "units": "kilocalories" if energy else "grams"}
    return {**_head(next(iter(meal.values())), "food", making), "nutrition": parts}


METRICS = frozenset({*READINGS, *EATEN, *INJECTED, "insulin_rapid", "insulin_basal_rate", "workout"})
FORMAT = Format("tidepool", "Tidepool: JSON of its export", METRICS, says, write, in_zone, placed=True)
