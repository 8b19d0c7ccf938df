"""Meta-SGD beside its gradients: where its rates start, and the guard that keeps further steps from harm."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch
from metapulse.errors import ConfigError
from metapulse.methods.meta_sgd import MetaSGD
from metapulse.models.mlp import MLP, SineMLP
from metapulse.rng import generator
from metapulse.trees import prefixed, subtree, without_subtree
from tests.cases import MODELS, batch, keys, meta, near, theta

LINE = MLP(hidden=(), task=Task("regression", (1,), 1))
SINE = SineMLP(task=Task("regression", (1,), 1))


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_one_rate_for_every_parameter_from_the_interval_asked_for(model: MLP) -> None:
    learner = MetaSGD(rate_low=0.02, rate_high=0.05)
    drawn = learner.init(model, generator(0, "init"))
    rates = subtree(drawn, "rate/")
    assert {name: p.shape for name, p in rates.items()} == {
        name: p.shape for name, p in without_subtree(drawn, "rate/").items()
    }
    values = torch.cat([r.flatten() for r in rates.values()])
    assert values.dtype == torch.float32
    assert 0.02 <= values.min() < values.max() <= 0.05
    assert len(values.unique()) > 0.9 * len(values)


def too_fast(rate: float) -> dict[str, Tensor]:
    params = theta(LINE)
    return params | prefixed({name: torch.full_like(p, rate) for name, p in params.items()}, "rate/")


@pytest.mark.parametrize("size", [0, 2])
def test_rates_that_diverge_do_so_without_the_guard_and_not_with_it(size: int) -> None:
    """|1 − αλ| > 1 blows up geometrically: unguarded (all 99 steps "trained") the path ends in NaN."""
    support = batch(LINE.task, (5, 4, 1))
    start = too_fast(3.0)
    wild = list(
        islice(
            MetaSGD(inner_steps=99, batch_size=size).adaptation_trajectory(LINE, start, {}, support, keys(range(3))), 99
        )
    )
    assert not all(torch.isfinite(p).all() for p in wild[-1].values())
    for trained in (0, 1, 3):
        learner = MetaSGD(inner_steps=trained, batch_size=size)
        points = list(islice(learner.adaptation_trajectory(LINE, start, {}, support, keys(range(3))), 99))
        assert all(torch.isfinite(p).all() for phi in points for p in phi.values())
        losses = torch.stack([LINE.loss(phi, support) for phi in points])
        rounding = 1e-5 * losses[trained:-1] + 1e-6  # the guard measures on its own way through the code
        assert (losses[trained + 1 :] <= losses[trained:-1] + rounding).all()


def test_a_client_that_stops_does_not_stop_the_others() -> None:
    """λ = 2 mean(x²) grows with the scale of x: the rate suits the first client and overshoots for the second."""
    support = batch(LINE.task, (5, 5))
    support.x[1] *= 30
    points = list(
        islice(MetaSGD(inner_steps=0).adaptation_trajectory(LINE, too_fast(0.05), {}, support, keys(range(2))), 50)
    )
    losses = torch.stack([LINE.loss(phi, support) for phi in points])
    assert losses[-1, 0] < losses[1, 0] < losses[0, 0]
    torch.testing.assert_close(losses[-1, 1], losses[0, 1])


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "kernels"])
@pytest.mark.parametrize("size", [0, 2])
@pytest.mark.parametrize("trained", [0, 2, 9])
def test_the_points_asked_for_are_those_of_the_path(trained: int, size: int, compiled: bool) -> None:
    """Of clients that go on, that overshoot at once, whose samples are no numbers, and that have none."""
    if compiled and LINE.compiled is None:
        pytest.skip("no C compiler on this machine")
    support = batch(LINE.task, (5, 5, 4, 0))
    support.x[1] *= 30
    support.x[2, 0] = float("nan")
    start = too_fast(0.05)
    if not compiled:
        support = Batch(support.x.double(), support.y.double(), support.mask.double())
        start = {name: p.double() for name, p in start.items()}
    learner, asked = MetaSGD(inner_steps=trained, batch_size=size), (0, 1, 2, 7)
    path = list(islice(learner.adaptation_trajectory(LINE, start, {}, support, keys(range(4))), 8))
    points = list(learner.adapted_at(LINE, start, {}, support, keys(range(4)), asked))
    for k, phi in zip(asked, points, strict=True):
        for name, p in phi.items():
            torch.testing.assert_close(p, path[k][name], equal_nan=True, msg=lambda m, k=k, n=name: f"{n} at {k}: {m}")


def test_where_steps_help_the_guard_changes_nothing() -> None:
    learner = MetaSGD(inner_steps=1, rate_low=0.005, rate_high=0.01)
    start, support = meta(learner, SINE), batch(SINE.task, (5, 5))
    free = replace(learner, inner_steps=20)
    for guarded, plain in islice(
        zip(
            *(one.adaptation_trajectory(SINE, start, {}, support, keys(range(2))) for one in (learner, free)),
            strict=False,
        ),
        20,
    ):
        near(guarded, plain)


def test_rates_that_end_before_they_begin_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"rate_high = 0\.1"):
        MetaSGD(rate_low=0.2, rate_high=0.1)
