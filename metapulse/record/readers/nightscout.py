"""Nightscout: entries, treatments and profiles, as JSON or JSON lines; and entries as CSV without a header.

``date`` (ms since 1970) decides, not ``dateString``, whose style depends on the uploader. Glucose is in mg/dL where
``units`` does not say otherwise; below 39 mg/dL it is an error code of the sensor. A reading that several programs
uploaded is there several times, milliseconds apart: the earliest counts, in whatever order the file has them, since
exports come oldest first and newest first. Of a combo bolus ``enteredinsulin`` is the whole, ``insulin`` what
was given at once (``splitNow`` per cent); ``splitExt`` per cent go over ``duration`` minutes, at ``relative`` U/h.
What is edited keeps its id, which ``raw`` tells with the time of the change. What is deleted is there with
``isValid`` false, for other programs to see: it is ``superseded``, in an export from before as well. One that tells no
amount any more is a row without a value.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from metapulse.record.clock import MINUTE, US, epoch
from metapulse.record.identity import identified
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.nightscout_items import id_of, is_deleted, plain
from metapulse.record.readers.text import csv_rows, json_items, number, number_noted
from metapulse.record.schema import NO_DEVICE, Device, Row

ERROR_BELOW = 39  # mg/dL
SAME_READING = US  # two uploads of one reading are less apart
ROUNDED = 0.05  # U: a pump's step, by which the parts of a bolus may miss the whole
EXTENDED = "the extended part of a bolus"
RECENT = 16  # readings before and after one, among which another upload of it is looked for
CHANGED = ("srvModified", "updated_at", "modifiedAt")  # when a document was changed last
NO_TIME = "a stamp that is no time"
RESULT = "result"  # of the third version of its API, in which an answer stands: a list, or one document
_ZONED = re.compile(r"(?:[Zz]|UTC|GMT|[+-]\d\d:?\d\d)\s*\Z")
_CSV = re.compile(r'(?:\A|[\r\n])"?\d{4}-\d\d-\d\dT[\d:.]+Z"?,\d{12,13},\d{1,3}(\.\d+)?,')


def sniff(sample: Sample) -> str:
    """By the words that only Nightscout's collections have."""
    if head := sample.json[:8192]:
        if re.search(r'"(sgv|mbg)"\s*:', head) and '"date"' in head:
            return "entries with sgv and date, as Nightscout keeps them"
        if re.search(r'"eventType"\s*:', head) and '"created_at"' in head:
            return "treatments with eventType and created_at, as Nightscout keeps them"
        if re.search(r'"(defaultProfile|store)"\s*:', head) and '"units"' in head and '"target_low"' in head:
            return "a profile of Nightscout"
        if '"identifier"' in head and '"srvModified"' in head and '"isValid"' in head:
            return "documents with identifier, isValid and srvModified, as Nightscout's third version keeps them"
    return (
        "lines of date, ms since 1970, glucose and trend, as Nightscout's entries.csv"
        if _CSV.search(sample.text[:8192])
        else ""
    )


@dataclass
class _Uploads:
    """The last readings of the sensor, held until those that follow have shown whether they are uploads of one.

    Args:
        held: value as written, id, and the row.
    """

    held: deque[tuple[float, str, Row]] = field(default_factory=deque)

    def add(self, value: float, id: str, row: Row) -> Iterator[Row]:
        """Hold a reading; those that are held long enough."""
        for at, (other, its, before) in enumerate(self.held):
            if value != other or abs(row.start - before.start) >= SAME_READING:
                continue
            if row.start == before.start and not set(id.split()).isdisjoint(its.split()):
                continue  # one document twice: of its states the record knows the latest
            if (before.start, before.device.app or "") <= (row.start, row.device.app or ""):
                row = _superseded(row)
            else:
                self.held[at] = other, its, _superseded(before)
        self.held.append((value, id, row))
        while len(self.held) > RECENT:
            yield self.held.popleft()[-1]

    def rest(self) -> Iterator[Row]:
        """All that are still held."""
        while self.held:
            yield self.held.popleft()[-1]


def _superseded(row: Row) -> Row:
    return row if "superseded" in row.quality else row._replace(quality=(*row.quality, "superseded"))


def read(context: Context) -> Iterator[Row]:
    """Readings and treatments."""
    recent = _Uploads()
    try:
        yield from _items(context, recent)
    except Exception:  # what was read before the file broke is kept
        yield from recent.rest()
        raise
    yield from recent.rest()


