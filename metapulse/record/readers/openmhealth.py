"""Open mHealth and IEEE 1752.1: data points of header and body, bodies alone, arrays and streams of them.

A time frame is an instant, a start and an end, one of the two and a duration, or a day with a part of it. A body that
its schema does not allow is counted away: no time frame, a unit of something else, a word that is no statistic. Some
programs put a list of bodies where the schema has one, and answers of servers wrap data points in ``body``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from metapulse.record.clock import MINUTE
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.openmhealth_frames import frame_of, points_of, quantity, when
from metapulse.record.readers.openmhealth_own import header_told, of_namespace, restored_rows
from metapulse.record.readers.text import json_items
from metapulse.record.schema import NO_DEVICE, STAGES, Device, Row
from metapulse.record.units import conversion

HERE = files("metapulse.record.readers").joinpath("openmhealth.csv").read_text(encoding="utf-8")
#: Property of a body → metric, unit where it is a bare number.
MEASURES = {r["property"]: (r["metric"], r["unit"]) for r in csv.DictReader(HERE.splitlines())}
#: Properties that are nothing at an instant.
INTERVALS = frozenset(r["property"] for r in csv.DictReader(HERE.splitlines()) if r["interval"])
#: What a quantity of movement is, by its unit.
MOVEMENT = {"steps": "steps", "step": "steps", "m": "distance", "km": "distance", "mi": "distance", "ft": "distance"}
SPECIMENS = {
    "interstitial fluid": "glucose",
    "capillary blood": "glucose_blood",
    "whole blood": "glucose_blood",
    "plasma": "glucose_lab",
    "serum": "glucose_lab",
}
STATISTICS = frozenset(
    (
        *("average", "mean", "maximum", "minimum", "median", "sum", "count", "variance", "standard deviation"),
        *("quartile deviation", "lower quartile", "upper quartile", "20th percentile", "80th percentile"),
        *("1st quintile", "2nd quintile", "3rd quintile", "4th quintile"),
    )
)
_HEADER = re.compile(r'"(schema_id|acquisition_provenance)"\s*:\s*\{')
_MEASURE = re.compile(rf'"({"|".join(MEASURES)})"\s*:\s*\{{\s*"(value|unit)"\s*:[^{{}}]*,\s*"(value|unit)"\s*:')
_STEPS = re.compile(r'\{\s*"step_count"\s*:\s*"?\d')  # in early versions of its schema a bare number


def sniff(sample: Sample) -> str:
    """By a time frame, a header, or a measure of the schemas."""
    head = sample.json
    if '"effective_time_frame"' in head or '"sleep_stage_time_frame"' in head:
        return "bodies with a time frame, as Open mHealth and IEEE 1752.1 write them"
    if '"namespace"' in head and _HEADER.search(head):
        return "a header with schema_id, as Open mHealth and IEEE 1752.1 write it"
    return "a measure of an Open mHealth schema" if _MEASURE.search(head[:4096]) or _STEPS.match(head) else ""


def read(context: Context) -> Iterator[Row]:
    """Every value of every body."""
    at = -1
    for _, item in json_items(context, series=("body",)):
        points = list(points_of(item, {*MEASURES, "sleep_stage_summary"}))
        context.seen(len(points) - 1 if points else 0)
        if not points:
            context.skip("an empty list" if item in ([], {}) else "no data point")
        for header, body in points:
            at += 1
            yield from _body(context, header, body, at)


def _body(context: Context, header: dict[str, Any], body: object, at: int) -> Iterator[Row]:
    """The values of one body; where there is none, it says why."""
    if not isinstance(body, dict):
        return context.skip("no object")
    if "schema_id" in body:
        return context.skip("a header without a body")
    if isinstance(summary := body.get("sleep_stage_summary"), dict):
        body = {**summary, **body}
    why = _not_allowed(body)
    if why:
        return context.skip(why)
    frame = frame_of(body)
    stamp = when(context, frame) if frame is not None else None
    if frame is None or stamp is None:
        return context.skip("no time frame" if frame is None else "a time frame that is no time")
    device, marks = _device(header, body)
    code = _statistic(body) or _part_of_day(frame)
    row = Row("", stamp.start, None, None, at, stamp.end, stamp.offset_min, code, device, (*stamp.marks, *marks))
    if parts := header_told(header):  # it came from a record
        made = of_namespace(header, body, row) or [one for one in _measures(body, row) if isinstance(one, Row)]
        if len(made) == len(parts):
            yield from restored_rows(made, parts)
            return
    found, reasons = False, []
    for one in (*_measures(body, row), *_activity(body, row), *_stage(body, row)):
        if isinstance(one, str):
            reasons.append(one)
        else:
            found = True
            yield one
    if not found:
        return context.skip(reasons[0] if reasons else "no measure of the record")
    for reason in reasons:
        context.note(f"a part was left out: {reason}")


def _not_allowed(body: dict[str, Any]) -> str:
    """Why the schema does not allow a body whose numbers may look well; "" if it does."""
    statistic = body.get("descriptive_statistic")
    if statistic is not None and not (isinstance(statistic, str) and statistic in STATISTICS):
        return "a descriptive_statistic that is none"
    flow = body.get("supplemental_oxygen_flow_rate")
    if isinstance(flow, dict) and flow.get("unit") != "L/min":
        return "a supplemental_oxygen_flow_rate that is not in L/min"
    return ""


def _measures(body: dict[str, Any], row: Row) -> Iterator[Row | str]:
    """Measures of the table."""
    for name, given in body.items():
        if name not in MEASURES or ("activity_name" in body and name == "distance"):
            continue
        metric, bare = MEASURES[name]
        marks = row.quality
        if name == "blood_glucose":
            metric, marks = _glucose(body, marks)
        value, unit = quantity(given, bare)
        if value is None:
            yield f"{name} without a number"
        elif row.end is None and name in INTERVALS:
            yield f"{name} without the interval that it is of"
        elif not unit or not conversion(metric, unit).known:
            yield f"{name} in a unit that is none of it"
        else:
            yield row._replace(metric=metric, value=value, unit=unit, quality=marks)


def _glucose(body: dict[str, Any], marks: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Sensor, finger or laboratory, by the specimen; without one of these it is taken for blood of a finger."""
    source = body.get("specimen_source") or body.get("blood_specimen_type")
    metric = SPECIMENS.get(source) if isinstance(source, str) else None
    if metric is None and (body.get("event_type") == "EGV" or "transmitter_id" in body):
        metric = "glucose"
    return (metric, marks) if metric else ("glucose_blood", (*marks, "mapped"))


