"""Empatica E4: the CSV files of a session's zip. The first line is when it began, the second how many samples a second.

Nothing in the files of one column says what was measured; their name does. Acceleration comes in 1/64 g, three
columns. Beats (IBI) have their own times, in seconds from the beginning. Heart rate is the mean of ten seconds that
Empatica computes from the pulse. A skin conductance of exactly 0 is a strap that does not touch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from metapulse.record.clock import US, epoch
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.text import lines, number
from metapulse.record.schema import Device, Row

#: Name → metric, unit, and the rate at which all E4 sample it, in Hz.
SERIES: dict[str, tuple[str, str, float]] = {
    "HR": ("heart_rate", "bpm", 1.0),
    "TEMP": ("skin_temperature", "Cel", 4.0),
    "EDA": ("eda", "uS", 4.0),
    "BVP": ("bvp", "1", 64.0),
    "ACC": ("acceleration", "[g]", 32.0),
}
AXES = ("x", "y", "z")
PER_G = 64
FASTEST = 1000.0  # Hz
_BEGIN = re.compile(r"\s*(\d{10}(?:\.\d{1,9})?)\s*((?:,\s*\d{10}(?:\.\d{1,9})?\s*){2})?")
_RATE = re.compile(r"\s*(\d{1,4}(?:\.\d{1,9})?)\s*(?:,[\s\d.,]*)?")
_BEATS = re.compile(r"\s*(\d{10}(?:\.\d{1,9})?)\s*,\s*IBI\s*", re.IGNORECASE)
_SERIAL = re.compile(r"_(A[0-9A-F]{5})(?:[./_]|$)")


def sniff(sample: Sample) -> str:
    """By the two lines above the samples."""
    if not sample.lines or len(sample.lines) < 2:
        return ""
    if _BEATS.fullmatch(sample.lines[0]):
        return "a time in seconds since 1970 and IBI, as Empatica's beats"
    begin, rate = _BEGIN.fullmatch(sample.lines[0]), _RATE.fullmatch(sample.lines[1])
    known = {series[2] for series in SERIES.values()}
    if begin and rate and float(rate[1]) in known and (begin[2] is None) == ("," not in sample.lines[1]):
        return "a time in seconds since 1970, then a rate, as in a session of Empatica's"
    return ""


def read(context: Context) -> Iterator[Row]:
    """Samples of one sensor, or beats."""
    source = lines(context)
    first = next(source, (0, ""))[1].lstrip("\ufeff")
    context.seen()
    context.skip("when it began")
    serial = _SERIAL.search(context.file.name)
    device = Device("Empatica", "E4", unit=serial[1] if serial else None)
    if beats := _BEATS.fullmatch(first):
        yield from _beats(context, source, epoch(beats[1]) or 0, device)
        return
    begin, second = _BEGIN.fullmatch(first), next(source, None)
    if second is not None:
        context.seen()
        context.skip("how many samples a second")
    rate = _RATE.fullmatch(second[1]) if second else None
    name = context.file.name.rsplit("/", 1)[-1].rsplit(".", 1)[0].upper()
    found = next((series for key, series in SERIES.items() if re.search(rf"(?<![A-Z]){key}(?![A-Z])", name)), None)
    if begin is None or rate is None or not 0 < float(rate[1]) <= FASTEST or found is None:
        nameless = begin is not None and rate is not None and found is None
        why = (
            "its name does not say what was measured (ACC, BVP, EDA, HR or TEMP)" if nameless else "no time or no rate"
        )
        for _ in source:
            context.seen()
            context.skip(why)
        return
    yield from _samples(context, source, epoch(begin[1]) or 0, float(rate[1]), found, device)


def _samples(
    context: Context, source: Iterator[tuple[int, str]], begin: int, rate: float, series: tuple[str, str, float],
    device: Device,
) -> Iterator[Row]:  # fmt: skip
    """One sample a line, the next 1/rate s later; a broken line keeps its place in time."""
    metric, unit, _ = series
    for at, (line, text) in enumerate(source):
        context.seen()
        if not text.strip():  # before anything is computed: of a sensor that was off there are many
            context.skip("an empty line")
            continue
        start = begin + round(at * US / rate)
        cells = text.split(",")
        values = [number(cell.strip()) for cell in cells]
        whole = Row(metric, start, None, unit, line, None, context.clock.offset(start), None, device)
        if metric == "acceleration" and len(values) == len(AXES) and None not in values:
            for axis, value in zip(AXES, values, strict=True):
                yield whole._replace(value=(value or 0.0) / PER_G, code=axis, raw=f"{value:g}/64 g")
        elif metric != "acceleration" and len(values) == 1 and values[0] is not None:
            marks = ("not_worn_suspected",) if metric == "eda" and not values[0] else ()
            yield whole._replace(value=values[0], quality=marks)
        else:
            context.skip("no sample")


def _beats(context: Context, source: Iterator[tuple[int, str]], begin: int, device: Device) -> Iterator[Row]:
    """Seconds from the beginning, and seconds since the beat before."""
    for line, text in source:
        context.seen()
        values = [number(cell.strip()) for cell in text.split(",")]
        after, length = values if len(values) == 2 else (None, None)
        if after is None or length is None or not 0 <= after < 1e9:
            context.skip("no beat" if text.strip() else "an empty line")
            continue
        start = begin + round(after * US)
        yield Row("rr_interval", start, length, "s", line, None, context.clock.offset(start), None, device)


READER = Reader("empatica", "Empatica E4: CSV files of a session", sniff, read, by_name=True)