def _items(context: Context, recent: _Uploads) -> Iterator[Row]:
    """All rows but those of readings that are still held."""
    if not context.is_json():
        for line, cells in csv_rows(context, ","):
            entry = {"type": "sgv", **dict(zip(("dateString", "date", "sgv", "direction"), cells, strict=False))}
            yield from _entry(context, entry, line, recent)
        return
    for at, item in json_items(context, RESULT):
        if isinstance(item, dict) and isinstance(item.get(RESULT), dict):
            item = item[RESULT]
        item = plain(item)
        if not isinstance(item, dict):
            context.skip("no object")
        elif is_deleted(item):
            rows = _deleted(context, item, at)
            yield from rows
            if not rows:
                context.skip("deleted by its author")
        elif "eventType" in item or "created_at" in item:
            yield from _treatment(context, item, at)
        elif "target_low" in item or "store" in item:
            context.skip("a profile, which is no measurement")
        else:
            yield from _entry(context, item, at, recent)


def _deleted(context: Context, item: dict[str, Any], at: int) -> list[Row]:
    """What counts no more, so that it does not as an export from before has it either."""
    own = Context(context.file, context.options)  # whose notes are of no use: the document says nothing now
    own.clock = context.clock
    if "eventType" in item or "created_at" in item:
        rows = list(_treatment(own, item, at))
    else:
        alone = _Uploads()
        rows = [*_entry(own, item, at, alone), *alone.rest()]
    return [_superseded(row) for row in rows or _without_amount(own, item, at)]


def _without_amount(context: Context, item: dict[str, Any], at: int) -> Iterator[Row]:
    """What a deleted document that tells no amount leaves: that its id counts no more, whatever it was."""
    told = item.get("created_at") or item.get("timestamp") or item.get("date")
    start, marks = _date(context, told, item.get("dateString"))
    if start is None or not id_of(item):
        return
    kinds: tuple[str, ...] = ("insulin_rapid", "glucose")  # it may be of either collection
    if "eventType" in item or "created_at" in item:
        kinds = ("insulin_rapid",)
    elif "mbg" in item or "sgv" in item or item.get("type"):
        kind = "mbg" if "mbg" in item else "sgv" if "sgv" in item else str(item["type"])
        kinds = {"sgv": ("glucose",), "mbg": ("glucose_blood",)}.get(kind, ())
    for metric in kinds:
        unit = None if metric == "insulin_rapid" else "mg/dL"
        row = Row(metric, start, None, unit, at, None, _offset(context, item, start), None, NO_DEVICE, marks)
        yield _identified(context, item, row)


def _identified(context: Context, item: dict[str, Any], row: Row) -> Row:
    """A row with the id of its document and when that was changed last, by which its states are known."""
    if not (id := id_of(item)):
        return row
    told = (_date(context, item.get(name), item.get(name))[0] for name in CHANGED)
    return row._replace(raw=identified(id, max((time for time in told if time is not None), default=0), row.raw))


def _entry(context: Context, item: dict[str, Any], at: int, recent: _Uploads) -> Iterator[Row]:
    """A reading of the sensor or of a finger."""
    start, marks = _date(context, item.get("date"), item.get("dateString"))
    kind = "mbg" if "mbg" in item else "sgv" if "sgv" in item or "glucose" in item else str(item.get("type"))[:20]
    value = number(item.get(kind) if item.get(kind) is not None else item.get("glucose") if kind == "sgv" else None)
    if kind not in ("sgv", "mbg"):
        return context.skip(f"no reading: {kind}")
    if start is None or value is None:
        return context.skip(NO_TIME if start is None else "no value")
    raw: str | None = None
    reading: float | None = value
    unit = _unit(item)
    if kind == "sgv" and unit == "mg/dL" and value < ERROR_BELOW:
        reading, raw, marks = None, f"{value:g}", (*marks, "sensor_error")
    elif (noise := number(item.get("noise"))) is not None and noise >= 3:
        marks = (*marks, "low_confidence")
    device = Device(app=str(item["device"])[:100]) if item.get("device") else NO_DEVICE
    metric = "glucose" if kind == "sgv" else "glucose_blood"
    row = Row(metric, start, reading, unit, at, None, _offset(context, item, start), None, device, marks, raw)
    row = _identified(context, item, row)
    yield from recent.add(value, id_of(item), row) if kind == "sgv" else (row,)


