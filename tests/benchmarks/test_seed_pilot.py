"""A pilot of seeds leaves a test at its level; a plain t-test after it is not, and a gain is found as planned."""

import numpy as np
import pytest

from benchmarks.seed_pilot import WORLDS, concluded, levels
from metapulse.sim.lab.seeds import SeedPlan


@pytest.mark.parametrize("pilot", [3, 5])
def test_the_level_is_exact_by_the_seeds_after_the_pilot_alone(pilot):
    """100 000 tries: a rate of 5 % has a standard deviation of .07 %."""
    exact, plain = levels(pilot, 100_000)
    assert exact == pytest.approx(0.05, abs=0.0021)
    assert plain > 0.06


def test_twelve_methods_are_a_family():
    plan = SeedPlan(5, 60, 2.0)
    assert np.mean([concluded(WORLDS["A/A"], i, 12, plan)[0] for i in range(100)]) <= 0.08  # 2.3 % of 1000
    assert np.mean([concluded(WORLDS["A/A"], i, 12, plan, 2.0)[0] for i in range(100)]) >= 0.78  # 88.7 %
