"""Medtronic CareLink: the CSV of pumps and Guardian sensors, in any of its languages.

Several tables in one file, each below a line that names device and serial number; older files have one. The header's
words are translated: columns are found by the names that are known, else by units and order: finger's glucose is the
first column with a unit of glucose and the sensor's the last; delivered insulin stands before its duration. Newest rows
first, stamps local, decimals with comma or point; the index is one too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from csv import reader
from functools import partial
from typing import NamedTuple

from metapulse.record.clock import MINUTE
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.columns import CONCENTRATIONS, by_name, cell_of, note_unread, placed, split
from metapulse.record.readers.ordered import Ordered
from metapulse.record.readers.text import csv_rows, delimiter_of, noted, number
from metapulse.record.schema import Device, Row
from metapulse.record.units import ucum

HEADERS = 40  # lines of the sample among which the header is looked for
SECTIONS = 16  # whose beginnings may be read once more
LIMITS = {"mg/dL": (40, 400), "mmol/L": (2.2, 22.2)}  # what a Guardian writes for all that is beyond
#: Words of the kinds of a bolus, such as "Dual (normal part)", in other languages; what they are in English.
KINDS = tuple(
    (re.compile(rf"\b({words})\b"), english)
    for words, english in (
        ("norm[aá]l?\\w*", "normal"),
        (
            "blok(golf)?|vierkante?|carrée?|cuadrad[oa]|quadrad[oa]|quadra|quadrat[oa]|verzögert\\w*|verlengde?",
            "square",
        ),
        ("dubbele?|duale?r?|doble|doppi[oa]|dupl[oa]|double|duo", "dual"),
        ("deel|gedeelte|teil|anteil|parte|partie", "part"),
    )
)
_LENGTH = re.compile(r"(\d{1,3}):(\d{2})(?::(\d{2}))?")
_SPAN = re.compile(r"\(h{1,2}:mm:ss\)")
_MARKER = re.compile(r"([^:]{2,40}):\s*(\d{1,5}(?:[.,]\d{1,4})?)\s*([^\d\s].{0,20})?")
_INSULIN = re.compile(r"ins[uú]l", re.IGNORECASE)


class Columns(NamedTuple):
    """Where things are, the unit of glucose, and columns of insulin of which it is not known whose."""

    at: dict[str, int]
    unit: str
    insulin: tuple[int, ...]


def sniff(sample: Sample) -> str:
    """The header is below some lines about the person."""
    for line in sample.lines[:HEADERS]:
        if "ISIG" in line and columns(next(reader([line], delimiter=delimiter_of(line)), [])):
            return "its header has CareLink's columns: date, time, glucose of finger and sensor, ISIG"
    return ""


def columns(header: list[str]) -> Columns | None:
    """The columns by their names, else by units and order; None if this is no header of CareLink."""
    isig = next((at for at, cell in enumerate(header) if "ISIG" in cell), -1)
    if isig < 0:
        return None
    units = [ucum(split(cell)[1]) for cell in header]
    named = by_name("carelink", header)
    adjacent = units[isig - 1] in CONCENTRATIONS and isig > 0
    if not adjacent and not {"date", "time", "sensor"} <= named.keys():
        return None
    at = placed(named, _ordered(header, units, isig) if adjacent else {})
    if not {"date", "time", "sensor"} <= at.keys():
        return None
    amounts = [unit for unit, column in (("U", "bolus"), ("U/h", "basal")) if column not in at]
    unplaced = [n for n in range(len(header)) if n not in at.values()]
    return Columns(at, units[at["sensor"]], tuple(n for n in unplaced if units[n] in amounts))


def _ordered(header: list[str], units: list[str], isig: int) -> dict[str, int]:
    """Where columns are by unit and order; one that does not stand as in CareLink's tables is left out."""
    index = next((at for at, cell in enumerate(header) if re.match(r"[IÍií]nd", cell)), 0)
    found = {"index": index, "date": index + 1, "time": index + 2, "sensor": isig - 1, "isig": isig}
    glucose = [at for at, unit in enumerate(units[:isig]) if unit in CONCENTRATIONS]
    finger = glucose[0]
    if len(glucose) > 1 and finger - index in (4, 5):
        found |= {"new_time": finger - 1, "finger": finger}
    if len(glucose) > 2 and glucose[-2] == isig - 2:
        found["calibration"] = isig - 2
    for at, cell in enumerate(header):
        if not _SPAN.search(cell) or at < 3:
            continue
        if units[at - 2 : at] == ["U", "U"]:
            found |= {"bolus_kind": at - 3, "selected": at - 2, "bolus": at - 1, "bolus_length": at}
        elif units[at - 2] in ("", "U/h") and not units[at - 1] and "temporary" not in found:
            found |= {"temporary": at - 2, "temporary_kind": at - 1, "temporary_length": at}
    hourly = [at for at, unit in enumerate(units) if unit == "U/h" and at != found.get("temporary")]
    if hourly and hourly[0] - finger in (1, 2):
        found["basal"] = hourly[0]
    grams = [at for at, unit in enumerate(units[:isig]) if unit == "g"]
    found |= {"carbs": grams[-1]} if grams else {}
    return found | ({"marker": isig + 1} if units[isig + 1 : isig + 2] == [""] else {})


