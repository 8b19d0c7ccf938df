"""People who do not exist, for tests of a person's model: glucose-like windows under a linear law of known numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from metapulse.data import Task
from metapulse.migration.base import Map, MapCard, Mapped
from metapulse.personal.adapt import adapted
from metapulse.personal.features import FeatureMap
from metapulse.personal.learn import learn_start
from metapulse.record.clock import MINUTE
from metapulse.record.recipes.base import Questions

WIDTH = 24
TASK = Task("regression", (1, WIDTH), 1, unit="50 mg/dL")
DAY_0 = 19_800 * 1440


@dataclass(frozen=True)
class Unchanged(Map):
    """The old reading itself, ± 5 mg/dL."""

    card: MapCard = MapCard("unchanged")
    kind = "unchanged"

    def at(self, time_us, old):
        return Mapped(old, old - 5.0, old + 5.0)

    def state(self):
        return {}, {}

    @classmethod
    def from_state(cls, card, values, arrays):
        return cls(card)


def linear_features(hidden=(), seed=0):
    """An encoder: none, so that the features are the window itself, or one hidden layer of fixed weights."""
    rng = np.random.default_rng(seed)
    widths, params = (WIDTH, *hidden, 1), {}
    for i in range(len(widths) - 1):
        params[f"layer{i}.weight"] = torch.from_numpy(rng.normal(0, 0.3, (widths[i + 1], widths[i])).astype(np.float32))
        params[f"layer{i}.bias"] = torch.zeros(widths[i + 1])
    sections = {"model": {"name": "mlp", "hidden": list(hidden)}, "transform": {"name": "none"}}
    return FeatureMap(TASK, sections, params, np.empty((0, 1, WIDTH), np.float32))


def questions(seed, n=120, weights=None, noise=0.2, every_min=30, first_min=DAY_0, rough=0.0):
    """Windows whose outcome is w·x + e; e is ``exp(rough · x_last)`` times as large."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(0, 0.3, (n, 1, WIDTH)), 2).astype(np.float32)
    w = np.zeros(WIDTH) if weights is None else weights
    y = x[:, 0].astype(np.float64) @ w + noise * np.exp(rough * x[:, 0, -1]) * rng.normal(size=n)
    time = ((first_min + every_min * np.arange(n)) * MINUTE).astype(np.int64)
    return Questions(time, time + 30 * MINUTE, x, y, 100.0 + 50.0 * x[:, 0, -1].astype(float), 50.0, np.ones(n))


@cache
def usual_population():
    """The start of people without more ado, made once."""
    return population(linear_features())


def population(features, people=12, judged=6, spread=0.1, **law):
    """The start learned from people whose weights differ by ``spread``."""
    rng = np.random.default_rng(5)
    common = np.zeros(WIDTH)
    common[-3:] = (-0.5, -0.3, 0.8)
    each = [questions(100 + i, weights=common + spread * rng.normal(size=WIDTH), **law) for i in range(people + judged)]
    return learn_start(features, each[:people], each[people:], {"run": "made up"}), common


def person(features=None, own=None, **law):
    """A person's model, from a start and 120 own windows."""
    features = linear_features() if features is None else features
    start, common = (
        usual_population() if not law and not features.sections["model"]["hidden"] else population(features, **law)
    )
    own = questions(7, weights=common) if own is None else own
    card = {"device": "Acme CGM", "metric": "glucose", "unit": "mg/dL", "run": "made up", "people": 12}
    return adapted("glucose_30min", features, start, own, (), card), own
