"""Dexcom: the CSV of Clarity. Whole seconds on the phone's clock, which stays at home; limits in words.

The transmitter's seconds are in every row, and a row without a value stands two hours before each transmitter's first,
as while a sensor warms up: so reading knows which of two 02:30 is meant.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence

from metapulse.record.clock import HOUR, MINUTE, US
from metapulse.record.readers.dexcom import HIGH, LOW
from metapulse.record.schema import Device, Row
from metapulse.sim.fake.formats.base import Format, Making, in_zone
from metapulse.sim.fake.formats.dexcom_words import ENGLISH, IN_GERMAN, Words
from metapulse.sim.fake.formats.items import gathered, limit_of, limited, rounded, wall_at_home, written_value
from metapulse.sim.fake.formats.parts import SECOND, again, csv_text, floored, iso, of_day, plain, put

#: What is typed in: metric → type, subtype, digits.
TYPED: dict[str, tuple[str, str, int | None]] = {
    "insulin_rapid": ("Insulin", "Fast-Acting", 2),
    "insulin_long": ("Insulin", "Long-Acting", 2),
    "insulin": ("Insulin", "", 2),
    "carbohydrates": ("Carbs", "", None),
}
EFFORTS = ("light", "medium", "heavy")
PLACES = dict.fromkeys(("glucose", "glucose_rate"), "EGV")  # metrics of one row
WARM_UP = 2 * HOUR
LONGEST = 999 * HOUR


def says(row: Row) -> Row | None:
    """Whole mg/dL between 40 and 400; a finger's value is a calibration; exercise has an effort and no kind."""
    metric, code = row.metric, row.code
    if row.value is None or of_day(row):
        return None
    told = floored(plain(row), SECOND)._replace(offset_min=None, device=_device(row.device))
    if metric == "workout":
        length = 0 if told.end is None else told.end - told.start
        effort = code if code in EFFORTS else "unknown"
        marked = told._replace(value=length / MINUTE, code=effort, quality=("manual",))
        return marked if 0 < length < LONGEST else None
    told = told._replace(end=None)
    if metric in TYPED:
        return rounded(told, TYPED[metric][2])._replace(code=TYPED[metric][1].lower() or None, quality=("manual",))
    if metric == "glucose_blood" and code in (None, "calibration"):
        return rounded(told, None)._replace(code="calibration")
    if metric == "glucose_rate" and code is None:
        return rounded(told, 1)
    known = metric == "glucose" and code is None
    return limited(rounded(told, None), row.quality, (LOW + 1, HIGH - 1), (LOW, HIGH)) if known else None


def _device(device: Device) -> Device:
    """What the phone and its app are called says the generation; the transmitter is the unit."""
    found = re.search(r"\bG[4-9]\b", device.model or "")
    kind = found[0] if found else "G6"
    return Device("Dexcom", f"Dexcom {kind}", unit=device.unit, app=f"Dexcom {kind} Mobile App (iPhone {kind})")


def write(rows: Sequence[Row], making: Making) -> None:
    """One file; with traps in German, with a header that another program spoilt, repeats and a torn end."""
    told = [row for row in map(says, rows) if row is not None]
    if not told:
        return
    words = IN_GERMAN if making.traps else ENGLISH
    lines: list[tuple[object, ...]] = [
        ("", "FirstName", "", "X", "", "", ""),
        ("", "LastName", "", "X", "", "", ""),
        *(("", "Device", "", "", *app, "") for app in sorted({_phone(row.device) for row in told})),
        ("", "Alert", "High", "", "", "", 251),
        ("", "Alert", "Urgent Low", "", "", "", 55),
    ]
    lines += _lines(again(told, making.rng) if making.traps else told, making.zone, words)
    text = csv_text([words.header, *((at, *line) for at, line in enumerate(lines, start=1))])
    if making.traps:
        text = "\ufeff" + text.replace("\n", "\r\n") + f"{len(lines) + 1},2024-04-0"
    put(making.folder / "Clarity_Export.csv", text)


def _phone(device: Device) -> tuple[str, str]:
    app, _, phone = (device.app or "").partition(" (")
    return app, phone.rstrip(")")


def _lines(rows: Sequence[Row], zone: str, words: Words) -> Iterator[tuple[object, ...]]:
    """In order of time; those of a transmitter count from two hours before the first of them."""
    begun: dict[str | None, int] = {}
    openings: list[dict[Hashable, Row]] = []
    for row in rows:
        if row.device.unit not in begun:
            begun[row.device.unit] = row.start - WARM_UP
            openings.append({"": row._replace(metric="", start=row.start - WARM_UP)})
    items = [
        *openings,
        *gathered(rows, lambda row: (row.start, row.device, PLACES.get(row.metric, row.metric))),
    ]
    for item in sorted(items, key=lambda item: next(iter(item.values())).start):
        row = next(iter(item.values()))
        stamp = iso(wall_at_home(row.start, zone), "", 0).replace("T", words.between)
        kind, subtype, *values = _cells(item, words)
        seconds = (row.start - begun[row.device.unit]) // US
        yield stamp, kind, subtype, "", "", _phone(row.device)[1], *values, seconds, row.device.unit


def _cells(item: dict[Hashable, Row], words: Words) -> tuple[object, ...]:
    """Type, subtype; glucose, insulin, carbohydrates, duration, rate of change."""
    metric, row = next(iter(item.items()))
    if metric in TYPED:
        kind, subtype, digits = TYPED[row.metric]
        amount = written_value(row, digits)
        return (kind, subtype, "", "", amount, "", "") if kind == "Carbs" else (kind, subtype, "", amount, "", "", "")
    if metric == "workout":
        seconds = ((row.end or row.start) - row.start) // US
        length = f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        return "Exercise", "" if row.code == "unknown" else (row.code or "").capitalize(), "", "", "", length, ""
    if metric == "glucose_blood":
        return words.calibration, "", written_value(row, None), "", "", "", ""
    glucose, rate = item.get("glucose"), item.get("glucose_rate")
    text = "" if glucose is None else _word(glucose, words)
    return "EGV", "", text, "", "", "", "" if rate is None else written_value(rate, 1)


def _word(row: Row, words: Words) -> str:
    return {"low": words.low, "high": words.high}.get(limit_of(row), str(written_value(row, None)))


METRICS = frozenset({*TYPED, "glucose", "glucose_blood", "glucose_rate", "workout"})
FORMAT = Format("dexcom", "Dexcom: CSV of Clarity", METRICS, says, write, in_zone, placed=True)
