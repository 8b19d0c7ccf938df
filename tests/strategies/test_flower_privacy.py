"""Why the mechanism is our own: Flower's wrapper adds its noise behind the outer step, and lets some updates by.

The promise of central privacy with n people a round is that noise of deviation σC/n meets a change of 2C/n at most when
one of them is another. Measured is that change itself: the wrapper with a noise of zero.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideFixedClipping,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedYogi,
    Strategy,
)
from torch import Tensor

from metapulse.client.wire import decode, encode
from metapulse.outer import DIRECTIONS, OuterUpdate
from metapulse.sim.engines.cohort import CohortGrid
from metapulse.trees import norm, sub
from tests.strategies.test_private_strategy import CLIP_NORM, COHORT, after, mean_of, replaced, strategy

THETA = {"w": torch.linspace(-1.0, 1.0, 6).view(2, 3), "rate": torch.full((1,), 0.5)}
PROMISED = 2 * CLIP_NORM / COHORT
ALL_CLIENTS: dict[str, Any] = {
    "fraction_train": 1.0,
    "min_train_nodes": COHORT,
    "min_available_nodes": COHORT,
    "fraction_evaluate": 0.0,
}


def flower(inner: Strategy, update: dict[str, Tensor]) -> dict[str, Tensor]:
    """θ after a round under the wrapper, in which each client sent θ − u."""
    private = DifferentialPrivacyServerSideFixedClipping(inner, 0.0, CLIP_NORM, COHORT)
    asked = private.configure_train(1, encode(THETA), ConfigRecord(), CohortGrid(COHORT))
    replies = []
    for i, message in enumerate(asked):
        weights = encode({name: p - update[name][i] for name, p in THETA.items()})
        counts = MetricRecord({"num-examples": 1})
        replies.append(Message(RecordDict({"arrays": weights, "metrics": counts}), reply_to=message))
    moved, _ = private.aggregate_train(1, replies)
    assert isinstance(moved, ArrayRecord)
    return decode(moved)


def quiet(first: float) -> dict[str, Tensor]:
    """All people have all but converged, except for the first."""
    return replaced({name: torch.full((COHORT, *p.shape), 1e-6) for name, p in THETA.items()}, first)


def influence(inner: type[Strategy], **options: Any) -> float:
    """How far θ moves when the first person is another."""
    both = [flower(inner(**ALL_CLIENTS, **options), quiet(first)) for first in (3.0, -3.0)]
    return float(norm(sub(*both)))


def test_around_plain_averaging_the_wrapper_keeps_its_promise() -> None:
    assert influence(FedAvg) == pytest.approx(PROMISED, rel=1e-5)


@pytest.mark.parametrize(
    ("inner", "options"),
    [(FedAdam, {}), (FedYogi, {"eta": 0.1}), (FedAdagrad, {}), (FedAvgM, {"server_learning_rate": 5.0})],
    ids=["adam", "yogi", "adagrad", "momentum"],
)
def test_around_an_outer_optimiser_it_does_not(inner: type[Strategy], options: dict[str, Any]) -> None:
    assert influence(inner, **options) > 2 * PROMISED


def test_a_client_that_has_not_moved_ends_the_round_there() -> None:
    still = replaced(quiet(0.0), 0.0)
    with pytest.raises(ZeroDivisionError):
        flower(FedAvg(**ALL_CLIENTS), still)
    assert float(norm(sub(mean_of(strategy(), still, at=THETA), mean_of(strategy(), quiet(1e-6), at=THETA)))) < 1e-6


def test_an_update_that_is_no_number_is_not_clipped_there() -> None:
    spoilt = flower(FedAvg(**ALL_CLIENTS), quiet(float("nan")))
    assert not all(bool(torch.isfinite(p).all()) for p in spoilt.values())


@pytest.mark.parametrize("outer", DIRECTIONS)
def test_ours_bounds_what_every_outer_step_is_given(outer: str) -> None:
    """Undone by the step's own rule from the same state, θ tells the mean that it saw: it moved by 2C/n at most."""
    seen = []
    for first in (3.0, -3.0):
        mean = mean_of(strategy(), quiet(first), at=THETA)  # the step of rate one, with the same noise
        stepped = after(strategy({"outer": outer, "lr": 0.1}), quiet(first), THETA)
        rule = OuterUpdate(outer)
        expected, _ = rule.apply(rule.init(THETA), THETA, mean, 0.1)
        torch.testing.assert_close(stepped, expected, rtol=1e-4, atol=1e-5)
        seen.append(mean)
    assert norm(sub(*seen)) == pytest.approx(PROMISED, rel=1e-4)
