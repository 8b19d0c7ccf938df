"""Withings: the series in its zip, raw_*.csv, and their totals by day, aggregates_*.csv.

Raw series are run-length lists, ``start,duration,value``: one value after another from ``start`` on; which metric it
is, only the file's name says. Their offset is the account's; where the person was, sleep.csv of the same zip tells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from metapulse.record.clock import DAY, US, Clock
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.text import csv_column, csv_table, lines, number
from metapulse.record.schema import Device, Row

WITHINGS = Device("Withings")
SERIES, TOTALS = ("start", "duration", "value"), ("date", "value")
TOTAL = "daily"  # of what the raw series have minute by minute: not to be added to them
#: End of a raw file's name → metric, unit.
RAW: dict[str, tuple[str, str | None]] = {
    "hr": ("heart_rate", "bpm"),
    "steps": ("steps", None),
    "distance": ("distance", "m"),
    "elevation": ("elevation_gain", "m"),
    "calories-earned": ("active_energy", "kcal"),
    "spo2": ("spo2", "%"),
    "respiratory-rate": ("respiratory_rate", "/min"),
    "sleep-state": ("sleep_stage", None),
    "altitude": ("altitude", "m"),
    "gps-speed": ("speed", "m/s"),
    "sd nn": ("hrv_sdnn", "ms"),
    "rms sd": ("hrv_rmssd", "ms"),
}
#: Middle of an aggregate's name → metric, unit.
DAILY: dict[str, tuple[str, str | None]] = {
    "steps": ("steps_daily", None),
    "distance": ("distance", "m"),
    "elevation": ("floors", None),
    "calories_earned": ("active_energy", "kcal"),
    "calories_passive": ("basal_energy", "kcal"),
}
STAGES = ("awake", "light", "deep", "rem")
TRIPS = 1000  # changes of zone that are kept
#: A list of words and numbers: none is missing, and no comma.
_FLAT = re.compile(r"\[(?:\s*+[^\s\[\]{},]++\s*+(?:,|(?=\])))*+\]")
_NIGHT = re.compile(r'"?([^",]{19,32})"?,"?([^",]{19,32})"?,')


def sniff(sample: Sample) -> str:
    """By the header; of an aggregate, whose header says little, by its name too."""
    header = [cell.strip().strip('"').lower() for cell in sample.lines[0].split(",")] if sample.lines else []
    name = sample.name.rsplit("/", 1)[-1].lower()
    if set(SERIES) <= set(header) and ("[" in sample.text[:4096] or name.startswith("raw_")):
        return "a raw series of start, duration and value"
    if set(TOTALS) <= set(header) and name.startswith("aggregates_"):
        return "a date and a value, in a file that is named as Withings' daily totals"
    return ""


def read(context: Context) -> Iterator[Row]:
    """A raw series, or a total of each day."""
    header = next((line for _, line in lines(context)), "").lower()
    yield from (_raw if "duration" in header else _daily)(context)


def _name(context: Context) -> str:
    """The file's name without its ending, and without the number of a second download."""
    return re.sub(r"( \(\d+\))?\.csv$", "", context.file.name.rsplit("/", 1)[-1].lower())


def _raw(context: Context) -> Iterator[Row]:
    """Run-length lists. Of places only the first value of a list is one; the others are differences."""
    name = _name(context)
    metric, unit = next((RAW[end] for end in RAW if re.search(rf"[-_ ]{end}$", name)), ("", None))
    where = _Where(context)
    for at, cells in csv_table(context, *SERIES, fold=str.lower, known=SERIES):
        stamp = context.clock.read(cells["start"])
        lengths, values = _list(cells["duration"]), _list(cells["value"])
        if not metric or stamp is None or stamp.end is not None:
            context.skip("a stamp that is no time" if metric else "a series whose file's name is no metric of ours")
            continue
        if len(lengths) != len(values):  # one of them is broken, or lost a comma: which value is whose is not known
            context.skip("lists of different lengths")
            continue
        values = values[:1] if "location" in name else values
        begin, given = stamp.start, False
        lengths = lengths[: len(values)]
        for place, (length, value) in enumerate(zip(lengths, values, strict=False)):
            seconds, value = number(length), number(value)
            if seconds is None or not 0 <= seconds < 1e9:  # nor is it known when what follows began
                context.tally.note("a value of a list at no known time", len(values) - place)
                break
            end = begin + round(seconds * US)
            row = Row(metric, begin, value, unit, at, end, where.offset(begin), None, WITHINGS, stamp.marks)
            begin = end
            if metric == "sleep_stage" and value is not None:
                asleep = "sleep-monitor" in name and value == 1  # which tells no more than that
                stage = "asleep" if asleep else STAGES[int(value)] if value in range(4) else "unknown"
                row = row._replace(value=None, code=stage)
            elif value is None or (value < 0 and metric != "altitude"):  # -1: could not be measured
                context.note("a value of a list that is none")
                continue
            given = True
            yield row
        if not given:
            context.skip("no value")


def _list(text: str) -> list[Any]:
    """The list in a cell; one of a single element may be bare. An element that is broken is None."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = [_scalar(part) for part in text[1:-1].split(",")] if _FLAT.fullmatch(text) else []
    return found if isinstance(found, list) else [found]


def _scalar(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


class _Where:
    """Where the person's clock stood, by the nights of the same zip: runs of nights with the same offset."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.runs: list[tuple[int, int, int]] = []  # first start, last end, offset in minutes
        beside = context.file.name.rpartition("/")[0]
        nights = context.file.beside.get(f"{beside}/sleep.csv") if context.options.zone is None else None
        for _, line in lines(context, nights) if nights else ():
            found = _NIGHT.match(line)
            stamps = [Clock().read(text) for text in found.groups()] if found else []
            if len(stamps) == 2 and (begin := stamps[0]) and (end := stamps[1]) and begin.offset_min is not None:
                self._add(begin.start, end.start, begin.offset_min)
        self.runs.sort()

    def _add(self, begin: int, end: int, offset: int) -> None:
        if self.runs and self.runs[-1][2] == offset:
            first, last, _ = self.runs.pop()
            begin, end = min(begin, first), max(end, last)
        if len(self.runs) < TRIPS:
            self.runs.append((begin, end, offset))

    def offset(self, instant: int) -> int | None:
        """Minutes before UTC; None where no night is within a day, or nights about it differ."""
        if self.context.options.zone is not None:
            return self.context.clock.offset(instant)
        found = {offset for begin, end, offset in self.runs if begin - DAY < instant < end + DAY}
        return found.pop() if len(found) == 1 else None


def _daily(context: Context) -> Iterator[Row]:
    metric, unit = DAILY.get(_name(context).removeprefix("aggregates_"), ("", None))
    context.date_order(csv_column(context, "date", fold=str.lower), "dmy")
    for at, cells in csv_table(context, *TOTALS, fold=str.lower, known=TOTALS):
        stamp, value = context.clock.read(cells["date"]), number(cells["value"])
        if not metric or stamp is None or value is None:
            context.skip("no metric of ours" if not metric else "no value" if stamp else "a stamp that is no time")
        else:
            code = None if metric == "steps_daily" else TOTAL
            yield Row(metric, stamp.start, value, unit, at, stamp.end, stamp.offset_min, code, WITHINGS, stamp.marks)


READER = Reader("withings", "Withings: raw_*.csv and aggregates_*.csv of its zip", sniff, read, by_name=True)
