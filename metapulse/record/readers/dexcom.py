"""Dexcom: the CSV of Clarity (G4 to G7), in any of its languages.

The header's words are translated: columns are found by the names that are known, else by Clarity's order, if units and
number of the columns are those of it. Rows without a stamp tell of the person and of alerts, whose limits look like
readings. Stamps are local. The transmitter's seconds run on, and say which of two 02:30 is meant; they start anew with
each transmitter.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Container, Iterator
from csv import reader
from typing import TypeAlias

from metapulse.record.clock import MINUTE, US, Stamp
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.columns import LONG, RAPID, UNKNOWN, cell_of, first_lines
from metapulse.record.readers.dexcom_columns import Columns, columns
from metapulse.record.readers.dexcom_words import EFFORTS, INSULINS, limit_of, subtype_of
from metapulse.record.readers.header import names_columns
from metapulse.record.readers.ordered import Ordered
from metapulse.record.readers.text import csv_rows, delimiter_of, noted, number
from metapulse.record.schema import Device, Row
from metapulse.record.units import GLUCOSE

LOW, HIGH = 39, 401  # mg/dL: what Dexcom writes in place of the words
ROUNDED = 0.5  # mg/dL: 2.2 mmol/L is 40 mg/dL, though 39.6 when converted, and 22.3 is 401, though 401.7
TEXTS = ("type", "subtype", "person", "app", "phone", "transmitter")  # columns whose cells may look like numbers
TRANSMITTERS = 64  # whose clocks are kept
EXPORTS = 64  # in one file, one below another, whose words for a reading are kept
MOVED = 10 * MINUTE  # of the person's clock against the transmitter's: no drift is as large
CALIBRATION = re.compile(r"[ck]ali|校准|較正|보정", re.IGNORECASE)
_Found: TypeAlias = tuple[int, list[str], Columns | None, bool]  # line, cells, columns, whether it is a header
_LENGTH = re.compile(r"(\d{1,3}):(\d{2})(?::(\d{2}))?")
_MODEL = re.compile(r"\b(G[4-9]|ONE\+?|Stelo)(?!\w)")


def sniff(sample: Sample) -> str:
    """The header is the first line."""
    for line in sample.lines[:3]:
        if columns(next(reader([line], delimiter=delimiter_of(line)), [])):
            return "its header has Clarity's columns: a stamp, glucose, insulin in units, carbohydrates in grams"
    return ""


def _rows(context: Context, texts: Container[int] = (), count: bool = True) -> Iterator[_Found]:
    """Rows with the columns that the header next above them names: of exports that were joined each has its own."""
    at: Columns | None = None
    for line, cells in csv_rows(context, count=count, as_written=not count, texts=texts):
        found = columns(cells) if at is None or names_columns(cells) else None
        at = found or at
        yield line, cells, at, found is not None


class _File:
    """What is known of the file while its rows are read."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.readings = self._look()
        self.reading = self.readings[0]
        self.ordered = Ordered(context.clock, self._stamps)
        self.apps: dict[str, str] = {}
        self.counters: dict[str, tuple[int, int]] = {}  # transmitter → its time in µs, instant

    def _look(self) -> deque[str]:
        """Decide the order of dates from all stamps; the type of most rows with glucose is that of readings."""
        exports: list[Counter[str]] = []

        def stamps() -> Iterator[str]:
            for _, cells, at, is_header in _rows(self.context, count=False):
                if is_header and len(exports) < EXPORTS:
                    exports.append(Counter())
                if is_header or at is None:
                    continue
                if stamp := cell_of(cells, at.at, "stamp"):
                    if cell_of(cells, at.at, "glucose") and len(exports[-1]) < TRANSMITTERS:
                        exports[-1][cell_of(cells, at.at, "type")] += 1
                    yield stamp

        texts = stamps()
        first = next(texts, "")
        usual = "mdy" if re.search(r"[AaPp]\.?\s?[Mm]", first) else "dmy"
        self.context.date_order((text for part in ((first,), texts) for text in part), usual)
        for _ in texts:  # an order that the first stamps show ends the look early
            pass
        return deque(map(_reading, exports)) or deque(["EGV"])

    def begin(self) -> None:
        """Begin an export of the file."""
        self.reading = self.readings.popleft() if len(self.readings) > 1 else self.readings[0]

    def _stamps(self) -> Iterator[str]:
        for _, cells, at, is_header in _rows(self.context, count=False):
            if at is not None and not is_header and (text := cell_of(cells, at.at, "stamp")):
                yield text

    def device(self, cells: list[str], at: Columns) -> Device:
        """App and phone computed the value; the transmitter measured."""
        app, phone, unit = (cell_of(cells, at.at, name) for name in ("app", "phone", "transmitter"))
        app = app or self.apps.get(phone, "")
        found = _MODEL.search(phone) or _MODEL.search(app)
        model = f"Dexcom {found[1]}" if found else None
        name = f"{app} ({phone})" if app and phone else app or phone
        return Device("Dexcom", model, unit=unit or None, app=name[:100] or None)

    def stamp(self, cells: list[str], at: Columns) -> Stamp | None:
        """The instant of a row, with the help of the transmitter's seconds."""
        text, counted, name = (cell_of(cells, at.at, name) for name in ("stamp", "seconds", "transmitter"))
        seconds = number(counted)
        if seconds is None or not 0 <= seconds < 2**40:
            return self.ordered.read(text)
        before = self.counters.get(name)
        passed = round(seconds) * US - before[0] if before else 0
        stamp = self.ordered.read(text, None if before is None else before[1] + passed)
        if stamp is None:
            return None
        if before and abs(stamp.start - before[1] - passed) > MOVED and passed >= 0:
            self.context.note("the clock of the phone moved against that of the transmitter")
        if len(self.counters) < TRANSMITTERS or name in self.counters:
            self.counters[name] = (round(seconds) * US, stamp.start)
        return stamp


