"""A person's model that nothing was trained for, and made-up glucose for it to follow."""

from __future__ import annotations

import numpy as np
import torch

from metapulse.gaussian_head import GaussianHead
from metapulse.personal.conformal import conformal
from metapulse.personal.features import FeatureMap
from metapulse.personal.person import PersonModel
from metapulse.personal.start import LEVELS, PopulationStart, Roughness
from metapulse.personal.stream_state import Reading
from metapulse.personal.walk import ALWAYS, Origin
from metapulse.record.clock import MINUTE
from metapulse.record.recipes.base import make_recipe
from metapulse.registry import MODELS

BEGIN = 1_700_000_000_000_000 // (5 * MINUTE) * 5 * MINUTE


def made_up_model(seed: int = 0, device: str = "Sensor A") -> PersonModel:
    """Glucose half an hour ahead from a small random encoder; the prior is that of a head that knows little."""
    task = make_recipe("glucose_30min").task
    sections = {"model": {"name": "mlp", "hidden": [16]}, "transform": {"name": "none"}}
    params = MODELS.make(dict(sections["model"]), task=task).init(np.random.default_rng(seed))
    features = FeatureMap(task, sections, params, np.empty((0, *task.features), np.float32))
    width = features.of(np.zeros((1, *task.features), np.float32)).shape[1]
    prior = GaussianHead(
        torch.zeros(1, width, 1, dtype=torch.float64),
        0.5 * torch.eye(width, dtype=torch.float64)[None],
        torch.full((1, 1), 0.05, dtype=torch.float64),
    )
    start = PopulationStart(
        prior,
        Roughness(np.zeros(5)),
        np.sqrt(2) * torch.erfinv(torch.tensor(LEVELS)).numpy(),
        np.zeros(task.features),
        torch.zeros(width, dtype=torch.float64),
        torch.eye(width, dtype=torch.float64) * 1e-3,
        1e6,
        {},
    )
    card = {"device": device, "outcomes": 0, "adapted_until": 0}
    return PersonModel(
        "glucose_30min", features, start, (Origin(ALWAYS, prior),), prior, conformal(start.scores), None, card
    )


def glucose(n: int, seed: int = 0, device: str = "Sensor A", every_min: int = 5) -> list[Reading]:
    """Readings of a person: meals, a night, noise of the sensor."""
    draw = np.random.default_rng(seed)
    minutes = every_min * np.arange(n)
    slow = 25 * np.sin(2 * np.pi * minutes / 1440) + 15 * np.sin(2 * np.pi * minutes / 311 + seed)
    noise = np.zeros(n)
    for at in range(1, n):
        noise[at] = 0.9 * noise[at - 1] + draw.normal(0, 3)
    value = np.clip(130 + slow + noise, 45, 390).round(1)
    return [Reading(BEGIN + int(at) * MINUTE, float(one), device) for at, one in zip(minutes, value, strict=True)]