def _treatment(context: Context, item: dict[str, Any], at: int) -> Iterator[Row]:
    """What was injected, eaten or measured."""
    told = item.get("created_at") or item.get("timestamp") or item.get("date")
    start, marks = _date(context, told, told)
    if start is None:
        return context.skip(NO_TIME)
    device = Device(app=str(item["enteredBy"])[:100]) if item.get("enteredBy") else NO_DEVICE
    whole = Row("", start, None, None, at, None, _offset(context, item, start), None, device, marks)
    rows = [_identified(context, item, row) for row in _amounts(context, item, whole)]
    yield from rows
    if not rows:
        context.skip(f"a treatment without an amount: {str(item.get('eventType'))[:40]}")


def _amounts(context: Context, item: dict[str, Any], whole: Row) -> Iterator[Row]:
    """The rows of a treatment, each with a part of it."""
    kind, start = str(item.get("eventType") or ""), whole.start
    bolus = whole._replace(metric="insulin_rapid", code=kind.lower()[:40] or None)
    if (amount := number_noted(context, item, "insulin")) is not None:
        yield bolus._replace(value=amount)
    if kind == "Combo Bolus" or number(item.get("splitExt")):
        yield from _extended(context, item, bolus)
    if carbs := number_noted(context, item, "carbs"):
        yield whole._replace(metric="carbohydrates", value=carbs, unit="g")
    rate, length = number(item.get("absolute", item.get("rate"))), number(item.get("duration"))
    if kind == "Temp Basal" and rate is not None and length is not None and 0 <= length < 10_000:
        yield whole._replace(metric="insulin_basal_rate", value=rate, end=start + round(length * MINUTE))
    if kind == "Exercise" and length and 0 < length < 10_000:
        yield whole._replace(metric="workout", value=length, code="unknown", end=start + round(length * MINUTE))
    glucose = number_noted(context, item, "glucose")
    if glucose is not None and str(item.get("glucoseType")).lower() in ("finger", "manual"):
        yield whole._replace(
            metric="glucose_blood", value=glucose, unit=_unit(item), quality=(*whole.quality, "manual")
        )


def _extended(context: Context, item: dict[str, Any], bolus: Row) -> Iterator[Row]:
    """What of a bolus was given over a time; nothing where its numbers do not tell, or contradict each other."""
    names = ("enteredinsulin", "splitNow", "splitExt", "duration")
    entered, percent_now, percent, length = (number(item.get(name)) for name in names)
    if percent == 0 or (percent is None and percent_now == 100):
        return
    if entered is None or percent_now is None or percent is None or length is None:
        return context.note(f"{EXTENDED}: its amount or length is not told")
    now, amount = entered * percent_now / 100, entered * percent / 100
    given, rate = number(item.get("insulin")), number(item.get("relative"))
    if (
        min(percent_now, percent, amount) < 0
        or abs(percent_now + percent - 100) > 1
        or abs((given or 0) - now) > ROUNDED
        or not 0 < length < 10_000
        or (rate is not None and abs(rate * length / 60 - amount) > ROUNDED)
    ):
        return context.note(f"{EXTENDED}: its numbers contradict each other")
    yield bolus._replace(value=amount, end=bolus.start + round(length * MINUTE))


def _unit(item: dict[str, Any]) -> str:
    """Of glucose, as Nightscout writes it in several spellings."""
    return "mmol/L" if str(item.get("units")).strip().lower().startswith("mmol") else "mg/dL"


def _date(context: Context, date: Any, text: Any) -> tuple[int | None, tuple[str, ...]]:
    """The instant, and what has to be said of it where it is a local time or does not tell day from month."""
    if isinstance(date, (int, float, str)) and (start := epoch(date)) is not None:
        return start, ()
    for told in (date, text):  # the first is a text where the database wrote it as a time
        if isinstance(told, str) and (stamp := context.clock.read(told)) is not None:
            return stamp.start, stamp.marks if _ZONED.search(told) else (*stamp.marks, "zone_assumed")
    return None, ()


def _offset(context: Context, item: dict[str, Any], start: int) -> int | None:
    """The uploader's offset; 0 says nothing, since most write UTC."""
    given = number(item.get("utcOffset"))
    return round(given) if given and abs(given) <= 1080 else context.clock.offset(start)


READER = Reader("nightscout", "Nightscout: entries, treatments, profiles", sniff, read)
