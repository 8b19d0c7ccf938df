"""Points of the Google Health API from rows."""

from __future__ import annotations

from typing import Any

from metapulse.record.clock import HOUR
from metapulse.record.readers.googlehealth import NUTRIENTS, STAGES, TYPES
from metapulse.record.schema import Row
from metapulse.record.units import conversion
from metapulse.sim.fake.formats.base import walls
from metapulse.sim.fake.formats.parts import iso, moment, nights, of_day, together

SPANS = frozenset({"steps", "floors", "distance", "altitude", "activeEnergyBurned", "totalCalories"})
SPANS |= {"activeMinutes", "hydrationLog", "nutritionLog"}
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


def page_of(kind: str, rows: list[Row], zone: str) -> dict[str, Any]:
    """A page with the points of one type."""
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
    return {"exerciseType": sport_word(row.code), "activeDuration": f"{round((row.value or 0) * 60, 3)!r}s"}


def sport_word(code: str | None) -> str:
    """A kind of workout as the API writes it."""
    return (code or "unknown").upper().replace(" ", "_")[:60]
