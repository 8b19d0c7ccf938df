"""Apple Health's electrocardiograms: CSV with a head in the phone's language, then one value a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from metapulse.record.clock import US
from metapulse.record.readers.base import Context, Reader, Sample
from metapulse.record.readers.text import lines, number
from metapulse.record.schema import Device, Row

HEAD = 40  # lines above the first value, at most
APPLE = Device(manufacturer="Apple Inc.")
_RATE = re.compile(r"(\d+(?:[.,]\d+)?)\s*(?:hertz|hz|赫兹|ヘルツ|герц)\.?", re.IGNORECASE)
_START = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}")


def sniff(sample: Sample) -> str:
    """A rate in hertz, a stamp in Apple's form, and numbers below."""
    head = _head(sample.lines[:HEAD])
    return "its head has a rate in hertz and a stamp as Apple Health writes them" if head else ""


def read(context: Context) -> Iterator[Row]:
    """One row a value."""
    head = _head([text for _, text in islice(lines(context), HEAD)])
    start, rate = context.clock.read(head.get("start", "")), number(head.get("rate"), decimal_comma=True)
    count = 0
    for line, text in lines(context):
        if not text.strip():
            continue
        context.seen()
        value = number(text.strip().strip('"'), decimal_comma=True)
        if start is None or not rate or value is None:
            context.skip("its value is no number" if count else "above the values")
            continue
        at = start.start + round(count * US / rate)
        count += 1
        yield Row("ecg", at, value, head.get("unit", "uV"), line, None, start.offset_min, "lead_i", APPLE)


def _head(texts: list[str]) -> dict[str, str]:
    """What stands above the values, whatever it is called; {}: this is none."""
    found: dict[str, str] = {}
    for text in texts:
        _, _, said = (
            (part.strip().strip('"') for part in re.split("([,;])", text, maxsplit=1))
            if re.search("[,;]", text)
            else ("",) * 3
        )
        if rate := _RATE.fullmatch(said):
            found["rate"] = rate[1]
        elif _START.fullmatch(said):
            found["start"] = said
        elif said in ("µV", "μV", "mV"):
            found["unit"] = said
    return found if {"rate", "start"} <= found.keys() else {}


READER = Reader("apple_ecg", "Apple Health: electrocardiograms (CSV)", sniff, read)
