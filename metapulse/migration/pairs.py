"""Readings of two devices at the same moments, by person: the table that maps are learned from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64

from metapulse.errors import DataError
from metapulse.migration.tables import numbers, open_table, texts, times_us
from metapulse.record.metrics import metrics

HOUR_US = 3_600_000_000
ODD = 0.1  # share of a column that may lie outside what the metric can be

Column = Float64[np.ndarray, " n"]


@dataclass(frozen=True)
class Paired:
    """One person's pairs, in order of time, a row a moment.

    Args:
        hours: since 1970 in UTC.
        old, new: readings of the two devices, the metric's unit.
    """

    hours: Column
    old: Column
    new: Column

    def __len__(self) -> int:
        return len(self.hours)

    @property
    def span(self) -> float:
        """Hours from the first moment to the last."""
        return float(self.hours[-1] - self.hours[0]) if len(self) else 0.0

    def where(self, rows: np.ndarray) -> Paired:
        """Some of the rows, by mask or index."""
        return Paired(self.hours[rows], self.old[rows], self.new[rows])


@dataclass(frozen=True)
class Pairs:
    """Everyone's pairs.

    Args:
        people: by name, in order of names.
        left_out: rows that were not used, by reason.
    """

    people: dict[str, Paired]
    left_out: Counter[str] = field(default_factory=Counter)


def read_pairs(table: Any, what: str = "the pairs", metric: str = "") -> Pairs:
    """The pairs of a table, cleaned: without rows that lack a number, and one row a moment, its mean.

    Args:
        table: polars, pandas or Arrow, with ``time`` (UTC), ``old``, ``new`` and, where there are several people,
            ``person``.
        what: the table is, for messages.
        metric: its name; "": not told, and values may be anything.

    Raises:
        DataError: a column is missing or of another type, a row is of no person, or values are in another unit.
    """
    frame = open_table(table, ("time", "old", "new"), what)
    hours = times_us(frame, "time", what) / HOUR_US
    old, new = numbers(frame, "old", what), numbers(frame, "new", what)
    person = texts(frame, "person") if "person" in frame.columns else np.full(len(old), "", object)
    if "person" in frame.columns and (lacking := int((person == "").sum())):
        raise DataError(f"{what}: column 'person' lacks {lacking} of {len(person)} names")
    for column, values in (("old", old), ("new", new)):
        _check_unit(values, column, what, metric)
    left: Counter[str] = Counter()
    whole = ~(np.isnan(old) | np.isnan(new))
    left["rows without both readings"] = int((~whole).sum())
    people = {}
    for name in sorted(set(person[whole])):
        one, repeats = _one_a_moment(Paired(hours, old, new).where(whole & (person == name)))
        left["rows of a moment that is there already"] += repeats
        people[name] = one
    return Pairs(people, +left)


def _check_unit(values: Column, column: str, what: str, metric: str) -> None:
    """Refuse a column most of which the metric cannot be: glucose in mmol/L, say, where mg/dL are expected."""
    known = values[~np.isnan(values)]
    if metric not in metrics() or not len(known):
        return
    of, median = metrics()[metric], float(np.median(known))
    low, high = (-np.inf if of.low is None else of.low), (np.inf if of.high is None else of.high)
    outside, span = float(((known < low) | (known > high)).mean()), f"{metric} is {low:g} to {high:g} {of.unit}"
    if outside > ODD:
        told = f"column {column!r} has a median of {median:.3g}, {outside:.0%} of it outside"
        raise DataError(f"{what}: {told}, and {span}: is it, or a part of it, in another unit?")


def _one_a_moment(rows: Paired) -> tuple[Paired, int]:
    """Sorted; rows of one moment become their mean."""
    moment, place, count = np.unique(rows.hours, return_inverse=True, return_counts=True)
    old, new = (np.bincount(place, column) / count for column in (rows.old, rows.new))
    return Paired(moment, old, new), len(rows) - len(moment)
