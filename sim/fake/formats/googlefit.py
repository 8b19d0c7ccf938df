"""Google Fit: *All Data* of Takeout, a file for each data source; with traps also as the REST interface answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from metapulse.record.clock import MINUTE
from metapulse.record.readers.googlefit import ACTIVITIES, NUTRIENTS, STAGES, TYPES
from metapulse.record.schema import NO_DEVICE, Device, Row
from metapulse.record.units import conversion
from metapulse.sim.fake.formats.base import Format, Making, in_zone
from metapulse.sim.fake.formats.parts import again, floored, json_text, plain, put, together

GMS = "com.google.android.gms"  # the app where none is named
#: (metric, code) → type, place among a point's values, unit.
PLACES = {
    (metric, code): (kind, place, unit)
    for kind, values in reversed(TYPES.items())
    for place, metric, unit, code in values
    if kind != "cycling.pedaling.cadence"
}
WHOLE = ("steps", "active_minutes")  # as whole numbers
EATEN = {metric: (key, unit) for key, (metric, unit) in NUTRIENTS.items()}
STAGE = {stage: number for number, stage in STAGES.items()}
SPORT = {name: number for number, name in ACTIVITIES.items()}
OTHER = "other"


def says(row: Row) -> Row | None:
    """Microseconds and no offset, instants and spans; whole steps and minutes; app, and maker, model and number."""
    told = floored(plain(row, "manual"), 1)._replace(offset_min=None, device=_device(row.device))
    if row.metric == "sleep_stage":
        return told if row.code in STAGE and told.end is not None else None
    if row.metric == "workout" and told.end is not None:
        code = row.code if row.code in SPORT else OTHER
        return told._replace(value=(told.end - told.start) / MINUTE, code=code)
    if row.value is None:
        return None
    if row.metric in WHOLE:
        told = told._replace(value=float(round(row.value)))
    known = (row.metric, row.code) in PLACES
    eaten = row.metric in EATEN or row.metric in ("glucose", "glucose_blood")
    return told if known or (eaten and row.code is None) else None


def _device(device: Device) -> Device:
    maker, model, unit = (text and text.replace(":", " ") for text in (device.manufacturer, device.model, device.unit))
    app = device.app and device.app.replace(":", ".")
    if maker and maker[0].isalpha() and maker.isascii():
        return Device(maker, model, unit=unit, app=app or GMS)
    return Device(app=app) if app else NO_DEVICE


def write(rows: Sequence[Row], making: Making) -> None:
    """A file for each type and source; with traps also the stream that merges them, as REST answers."""
    told = [row for row in map(says, rows) if row is not None]
    sources: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in again(told, making.rng) if making.traps else told:
        kind = _kind(row)
        sources[kind, _source(kind, row)].append(row)
    merged: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number, ((kind, source), found) in enumerate(sources.items()):
        points = [_point(kind, source, list(g.values())) for g in together(found, lambda row: _key(row))]
        whole = {"Data Source": source, "Data Points": points}
        name = f"Takeout/Fit/All Data/raw_com.google.{kind}_{number}.json"
        put(making.folder / name, json_text(whole, indent=1))
        merged[kind] += points
    for kind, points in merged.items() if making.traps else ():
        rest = {"dataSourceId": f"derived:com.google.{kind}:{GMS}:merged", "point": [_rest(point) for point in points]}
        still: dict[str, Any] = {"startTimeNanos": "1712124000000000000", "endTimeNanos": "1712124060000000000"}
        still |= {"dataTypeName": "com.google.activity.segment", "value": [{"intVal": 3}]}
        put(making.folder / f"rest/{kind}.json", json_text({**rest, "point": [*rest["point"], still]}))


def _kind(row: Row) -> str:
    if row.metric in ("sleep_stage", "workout"):
        return {"sleep_stage": "sleep.segment", "workout": "activity.segment"}[row.metric]
    if row.metric in ("glucose", "glucose_blood"):
        return "blood_glucose"
    return "nutrition" if row.metric in EATEN else PLACES[row.metric, row.code][0]


def _key(row: Row) -> str:
    """Its place in a point; what shares none is in one of its own."""
    if row.metric in EATEN:
        return EATEN[row.metric][0]
    return str(PLACES[row.metric, row.code][1]) if (row.metric, row.code) in PLACES else ""


def _source(kind: str, row: Row) -> str:
    stream = "user_input" if row.quality else "stream"
    maker, model, _, _, unit, app = row.device
    parts = [maker, model, unit] if maker else []
    return ":".join(["raw", f"com.google.{kind}", app or "", *(text or "" for text in parts), stream])


def _point(kind: str, source: str, rows: list[Row]) -> dict[str, Any]:
    row = rows[0]
    values: list[Any]
    if kind == "nutrition":
        parts = [{"key": EATEN[r.metric][0], "value": {"fpVal": float(r.value or 0)}} for r in rows]
        values = [{"value": {"mapVal": parts}}]
    elif kind == "blood_glucose":
        amount = {"value": {"fpVal": float(row.value or 0) / conversion(row.metric, "mmol/L").scale}}
        values = [amount, {}, {}, {}, {"value": {"intVal": 2 if row.metric == "glucose_blood" else 1}}]
    elif kind in ("sleep.segment", "activity.segment"):
        values = [{"value": {"intVal": STAGE[row.code or ""] if kind[0] == "s" else SPORT[row.code or ""]}}]
    else:
        places = {PLACES[r.metric, r.code][1]: r for r in rows}
        values = [{"value": _number(places[at])} if at in places else {} for at in range(max(places) + 1)]
    end = row.start if row.end is None else row.end
    times = {"startTimeNanos": row.start * 1000, "endTimeNanos": end * 1000}
    return {"fitValue": values, "originDataSourceId": source, **times, "dataTypeName": f"com.google.{kind}"}


def _number(row: Row) -> dict[str, Any]:
    if row.metric in WHOLE:
        return {"intVal": round(row.value or 0)}
    return {"fpVal": float(row.value or 0) / conversion(row.metric, PLACES[row.metric, row.code][2]).scale}


def _rest(point: dict[str, Any]) -> dict[str, Any]:
    """The same point with nanoseconds as texts, and values without a wrapper."""
    times = {name: str(point[name]) for name in ("startTimeNanos", "endTimeNanos")}
    values = [value.get("value", {}) for value in point["fitValue"]]
    return {
        **times,
        "dataTypeName": point["dataTypeName"],
        "originDataSourceId": point["originDataSourceId"],
        "value": values,
    }


METRICS = (
    frozenset(metric for metric, _ in PLACES) | set(EATEN) | {"glucose", "glucose_blood", "sleep_stage", "workout"}
)
FORMAT = Format("googlefit", "Google Fit: JSON of Takeout", METRICS, says, write, in_zone, placed=True)