def _activity(body: dict[str, Any], row: Row) -> Iterator[Row | str]:
    """A bout of physical activity: what it was, its distance, steps and energy."""
    name, moved = body.get("activity_name"), body.get("base_movement_quantity")
    if isinstance(moved, dict):
        metric = MOVEMENT.get(str(moved.get("unit")))
        value, unit = quantity(moved, "")
        if metric and value is not None and row.end is not None:
            yield row._replace(metric=metric, value=value, unit=unit)
        elif value is not None:
            yield "base_movement_quantity in a unit that is none of it"
    if not isinstance(name, str) or not name.strip():
        return
    kind = name.strip().lower()[:40]
    distance, unit = quantity(body.get("distance"), "")
    if distance is not None and unit and conversion("workout_distance", unit).known:
        yield row._replace(metric="workout_distance", value=distance, unit=unit, code=kind)
    if row.end is None or row.end < row.start:
        yield "an activity without the interval that it is of"
    elif not isinstance(moved, dict):
        yield row._replace(metric="workout", value=(row.end - row.start) / MINUTE, unit="min", code=kind)


def _stage(body: dict[str, Any], row: Row) -> Iterator[Row | str]:
    """A stage of sleep."""
    state = body.get("sleep_stage_state")
    if state is not None:
        stage = state.strip().lower()[:40] if isinstance(state, str) else ""
        stage = "awake" if stage == "wake" else stage
        if stage in STAGES:
            yield row._replace(metric="sleep_stage", code=stage)
        else:
            marks = (*row.quality, "mapped")
            yield row._replace(metric="sleep_stage", code="unknown", quality=marks, raw=stage or "no word")


def _statistic(body: dict[str, Any]) -> str | None:
    """What kind of value: "minimum", "average per d"; None: a measurement."""
    statistic, of = body.get("descriptive_statistic"), body.get("descriptive_statistic_denominator")
    if not isinstance(statistic, str):
        return None
    return f"{statistic} per {of[:40]}" if isinstance(of, str) and of else statistic


def _part_of_day(frame: dict[str, Any]) -> str | None:
    interval = frame.get("time_interval")
    part = interval.get("part_of_day") if isinstance(interval, dict) else None
    return part[:40] if isinstance(part, str) and part else None


def _device(header: dict[str, Any], body: dict[str, Any]) -> tuple[Device, tuple[str, ...]]:
    """What measured, as header or body name it; and whether a person typed it in."""
    came = header.get("acquisition_provenance")
    came = came if isinstance(came, dict) else {}
    sheets = header.get("external_datasheets")
    sheet = next((s for s in sheets if isinstance(s, dict)), {}) if isinstance(sheets, list) else {}
    app, model = _text(came.get("source_name")), _text(sheet.get("datasheet_reference"))
    model = model or _text(body.get("source_device_id"))
    typed = "self-reported" in (header.get("modality"), came.get("modality"))
    device = Device(model=model, unit=_text(body.get("transmitter_id")), app=app)
    return (NO_DEVICE if device == Device() else device), ("manual",) if typed else ()


def _text(value: object) -> str | None:
    return value.strip()[:100] or None if isinstance(value, str) else None


READER = Reader("openmhealth", "Open mHealth, IEEE 1752.1: data points as JSON", sniff, read)
