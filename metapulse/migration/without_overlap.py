"""A map for a person who never wore both devices at once: the weeks before the change against the weeks after.

Every way of ``ways.py`` supposes that the person lived alike before and after, each in its own sense. Whether that
holds is tested on the old device alone: a change that never was is put into its own weeks, where the right map leaves
every reading as it is. What the way makes of it is how wrong it is for this person; that error is the map's band, and a
map that is no better than the population's is refused.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from metapulse.errors import ConfigError, DataError
from metapulse.migration.base import LEVEL, Map, MapCard, Mapped, Times, Values
from metapulse.migration.tables import numbers, open_table, times_us
from metapulse.migration.ways import WAYS, Way, Weeks, carried

HOUR_US, WEEK_H = 3_600_000_000, 168.0
LEAST_CHANGES = 3  # changes that never were, to tell an error from
LEAST_READINGS = 12  # on either side of a change


@dataclass(frozen=True)
class WeeksMap(Map):
    """A monotone map, linear between knots; beyond them a shift by as much as at the last.

    Args:
        card: what it rests on.
        old, new: knots, ascending, the metric's unit.
        half: half the width of the band.
    """

    card: MapCard
    old: Values
    new: Values
    half: float
    kind = "weeks"

    def at(self, time_us: Times, old: Values) -> Mapped:
        """What the new device would have shown; NaN everywhere if the map is refused."""
        value = np.full(len(old), np.nan) if self.card.refused else carried((self.old, self.new), old)
        return Mapped(value, value - self.half, value + self.half)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Half the band, and the knots."""
        return {"half": self.half}, {"old": self.old, "new": self.new}

    @classmethod
    def from_state(cls, card: MapCard, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> WeeksMap:
        """The map of that state."""
        old, new = (np.asarray(arrays[name], np.float64) for name in ("old", "new"))
        if len(old) != len(new) or not len(old):
            raise ValueError("knots of different number, or none")
        return cls(card, old, new, float(values["half"]))


@dataclass(frozen=True)
class Placebo:
    """What a way makes of changes that never were.

    Args:
        changes: how many were tried.
        rmse: root mean square of what readings were moved by, which is all error.
        half: that many of them, by ``LEVEL``, were moved by no more; the worst change where there are few.
    """

    changes: int
    rmse: float
    half: float


def placebo(way: Way, old: Weeks, before_h: float, after_h: float) -> Placebo:
    """Changes within the old device's own weeks, half the weeks after apart: how wrong the way's maps are.

    Args:
        way: of ``WAYS``.
        old: all that the old device recorded.
        before_h, after_h: hours before and after the real change that the map is made of.
    """
    first, last = float(old.hours[0]), float(old.hours[-1] + np.median(np.diff(old.hours)))
    squares, worst = [], []
    change = first + before_h
    while change + after_h <= last + 1e-6:
        before, after = old.between(change - before_h, change), old.between(change, change + after_h)
        if min(len(before.value), len(after.value)) >= LEAST_READINGS:
            error = np.abs(carried(way(before, after), before.value) - before.value)
            squares.append(float(np.square(error).mean()))
            worst.append(float(np.quantile(error, LEVEL)))
        change += after_h / 2
    if not squares:
        return Placebo(0, float("inf"), float("inf"))
    rank = min(len(worst), int(np.ceil((len(worst) + 1) * LEVEL)))  # as in split conformal prediction
    return Placebo(len(squares), float(np.sqrt(np.mean(squares))), float(np.sort(worst)[rank - 1]))


def without_overlap(
    old: Any, new: Any, by: str = "matched", population: Map | None = None, metric: str = "", weeks: float = 4.0
) -> WeeksMap:
    """A person's map from the weeks before a change of device and the weeks after.

    Args:
        old: table of ``time`` and ``value`` of the old device, polars, pandas or Arrow.
        new: the same of the new device; only what is after the old device's last reading is looked at.
        by: a name of ``WAYS``, or "best": the one with the least error in the test.
        population: the map that would be taken otherwise; its ``card.rmse`` is what this one has to beat.
        metric: its name, for the card.
        weeks: looked at on either side, at most.

    Returns:
        A map whose band is its error in the test; a refused one, which gives no values, says why in ``card.refused``.

    Raises:
        ConfigError: no such way.
        DataError: a table lacks a column, or has too few readings.
    """
    if by not in (*WAYS, "best"):
        raise ConfigError("by", by, f"must be one of best, {', '.join(WAYS)}")
    a, b = _weeks(old, "the old device's readings"), _weeks(new, "the new device's readings")
    for side, what in ((a, "the old device"), (b, "the new device")):
        if len(side.value) < LEAST_READINGS:
            raise DataError(f"{what} has {len(side.value)} readings: a map without overlap needs {LEAST_READINGS}")
    change = max(float(a.hours[-1]), float(b.hours[0]))
    b = b.between(change, change + weeks * WEEK_H)
    if len(b.value) < LEAST_READINGS:
        raise DataError(
            f"{len(b.value)} readings of the new device are after the old one's last: needed {LEAST_READINGS}"
        )
    after_h = max(float(b.hours[-1] - b.hours[0]), 24.0)
    before_h = min(weeks * WEEK_H, max(float(a.hours[-1] - a.hours[0]) / 2, after_h))
    before = a.between(change - before_h, change + 1e-6)
    before = before if len(before.value) >= LEAST_READINGS else a
    tests = {
        name: placebo(WAYS[name], a, before_h, after_h) for name in (WAYS if by == "best" else (by,)) if _able(name)
    }
    name = min(tests, key=lambda one: tests[one].rmse)
    test = tests[name]
    knots = WAYS[name](before, b)
    said = "; ".join(f"{one}: {t.rmse:.3g} over {t.changes} changes that never were" for one, t in tests.items())
    notes = ("the band is the map's own error: what single readings of both devices scatter comes on top",)
    card = MapCard(f"weeks, {name}", metric, rmse=test.rmse if test.changes else None, chosen=said, notes=notes)
    return WeeksMap(replace(card, refused=_refused(test, population)), *knots, test.half if test.changes else 0.0)


def _refused(test: Placebo, population: Map | None) -> str:
    """Why a map gives no values; "": it does."""
    if test.changes < LEAST_CHANGES:
        return (
            f"the old device's own weeks hold {test.changes} changes that never were, and {LEAST_CHANGES} are needed to"
            " tell how wrong such a map is"
        )
    if population is not None and population.card.rmse is not None and test.rmse >= population.card.rmse:
        return (
            f"changes that never were move readings by {test.rmse:.3g}, and the population's map errs by"
            f" {population.card.rmse:.3g}: it is no better"
        )
    return ""


def _able(name: str) -> bool:
    """Whether a way can be taken: transport needs its extra, which "best" goes without."""
    return name != "transport" or importlib.util.find_spec("ot") is not None


def _weeks(table: Any, what: str) -> Weeks:
    frame = open_table(table, ("time", "value"), what)
    hours, value = times_us(frame, "time", what) / HOUR_US, numbers(frame, "value", what)
    order = np.argsort(hours, kind="stable")
    order = order[~np.isnan(value[order])]
    return Weeks(hours[order], value[order])
