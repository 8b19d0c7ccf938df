"""Where the columns of Dexcom's Clarity are."""

from __future__ import annotations

import re
from typing import NamedTuple

from metapulse.record.readers.columns import CONCENTRATIONS, by_name, placed, split
from metapulse.record.units import ucum

ORDER = ("index", "stamp", "type", "subtype", "person", "app", "phone", "glucose", "insulin", "carbs")


class Columns(NamedTuple):
    """Where things are. Without places: a header of Clarity in another order, under names that are not known."""

    at: dict[str, int]
    unit: str  # of glucose
    rate_unit: str
    unit_marks: tuple[str, ...]


def columns(header: list[str]) -> Columns | None:
    """The columns by their names, or by brackets and order; None if this is no header of Clarity."""
    found = _by_bracket(header)
    named = by_name("dexcom", header)
    if not {"stamp", "insulin", "carbs"} <= found.keys() or not found.keys() & {"glucose", "rate"}:
        return None
    if "type" not in named and not found["stamp"] + 5 < found["insulin"] < found["carbs"]:
        return None
    at = placed(named, _ordered(header, found))
    if not {"stamp", "type"} <= at.keys():
        return Columns({}, "", "", ())
    unit, rate = (ucum(split(header[at[name]])[1]) if name in at else "" for name in ("glucose", "rate"))
    return Columns(at, unit or rate.removesuffix("/min"), rate, () if unit else ("unit_assumed",))


def _by_bracket(header: list[str]) -> dict[str, int]:
    """What the brackets tell: the first column of a form of stamps, of glucose, insulin, grams, lengths, rates."""
    found: dict[str, int] = {}
    for place, cell in enumerate(header):
        inner = split(cell)[1]
        unit = ucum(inner) if inner else ""
        kind = {"U": "insulin", "g": "carbs", "mg/dL/min": "rate", "mmol/L/min": "rate"}.get(unit, "")
        kind = "glucose" if unit in CONCENTRATIONS else kind
        if re.search(r"-.*hh:mm:ss", inner):
            kind = "stamp"
        elif inner.lower() == "hh:mm:ss":
            kind = "duration"
        if kind:
            found.setdefault(kind, place)
    return found


def _ordered(header: list[str], found: dict[str, int]) -> dict[str, int]:
    """Clarity's order: up to carbohydrates, then length, rate, transmitter; {} if brackets or number are others."""
    first = found["stamp"] - 1
    order = {name: at for at, name in enumerate(ORDER, start=first) if at >= 0}
    length, rate = found.get("duration", -1), found.get("rate", -1)
    after = order["carbs"] + 1
    if first > 0 or any(found.get(name, at) != at for name, at in order.items()):
        return {}
    if length not in (-1, after) or rate not in (-1, after, after + 1) or length == rate != -1:
        return {}
    last = after + 1 if rate < 0 else rate + 3  # where the transmitter's two columns have ended
    if any(cell.strip() for cell in header[last:]):
        return {}
    order |= {"duration": length} if length >= 0 else {}
    return order | ({"rate": rate, "seconds": rate + 1, "transmitter": rate + 2} if rate >= 0 else {})
