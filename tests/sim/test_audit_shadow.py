"""Likelihood ratios: losses that know their people give them away, as far as the law says; others do not."""

from __future__ import annotations

import numpy as np
import pytest

from metapulse.rng import generator
from metapulse.sim.audit.shadow import over_runs, ratios


@pytest.mark.parametrize(("shift", "area"), [(2.0, 0.92), (0.0, 0.5)])
def test_areas_are_those_of_gaussian_losses(shift: float, area: float) -> None:
    """Losses N(m_i − shift · in, 1), m_i of each person's own; AUC = Φ(shift / √2) or a little less."""
    rng = generator(0, "shadows")
    coins = rng.random((40, 100)) < 0.5
    losses = 5.0 * rng.standard_normal(100) - shift * coins + rng.standard_normal((40, 100))
    scores = np.stack([ratios(losses, coins, run) for run in range(40)])
    found, low, high = over_runs(scores, coins)
    assert found == pytest.approx(area, abs=0.03)
    assert low <= found <= high
    control, _, _ = over_runs(scores, rng.random((40, 100)) < 0.5)
    assert control == pytest.approx(0.5, abs=0.03)


def test_people_without_a_shadow_of_either_kind_say_nothing() -> None:
    coins = np.array([[True, False], [True, True], [True, False]])
    losses = generator(1, "shadows").standard_normal((3, 2))
    assert ratios(losses, coins, 0)[0] == 0.0
