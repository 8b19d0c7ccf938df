"""The table of metrics, ``metrics.csv``: what can be in a record, its unit, its plausible range, how it merges.

How a metric merges where sources overlap: ``sum`` (counts and amounts over time: one source a moment, then added up),
``mean`` (samples of something continuous), ``last`` (one number of a day, a night or a moment: the newest stands),
``union`` (intervals: together, never added up).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from metapulse.errors import DataError

MERGES = ("last", "mean", "sum", "union")


@dataclass(frozen=True)
class Metric:
    """One line of the table.

    Args:
        name: as in the record.
        title: for people.
        unit: canonical unit, UCUM.
        low: least plausible value; None: any.
        high: greatest plausible value; None: any.
        merge: one of ``MERGES``.
        loinc: LOINC code; "" if there is none that fits.
        schema: "namespace:name:version" of the Open mHealth or IEEE 1752.1 schema; "" if there is none.
    """

    name: str
    title: str
    unit: str
    low: float | None
    high: float | None
    merge: str
    loinc: str
    schema: str


@cache
def metrics() -> MappingProxyType[str, Metric]:
    """Every metric by its name."""
    text = files("metapulse.record").joinpath("metrics.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    table = (
        Metric(
            r["name"], r["title"], r["unit"], _number(r["low"]), _number(r["high"]), r["merge"], r["loinc"], r["omh"]
        )
        for r in rows
    )
    return MappingProxyType({metric.name: metric for metric in table})


def metric(name: str) -> Metric:
    """One metric.

    Raises:
        DataError: there is none of that name.
    """
    try:
        return metrics()[name]
    except KeyError:
        raise DataError(f"metric {name!r}: not in the table of metrics (metapulse/record/metrics.csv)") from None


def _number(text: str) -> float | None:
    return float(text) if text else None
