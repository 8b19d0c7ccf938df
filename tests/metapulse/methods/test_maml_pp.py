"""MAML++: gradients of the multi-step loss in θ and in every layer's and step's rate; what changes over the rounds."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, pairwise

import pytest
import torch
from torch import Tensor

from metapulse.methods.fomaml import FOMAML
from metapulse.methods.maml import MAML
from metapulse.methods.maml_pp import RATE, MAMLPlusPlus
from metapulse.models.base import Model
from metapulse.models.cnn1d import CNN1d
from metapulse.models.mlp import MLP
from metapulse.rng import generator
from metapulse.trees import norm, pick, sub, subtree, without_subtree
from tests.cases import classification, episode, flat, keys, meta, regression, same, slopes, theta

F64 = torch.float64
LEARNER = MAMLPlusPlus(inner_lr=0.2, inner_steps=3, multi_step_rounds=10)
NET = MLP(hidden=(4,), activation="tanh", task=classification(3))
CURVE = MLP(hidden=(2,), activation="tanh", task=regression(2))
WINDOWS = CNN1d(channels=(2,), kernel=2, task=classification(1, 4))


def uneven(model: Model) -> dict[str, Tensor]:
    """θ with another rate for every tensor and step."""
    start = meta(LEARNER, model, dtype=F64)
    rng = generator(3, "rates")
    return start | {n: torch.from_numpy(rng.uniform(0.05, 0.4, tuple(p.shape))) for n, p in start.items() if RATE in n}


@pytest.mark.parametrize(("model", "round"), [(CURVE, 1), (WINDOWS, 4), (CURVE, 50)])
def test_update_is_the_slope_of_the_multi_step_loss(model: Model, round: int) -> None:
    """Σ_k v_k L_query(φ_k) read off the path, in every coordinate of θ and of the rates."""
    start, ep, address = uneven(model), episode(model.task, (4,), (5,), dtype=F64), keys([0], round)
    weights = LEARNER.weights(round, 3)

    def objective(at: dict[str, Tensor]) -> Tensor:
        points = islice(LEARNER.adaptation_trajectory(model, at, {}, ep.support, address), 4)
        return sum((v * model.loss(phi, ep.query)[0] for v, phi in zip(weights, points, strict=True)), torch.zeros(()))

    report = LEARNER.update(model, start, {}, ep, address)
    expected = slopes(objective, start)
    rates = flat({name: p for name, p in pick(report.update, 0).items() if name.startswith(RATE)})
    assert rates.abs().min() > 1e-6
    torch.testing.assert_close(flat(pick(report.update, 0)), expected, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(report.metrics["loss"][0], objective(start), rtol=1e-12, atol=0)


def test_the_loss_is_annealed_from_all_steps_to_the_last() -> None:
    """v_k = (1 − t/T)⁺ / K: thirds in round 1, half way in round 6 of T = 10, the last alone from round 11."""
    expected = {1: [0, 1 / 3, 1 / 3, 1 / 3], 6: [0, 1 / 6, 1 / 6, 2 / 3], 11: [0, 0, 0, 1], 500: [0, 0, 0, 1]}
    for round, weights in expected.items():
        assert LEARNER.weights(round, 3) == pytest.approx(weights)
    assert replace(LEARNER, multi_step_rounds=0).weights(1, 3) == [0, 0, 0, 1]
    assert LEARNER.weights(1, 0) == [1]


def test_with_equal_rates_and_the_last_loss_alone_it_is_maml_and_at_first_fomaml() -> None:
    start, ep = theta(NET, dtype=F64), episode(NET.task, (4, 2, 3), (3, 3, 1), dtype=F64)
    learner = replace(LEARNER, multi_step_rounds=0, first_order_rounds=2)
    whole = start | {RATE + name: torch.full((3,), 0.2, dtype=F64) for name in start}
    for round, reference in ((2, FOMAML(inner_lr=0.2, inner_steps=3)), (3, MAML(inner_lr=0.2, inner_steps=3))):
        ours = learner.update(NET, whole, {}, ep, keys(range(3), round))
        theirs = reference.update(NET, start, {}, ep, keys(range(3), round))
        same(without_subtree(ours.update, RATE), theirs.update, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(ours.metrics["loss"], theirs.metrics["loss"], rtol=1e-12, atol=0)
        assert norm(subtree(ours.update, RATE)) > 1e-3  # the rates are learned in both


def test_beyond_the_trained_steps_the_support_loss_does_not_rise() -> None:
    """Rates that diverge: the fourth and later steps are taken by no client whom they hurt."""
    start, ep = theta(NET, dtype=F64), episode(NET.task, (4, 2, 3), (3, 3, 1), dtype=F64)
    wild = start | {RATE + name: torch.full((3,), 30.0, dtype=F64) for name in start}
    losses = [
        NET.loss(phi, ep.support)
        for phi in islice(LEARNER.adaptation_trajectory(NET, wild, {}, ep.support, keys(range(3))), 9)
    ]
    assert any((after > before).any() for before, after in pairwise(losses[:4]))
    assert all((after <= before).all() for before, after in pairwise(losses[3:]))


def test_more_steps_than_were_learned_use_the_last_rate() -> None:
    start, ep = uneven(NET), episode(NET.task, (4, 2), (3, 3), dtype=F64)
    longer = replace(LEARNER, inner_steps=4, multi_step_rounds=0)
    told = start | {name: torch.cat([p, p[-1:]]) for name, p in start.items() if name.startswith(RATE)}
    short, full = (longer.update(NET, at, {}, ep, keys(range(2))) for at in (start, told))
    same(without_subtree(short.update, RATE), without_subtree(full.update, RATE), rtol=1e-12, atol=1e-14)
    for name, p in subtree(short.update, RATE).items():
        both = full.update[RATE + name]
        torch.testing.assert_close(p, torch.cat([both[:, :2], both[:, 2:].sum(1, True)], 1), rtol=1e-10, atol=1e-13)


def test_theta_carries_a_rate_per_tensor_and_step() -> None:
    start = LEARNER.init(NET, generator(0, "init"))
    assert {name: tuple(p.shape) for name, p in subtree(start, RATE).items()} == dict.fromkeys(theta(NET), (3,))
    assert all((p == 0.2).all() for p in subtree(start, RATE).values())
    assert norm(sub(without_subtree(start, RATE), NET.init(generator(0, "init")))) == 0
