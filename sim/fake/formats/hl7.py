"""HL7 v2: results as ORU messages, one for each sender. Whole seconds with the offset; LOINC and UCUM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from metapulse.record.clock import MINUTE
from metapulse.record.metrics import metric as metric_of
from metapulse.record.readers.codes import CODES
from metapulse.record.schema import Device, Row
from metapulse.sim.fake.formats.base import Format, Making, in_zone, walls
from metapulse.sim.fake.formats.items import rounded
from metapulse.sim.fake.formats.parts import SECOND, again, floored, moment, of_day, offset_text, plain, put

DIGITS = 4
#: (metric, kind of value or "manual") → code; of several the first.
KINDS = {(known.metric, "manual" if known.marks else known.code): code for code, known in reversed(list(CODES.items()))}
LIMITS = {"censored_low": "<", "censored_high": ">"}
SENDER = "GATEWAY"
ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "&": "\\T\\"}


def says(row: Row) -> Row | None:
    """Four digits, whole seconds or a day; a limit as one; the device as a text, the app as the sender."""
    typed = "manual" in row.quality and (row.metric, "manual") in KINDS and row.code is None
    if row.value is None or not (typed or (row.metric, row.code) in KINDS):
        return None
    limit = next((mark for mark in LIMITS if mark in row.quality), None)
    told = rounded(floored(plain(row), SECOND), DIGITS)._replace(device=_device(row.device))
    marks = (*(("date_only",) if of_day(row) else ()), *(("manual",) if typed else ()), *([limit] if limit else ()))
    end = None if told.end is None or told.end <= told.start else told.end
    return told._replace(end=end, quality=marks, offset_min=row.offset_min or 0)


def _device(device: Device) -> Device:
    name = " ".join(part for part in device[:-1] if part)[:100].strip()
    app = "".join(" " if sign in ESCAPES else sign for sign in device.app or SENDER)[:100].strip()
    return Device(unit=name or None, app=app or SENDER)


def write(rows: Sequence[Row], making: Making) -> None:
    """One file; with traps a batch in MLLP frames, CR and LF, results withdrawn, codes of the house, repeats, torn."""
    told = [row for row in map(says, rows) if row is not None]
    told = again(told, making.rng) if making.traps else told
    if not told:
        return
    segments = ["FHS|^~\\&|GATEWAY", "BHS|^~\\&|GATEWAY"] if making.traps else []
    for at, app in enumerate(sorted({row.device.app or "" for row in told}), start=1):
        first = "\x0b" if making.traps else ""
        segments.append(f"{first}MSH|^~\\&|{app}|H|X|X|20241231120000+0100||ORU^R01^ORU_R01|M{at}|P|2.6")
        segments.append("PID|1||1^^^H||X^X")
        segments += _results([row for row in told if row.device.app == app], making)
    end = "\r\n" if making.traps else "\r"
    torn = "\x1c\r\nBTS|1\r\nOBX|9|NM|88" if making.traps else ""
    put(making.folder / "results.hl7", end.join(segments) + end + torn)


def _results(rows: Sequence[Row], making: Making) -> Iterator[str]:
    """Those that lasted answer a request that has their time; the others have their own."""
    yield "OBR|1||R1|X^Vital signs^L|||20240101000000+0000"
    for at, row in enumerate(sorted(rows, key=lambda row: row.end is not None and not of_day(row)), start=1):
        lasts = row.end is not None and not of_day(row)
        if lasts:
            yield f"OBR|{at + 1}||R{at + 1}|X^Interval^L|||{_stamp(row, row.start)}|{_stamp(row, row.end or 0)}"
        own = f"{moment(walls(row, making.zone)[0]):%Y%m%d}" if of_day(row) else "" if lasts else _stamp(row, row.start)
        yield _result(row, at, own, making)
        if making.traps and making.rng.random() < 0.1:
            yield _result(row._replace(value=-1.0), at, own, making).replace("|||||F|", "|||||W|")
            yield f"OBX|{at}|TX|8251-1^Note^LN||a \\T\\ b||||||F|||{own}"


def _result(row: Row, at: int, own: str, making: Making) -> str:
    code = KINDS[row.metric, "manual" if "manual" in row.quality else row.code]
    name = f"{code}^{metric_of(row.metric).title}^{'LN' if '-' in code else 'MDC'}"
    name = f"X{at}^House^L^{name}" if making.traps and making.rng.random() < 0.3 else name
    limit = next((sign for mark, sign in LIMITS.items() if mark in row.quality), "")
    number = f"{row.value:.{DIGITS}f}".rstrip("0").rstrip(".")
    kind, value = ("SN", f"{limit}^{number}") if limit else ("NM", number)
    unit = metric_of(row.metric).unit
    equipment = "".join(ESCAPES.get(sign, sign) for sign in row.device.unit or "")
    return f"OBX|{at}|{kind}|{name}||{value}|{unit}^{unit}^UCUM|||||F|||{own}||||{equipment}"


def _stamp(row: Row, at: int) -> str:
    return f"{moment(at + (row.offset_min or 0) * MINUTE):%Y%m%d%H%M%S}{offset_text(row.offset_min, '')}"


METRICS = frozenset(metric for metric, _ in KINDS)
FORMAT = Format("hl7", "HL7 v2: results (ORU)", METRICS, says, write, in_zone)
