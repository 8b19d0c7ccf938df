"""FHIR R4: a Bundle, or NDJSON: a Patient without a name, Devices before what they measured, an Observation a value.

Systolic and diastolic pressure of one measurement are components of one Observation. Codes are in fhir_codes.py, what
is not the standard's in ``readers/fhir_own.py``. Ids are hashes of what they name, so that the same record gives
the same bytes, and a value has the same id in every export.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from metapulse.record.metrics import metric
from metapulse.record.readers.fhir_own import DEVICE, EXTENSION, KIND, MARK
from metapulse.record.schema import NO_DEVICE, Device, Row
from metapulse.record.verbatim import quoted
from metapulse.record.writers.base import (
    Exported,
    Stored,
    Writer,
    day_alone,
    identity,
    identity_of,
    json_line,
    json_list,
    plain_number,
    pressures_paired,
    stamp,
)
from metapulse.record.writers.fhir_codes import PRESSURE, UCUM, UNITS, category, concept, is_ours, is_said

MOST_OFFSET = 14 * 60  # minutes from UTC that a time of FHIR may have
SERIAL = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "SNO"}]}
ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
COMPARATORS = {"censored_low": "<", "censored_high": ">"}
#: Marks that an element of the standard says as well: comparator, dataAbsentReason, performer.
SAID = {*COMPARATORS, "sensor_error", "manual"}


def write(record: Stored, lines: bool) -> Iterator[str]:
    """A Bundle of type collection, or a resource a line."""
    head = '{"resourceType":"Bundle","type":"collection","entry":[\n'
    return json_list(head, map(partial(_entry, lines=lines), _resources(record, lines)), "\n]}\n", lines)


def _entry(resource: dict[str, Any], lines: bool) -> str:
    return json_line(resource if lines else {"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource})


def _resources(record: Stored, lines: bool) -> Iterator[dict[str, Any]]:
    """In a Bundle resources refer to each other by fullUrl, in NDJSON by type and id."""
    patient = identity("patient", record.digest())
    yield {"resourceType": "Patient", "id": patient}
    places: dict[Device, str] = {NO_DEVICE: ""}
    subject = f"Patient/{patient}" if lines else f"urn:uuid:{patient}"
    for rows in pressures_paired(record):
        place = places.get(rows[0].device)
        if place is None:
            made = _device(rows[0].device)
            yield made
            place = places[rows[0].device] = f"Device/{made['id']}" if lines else f"urn:uuid:{made['id']}"
        yield _observation(rows, subject, place, record.exported)


def _device(device: Device) -> dict[str, Any]:
    made: dict[str, Any] = {"resourceType": "Device", "id": identity("device", *device)}
    maker, model, hardware, firmware, serial, app = (None if part is None else quoted(part) for part in device)
    if app is not None:
        made["extension"] = [_extension({"app": app})]
    made["identifier"] = [{"system": DEVICE, "value": made["id"]}]
    if serial is not None:
        made["identifier"].append({"type": SERIAL, "value": serial})
    parts = {"manufacturer": maker, "serialNumber": serial, "modelNumber": model, "partNumber": hardware}
    made |= {name: part for name, part in parts.items() if part is not None}
    return made | ({"version": [{"value": firmware}]} if firmware is not None else {})


# -- observations -------------------------------------------------------------


def _observation(rows: tuple[Row, ...], subject: str, device: str, exported: Exported) -> dict[str, Any]:
    """One value, or the two of a blood pressure."""
    row = rows[0]
    made: dict[str, Any] = {"resourceType": "Observation", "id": identity_of(rows)}
    if row.quality:
        made["meta"] = {"tag": [{"system": MARK, "code": mark} for mark in row.quality]}
        for mark in row.quality:
            if mark not in SAID and not (mark == "date_only" and day_alone(row)):
                exported.remarks[f"the mark {mark}: a tag of metapulse's"] += len(rows)
    beside = _beside(row, exported)
    if len(rows) == 1:
        made["extension"] = [_own(row, beside)]
    made |= {"status": "final"} | category(row.metric)
    made["code"] = PRESSURE if len(rows) == 2 else concept(row.metric, row.code)
    made |= {"subject": {"reference": subject}} | _effective(row, "end" in beside)
    if "manual" in row.quality:
        made["performer"] = [{"reference": subject}]
    if len(rows) == 2:
        made["component"] = [
            {"extension": [_own(one, beside)], "code": concept(one.metric, one.code)} | _value(one) for one in rows
        ]
    else:
        made |= _value(row)
    for one in rows:
        _remark(one, exported)
    return made | ({"device": {"reference": device}} if device else {})


def _effective(row: Row, endless: bool) -> dict[str, Any]:
    """An instant, a period, or a day."""
    if day := day_alone(row):
        return {"effectiveDateTime": day}
    offset = _offset(row)
    start = stamp(row.start, offset)
    if row.end is None or endless:
        return {"effectiveDateTime": start}
    return {"effectivePeriod": {"start": start, "end": stamp(row.end, offset)}}


def _offset(row: Row) -> int | None:
    return row.offset_min if row.offset_min is None or abs(row.offset_min) <= MOST_OFFSET else 0


def _value(row: Row) -> dict[str, Any]:
    """A quantity with its limits, a code, or why there is none."""
    if row.value is not None:
        quantity: dict[str, Any] = {"value": plain_number(row.value)}
        for mark, sign in COMPARATORS.items():
            if mark in row.quality:
                quantity["comparator"] = sign
        if row.unit and row.unit.strip():
            quantity["unit"] = row.unit
        if row.unit == metric(row.metric).unit and row.unit in UNITS:
            quantity |= {"system": UCUM, "code": UNITS[row.unit]}
        return {"valueQuantity": quantity}
    if row.code is not None and "sensor_error" not in row.quality:
        return {"valueCodeableConcept": {"coding": [{"system": KIND, "code": quoted(row.code)}]}}
    reason = "error" if "sensor_error" in row.quality else "unknown"
    return {"dataAbsentReason": {"coding": [{"system": ABSENT, "code": reason}]}}


# -- what is not the standard's -----------------------------------------------


def _remark(row: Row, exported: Exported) -> None:
    """Count what this row has that goes into our own places; file and row of all go there."""
    if is_ours(row.metric, row.code):
        exported.remarks["no code of LOINC or MDC: written under metapulse's own system"] += 1
    if row.code is not None and row.value is not None and not is_said(row.metric, row.code):
        exported.remarks["a kind of value without a code of its own: in an extension"] += 1
    if row.raw is not None:
        exported.remarks["what the file said before it was converted: in an extension"] += 1
    if row.device.app is not None:
        exported.remarks["the app that computed the value: in an extension of its device"] += 1


def _beside(row: Row, exported: Exported) -> dict[str, str]:
    """Times that FHIR has no way to write."""
    parts = {}
    if row.end is not None and row.end < row.start:
        exported.remarks["an end before its start, which no period has: in an extension"] += 1
        parts["end"] = str(row.end)
    if row.offset_min != _offset(row):
        exported.remarks["a clock over 14 hours from UTC: written in UTC, the offset in an extension"] += 1
        parts["offset"] = str(row.offset_min)
    return parts


def _own(row: Row, beside: dict[str, str]) -> dict[str, Any]:
    """Our extension of an Observation or a component."""
    parts = {"file": quoted(row.file or ""), "row": str(row.row)} | beside
    if row.code is not None:
        parts["code"] = quoted(row.code)
    if row.raw is not None:
        parts["raw"] = quoted(row.raw)
    if row.unit is not None and row.unit != metric(row.metric).unit:
        parts["unit"] = quoted(row.unit)
    return _extension(parts)


def _extension(parts: dict[str, str]) -> dict[str, Any]:
    return {"url": EXTENSION, "extension": [{"url": url, "valueString": text} for url, text in parts.items()]}


WRITER = Writer("fhir", "FHIR R4: Observations and Devices as JSON", write)
