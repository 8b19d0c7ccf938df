"""Codes of LOINC and of IEEE 11073 (MDC), as FHIR and HL7 v2 write them → metrics: ``codes.csv``; and units, limits.

The code says what kind of value it is, the unit beside the value what its number means: a mass code with mmol/L is read
as mmol/L. Only where there is no unit at all is the code's usual one taken, and marked.
"""

from __future__ import annotations

import csv
import re
from importlib.resources import files
from typing import NamedTuple

from metapulse.record.metrics import metrics
from metapulse.record.readers.text import number
from metapulse.record.units import ucum

METRIC = "urn:metapulse:metric"  # a code system of our own, for metrics that others have no code for: their names
#: How MDC names its units.
MDC_UNITS = {
    "MDC_DIM_BEAT_PER_MIN": "/min",
    "MDC_DIM_RESP_PER_MIN": "/min",
    "MDC_DIM_PERCENT": "%",
    "MDC_DIM_MMHG": "mm[Hg]",
    "MDC_DIM_KILO_G": "kg",
    "MDC_DIM_LB": "[lb_av]",
    "MDC_DIM_CENTI_M": "cm",
    "MDC_DIM_MILLI_G_PER_DL": "mg/dL",
    "MDC_DIM_MILLI_MOLE_PER_L": "mmol/L",
    "MDC_DIM_DEGC": "Cel",
    "MDC_DIM_FAHR": "[degF]",
}
#: What a comparator makes of a value.
LIMITS = {"<": "censored_low", "<=": "censored_low", ">": "censored_high", ">=": "censored_high"}
_LIMITED = re.compile(r"\s*(<=|>=|<|>|≤|≥|=)?\s*([^<>=≤≥]*?)\s*")
_SIGNS = {"≤": "<=", "≥": ">="}


class Meaning(NamedTuple):
    """What a code stands for: the metric, what kind of value, the unit where none is written, marks."""

    metric: str
    code: str | None
    unit: str
    marks: tuple[str, ...] = ()


def _table() -> dict[str, Meaning]:
    text = files("metapulse.record.readers").joinpath("codes.csv").read_text(encoding="utf-8")
    return {r["code"]: _meaning(r) for r in csv.DictReader(text.splitlines())}


def _meaning(line: dict[str, str]) -> Meaning:
    if line["kind"] == "manual":  # "stated": told by the person
        return Meaning(line["metric"], None, line["unit"], ("manual",))
    return Meaning(line["metric"], line["kind"] or None, line["unit"])


CODES = _table()


def meaning(system: object, code: object) -> Meaning | None:
    """What a code stands for; None for codes of other systems, and for what is no metric.

    Args:
        system: "http://loinc.org", "LN", "MDC", "urn:iso:std:iso:11073:10101", ``METRIC``; empty: not told, the code
            decides.
        code: "8867-4", "149530".
    """
    if system == METRIC:
        return Meaning(code, None, metrics()[code].unit) if isinstance(code, str) and code in metrics() else None
    if not isinstance(code, str) or (found := CODES.get(code.strip())) is None:
        return None
    name = system.lower() if isinstance(system, str) else ""
    of_loinc = "loinc" in name or name in ("ln", "urn:oid:2.16.840.1.113883.6.1", "2.16.840.1.113883.6.1")
    of_mdc = "mdc" in name or "11073" in name or name.endswith("2.16.840.1.113883.6.24")
    return found if (of_loinc if "-" in code else of_mdc) or (not name and "-" in code) else None


def unit(*written: object) -> str | None:
    """The first of these texts that is a unit known, without annotations; else the first text; None if there is none.

    Args:
        written: "{beats}/min", "mmHg", "MDC_DIM_PERCENT", None.
    """
    texts = [text.strip() for text in written if isinstance(text, str) and text.strip()]
    for text in texts:
        for form in (text, MDC_UNITS.get(text, ""), re.sub(r"\{[^{}]*\}", "", text) or "1"):
            if ucum(form):
                return form
    return texts[0] if texts else None


def limited(text: str) -> tuple[float | None, str]:
    """(number, comparator) of "<40", "≥ 500", "97"; (None, "") if it is neither."""
    found = _LIMITED.fullmatch(text[:64])
    value = number(found[2]) if found else None
    return (None, "") if found is None or value is None else (value, _SIGNS.get(found[1] or "", found[1] or ""))