def _reading(types: Counter[str]) -> str:
    """The word for a reading, of the types of rows with glucose."""
    readings = [(count, word) for word, count in types.items() if not CALIBRATION.search(word)]
    return "EGV" if "EGV" in types else max(readings, default=(0, "EGV"))[1]


def read(context: Context) -> Iterator[Row]:
    """Readings, calibrations and what was typed in."""
    file = _File(context)
    texts: set[int] = set()
    for line, cells, at, is_header in _rows(context, texts):
        if at is None or is_header:
            if is_header:
                file.begin()
            first_lines(context, cells, None if at is None else at.at, texts, TEXTS)
            continue
        if not at.at:
            context.skip(UNKNOWN)
            continue
        kind, phone, app = (cell_of(cells, at.at, name) for name in ("type", "phone", "app"))
        if not cell_of(cells, at.at, "stamp"):
            if app and len(file.apps) < TRANSMITTERS:
                file.apps[phone] = app
            context.skip("a row without a stamp: the person, a device or the limit of an alert")
            continue
        stamp = file.stamp(cells, at)
        if stamp is None or stamp.end is not None:
            context.skip("a stamp that is no time")
            continue
        rows = list(_values(file, cells, at))
        device = file.device(cells, at)
        for row in rows:
            end = None if row.end is None else stamp.start + row.end
            marks = (*stamp.marks, *row.quality)
            yield row._replace(
                start=stamp.start, row=line, end=end, offset_min=stamp.offset_min, device=device, quality=marks
            )
        if not rows:
            context.skip(f"no value: {kind[:40]}")


def _values(file: _File, cells: list[str], at: Columns) -> Iterator[Row]:
    """The values of a row, still without their time; ``end`` is a length."""
    kind, subtype = cell_of(cells, at.at, "type"), cell_of(cells, at.at, "subtype")
    if text := cell_of(cells, at.at, "glucose"):
        if kind == file.reading:
            if row := _glucose(file.context, text, at):
                yield row
        elif CALIBRATION.search(kind) and (value := noted(file.context, text, "glucose", True)) is not None:
            yield Row("glucose_blood", 0, value, at.unit, code="calibration", quality=at.unit_marks)
    rate, insulin, carbs = (
        noted(file.context, cell_of(cells, at.at, column), name, decimal_comma=True)
        for column, name in (("rate", "rate of change"), ("insulin", "insulin"), ("carbs", "carbohydrates"))
    )
    if rate is not None and kind == file.reading:
        yield Row("glucose_rate", 0, rate, at.rate_unit)
    if insulin is not None:
        metric = "insulin_rapid" if RAPID.search(subtype) else "insulin_long" if LONG.search(subtype) else "insulin"
        yield Row(metric, 0, insulin, "U", code=subtype_of(subtype, INSULINS), quality=("manual",))
    if carbs is not None:
        yield Row("carbohydrates", 0, carbs, "g", quality=("manual",))
    length = _LENGTH.fullmatch(cell_of(cells, at.at, "duration"))
    if length and kind != file.reading and not cell_of(cells, at.at, "glucose"):
        minutes = int(length[1]) * 60 + int(length[2]) + int(length[3] or 0) / 60
        code, end = subtype_of(subtype, EFFORTS) or "unknown", round(minutes * MINUTE)
        yield Row("workout", 0, minutes, "min", end=end, code=code, quality=("manual",))


def _glucose(context: Context, text: str, at: Columns) -> Row | None:
    """A reading, or the limit that the word in its place stands for."""
    if word := limit_of(text):
        return Row("glucose", 0, LOW if word == "low" else HIGH, "mg/dL", quality=(f"censored_{word}",), raw=text)
    value = noted(context, text, "glucose", decimal_comma=True)
    if value is None:
        return None
    mg = value * (GLUCOSE if at.unit == "mmol/L" else 1)
    below, above = abs(mg - LOW) < ROUNDED, HIGH - ROUNDED < mg < HIGH + 2 * ROUNDED
    marks = ("censored_low",) if below else ("censored_high",) if above else ()
    return Row("glucose", 0, value, at.unit, quality=(*at.unit_marks, *marks))


READER = Reader("dexcom", "Dexcom: CSV of Clarity", sniff, read)
