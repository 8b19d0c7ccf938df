"""Scores of methods that are equally good, with known spreads: what comparisons are judged on.

A score of a method for a person after a seed's run is, in points,

    person + method × person + method × seed + method × seed × person,

each normal with the standard deviation that a world names. Scores of one method against itself with other seeds have no
method × person (A/A); methods that are equally good for the population but not for each person do (a tie).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from metapulse.sim.lab.comparison import Interval
from metapulse.sim.lab.statistics.bootstrap import means

METHODS = 12  # beside the reference


@dataclass(frozen=True)
class World:
    """Standard deviations, in points."""

    method: float  # of method × person
    seed: float  # of method × seed
    rest: float
    person: float = 6.0

    def scores(self, rng: np.random.Generator, seeds: int, people: int, methods: int = METHODS + 1) -> np.ndarray:
        """(methods, seeds, people) of methods that are equally good."""
        parts = (
            self.person * rng.normal(size=(1, 1, people)),
            self.method * rng.normal(size=(methods, 1, people)),
            self.seed * rng.normal(size=(methods, seeds, 1)),
            self.rest * rng.normal(size=(methods, seeds, people)),
        )
        return sum(parts[1:], parts[0])


#: The middle one is what recorded phone → watch runs show of two methods of one kind (docs/statistics.md).
WORLDS = {
    "A/A, still": World(0.0, 0.0, 2.0),
    "A/A": World(0.0, 0.5, 2.0),
    "A/A, lucky seeds": World(0.0, 2.0, 2.0),
    "tie": World(2.0, 0.5, 2.0),
    "tie, lucky seeds": World(2.0, 2.0, 2.0),
}


def percentile(values: np.ndarray) -> Interval:
    """The plain percentile interval of the same draws."""
    low, high = np.quantile(means(values), [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))
