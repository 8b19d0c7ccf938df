"""Health Connect (Android): records as apps and bridges write them to JSON.

A list of records, or an object with a list per type. Names are those of Android's classes, with and without "Record",
in any case; a quantity is a number, a text, or an object of numbers by unit ({"inMeters": 5}). Times are instants, and
the offset of the person's clock stands beside them. Glucose is in mmol/L; stages and exercises may be numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from metapulse.record.clock import MINUTE, Stamp, epoch, offset_minutes
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.columns import vocabulary
from metapulse.record.readers.text import json_items, number
from metapulse.record.schema import NO_DEVICE, Device, Row

#: Type in lower case without "Record", blanks and lines → of its values: members, metric, unit if none is written.
TYPES = {
    kind: [(r["names"].split(), r["metric"], r["unit"] or None) for r in rows]
    for kind, rows in groupby(vocabulary("healthconnect.csv"), key=itemgetter("type"))
}
SERIES = ("heartrate", "speed", "power", "cyclingpedalingcadence", "stepscadence")  # of samples
STARTS = ("time", "timeEpochMs", "startTime", "startTimeEpochMs", "start_time", "timestamp")
DEPTH = 6  # of what holds records
PARTS = ("samples", "allSamples", "stages", "segments", "laps")  # of a record
ENDS = ("endTime", "endTimeEpochMs", "end_time")
#: Other names of types.
ALSO = {
    **{"sleep": "sleepsession", "exercise": "exercisesession", "hrv": "heartratevariabilityrmssd"},
    **{"heartratevariability": "heartratevariabilityrmssd", "activecalories": "activecaloriesburned"},
    **{"totalcalories": "totalcaloriesburned", "spo2": "oxygensaturation", "glucose": "bloodglucose"},
}
STAGES = ("unknown", "awake", "asleep", "out_of_bed", "light", "deep", "rem", "awake")
STAGE_NAMES = {**{name: name for name in STAGES}, "sleeping": "asleep", "awake_in_bed": "awake"}
EXERCISES = {int(r["number"]): r["name"] for r in vocabulary("healthconnect_exercises.csv")}
#: Unit in a quantity's member ("inMeters", "meters") → as it is written elsewhere; in order of preference.
UNITS = {
    **{"millimolesperliter": "mmol/L", "milligramsperdeciliter": "mg/dL", "meters": "m", "kilometers": "km"},
    **{"miles": "mi", "feet": "ft", "inches": "in", "kilocalories": "kcal", "kilojoules": "kJ", "calories": "cal"},
    **{"joules": "J", "kilograms": "kg", "grams": "g", "milligrams": "mg", "pounds": "lb", "ounces": "oz"},
    **{"liters": "L", "milliliters": "mL", "fluidouncesus": "fl_oz_us", "celsius": "Cel", "fahrenheit": "degF"},
    **{"meterspersecond": "m/s", "kilometersperhour": "km/h", "milesperhour": "mph", "watts": "W"},
    **{"millimetersofmercury": "mmHg"},
}
_NAMES = [(name, kind) for kind, values in TYPES.items() for names, _, _ in values for name in names]
#: Member that the records of one type alone have → the type; and a count is one of steps.
SHAPES = {name: kind for name, kind in _NAMES if [n for n, _ in _NAMES].count(name) == 1}
SHAPES |= {"stages": "sleepsession", "exerciseType": "exercisesession", "count": "steps"}
KNOWN = {*TYPES, *SERIES, "sleepsession", "exercisesession"}
_TYPED = re.compile(r'"(?:type|recordType|record_type|dataType)"\s*:\s*"(\w+)"')


def sniff(sample: Sample) -> str:
    """By the members that its records have, and no other vendor's."""
    head = sample.json[:16384]
    if '"dataOrigin"' in head or re.search(r'"(start)?[zZ]oneOffset"\s*:', head):
        return "records with a dataOrigin or a zoneOffset, as Health Connect has them"
    if any(name.endswith("Record") and _folded(name) in KNOWN for name in _TYPED.findall(head)):
        return "records of a type of Health Connect"
    return ""


