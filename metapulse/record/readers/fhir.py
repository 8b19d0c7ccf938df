"""FHIR R4 as JSON: Observations in a Bundle, one a line (NDJSON), in an array, or alone; with their devices.

A value is a quantity, a whole number, a text with a number, or a series (``valueSampledData``); blood pressure lies in
components. A comparator makes a limit of the value. What is entered in error, cancelled, absent, or of a code that is
no metric is counted away. Devices may stand after the Observations that refer to them, so they are looked for first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from metapulse.record.clock import Stamp
from metapulse.record.readers.apple import QUANTITIES
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.codes import LIMITS, Meaning, limited, meaning, unit
from metapulse.record.readers.fhir_devices import device_of, devices_of, dicts, entries_of, items_of, resource_of, words
from metapulse.record.readers.fhir_own import restored, told
from metapulse.record.readers.instants import instant
from metapulse.record.readers.text import number
from metapulse.record.schema import Device, Row

NOT_VALUES = ("entered-in-error", "cancelled")
#: What a part of a series is called, by how many there are at each time.
PARTS: dict[int, tuple[str | None, ...]] = {1: (None,), 3: ("x", "y", "z")}
_RESOURCE = re.compile(r'"resourceType"\s*:\s*"[A-Z][A-Za-z]{2,40}"')


def sniff(sample: Sample) -> str:
    """By the word that every resource has."""
    if _RESOURCE.search(sample.json):
        return "resources with resourceType, as FHIR writes them"
    return ""


def read(context: Context) -> Iterator[Row]:
    """Every value of every Observation."""
    devices = devices_of(context)
    person: set[str] = set()
    at = -1
    for item in items_of(context):
        entries = entries_of(item)
        context.seen(len(entries) - 1)
        for entry in entries:
            at += 1
            resource = resource_of(entry)
            rows = _observation(context, resource, at, devices)
            first = next(rows, None)
            if first is not None:
                _note_subject(context, resource, person)
                yield first
                yield from rows


# -- observations -------------------------------------------------------------


def _observation(context: Context, resource: dict[str, Any], at: int, devices: dict[str, Device]) -> Iterator[Row]:
    """The values of an Observation; where there is none, it says why."""
    kind = resource.get("resourceType")
    if kind != "Observation":
        named = isinstance(kind, str) and kind.isalpha() and len(kind) <= 40
        return context.skip(f"{kind}: no measurement" if named else "no resource")
    if resource.get("status") in NOT_VALUES:
        return context.skip(f"status {resource['status']}")
    stamp = _when(context, resource)
    if stamp is None:
        return context.skip("no time that is a day or an instant")
    blank = Row("", stamp.start, None, None, at, stamp.end, stamp.offset_min, None, device_of(resource, devices))
    reasons: list[str] = []
    found = False
    parts = [resource, *dicts(resource.get("component"))]
    for part in parts:
        known, reason = _known(part), ""
        if known is None and (_has_value(part) or len(parts) == 1):
            reason = f"{_code(part)}: no metric of the record"
        elif known is not None:
            base = blank._replace(metric=known.metric, code=known.code, quality=(*known.marks, *stamp.marks))
            reason = _absent(part)
            values, own = _values(context, part, known, base), told(part)
            if own is not None:  # it came from a record
                values = iter([restored(next(values, base), own, resource)])
            for row in values:
                found, reason = True, ""
                yield row
        reasons += [reason] if reason else []
    if not found:
        return context.skip(reasons[0] if reasons else "a panel without a value of its own")
    for reason in reasons:
        context.note(f"a part was left out: {reason}")


def _known(part: dict[str, Any]) -> Meaning | None:
    """What its code stands for: the first coding that is a metric."""
    code = part.get("code")
    for coding in dicts(code.get("coding")) if isinstance(code, dict) else []:
        if found := meaning(coding.get("system"), coding.get("code")):
            return found
        name = str(coding.get("code"))
        if name.startswith("HKQuantityTypeIdentifier") and (apple := QUANTITIES.get(name[24:])):
            return Meaning(apple[0], apple[2], "")
    return None


def _code(part: dict[str, Any]) -> str:
    """A code in words for the account."""
    code = part.get("code")
    coding = next(iter(dicts(code.get("coding"))), {}) if isinstance(code, dict) else {}
    return f"code {(words(coding.get('code')) or 'unknown')[:40]}"


def _absent(part: dict[str, Any]) -> str:
    """Why there is no value."""
    if "dataAbsentReason" not in part:
        return "a value that is no number" if _has_value(part) else "no value"
    reason = part["dataAbsentReason"]
    coding = next(iter(dicts(reason.get("coding"))), {}) if isinstance(reason, dict) else {}
    return f"no value: {(words(coding.get('code')) or 'no reason')[:40]}"


def _has_value(part: dict[str, Any]) -> bool:
    return any(key.startswith("value") for key in part)


def _values(context: Context, part: dict[str, Any], known: Meaning, base: Row) -> Iterator[Row]:
    """The values of an Observation or a component; none if it has none that is a number."""
    series = part.get("valueSampledData")
    if isinstance(series, dict):
        yield from _series(context, series, known, base)
        return
    quantity = part.get("valueQuantity")
    if isinstance(quantity, dict):
        value, sign = limited(str(quantity.get("value", "")))
        sign = words(quantity.get("comparator")) or sign
        written = unit(quantity.get("code"), quantity.get("unit"))
    else:
        given = next((part[k] for k in ("valueInteger", "valueDecimal", "valueString") if k in part), None)
        split = re.fullmatch(r"\s*([<>=≤≥]*\s*[+-]?[\d.,]+)\s*(\S.{0,20})?", given) if isinstance(given, str) else None
        value, sign = limited(split[1] if split else str(given)) if not isinstance(given, bool) else (None, "")
        written = unit(split[2]) if split else None
    if value is None:
        if _absent(part) == "no value: error":
            yield base._replace(quality=(*base.quality, "sensor_error"), raw="error")
        return
    written, marks = _unit(written, known)
    raw = None
    if sign in LIMITS:
        marks, raw = (*marks, LIMITS[sign]), f"{sign}{value:.15g} {written or ''}".strip()
    yield base._replace(value=value, unit=written, quality=(*base.quality, *marks), raw=raw)


def _unit(written: str | None, known: Meaning) -> tuple[str | None, tuple[str, ...]]:
    """The unit to read a value in, and a mark where none was written; a count needs none."""
    if known.unit == "count" and written in (None, "1"):
        return None, ()
    return (written, ()) if written else (known.unit or None, ("unit_assumed",))


def _series(context: Context, series: dict[str, Any], known: Meaning, base: Row) -> Iterator[Row]:
    """Each sample of a series: data × factor + origin, one period after another; E is an error, L and U are limits."""
    origin, data = series.get("origin"), series.get("data")
    origin = origin if isinstance(origin, dict) else {}
    period, factor = number(series.get("period")), number(series.get("factor", 1))
    if period is None and series.get("intervalUnit", "ms") == "ms":  # R5
        period = number(series.get("interval"))
    width = number(series.get("dimensions", 1))
    parts = PARTS.get(int(width)) if width is not None and width < 100 else None
    if not isinstance(data, str) or period is None or not 0 < period < 1e12 or factor is None or parts is None:
        return
    zero = number(origin.get("value")) or 0.0
    written, marks = _unit(unit(origin.get("code"), origin.get("unit")), known)
    limits = {"L": (series.get("lowerLimit"), "censored_low"), "U": (series.get("upperLimit"), "censored_high")}
    for count, found in enumerate(re.finditer(r"\S+", data)):
        token, part = found[0], parts[count % len(parts)]
        row = base._replace(start=base.start + round(count // len(parts) * period * 1000), end=None, unit=written)
        row = row._replace(quality=(*base.quality, *marks), code=part or base.code)
        value = number(limits[token][0]) if token in limits else number(token)
        if token == "E" or (token in limits and value is None):
            mark = "sensor_error" if token == "E" else limits[token][1]
            yield row._replace(quality=(*row.quality, mark), raw=token)
        elif value is None:
            context.note("a sample of a series is no number")
        else:
            marked = (*row.quality, limits[token][1]) if token in limits else row.quality
            yield row._replace(value=value * factor + zero, quality=marked)


# -- time ---------------------------------------------------------------------


def _when(context: Context, resource: dict[str, Any]) -> Stamp | None:
    """An instant, a day, or a period as a stamp with an end."""
    for name in ("effectiveDateTime", "effectiveInstant"):
        if name in resource:
            return instant(context, resource[name])
    period, timing = resource.get("effectivePeriod"), resource.get("effectiveTiming")
    if isinstance(timing, dict):
        events = timing.get("event")
        if isinstance(events, list) and len(events) == 1:
            return instant(context, events[0])
        repeat = timing.get("repeat")
        period = repeat.get("boundsPeriod") if isinstance(repeat, dict) else None
    if not isinstance(period, dict):
        return None
    start, end = instant(context, period.get("start")), instant(context, period.get("end"))
    if start is None:
        if end is not None:
            context.note("a period without a start: its end was taken")
        return end
    if end is None:
        return start
    marks = (*start.marks, *(mark for mark in end.marks if mark not in start.marks))
    return Stamp(start.start, start.offset_min, marks, end.end or end.start)


def _note_subject(context: Context, resource: dict[str, Any], person: set[str]) -> None:
    """A record is of one person: more than one subject is told."""
    subject = resource.get("subject")
    name = words(subject.get("reference")) if isinstance(subject, dict) else None
    if name and name not in person and len(person) < 2:
        person.add(name)
        if len(person) == 2:
            context.note("Observations of more than one subject: all were read")


READER = Reader("fhir", "FHIR R4: Observations as JSON, bundles, NDJSON", sniff, read)
