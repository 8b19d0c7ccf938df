"""Ways to a map from the weeks before a change of device and the weeks after, where no moment is in both.

matched     the same hours of the same kind of day have the same mean; a line through these means
quantile    readings have the same distribution
coral       readings have the same mean and variance (Sun, Feng and Saenko 2016, arXiv:1511.05547; one dimension)
transport   days of the same weekday have the same readings at the same hours: optimal transport in hour and value
(Flamary and others 2021, JMLR 22(78), POT)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64

from metapulse.errors import ConfigError

QUANTILES = 21
TRANSPORT_ROWS = 96  # readings of a weekday at most
HOUR_SPREAD = 1.0  # of transport: so many hours cost as much as one standard deviation of the values
SHRINK_CELLS = 4.0  # cells that hold a matched line's slope to 1


@dataclass(frozen=True)
class Weeks:
    """Readings of one device in order of time.

    Args:
        hours: since 1970 in UTC: cells are of one clock on both sides of a change.
        value: the metric's unit.
    """

    hours: Float64[np.ndarray, " n"]
    value: Float64[np.ndarray, " n"]

    def between(self, first: float, last: float) -> Weeks:
        """Those in [first, last), hours."""
        inside = (self.hours >= first) & (self.hours < last)
        return Weeks(self.hours[inside], self.value[inside])

    @property
    def cells(self) -> np.ndarray:
        """Hour of the day, and whether it is a weekend: a cell a reading. 1 January 1970 was a Thursday."""
        day = (self.hours // 24 + 3) % 7
        return (self.hours % 24).astype(np.int64) + 24 * (day >= 5)

    @property
    def daily(self) -> bool:
        """Whether there is one reading a day or less, so that cells are days of the week."""
        return len(self.hours) > 1 and float(np.median(np.diff(self.hours))) > 12.0


Knots: TypeAlias = tuple[np.ndarray, np.ndarray]  # readings of the old device, ascending, and of the new
Way: TypeAlias = Callable[[Weeks, Weeks], Knots]


def matched(before: Weeks, after: Weeks) -> Knots:
    """A line through the means of the same cells: hours of working days and weekends, or days of the week."""
    cells = [w.hours // 24 % 7 if before.daily else w.cells for w in (before, after)]
    common = np.intersect1d(cells[0], cells[1])
    if len(common) < 3:
        return _shifted(before, float(np.median(after.value) - np.median(before.value)))
    x, y = (np.array([w.value[c == one].mean() for one in common]) for w, c in zip((before, after), cells, strict=True))
    spread = x - x.mean()
    pull = SHRINK_CELLS * float(before.value.var()) / max(len(common), 1)
    slope = (spread @ (y - y.mean()) + pull) / (spread @ spread + pull) if pull else 1.0
    return _line(before, slope, float(y.mean() - slope * x.mean()))


def quantile(before: Weeks, after: Weeks) -> Knots:
    """Quantiles on quantiles, from 2.5 to 97.5 %."""
    at = np.linspace(0.025, 0.975, QUANTILES)
    return _increasing(np.quantile(before.value, at), np.quantile(after.value, at))


def coral(before: Weeks, after: Weeks) -> Knots:
    """x → μ' + (x − μ) σ'/σ: correlation alignment in one dimension."""
    sd = float(before.value.std())
    slope = float(after.value.std()) / sd if sd > 0 else 1.0
    return _line(before, slope, float(after.value.mean() - slope * before.value.mean()))


def transport(before: Weeks, after: Weeks) -> Knots:
    """Barycentric images under the optimal transport of days onto days of the same weekday, smoothed to quantiles.

    Raises:
        ConfigError: the extra "transport" is not installed.
    """
    try:
        import ot
    except ImportError:
        raise ConfigError("by", "transport", "needs the extra: pip install metapulse[transport]") from None
    scale = max(float(before.value.std()), 1e-9)
    images: list[np.ndarray] = []
    given: list[np.ndarray] = []
    for weekday in range(7):
        sides = [_thinned(w, (w.hours // 24) % 7 == weekday) for w in (before, after)]
        if min(len(side.value) for side in sides) == 0:
            continue
        points = [np.stack([s.hours % 24 / HOUR_SPREAD, s.value / scale], 1) for s in sides]
        points = [p[:, 1:] for p in points] if before.daily else points
        weights = [np.full(len(p), 1.0 / len(p)) for p in points]
        plan = ot.emd(*weights, ot.dist(*points))
        images.append(plan @ sides[1].value / plan.sum(1))
        given.append(sides[0].value)
    if not given:
        return _shifted(before, float(np.median(after.value) - np.median(before.value)))
    x, y = np.concatenate(given), np.concatenate(images)
    edges = np.quantile(x, np.linspace(0, 1, min(QUANTILES, max(2, len(x) // 8)) + 1))
    place = np.clip(np.searchsorted(edges, x, "right") - 1, 0, len(edges) - 2)
    kept = np.unique(place)
    return _increasing(*(np.array([v[place == p].mean() for p in kept]) for v in (x, y)))


WAYS: Mapping[str, Way] = {"matched": matched, "quantile": quantile, "coral": coral, "transport": transport}


def carried(knots: Knots, x: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Readings through a map: linear between its knots, shifted as the last knot beyond them."""
    old, new = knots
    inside = np.interp(x, old, new)
    moved: np.ndarray = inside + np.where(x < old[0], x - old[0], 0.0) + np.where(x > old[-1], x - old[-1], 0.0)
    return moved


def _thinned(weeks: Weeks, rows: np.ndarray) -> Weeks:
    at = np.flatnonzero(rows)
    at = (
        at[np.unique(np.linspace(0, len(at) - 1, min(len(at), TRANSPORT_ROWS)).round().astype(np.int64))]
        if len(at)
        else at
    )
    return Weeks(weeks.hours[at], weeks.value[at])


def _line(before: Weeks, slope: float, offset: float) -> Knots:
    ends = np.quantile(before.value, (0.0, 1.0)) + np.array([0.0, 1e-6])
    return ends, slope * ends + offset


def _shifted(before: Weeks, by: float) -> Knots:
    return _line(before, 1.0, by)


def _increasing(x: np.ndarray, y: np.ndarray) -> Knots:
    """Knots without ties, never falling."""
    kept, first = np.unique(x, return_index=True)
    return kept, np.maximum.accumulate(y)[first]