def read(context: Context) -> Iterator[Row]:
    """Every table of the file."""
    _decide_order(context)
    at: Columns | None = None
    device = Device("Medtronic")
    sections, ordered = 0, Ordered(context.clock, partial(_stamps, context, 0))
    for line, cells in csv_rows(context):
        if found := _section(cells):
            sections += 1
            again = partial(_stamps, context, sections) if sections < SECTIONS else tuple
            device, ordered = found, Ordered(context.clock, again)
            context.skip("a line that names a device")
        elif found_columns := columns(cells):
            at = found_columns
            context.skip("the header")
            note_unread(context, cells, at.at.values())
        elif at is None:
            context.skip("above the header")
        else:
            stamp = ordered.read(_when(cells, at))
            if stamp is None or stamp.end is not None:
                context.skip("a stamp that is no time")
                continue
            rows = list(_values(context, cells, at))
            for row in rows:
                end = None if row.end is None else stamp.start + row.end
                marks = (*stamp.marks, *row.quality)
                yield row._replace(
                    start=stamp.start, row=line, end=end, offset_min=stamp.offset_min, device=device, quality=marks
                )
            if not rows:
                context.skip(_why_not(context, cells, at))


def _section(cells: list[str]) -> Device | None:
    """The device of a line as "-------;MiniMed 640G;Pump;NG0000000X;-------"; None if it is none."""
    if len(cells) < 4 or not re.fullmatch(r"-{3,}", cells[0]):
        return None
    return Device("Medtronic", cells[1][:60] or None, unit=cells[3][:60] or None)


def _stamps(context: Context, section: int) -> Iterator[str]:
    """From the first row of a section on; 0: before any."""
    at: Columns | None = None
    for _, cells in csv_rows(context, count=False, as_written=True):
        if _section(cells):
            section -= 1
        elif found := columns(cells):
            at = found
        elif at is not None and section == 0:
            yield _when(cells, at)


def _when(cells: list[str], at: Columns) -> str:
    """Date and time are in two columns; some programs have put a midnight behind the date."""
    date = re.split(r"[ T]", cell_of(cells, at.at, "date"), maxsplit=1)[0]
    return f"{date} {cell_of(cells, at.at, 'time')}"


