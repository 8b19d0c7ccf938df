"""One metric of an old device in the new one's space: the values that a map expects, and how the map errs over time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from metapulse.migration.base import LEVEL, Map
from metapulse.migration.errors_in_time import NO_ERRORS, ErrorProcess, fit_errors
from metapulse.migration.pairs import HOUR_US, read_pairs
from metapulse.migration.prior import MapPrior
from metapulse.record.recipes.base import MetricRows

POPULATION_MIN = 1440.0  # minutes of a person's own overlap that the population's errors weigh as much as,
POPULATION_READINGS = 10  # or so many readings where that is longer
NORMAL = {0.9: 1.6449}[LEVEL]  # half a band of LEVEL in standard deviations, if errors were normal


@dataclass(frozen=True)
class Moved:
    """One metric of the old device in the new one's space.

    Args:
        rows: the values that the map expects.
        map: that made them.
        errors: of the map over time.
        why: it cannot be used; "": it can.
    """

    rows: MetricRows
    map: Map
    errors: ErrorProcess
    why: str = ""


def moved(rows: MetricRows, prior: Map | MapPrior, overlap: Any) -> Moved:
    """An old device's values by the person's map, and if they cannot be used, why.

    Args:
        rows: as ``Recipe.series`` gives them.
        prior: over maps; or the map.
        overlap: table of ``time``, ``old`` and ``new``; None: there is none.
    """
    map, population = (prior, NO_ERRORS) if isinstance(prior, Map) else (prior.personal(overlap), prior.errors)
    mapped, half = rows_mapped(rows, map)
    why = map.card.refused or _unsure(mapped.value, half)
    return Moved(mapped, map, map_errors(map, population, overlap), why)


def _unsure(value: Float64[np.ndarray, " n"], half: Float64[np.ndarray, " n"]) -> str:
    """Why values with such bands tell too little, "" if they tell enough."""
    if not len(value):
        return "the map gives no value"
    band, spread = float(np.median(half)), NORMAL * float(np.std(value))
    if band < spread:
        return ""
    return f"the map is too uncertain (its band of ±{band:.3g} is as wide as the readings' own ±{spread:.3g})"


def map_errors(map: Map, population: ErrorProcess, overlap: Any) -> ErrorProcess:
    """How a person's map errs over time: as the population's do, and as it does in the person's own overlap.

    Args:
        map: the person's.
        population: of people's maps.
        overlap: table of ``time``, ``old`` and ``new``; None: there is none.
    """
    people = () if overlap is None else read_pairs(overlap, "the overlap", map.card.metric).people.values()
    series = []
    for one in people:
        apart = map.apart((one.hours * HOUR_US).round().astype(np.int64), one.old, one.new)
        known = np.isfinite(apart)
        series.append((60.0 * one.hours[known], apart[known]))
    own = fit_errors(series)
    step = own.minutes / max(1, sum(len(errors) for _, errors in series))
    return own.joined(population, max(POPULATION_MIN, POPULATION_READINGS * step) if population.any else 0.0)


def rows_mapped(rows: MetricRows, map: Map) -> tuple[MetricRows, Float64[np.ndarray, " n"]]:
    """An old device's values as the new one would have shown them, and half the width of the map's band.

    What the map refuses is left out.
    """
    made = map.at(rows.start, rows.value)
    kept = np.isfinite(made.value)
    return replace(rows.where(kept), value=made.value[kept]), (0.5 * (made.upper - made.lower))[kept]
