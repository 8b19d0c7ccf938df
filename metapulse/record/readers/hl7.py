"""HL7 v2: results (OBX segments) of ORU messages, one message or many, with or without batch and MLLP framing.

Fields are separated by what the message's own MSH says. Segments end in CR, LF or both. A result without a time of its
own has the time of the request it answers (OBR-7). A time without a zone is read in the zone that was told, else in
the offset of the message's own time (MSH-7), and marked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta, timezone
from typing import NamedTuple

from metapulse.record.clock import Clock, Stamp
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.codes import LIMITS, Meaning, limited, meaning, unit
from metapulse.record.readers.text import lines, number
from metapulse.record.schema import NO_DEVICE, Device, Row

FRAMING = "\x0b\x1c\ufeff \t"  # of MLLP, a byte order mark, indents
#: Status of a result (OBX-11) that is none, and what it says.
NO_RESULT = {
    "D": "deleted",
    "W": "wrong",
    "X": "cannot be obtained",
    "N": "not asked for",
    "O": "a detail of the order",
    "I": "not finished",
}
NUMBERS = ("NM", "SN", "ST", "FT", "")  # types of values that may be a number
_HEAD = re.compile(r"\s*(?:[\x0b\ufeff]\s*)*(?:MSH|FHS|BHS)([^\w\s])([^\w\s]{3,5})\1")
_ZONED = re.compile(r"[+\-]\d{4}$")
_DAY_ZONED = re.compile(r"(\d{8})[+\-]\d{4}")


class Separators(NamedTuple):
    """What the message writes between fields, components, repetitions; before an escape; between subcomponents."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"


@dataclass(frozen=True)
class Message:
    """What the segments before a result say of it.

    Args:
        marks: separators.
        offset: of the message's own time; None: it has none.
        app: what sent it.
        time: of the request, as written.
        end: of the request, as written.
    """

    marks: Separators = Separators()
    offset: int | None = None
    app: str | None = None
    time: str = ""
    end: str = ""


def sniff(sample: Sample) -> str:
    """By its first segment."""
    found = _HEAD.match(sample.text)
    return f"its first segment names its separators: {found[1]}{found[2]}, as HL7 v2 does" if found else ""


def read(context: Context) -> Iterator[Row]:
    """Every number of every result."""
    message = Message()
    people: set[str] = set()
    for line, text in lines(context):
        text = text.strip(FRAMING)
        if not text:
            continue
        context.seen()
        name = text[:3]
        fields = text.split(message.marks.field)
        if name == "MSH" and len(text) > 8:
            message = _message(context, text)
        elif name == "OBR":
            message = replace(message, time=_field(fields, 7), end=_field(fields, 8))
        elif name == "PID":
            _note_person(context, _field(fields, 3), people)
        if name != "OBX":
            named = re.fullmatch(r"[A-Z][A-Z0-9]{2}", name) and text[3:4] == message.marks.field
            context.skip(f"a segment {name}: no result" if named else "no segment")
            continue
        yield from _result(context, fields, line, message)


def _message(context: Context, text: str) -> Message:
    """What MSH says; its first field is the separator itself."""
    marks = Separators(text[3], *text[4:8])
    if len(set(marks)) < 5 or any(mark.isalnum() for mark in marks):
        context.note("separators that cannot be: the usual ones were taken")
        marks = Separators(text[3] if not text[3].isalnum() else "|")
    fields = text.split(marks.field)
    app = _field(fields, 2).split(marks.component)[0].strip()[:100]
    sent = _clock_text(_field(fields, 6))
    stamp = Clock().read(sent) if _ZONED.search(sent) else None
    return Message(marks, stamp.offset_min if stamp else None, app or None)


def _note_person(context: Context, person: str, people: set[str]) -> None:
    """A record is of one person: more than one is told."""
    if person and person not in people and len(people) < 2:
        people.add(person)
        if len(people) == 2:
            context.note("results of more than one person: all were read")


