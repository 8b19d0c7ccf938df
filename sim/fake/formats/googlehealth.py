"""Google Health API: pages of ``dataPoints`` and of roll-ups, with numbers of 64 bits and lengths as texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from metapulse.record.clock import HOUR
from metapulse.record.readers.googlehealth import NUTRIENTS, STAGES, TYPES
from metapulse.record.schema import Device, Row
from metapulse.record.units import conversion
from metapulse.sim.fake.formats.base import Format, Making, in_zone, walls
from metapulse.sim.fake.formats.parts import (
    MILLISECOND,
    again,
    floored,
    iso,
    json_text,
    moment,
    nights,
    of_day,
    plain,
    put,
    together,
)

SPANS = ("steps", "floors", "distance", "altitude", "activeEnergyBurned", "totalCalories", "activeMinutes")
SPANS += ("hydrationLog", "nutritionLog")
PLATFORM = "FITBIT"  # a point whose source names no app
ROLLUP, STEPS = "stepsRollup", ("steps", None, False)
WHOLE = (
    "beatsPerMinute",
    "count",
    "countSum",
    "millimeters",
    "gainMillimeters",
    "heightMillimeters",
)  # 64 bits, as texts
#: (metric, code, whether of a day) → type, member, unit.
PLACES = {
    (metric, code, kind.startswith("daily")): (kind, members[0], unit)
    for kind, values in reversed(TYPES.items())
    for members, metric, unit, code in values
    if kind not in ("runVo2Max",) and not members[0].endswith(("Max", "Min"))
}
PLACES |= {("steps_daily", None, True): (ROLLUP, "countSum", None), ("steps_daily", None, False): PLACES[STEPS]}
GRAMS = {metric: name for name, metric in NUTRIENTS.items() if name != "FIBER"}
STAGE = {stage: name for name, stage in reversed(STAGES.items()) if name != "WAKE"}


def says(row: Row) -> Row | None:
    """Milliseconds, any offset, or a day; whole beats, steps and millimetres; maker, model and app or platform."""
    device = Device(row.device.manufacturer, row.device.model, app=row.device.app or PLATFORM)
    told = plain(row, "manual", "date_only")._replace(device=device, offset_min=row.offset_min or 0)
    if row.metric == "sleep_stage" and row.code in STAGE:
        told = floored(told, MILLISECOND)
        return told if told.end is not None and not of_day(row) else None
    if row.metric == "workout" and row.value is not None and row.end is not None and not of_day(row):
        told = floored(told, MILLISECOND)
        return told._replace(value=round(row.value * 60, 3) / 60, code=_sport(row.code).replace("_", " ").lower())
    if row.value is None:
        return None
    if row.metric in GRAMS:
        return _spanned(told) if row.code is None else None
    if (place := PLACES.get((row.metric, row.code, of_day(row)))) is None:
        return None
    kind, member, unit = place
    scale = conversion(row.metric, unit).scale
    if member in WHOLE:
        told = told._replace(value=round(row.value / scale) * scale)
    if of_day(row):
        return told
    if kind in SPANS:
        spanned = _spanned(told)
        if spanned is not None and kind == "steps":
            long = (spanned.end or 0) - spanned.start >= 23 * HOUR
            return spanned._replace(metric="steps_daily") if long else spanned if row.metric == "steps" else None
        return spanned
    return floored(told, MILLISECOND) if row.end is None else None


def _spanned(row: Row) -> Row | None:
    row = floored(row, MILLISECOND)
    return row if row.end is not None and not of_day(row) else None


def _sport(code: str | None) -> str:
    return (code or "unknown").upper().replace(" ", "_")[:60]


def write(rows: Sequence[Row], making: Making) -> None:
    """A page for each type; with traps a list of pages in one file, repeats, a point of a type that has no metric."""
    told = [row for row in map(says, rows) if row is not None]
    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in again(told, making.rng) if making.traps else told:
        kinds[_kind(row)].append(row)
    pages = [(kind, _page(kind, found, making.zone)) for kind, found in kinds.items()]
    if making.traps and pages:
        odd = {"dataPoints": [{"dataSource": {"platform": PLATFORM}, "swimLengths": {"strokes": "12"}}]}
        put(making.folder / "pages.json", json_text([*(page for _, page in pages), odd]))
    else:
        for kind, page in pages:
            put(making.folder / f"{kind}.json", json_text(page, indent=2))


def _kind(row: Row) -> str:
    if row.metric in ("sleep_stage", "workout"):
        return {"sleep_stage": "sleep", "workout": "exercise"}[row.metric]
    return "nutritionLog" if row.metric in GRAMS else PLACES[row.metric, row.code, of_day(row)][0]


def _page(kind: str, rows: list[Row], zone: str) -> dict[str, Any]:
    if kind == "sleep":
        points = [_night(night) for night in nights(rows)]
    elif kind == "exercise":
        points = [_point(row, kind, {**_time(row), **_workout(row)}) for row in rows]
    elif kind == ROLLUP:
        return {"rollupDataPoints": [_rollup(row, zone) for row in rows]}
    else:
        groups = together(rows, lambda row: GRAMS.get(row.metric) or PLACES[row.metric, row.code, of_day(row)][1])
        points = [_values(kind, list(group.values()), zone) for group in groups]
    return {"dataPoints": points}


def _values(kind: str, rows: list[Row], zone: str) -> dict[str, Any]:
    row, body = rows[0], dict[str, Any]()
    body |= {"date": _date(row, zone)} if of_day(row) else _time(row, kind not in SPANS)
    for row in rows:
        if row.metric in GRAMS:
            nutrient = {"nutrient": GRAMS[row.metric], "quantity": {"grams": _amount(row, "g")}}
            body.setdefault("nutrients", []).append(nutrient)
            continue
        _, member, unit = PLACES[row.metric, row.code, of_day(row)]
        value: Any = _amount(row, unit)
        value = str(round(value)) if member in WHOLE else value
        outer, _, inner = member.partition(".")
        body[outer] = {inner: value} if inner else value
    return _point(row, kind, body)


def _amount(row: Row, unit: str | None) -> float:
    return float(row.value or 0.0) / conversion(row.metric, unit).scale


def _point(row: Row, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    source: dict[str, Any] = {"platform": PLATFORM}
    source["recordingMethod"] = "MANUAL" if "manual" in row.quality else "PASSIVELY_MEASURED"
    if row.device.manufacturer or row.device.model:
        source["device"] = {"manufacturer": row.device.manufacturer, "displayName": row.device.model}
    if row.device.app != PLATFORM:
        source["application"] = {"packageName": row.device.app}
    return {"name": f"users/me/dataTypes/{kind}/dataPoints/{row.start}", "dataSource": source, kind: body}


def _time(row: Row, sample: bool = False) -> dict[str, Any]:
    offset = f"{(row.offset_min or 0) * 60}s"
    if sample:
        return {"sampleTime": {"physicalTime": iso(row.start), "utcOffset": offset}}
    times = {"startTime": iso(row.start), "startUtcOffset": offset}
    return {"interval": {**times, "endTime": iso(row.end or row.start), "endUtcOffset": offset}}


def _date(row: Row, zone: str, later: int = 0) -> dict[str, int]:
    day = moment(walls(row, zone)[0] + later * 24 * HOUR)
    return {"year": day.year, "month": day.month, "day": day.day}


def _rollup(row: Row, zone: str) -> dict[str, Any]:
    civil = {"civilStartTime": {"date": _date(row, zone)}, "civilEndTime": {"date": _date(row, zone, 1)}}
    return {**_point(row, "steps", {"countSum": str(round(row.value or 0))}), **civil}


def _night(rows: list[Row]) -> dict[str, Any]:
    whole = rows[0]._replace(end=rows[-1].end)
    stages = [{**_time(row)["interval"], "type": STAGE[row.code or ""]} for row in rows]
    return _point(whole, "sleep", {**_time(whole), "type": "STAGES", "stages": stages})


def _workout(row: Row) -> dict[str, Any]:
    return {"exerciseType": _sport(row.code), "activeDuration": f"{round((row.value or 0) * 60, 3)!r}s"}


METRICS = frozenset(metric for metric, _, _ in PLACES) | set(GRAMS) | {"sleep_stage", "workout"}
FORMAT = Format("googlehealth", "Google Health API: pages of data points", METRICS, says, write, in_zone)
