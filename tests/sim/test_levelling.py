"""A curve that is still falling has not levelled off; noise around a level has; a handful of rounds says nothing."""

import numpy as np
import pytest

from metapulse.sim.levelling import levelling, run_trend, trend


def losses(values):
    return [{"kind": "round", "round": i + 1, "loss": float(v)} for i, v in enumerate(values)]


NOISE = np.random.default_rng(0).normal(0.0, 0.02, 90)


def test_a_straight_line_has_its_own_slope():
    """30 points of the last third fall by 29 steps of .01, without an error."""
    found = trend("training loss", [1.0 - 0.01 * i for i in range(90)])
    assert (found.change, found.error) == (pytest.approx(-0.29), pytest.approx(0.0, abs=1e-12))
    assert not found.level
    assert "had not levelled off: still getting better (training loss −0.29" in str(found)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (2.0 * np.exp(-np.arange(90) / 8.0) + NOISE, "had levelled off"),
        (2.0 - 0.015 * np.arange(90) + NOISE, "had not levelled off: still getting better"),
        (1.0 + 0.015 * np.arange(90) + NOISE, "had not levelled off: still getting worse"),
        (NOISE[:11], "has too few rounds"),
        ([1.0] * 89 + [float("nan")], "has too few rounds, or no loss"),
    ],
)
def test_what_is_said_of_training(values, said):
    assert levelling(losses(values), []).startswith(said)


def test_looks_at_held_out_people_go_before_the_training_loss():
    where = {"phase": "validation", "scenario": "new_user", "shots": 5, "metric": "accuracy"}
    scores = [{**where, "round": r, "step": s, "mean": 0.5 + 0.01 * r * s} for r in range(1, 16) for s in (0, 1)]
    found = run_trend(losses([1.0] * 90), scores)
    assert (found.metric, found.level, found.change) == ("accuracy", False, pytest.approx(0.04))
    assert "still getting better" in str(found)
