"""Maps from one device's readings to another's, each with its band and a card that says what it rests on.

import metapulse as mp

prior = mp.migration.learn(pairs)  # person, time, old, new: people who wore both
map = prior.personal(overlap)  # time, old, new: one person's first days; None: the population's map
map.apply(history)  # time, old: with value, lower and upper
map.card  # what it was learned on, and how wrong it was on people held out
"""

from __future__ import annotations

from metapulse.migration.base import Map, MapCard, Mapped, load_map
from metapulse.migration.learn import learn
from metapulse.migration.prior import MapPrior, load_prior
from metapulse.migration.published import published

__all__ = ["Map", "MapCard", "MapPrior", "Mapped", "learn", "load_map", "load_prior", "published"]