def _decide_order(context: Context) -> None:
    """Day and month from all dates; those of American accounts go with commas and a decimal point."""
    first = ""

    def dates() -> Iterator[str]:
        nonlocal first
        at: Columns | None = None
        for _, cells in csv_rows(context, count=False):
            if found := columns(cells):
                at = found
            elif at is not None and (date := cell_of(cells, at.at, "date")):
                first = first or cell_of(cells, at.at, "index")
                yield date

    found = dates()
    begin = next(found, "")
    usual = "mdy" if first.isdigit() and "." not in begin else "dmy"
    context.date_order((date for part in ((begin,), found) for date in part), usual)


def _amount(context: Context, metric: str, cells: list[str], at: Columns, column: str) -> float | None:
    return noted(context, cell_of(cells, at.at, column), metric, decimal_comma=True)


def _values(context: Context, cells: list[str], at: Columns) -> Iterator[Row]:
    """The values of a row, still without their time; ``end`` is a length."""
    if (value := _amount(context, "glucose", cells, at, "sensor")) is not None:
        low, high = LIMITS[at.unit]
        marks = ("censored_low",) if value <= low else ("censored_high",) if value >= high else ()
        if value > 0:
            yield Row("glucose", 0, value, at.unit, quality=marks)
        else:
            yield Row("glucose", 0, None, at.unit, quality=("sensor_error",), raw=cell_of(cells, at.at, "sensor"))
    for column, code in (("finger", None), ("calibration", "calibration")):
        if value := _amount(context, "glucose_blood", cells, at, column):
            yield Row("glucose_blood", 0, value, at.unit, code=code)
    if (value := _amount(context, "insulin_rapid", cells, at, "bolus")) is not None:
        kind = _kind(cell_of(cells, at.at, "bolus_kind"))
        yield Row("insulin_rapid", 0, value, "U", code=kind, end=_length(cells, at, "bolus_length"))
    if (value := _amount(context, "insulin_basal_rate", cells, at, "basal")) is not None:
        yield Row("insulin_basal_rate", 0, value, "U/h")
    length = _length(cells, at, "temporary_length")
    percent = re.search(r"%|p[er]*[crz]", cell_of(cells, at.at, "temporary_kind"), re.IGNORECASE)
    rate = _amount(context, "insulin_basal_rate", cells, at, "temporary") if length and not percent else None
    if rate is not None:
        yield Row("insulin_basal_rate", 0, rate, "U/h", code="temporary", end=length)
    if value := _amount(context, "carbohydrates", cells, at, "carbs"):
        yield Row("carbohydrates", 0, value, "g", quality=("manual",))
    if found := _MARKER.fullmatch(cell_of(cells, at.at, "marker")):
        value = number(found[2], decimal_comma=True)
        if ucum(found[3] or "") == "g":
            yield Row("carbohydrates", 0, value, "g", quality=("manual",))
        elif _INSULIN.match(found[1]):
            yield Row("insulin", 0, value, "U", quality=("manual",))


def _kind(text: str) -> str | None:
    """A bolus' kind, its words in English where they are known: the same one after the account's language changed."""
    kind = text.lower()[:40]
    for words, english in KINDS:
        kind = words.sub(english, kind)
    return kind or None


def _length(cells: list[str], at: Columns, column: str) -> int | None:
    """µs of "0:30:00"; None if it is none, or nothing."""
    found = _LENGTH.fullmatch(cell_of(cells, at.at, column))
    minutes = int(found[1]) * 60 + int(found[2]) + int(found[3] or 0) / 60 if found else 0
    return round(minutes * MINUTE) or None


def _why_not(context: Context, cells: list[str], at: Columns) -> str:
    if cell_of(cells, at.at, "new_time"):
        context.note("the clock of the device was set")
        return "no value: the device's clock was set"
    if any(cells[place] for place in at.insulin if place < len(cells)):
        return "no value: insulin in a column whose name is not known"
    when = {at.at.get(column) for column in ("index", "date", "time")}
    filled = any(cell for place, cell in enumerate(cells) if place not in when)
    return "no value: an alarm, a setting or an estimate" if filled else "no value"


READER = Reader("carelink", "Medtronic CareLink: CSV", sniff, read)