def _result(context: Context, fields: list[str], line: int, message: Message) -> Iterator[Row]:
    """The values of an OBX; where there is none, it says why."""
    kind, status = _field(fields, 2).strip().upper(), _field(fields, 11).strip().upper()
    known, code = _known(_field(fields, 3), message.marks)
    if known is None:
        return context.skip(f"code {code or 'unknown'}: no metric of the record")
    if status in NO_RESULT:
        return context.skip(f"status {status}: {NO_RESULT[status]}")
    if kind not in NUMBERS:
        return context.skip(f"a value of type {kind[:3]}, which is no number")
    stamp = _when(context, _field(fields, 14), message)
    if stamp is None:
        return context.skip("no time that is a day or an instant")
    written = unit(*_texts(_field(fields, 6), message.marks))
    marks = () if written or known.unit == "count" else ("unit_assumed",)
    written = written or known.unit or None
    device = _device(_field(fields, 18), message)
    found, given = False, set[tuple[float, str]]()
    for repetition in _field(fields, 5).split(message.marks.repetition)[:1000]:
        value, sign, why = _value(repetition, message.marks)
        if value is None:
            if found or why != "no value":
                context.note(f"a value that is no number: {why}")
            continue
        found = True
        if (value, sign) in given:
            context.note("a value that its field repeats: it is there once")
            continue
        given.add((value, sign))
        limit = (LIMITS[sign],) if sign in LIMITS else ()
        quality = (*known.marks, *stamp.marks, *marks, *limit)
        raw = f"{sign}{value:.15g} {written or ''}".strip() if limit else None
        of = (stamp.end, stamp.offset_min, known.code, device, quality, raw)
        yield Row(known.metric, stamp.start, value, written, line, *of)
    if not found:
        context.skip("no value that is a number")


def _known(text: str, marks: Separators) -> tuple[Meaning | None, str]:
    """What OBX-3 stands for: the code or the alternative one; and the code itself."""
    parts = _texts(text, marks)
    for at in (0, 3):
        system = parts[at + 2] if len(parts) > at + 2 else ""
        system = "" if ":" in system else system  # some write LOINC's axes there: MCNC:PT:SER/PLAS:QN
        if len(parts) > at and (found := meaning(system, parts[at])):
            return found, parts[at]
    return None, parts[0][:40]


def _value(text: str, marks: Separators) -> tuple[float | None, str, str]:
    """(number, comparator, why not) of a number, or of comparator, number, separator, number."""
    parts = _texts(text, marks)
    if len(parts) > 1:
        sign, first = parts[0].strip(), number(parts[1])
        if any(part.strip() for part in parts[2:]):
            return None, "", "a range or a ratio"
        value, own = limited(parts[1]) if first is None else (first, "")
        return value, own or sign, "no value" if not parts[1] else "a text"
    value, sign = limited(parts[0])
    return value, sign, "a text" if parts[0].strip('" ') else "no value"


def _when(context: Context, own: str, message: Message) -> Stamp | None:
    """When it was measured: its own time, else that of the request."""
    own = own.strip('" ')
    stamp = _stamp(context, own or message.time, message)
    if own or stamp is None or stamp.end is not None or not message.end:
        return stamp
    end = _stamp(context, message.end, message)
    return stamp._replace(end=end.start) if end and end.end is None and end.start > stamp.start else stamp


def _stamp(context: Context, text: str, message: Message) -> Stamp | None:
    """A time as HL7 writes it; without a zone it is local, which is marked."""
    text = _clock_text(text.split(message.marks.component)[0])
    if not re.match(r"\d{8}", text):
        return None
    if _ZONED.search(text):
        return context.clock.read(text)
    clock = context.clock
    if context.options.zone is None and message.offset is not None:
        clock = Clock(timezone(timedelta(minutes=message.offset)), asked=context.clock.asked)
    stamp = clock.read(text)
    if stamp is None or stamp.end is not None or "zone_assumed" in stamp.marks:
        return stamp
    return stamp._replace(marks=(*stamp.marks, "zone_assumed"))


def _clock_text(text: str) -> str:
    """A stamp without blanks; a day with a zone as a day."""
    text = text.strip()[:40]
    day = _DAY_ZONED.fullmatch(text)
    return day[1] if day else text


def _device(text: str, message: Message) -> Device:
    """The equipment that measured (OBX-18), and what sent it."""
    unit_of = _texts(text.split(message.marks.repetition)[0], message.marks)[0].strip()[:100]
    return Device(unit=unit_of or None, app=message.app) if unit_of or message.app else NO_DEVICE


def _field(fields: list[str], at: int) -> str:
    return fields[at] if at < len(fields) else ""


def _texts(text: str, marks: Separators) -> list[str]:
    """The components of a field, escapes undone."""
    return [_unescaped(part, marks) for part in text.split(marks.component)]


def _unescaped(text: str, marks: Separators) -> str:
    if marks.escape not in text:
        return text
    letters = {
        "F": marks.field,
        "S": marks.component,
        "R": marks.repetition,
        "E": marks.escape,
        "T": marks.subcomponent,
    }
    mark = re.escape(marks.escape)
    return re.sub(rf"{mark}([FSRET]|\.br){mark}", lambda found: letters.get(found[1], "\n"), text)


READER = Reader("hl7", "HL7 v2: results (ORU)", sniff, read)