def read(context: Context) -> Iterator[Row]:
    """Records, whatever holds them."""
    above: dict[str, Any] = {}
    single = _is_record(context.file.head(65_536).decode("utf-8", errors="replace"))
    for at, item in json_items(context, *([] if single else ["*"]), above=above):
        given, lost = False, list[str]()
        for array, record in _records(item, above.get("", "")):
            kind, whole = _kind(record, array), _whole(context, record)
            empty = True
            for row in () if isinstance(whole, str) else _rows(context, kind, record, whole):
                given, empty = True, False
                yield row._replace(row=at)
            unknown = "no value" if kind in KNOWN else f"no metric of ours: {kind[:60] or 'a record without a type'}"
            lost += [whole if isinstance(whole, str) else unknown] if empty else []
        if not given:
            context.skip(lost[-1] if lost else "no record")
        for why in lost if given else ():
            context.note(why)


def _is_record(head: str) -> bool:
    """Whether the file's first object is a record itself, not what holds records: by its first array."""
    found = re.search(r'"(\w+)"\s*:\s*\[', head)
    before = head[: found.start()] if found else ""
    return found is None or (found[1] in PARTS and before.count("{") - before.count("}") == 1)


def _records(item: Any, array: str, depth: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name of the array it is in, record) of what is a record, or holds some."""
    if isinstance(item, dict) and _first(item, STARTS) is not None:
        yield array, item
    elif isinstance(item, (dict, list)) and depth < DEPTH:
        for name, member in item.items() if isinstance(item, dict) else ((array, part) for part in item):
            yield from _records(member, name, depth + 1)


def _folded(name: str) -> str:
    folded = re.sub(r"[\W_]", "", name.rsplit(".", 1)[-1]).lower()
    folded = folded.removesuffix("records").removesuffix("record").removesuffix("series") or folded
    return ALSO.get(folded, folded)


def _kind(item: dict[str, Any], array: str) -> str:
    """A record's type: what it says, else the array it is in, else what only this type's records hold."""
    said = next(
        (t for n in ("type", "recordType", "record_type", "dataType") if isinstance(t := item.get(n), str)), array
    )
    if said != array or _folded(array) in KNOWN:
        return _folded(said)
    samples = item.get("samples")
    if isinstance(samples, list) and samples and isinstance(samples[0], dict):
        return next((SHAPES[name] for name in samples[0] if name in SHAPES), "heartrate")
    return next((SHAPES[name] for name in item if name in SHAPES), "")


def _whole(context: Context, item: dict[str, Any]) -> Row | str:
    """Times, offset, device and marks of a record."""
    zone = _zone(item)
    at, until = _instant(context, _first(item, STARTS), zone), _instant(context, _first(item, ENDS), zone)
    if at is None:
        return "a stamp that is no time"
    facts = metadata if isinstance(metadata := item.get("metadata"), dict) else item
    manual = ("manual",) if re.fullmatch("3|.*MANUAL.*", str(facts.get("recordingMethod")).upper()) else ()
    end = until.start if until and until.start != at.start else None
    return Row("", at.start, None, None, 0, end, at.offset_min, None, _device(facts), (*at.marks, *manual))


def _first(item: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((item[name] for name in names if item.get(name) is not None), None)


def _instant(context: Context, given: Any, zone: int | None) -> Stamp | None:
    """An instant, with the offset that stands beside it."""
    if isinstance(given, dict):  # java.time.Instant, taken apart
        seconds, nanos = (number(given.get(name)) for name in ("epochSecond", "nano"))
        given = None if seconds is None else seconds * 1000 + (nanos or 0) / 1e6
    at = epoch(given) if isinstance(given, (int, float, str)) else None
    if at is not None:
        return Stamp(at, context.clock.offset(at) if zone is None else zone)
    zoned = re.search(r"([zZ]|[+-]\d\d:?\d\d)\s*$", str(given)[10:])
    beside = zone is not None and not zoned  # a local time with its offset beside it
    stamp = (context.wall if beside else context.clock).read(given) if isinstance(given, str) else None
    if stamp is None or beside:
        return stamp and Stamp(stamp.start - (zone or 0) * MINUTE, zone)
    if zoned:
        said = stamp.offset_min or context.clock.offset(stamp.start)  # Z says when, not where
        return stamp._replace(offset_min=said if zone is None else zone)
    return stamp._replace(marks=(*stamp.marks, "zone_assumed"))


def _zone(item: dict[str, Any]) -> int | None:
    return next((o for n in ("zoneOffset", "startZoneOffset") if (o := _offset(item.get(n))) is not None), None)


def _offset(given: Any) -> int | None:
    """Minutes of "+02:00", of seconds, of {"totalSeconds": 7200} or {"id": "+02:00"}."""
    if isinstance(given, dict):
        given = given.get("totalSeconds", given.get("id"))
    if isinstance(given, str) and given and (minutes := offset_minutes(given)) is not None:
        return minutes
    seconds = number(given)
    return round(seconds / 60) if seconds is not None and abs(seconds) <= 64_800 else None


def _device(facts: dict[str, Any]) -> Device:
    origin, device = facts.get("dataOrigin"), facts.get("device")
    app = origin.get("packageName") if isinstance(origin, dict) else origin
    parts = [device.get(name) if isinstance(device, dict) else None for name in ("manufacturer", "model")]
    maker, model, name = (text[:100] if isinstance(text, str) and text else None for text in (*parts, app))
    return NO_DEVICE if not (maker or model or name) else Device(maker, model, app=name)


def _rows(context: Context, kind: str, item: dict[str, Any], whole: Row) -> Iterator[Row]:
    if kind == "sleepsession":
        yield from _night(context, item, whole)
    elif kind == "exercisesession" and whole.end is not None:
        given = item.get("exerciseType", item.get("activityType"))
        name = str(given or "unknown").upper().removeprefix("EXERCISE_TYPE_").replace("_", " ").lower()[:60]
        known = number(given)
        code = name if known is None else EXERCISES.get(int(known), f"exercise {known:g}")
        yield whole._replace(metric="workout", value=(whole.end - whole.start) / MINUTE, code=code)
    elif kind in SERIES and isinstance(samples := item.get("samples", item.get("allSamples")), list):
        for sample in samples:
            given = _first(sample, STARTS) if isinstance(sample, dict) else None
            at = _instant(context, given, _zone(item))
            if at is None:
                context.note("a sample without a time")
            else:
                yield from _values(kind, sample, whole._replace(start=at.start, end=None, offset_min=at.offset_min))
    else:
        yield from _values(kind, item, whole)


def _values(kind: str, item: dict[str, Any], whole: Row) -> Iterator[Row]:
    for names, metric, unit in TYPES.get(kind, []):
        found = [q for name in names if (q := quantity(item.get(name), unit))[0] is not None]
        for value, written in found[:1]:
            yield whole._replace(metric=_specimen(item) if metric == "glucose" else metric, value=value, unit=written)


def _specimen(item: dict[str, Any]) -> str:
    """Glucose of blood where the record says so: capillary (2) and all after it; 1 is between cells, 0 not known."""
    given = item.get("specimenSource")
    code = number(given)
    blood = code >= 2 if code is not None else bool(re.search("BLOOD|PLASMA|SERUM|TEARS", str(given).upper()))
    return "glucose_blood" if blood else "glucose"


def quantity(given: Any, unit: str | None) -> tuple[float | None, str | None]:
    """A number and its unit: from a number, a text, or an object of numbers by unit, the first that is known."""
    if not isinstance(given, dict):
        return number(given), unit
    if (value := number(given.get("value"))) is not None:
        written = given.get("unit")
        return value, UNITS.get(_folded(written), written) if isinstance(written, str) else unit
    by_unit = {name.lower().removeprefix("in"): amount for name, amount in given.items()}
    found = ((number(by_unit.get(name)), known) for name, known in UNITS.items())
    return next(((value, known) for value, known in found if value is not None), (None, None))


def _night(context: Context, item: dict[str, Any], whole: Row) -> Iterator[Row]:
    """Stages; a night without any was spent asleep, as far as is known, but for one that is a stage itself."""
    stages = item.get("stages", item.get("samples"))
    for part in stages if isinstance(stages, list) else []:
        span = [_first(part, names) if isinstance(part, dict) else None for names in (STARTS, ENDS)]
        first, last = (_instant(context, given, _zone(item)) for given in span)
        if first is None or last is None:
            context.note("a stage without a time")
            continue
        given = part.get("stage", part.get("stageType", part.get("type")))
        known = number(given)
        name = re.sub("^(STAGE_TYPE_|SLEEP_STAGE_|SLEEP_)", "", str(given).upper()).lower()
        if known is not None:
            name = STAGES[int(known)] if 0 <= known < len(STAGES) else ""
        code = STAGE_NAMES.get(name, "unknown")
        yield whole._replace(
            metric="sleep_stage", start=first.start, end=last.start, offset_min=first.offset_min, code=code
        )
    if not stages and whole.end is not None and not item.keys() & {"stage", "stageType"}:
        yield whole._replace(metric="sleep_stage", code="asleep")


READER = Reader("healthconnect", "Health Connect: records as JSON", sniff, read)
