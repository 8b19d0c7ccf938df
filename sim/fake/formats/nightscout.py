"""Nightscout: entries and treatments as its site answers them. Whole seconds of UTC; an offset of 0 says nothing.

Readings of each uploader are a page of their own: two of one second and value, in one list, are one reading sent twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from metapulse.record.clock import MINUTE
from metapulse.record.readers.nightscout import ERROR_BELOW
from metapulse.record.schema import NO_DEVICE, Device, Row
from metapulse.sim.fake.formats.base import Format, Making, in_zone
from metapulse.sim.fake.formats.items import newest_first, rounded, written_value
from metapulse.sim.fake.formats.parts import MILLISECOND, SECOND, again, floored, iso, json_text, of_day, plain, put

BOLUSES = ("meal bolus", "correction bolus", "snack bolus", "smb", "bolus")
ENTRIES = {"glucose": "sgv", "glucose_blood": "mbg"}
LEAST, MOST = 39, 401  # mg/dL: what uploaders write for Low and High
ERROR = 10  # of a Dexcom's sensor
LONGEST = 9999 * MINUTE


def says(row: Row) -> Row | None:
    """Readings in whole mg/dL, from 39 to 401, and errors; amounts; basal rates with a length; exercise of no kind."""
    if of_day(row):
        return None
    told = floored(plain(row), SECOND)._replace(offset_min=row.offset_min or None, device=_device(row.device))
    length = 0 if told.end is None else told.end - told.start
    if row.metric in ENTRIES and row.code in (None, "calibration"):
        return _reading(told._replace(code=None, end=None), row)
    if row.value is None:
        return None
    if row.metric == "insulin_rapid":
        return rounded(told, 2)._replace(code=row.code if row.code in BOLUSES else "bolus", end=None)
    if row.metric == "carbohydrates":
        eaten = rounded(told, None)._replace(code=None, end=None)
        return eaten if eaten.value else None
    if row.metric == "insulin_basal_rate" and row.code is None and 0 < length <= LONGEST:
        return rounded(told, 3)
    if row.metric == "workout" and 0 < length <= LONGEST:
        return told._replace(code="unknown", value=length / MINUTE)
    return None


def _reading(told: Row, row: Row) -> Row | None:
    if row.metric == "glucose":
        if "sensor_error" in row.quality:
            return told._replace(value=None, quality=("sensor_error",))
        marks = ("low_confidence",) if "low_confidence" in row.quality else ()
        value = None if row.value is None else float(min(max(round(row.value), LEAST), MOST))
        return None if value is None or row.code else told._replace(value=value, quality=marks)
    return None if row.value is None else rounded(told, None)


def _device(device: Device) -> Device:
    """A text."""
    name = " ".join(part for part in device if part)
    return Device(app=name[:100]) if name else NO_DEVICE


def write(rows: Sequence[Row], making: Making) -> None:
    """Lists, newest first; with traps of several uploads, calibrations, values of null and torn."""
    told = newest_first(row for row in map(says, rows) if row is not None)
    told = again(told, making.rng) if making.traps else told
    entries = [row for row in told if row.metric in ENTRIES]
    for at, device in enumerate(sorted({row.device.app or "" for row in entries})):
        items = [item for row in entries if (row.device.app or "") == device for item in _entries(row, making)]
        _put(making, f"entries-{at}.json", items)
    _put(making, "treatments.json", [_treatment(row) for row in told if row.metric not in ENTRIES])
    if making.traps:
        profile = {"defaultProfile": "Default", "units": "mg/dl", "store": {"Default": {"target_low": []}}}
        put(making.folder / "profile.json", json_text([profile]))


def _put(making: Making, name: str, items: list[dict[str, Any]]) -> None:
    numbered = [{"_id": _id(item), **item} for item in items]
    if items and making.traps:
        put(making.folder / name, json_text(numbered, 1).rstrip("]\n") + ',\n {"_id": "torn", "sgv"')
    elif items:
        put(making.folder / name, json_text(numbered))


def _id(item: dict[str, Any]) -> str:
    """Of its content: rows that say the same are one treatment, uploaded again."""
    return blake2b(json_text(item).encode(), digest_size=12).hexdigest()


def _entries(row: Row, making: Making) -> list[dict[str, Any]]:
    """A reading; with traps now and then what another program sent of it, a calibration, or a null."""
    kind = ENTRIES[row.metric]
    value = ERROR if row.value is None else written_value(row, None)
    date = row.start // MILLISECOND
    item: dict[str, Any] = {"type": kind, kind: value, "date": date, "dateString": iso(row.start)}
    item |= {"utcOffset": row.offset_min or 0, "direction": "Flat"}
    item |= {"device": row.device.app} if row.device.app else {}
    item |= {"noise": 4} if "low_confidence" in row.quality else {"noise": 1}
    if not making.traps or making.rng.random() < 0.9:
        return [item]
    calibration = {"type": "cal", "slope": 868.7, "intercept": 20753.5, "scale": 1, "date": date}
    nothing = {**item, kind: None, "dateString": "Wed Apr 03 17:10:00 AEDT 2024"}
    copy = {**item, "date": date + 286.0908, "device": "loop://phone"}
    return [item, calibration, nothing, *([copy] if kind == "sgv" and value >= ERROR_BELOW else [])]


def _treatment(row: Row) -> dict[str, Any]:
    item: dict[str, Any] = {"created_at": iso(row.start), "utcOffset": row.offset_min or 0}
    item |= {"enteredBy": row.device.app} if row.device.app else {}
    minutes = ((row.end or row.start) - row.start) / MINUTE
    if row.metric == "insulin_rapid":
        names = {code: code.title() for code in BOLUSES} | {"smb": "SMB"}
        return {"eventType": names[row.code or "bolus"], "insulin": written_value(row, 2), "carbs": None, **item}
    if row.metric == "carbohydrates":
        return {"eventType": "Carb Correction", "carbs": written_value(row, None), "insulin": None, **item}
    if row.metric == "workout":
        return {"eventType": "Exercise", "duration": minutes, **item}
    rate = written_value(row, 3)
    return {"eventType": "Temp Basal", "absolute": rate, "rate": rate, "duration": minutes, **item}


METRICS = frozenset({*ENTRIES, "insulin_rapid", "carbohydrates", "insulin_basal_rate", "workout"})
FORMAT = Format("nightscout", "Nightscout: entries and treatments", METRICS, says, write, in_zone, placed=True)
