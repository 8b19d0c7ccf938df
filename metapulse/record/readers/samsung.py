"""Samsung Health: the CSV files of "Download personal data", and the JSON files of finer values that they name.

The first line names the data type and its version, the second is the header; every further line ends in a comma that
the header lacks. Some columns carry the data type before their name. Stamps are UTC, as text or milliseconds, and
``time_offset`` says where the person's clock stood; ``day_time`` is a day of the person, kept as a midnight in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeGuard

from metapulse.record.clock import DAY, MINUTE, epoch
from metapulse.record.metrics import metrics
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.columns import vocabulary
from metapulse.record.readers.samsung_stamps import (
    Stamps,
    dated,
    named,
    note_bad_times,
    note_unread_of,
    table_lines,
)
from metapulse.record.readers.text import json_items, number, number_noted
from metapulse.record.schema import Device, Row
from metapulse.record.tally import FileTally

#: Data type without "com.samsung.health.", "com.samsung.shealth.", "tracker." → its columns with values.
TYPES = {
    kind: [(r["column"], r["metric"], r["unit"] or None, r["code"] or None) for r in rows]
    for kind, rows in groupby(vocabulary("samsung.csv"), key=itemgetter("type"))
}
#: Column that names a JSON file → of the values in it: key, metric, unit, code; per data type.
FINER: dict[str, list[tuple[str, str, str | None, str | None]]] = {
    "heart_rate": [("heart_rate", "heart_rate", "bpm", None)],
    "hrv": [("rmssd", "hrv_rmssd", "ms", None), ("sdnn", "hrv_sdnn", "ms", None)],
    "oxygen_saturation": [("spo2", "spo2", "%", None)],
    "respiratory_rate": [("respiratory_rate", "respiratory_rate", "/min", None)],
    "skin_temperature": [("mean", "skin_temperature", "Cel", None)],
    "stress": [("score", "stress", None, None)],
}
STAGES = {40001: "awake", 40002: "light", 40003: "deep", 40004: "rem"}
EXERCISES = {
    **{1001: "walking", 1002: "running", 11007: "cycling", 13001: "hiking", 14001: "swimming", 15003: "exercise bike"},
    **{
        15001: "step machine",
        15002: "weight machine",
        15004: "rowing machine",
        15005: "treadmill",
        15006: "elliptical",
    },
}
CODES = {"sleep_stage": ["stage"], "exercise": ["exercise_type"]}  # columns with codes, by data type
FILES = ("binning_data", "binning")  # columns that name a JSON file of finer values
MAKER = "Samsung"  # of devices of which no more is known
MERGED = "-2"  # source_type of a day's total over all devices
_FIRST = re.compile(r"com\.samsung\.(s?health)\.([\w.]+)[,;\t]\d+")


def sniff(sample: Sample) -> str:
    """The first line is the data type, its version and a number."""
    if sample.lines and _FIRST.match(sample.lines[0].strip('"')):
        return "its first line is a data type of Samsung Health with a version"
    return ""


def read(context: Context) -> Iterator[Row]:
    """Every value of every line."""
    stamps, totals = Stamps(context), None
    devices = dict(_devices(context))
    for line, kind, header, cells in table_lines(context):
        if not cells:
            context.skip("the header" if header else "above the header")
            if header:
                note_unread_of(context, header, _columns(kind))
            continue
        row = named(header, cells, context)
        if totals is None and "source_type" in row:
            totals = _totals(context, stamps)
        when = dated(context, stamps, row)
        if isinstance(when, str):
            context.skip(when)
            continue
        note_bad_times(context, stamps, row, when)
        when = when._replace(row=line, device=_device(row, devices))
        given = False
        for part in _values(context, kind, row, when, totals or ()):
            given = True
            yield part
        if not given:
            context.skip("no value" if kind in TYPES else f"no metric of ours: {kind[:60]}")


def _columns(kind: str) -> list[str]:
    """The columns of a data type that are read."""
    return [*(column for column, *_ in TYPES.get(kind, [])), *CODES.get(kind, []), *(FILES if kind in FINER else ())]


def _totals(context: Context, stamps: Stamps) -> set[tuple[str, int, str]]:
    """Data types, days and columns that have a total over all devices."""
    found = set[tuple[str, int, str]]()
    for _, kind, header, cells in table_lines(context, count=False, as_written=True):
        row = named(header, cells)
        if row.get("source_type") == MERGED and not isinstance(when := dated(context, stamps, row), str):
            columns = (
                column for column, metric, *_ in TYPES.get(kind, []) if _measured(number(row.get(column)), metric)
            )
            found.update((kind, _day(when), column) for column in columns)
    return found


def _day(row: Row) -> int:
    """The day of the person that a row begins on."""
    return (row.start + (row.offset_min or 0) * MINUTE) // DAY


def _measured(value: float | None, metric: str) -> TypeGuard[float]:
    """Whether it is a value; 0 says that there is none where it cannot be one."""
    return value is not None and bool(value or (metrics()[metric].low or 0) <= 0)


def _values(
    context: Context, kind: str, row: dict[str, str], whole: Row, totals: Collection[tuple[str, int, str]]
) -> Iterator[Row]:
    if kind == "sleep_stage":
        stage = number_noted(context, row, "stage")
        if stage is not None:
            yield whole._replace(metric="sleep_stage", code=STAGES.get(int(stage), "unknown"))
        return
    if kind == "exercise":
        which = number_noted(context, row, "exercise_type")
        whole = whole._replace(code="unknown" if which is None else EXERCISES.get(int(which), f"exercise {which:g}"))
        if number(row.get("duration")) is None and whole.end is not None:
            yield whole._replace(metric="workout", value=(whole.end - whole.start) / MINUTE)
    if kind == "sleep" and whole.end is not None:
        yield whole._replace(metric="sleep_stage", code="in_bed", quality=(*whole.quality, "mapped"))
    one_of_many, day = row.get("source_type") != MERGED, _day(whole)
    finer = yield from _finer(context, kind, row, whole)
    for column, metric, unit, kind_of_value in TYPES.get(kind, []):
        value = number_noted(context, row, column)
        if not _measured(value, metric):
            continue
        again = (metric in finer and kind_of_value is None) or (one_of_many and (kind, day, column) in totals)
        part = whole._replace(metric=metric, value=value, unit=unit, code=kind_of_value or whole.code)
        yield part._replace(quality=(*whole.quality, "superseded") if again else whole.quality)


def _finer(context: Context, kind: str, row: dict[str, str], whole: Row) -> Generator[Row, None, set[str]]:
    """The values within a row's time, from the JSON file that the row names; the row's own are then their summary.

    Returns:
        Their metrics; none if some of the file was lost: the summary knows more then, and counts.
    """
    name = next((name for column in FILES if (name := row.get(column))), "")
    if kind not in FINER or not re.fullmatch(r"[\w-]+(\.\w+)*\.json", name):
        return set()
    full = context.file.name.rsplit("/", 1)[-1].rsplit(".", 2)[0]
    file = context.companion(f"jsons/{full}/{name[0]}/{name}") or context.companion(f"jsons/{full}/{name}")
    if file is None:
        context.note("a file of finer values that is not there")
        return set()
    given, own = set[str](), Context(file, context.options, FileTally(file.name), context.on_bytes)
    for _, item in json_items(own):
        start, end = (_milliseconds(item, key) for key in ("start_time", "end_time"))
        if start is None:
            own.note("finer values without a time")
            continue
        for key, metric, unit, code in FINER[kind]:
            if value := number_noted(own, item, key):
                given.add(metric)
                until = None if end == start else end
                yield whole._replace(metric=metric, start=start, end=until, value=value, unit=unit, code=code)
    return given if _took_all(context, own.tally) else set()


def _took_all(context: Context, own: FileTally) -> bool:
    """Tell in the account of the CSV what was lost of a file of finer values; whether that is nothing."""
    for reason, times in own.skipped.items():
        context.tally.note(f"finer values: {reason}", times)
    for reason, times in own.notes.items():
        context.tally.note(reason, times)
    context.tally.error = context.tally.error or own.error
    lost = bool(own.skipped or own.notes or own.error)
    if lost:
        context.note("finer values that are not whole: their summary counts")
    return not lost


def _milliseconds(item: Any, key: str) -> int | None:
    given = item.get(key) if isinstance(item, dict) else None
    return epoch(given) if isinstance(given, (int, float, str)) else None


def _devices(context: Context) -> Iterator[tuple[str, Device]]:
    """Maker and model by the devices' ids, from the file of devices of the same download, whose name ends alike."""
    stamp = context.file.name.rsplit("/", 1)[-1].split(".")[-2:-1]
    file = context.file.companion(f"com.samsung.health.device_profile.{stamp[0]}.csv") if stamp else None
    if file is None or file == context.file:
        return
    for at, (_, _, header, cells) in enumerate(table_lines(Context(file, context.options), count=False)):
        row = named(header, cells)
        if row.get("deviceuuid") and at < 1000:
            model = row.get("name") or row.get("model") or None
            maker = row.get("manufacturer") or None
            maker = MAKER if maker and maker.lower() == MAKER.lower() else maker  # as where this file is not there
            yield row["deviceuuid"], Device(maker, model, row.get("model") or None)


def _device(row: dict[str, str], devices: dict[str, Device]) -> Device:
    unit = row.get("deviceuuid", "")[:60]
    known = devices.get(unit, Device(MAKER))
    return known._replace(unit=unit or None, app=row.get("pkg_name", "")[:100] or None)


READER = Reader("samsung", "Samsung Health: CSV of the download of personal data", sniff, read, by_name=True)
