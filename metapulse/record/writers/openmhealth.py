"""Open mHealth: data points of header and body, as one array, or one a line.

A data point says that its body *is* a measurement, and has no place for marks. So only what is one goes under a schema
of Open mHealth: not a limit ("above 400"), a repeat, an error or a value out of range, nor a metric without a
schema. These go under the namespace ``metapulse``, where a program that knows it not passes them over.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from metapulse.record.frame import DOUBTFUL, REPEATS
from metapulse.record.metrics import metric
from metapulse.record.readers.openmhealth import INTERVALS, STATISTICS
from metapulse.record.readers.openmhealth_own import NAMESPACE, PROPERTY
from metapulse.record.schema import Row
from metapulse.record.writers.base import (
    Exported,
    Stored,
    Writer,
    identity_of,
    json_line,
    json_list,
    plain_number,
    pressures_paired,
    stamp,
)

#: Metric → property of the body and unit, as the metric's schema has them.
MEASURES = {
    "heart_rate": ("heart_rate", "beats/min"),
    "rr_interval": ("rr_interval", "ms"),
    "respiratory_rate": ("respiratory_rate", "breaths/min"),
    "spo2": ("oxygen_saturation", "%"),
    "body_temperature": ("body_temperature", "C"),
    "glucose": ("blood_glucose", "mg/dL"),
    "glucose_blood": ("blood_glucose", "mg/dL"),
    "glucose_lab": ("blood_glucose", "mg/dL"),
    "steps": ("step_count", "steps"),
    "active_energy": ("kcal_burned", "kcal"),
    "active_minutes": ("minutes_moderate_activity", "min"),
    "weight": ("body_weight", "kg"),
    "height": ("body_height", "m"),
    "bmi": ("body_mass_index", "kg/m2"),
    "body_fat": ("body_fat_percentage", "%"),
    "sleep_duration": ("total_sleep_time", "min"),
    "time_in_bed": ("time_in_bed", "min"),
    "bp_systolic": ("systolic_blood_pressure", "mmHg"),
    "bp_diastolic": ("diastolic_blood_pressure", "mmHg"),
}
SPECIMENS = {"glucose": "interstitial fluid", "glucose_blood": "capillary blood", "glucose_lab": "plasma"}
#: Marks of rows that are no measurements to be used as they are.
WITHHELD = frozenset(("censored_high", "censored_low", *DOUBTFUL, *REPEATS))


def write(record: Stored, lines: bool) -> Iterator[str]:
    """An array of data points, or a data point a line."""
    return json_list("[\n", map(json_line, _points(record)), "\n]\n", lines)


def _points(record: Stored) -> Iterator[dict[str, Any]]:
    for rows in pressures_paired(record):
        if why := _withheld(rows):
            for row in rows:
                record.exported.remarks[f"{why}: under the namespace {NAMESPACE}"] += 1
                yield _point((row,), {"namespace": NAMESPACE, "name": row.metric.replace("_", "-"), "version": "1.0"})
        else:
            _remark(rows, record.exported)
            yield _point(rows, _schema(rows[0].metric))


def _remark(rows: tuple[Row, ...], exported: Exported) -> None:
    """Count what these rows have that goes into our own property; file and row of all go there."""
    row, remarks = rows[0], exported.remarks
    for mark in row.quality:
        if mark != "manual":
            remarks[f"the mark {mark}: in metapulse's property"] += len(rows)
    if row.code is not None and row.code.partition(" per ")[0] not in STATISTICS:
        remarks["a kind of value that is no statistic: in metapulse's property"] += len(rows)
    if any(row.device[:-1]):
        remarks["the device: in metapulse's property"] += len(rows)
    if raw := sum(one.raw is not None for one in rows):
        remarks["what the file said before it was converted: in metapulse's property"] += raw


def _withheld(rows: tuple[Row, ...]) -> str:
    """Why rows cannot be under a schema of Open mHealth; "" if they can."""
    row = rows[0]
    if row.metric not in MEASURES:
        return "no schema for the metric"
    if row.metric.startswith("bp_") and len(rows) == 1:
        return "one half of a blood pressure"
    if any(one.value is None or one.unit != metric(one.metric).unit for one in rows):
        return "no value in a unit of the metric"
    if marks := WITHHELD.intersection(row.quality):
        return f"no measurement as it is ({min(marks)})"
    if row.end is None and MEASURES[row.metric][0] in INTERVALS:
        return "an instant, where the schema has an interval"
    if row.end is not None and row.end < row.start:
        return "an end before its start"
    return ""


@lru_cache(256)
def _schema(name: str) -> dict[str, str]:
    return dict(zip(("namespace", "name", "version"), metric(name).schema.split(":"), strict=True))


def _point(rows: tuple[Row, ...], schema: dict[str, str]) -> dict[str, Any]:
    """Header and body. It is said to be created when it was measured: another clock would make it another point."""
    row = rows[0]
    device = {name: part for name, part in row.device._asdict().items() if part is not None}
    header = {
        "id": identity_of(rows),
        "creation_date_time": stamp(row.start, 0),
        "schema_id": schema,
        "acquisition_provenance": {
            "source_name": row.device.app or row.device.model or row.device.manufacturer or "unknown",
            "modality": "self-reported" if "manual" in row.quality else "sensed",
        },
        PROPERTY: [_beside(one, device) for one in rows],
    }
    body = _own_body(row) if schema["namespace"] == NAMESPACE else _body(rows)
    return {"header": header, "body": body | {"effective_time_frame": _frame(row)}}


def _beside(row: Row, device: dict[str, str]) -> dict[str, Any]:
    """What a data point has no place for, of one of its values."""
    parts: dict[str, Any] = {"file": row.file, "row": row.row}
    parts |= {"device": device} if device else {}
    parts |= {"marks": row.quality} if row.quality else {}
    parts |= {name: text for name, text in (("code", row.code), ("raw", row.raw)) if text is not None}
    return parts | ({"unit": row.unit} if row.unit != metric(row.metric).unit else {})


def _body(rows: tuple[Row, ...]) -> dict[str, Any]:
    """Measures as the schema has them, and of what they are the statistic."""
    row, body = rows[0], dict[str, Any]()
    for one in rows:
        name, unit = MEASURES[one.metric]
        body[name] = {"value": plain_number(0.0 if one.value is None else one.value), "unit": unit}
    if row.metric in SPECIMENS:
        body["specimen_source"] = SPECIMENS[row.metric]
    statistic, _, denominator = (row.code or "").partition(" per ")
    if statistic in STATISTICS:
        body["descriptive_statistic"] = statistic
        body |= {"descriptive_statistic_denominator": denominator} if denominator else {}
    return body


def _own_body(row: Row) -> dict[str, Any]:
    measure = {} if row.value is None else {"value": plain_number(row.value), "unit": row.unit}
    return {row.metric: measure} | ({"sleep_stage_state": row.code} if row.metric == "sleep_stage" else {})


def _frame(row: Row) -> dict[str, Any]:
    start = stamp(row.start, row.offset_min)
    if row.end is None:
        return {"date_time": start}
    return {"time_interval": {"start_date_time": start, "end_date_time": stamp(row.end, row.offset_min)}}


WRITER = Writer("openmhealth", "Open mHealth: data points as JSON", write)
