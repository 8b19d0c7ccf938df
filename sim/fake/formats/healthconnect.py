"""Health Connect: records of Android's classes as JSON, with the offset of the person's clock beside the instant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from metapulse.record.clock import HOUR, MINUTE
from metapulse.record.readers.healthconnect import EXERCISES, SERIES, STAGES, TYPES
from metapulse.record.schema import NO_DEVICE, Device, Row
from metapulse.record.units import conversion
from metapulse.sim.fake.formats.base import Format, Making
from metapulse.sim.fake.formats.parts import (
    MILLISECOND,
    again,
    floored,
    iso,
    json_text,
    nights,
    offset_text,
    plain,
    put,
    together,
)

#: Metric → type, member, name of the unit in a quantity ("" for a bare number), unit.
PLACES = {
    metric: (kind, names[0], unit)
    for kind, values in reversed(TYPES.items())
    for names, metric, unit in values
    if kind not in ("basalbodytemperature", "stepscadence")
}
PLACES["glucose_blood"] = PLACES["glucose"]
QUANTITIES = {
    **{"mmol/L": "inMillimolesPerLiter", "m": "inMeters", "kcal": "inKilocalories", "kg": "inKilograms"},
    **{"g": "inGrams", "L": "inLiters", "Cel": "inCelsius", "m/s": "inMetersPerSecond", "W": "inWatts"},
    "mmHg": "inMillimetersOfMercury",
}
CLASSES = {
    **{"heartrate": "HeartRate", "cyclingpedalingcadence": "CyclingPedalingCadence", "bloodpressure": "BloodPressure"},
    **{"restingheartrate": "RestingHeartRate", "heartratevariabilityrmssd": "HeartRateVariabilityRmssd"},
    **{"oxygensaturation": "OxygenSaturation", "respiratoryrate": "RespiratoryRate", "bloodglucose": "BloodGlucose"},
    **{"bodytemperature": "BodyTemperature", "activecaloriesburned": "ActiveCaloriesBurned", "bodyfat": "BodyFat"},
    **{"totalcaloriesburned": "TotalCaloriesBurned", "floorsclimbed": "FloorsClimbed", "bonemass": "BoneMass"},
    **{"elevationgained": "ElevationGained", "wheelchairpushes": "WheelchairPushes", "vo2max": "Vo2Max"},
    "leanbodymass": "LeanBodyMass",
}
SPANS = frozenset({"steps", "distance", "activecaloriesburned", "totalcaloriesburned", "floorsclimbed"})
SPANS |= {"elevationgained", "wheelchairpushes", "hydration", "nutrition"}
STAGE = {name: number for number, name in reversed(list(enumerate(STAGES)))}


def says(row: Row) -> Row | None:
    """Milliseconds, any offset, maker, model and app; series and states at an instant, amounts over a span."""
    told = floored(plain(row, "manual"), MILLISECOND)
    device = Device(row.device.manufacturer, row.device.model, app=row.device.app)
    told = told._replace(offset_min=row.offset_min or 0, device=device)
    if row.metric == "sleep_stage":
        return told if row.code in STAGE and told.end is not None else None
    if row.metric == "workout" and told.end is not None:
        code = row.code if row.code in EXERCISES.values() else "other"
        return told._replace(value=(told.end - told.start) / MINUTE, code=code)
    if row.metric not in PLACES or row.value is None or row.code is not None:
        return None
    return told if (PLACES[row.metric][0] in SPANS) == (told.end is not None) else None


def write(rows: Sequence[Row], making: Making) -> None:
    """One list of records; with traps an object by type, numbers as texts, offsets in seconds, repeats, a torn end."""
    told = [row for row in map(says, rows) if row is not None]
    told = again(told, making.rng) if making.traps else told
    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in told:
        kinds[PLACES[row.metric][0] if row.metric in PLACES else row.metric].append(row)
    records = {kind: list(_records(kind, found)) for kind, found in kinds.items()}
    if making.traps and records:
        parts = [f'"{kind}":{json_text([_odd(record) for record in found])}' for kind, found in records.items()]
        put(making.folder / "health_connect.json", "\ufeff{" + ",\n".join([*parts, '"steps":[{"startTime":"20']))
    elif records:
        listed = [{"type": _class(kind), **record} for kind, found in records.items() for record in found]
        put(making.folder / "health_connect.json", json_text(listed, indent=1))


def _class(kind: str) -> str:
    return {"sleep_stage": "SleepSession", "workout": "ExerciseSession"}.get(kind, CLASSES.get(kind, kind.title()))


def _records(kind: str, rows: list[Row]) -> Iterator[dict[str, Any]]:
    if kind == "sleep_stage":
        for night in nights(rows):
            stages = [{**_span(row, False), "stage": STAGE[row.code or ""]} for row in night]
            yield {**_whole(night[0]._replace(end=night[-1].end)), "stages": stages}
    elif kind == "workout":
        numbers = {name: number for number, name in EXERCISES.items()}
        yield from ({**_whole(row), "exerciseType": numbers[row.code or ""]} for row in rows)
    elif kind in SERIES:
        for series in _series(rows):
            samples = [{"time": iso(row.start), PLACES[row.metric][1]: _quantity(row)} for row in series]
            yield {**_whole(series[0]._replace(end=series[-1].start + MINUTE)), "samples": samples}
    else:
        for record in together(rows, lambda row: PLACES[row.metric][1]):
            row = next(iter(record.values()))
            facts = {"specimenSource": 2 if row.metric == "glucose_blood" else 1} if kind == "bloodglucose" else {}
            yield {**_whole(row), **{name: _quantity(row) for name, row in record.items()}, **facts}


def _series(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Samples of one device and hour."""
    found: dict[object, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.start // HOUR, row.device, row.offset_min, row.quality].append(row)
    yield from found.values()


def _quantity(row: Row) -> Any:
    unit = PLACES[row.metric][2]
    value = float(row.value or 0.0) / conversion(row.metric, unit).scale
    return {QUANTITIES[unit]: value} if unit in QUANTITIES else value


def _span(row: Row, zoned: bool = True) -> dict[str, Any]:
    zone = offset_text(row.offset_min)
    if row.end is None:
        return {"time": iso(row.start), "zoneOffset": zone}
    span = {"startTime": iso(row.start), "endTime": iso(row.end)}
    return {**span, "startZoneOffset": zone, "endZoneOffset": zone} if zoned else span


def _whole(row: Row) -> dict[str, Any]:
    facts: dict[str, Any] = {"recordingMethod": 3 if row.quality else 2}
    if row.device.app:
        facts["dataOrigin"] = {"packageName": row.device.app}
    if row.device[:2] != NO_DEVICE[:2]:
        facts["device"] = {"manufacturer": row.device.manufacturer, "model": row.device.model}
    return {**_span(row), "metadata": facts}


def _odd(record: dict[str, Any]) -> dict[str, Any]:
    """The same record as another bridge writes it: numbers as texts, the offset as an object."""
    record = {name: str(value) if isinstance(value, float) else value for name, value in record.items()}
    zone = next(name for name in ("zoneOffset", "startZoneOffset") if name in record)
    sign, hours, minutes = record[zone][0], int(record[zone][1:3]), int(record[zone][4:])
    seconds = (hours * 60 + minutes) * 60 * (-1 if sign == "-" else 1)
    return {**record, zone: {"totalSeconds": seconds}}


METRICS = frozenset(PLACES) | {"sleep_stage", "workout"}
FORMAT = Format("healthconnect", "Health Connect: records as JSON", METRICS, says, write)
