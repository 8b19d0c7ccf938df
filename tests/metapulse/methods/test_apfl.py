"""APFL against a loop in plain torch, and at its two ends: α = 0 is FedAvg, α = 1 is local training."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from metapulse.methods.apfl import ALPHA, APFL, OWN
from metapulse.methods.fedavg import FedAvg
from metapulse.trees import subtree
from tests.cases import keys, same
from tests.federated import CLIENTS, EPISODE, NET, START, Tree, average, combine, data, gradient, loss, rounds

LR = 0.1
WEIGHTS = EPISODE.support.counts.tolist()


def mix(v: Tree, w: Tree, alpha: float) -> Tree:
    return combine(lambda p, q: alpha * p + (1 - alpha) * q, v, w)


@pytest.mark.parametrize("adaptive", [False, True])
def test_it_is_the_loop_in_plain_torch(adaptive: bool) -> None:
    ours = rounds(APFL(inner_lr=LR, inner_steps=3, alpha=0.4, adaptive=adaptive))
    theta, own, alphas = START, [START] * CLIENTS, [0.4] * CLIENTS
    for _ in range(2):
        ends = []
        for i, d in enumerate(data()):
            w, v = theta, own[i]
            for _ in range(3):
                alpha = torch.tensor(alphas[i], dtype=torch.float64, requires_grad=True)
                (slope,) = torch.autograd.grad(loss(combine(lambda p, q: alpha * p + (1 - alpha) * q, v, w), d), alpha)
                mixed = gradient(mix(v, w, alphas[i]), d)
                w, v = (
                    combine(lambda p, g: p - LR * g, w, gradient(w, d)),
                    combine(lambda p, g, a=alphas[i]: p - LR * a * g, v, mixed),
                )
                alphas[i] = min(max(alphas[i] - LR * float(slope), 0.0), 1.0) if adaptive else alphas[i]
            own[i] = v
            ends.append(w)
        theta = average(ends, WEIGHTS)
    same(ours.theta, theta, rtol=1e-7, atol=1e-9)  # α begins as float32's 0.4
    for kept, v, alpha in zip(ours.kept, own, alphas, strict=True):
        same(subtree(kept, OWN), v, rtol=1e-6, atol=1e-8)
        assert float(kept[ALPHA]) == pytest.approx(alpha, abs=1e-6)
        assert (abs(alpha - 0.4) > 1e-3) is adaptive


@pytest.mark.parametrize("size", [0, 2])
def test_its_global_model_is_fedavgs(size: int) -> None:
    settings = {"inner_lr": LR, "inner_steps": 4, "batch_size": size}
    same(rounds(APFL(**settings)).theta, rounds(FedAvg(**settings)).theta, rtol=1e-12, atol=1e-14)


def test_with_no_share_of_its_own_a_device_answers_with_theta_and_never_adapts() -> None:
    learner = APFL(inner_lr=LR, inner_steps=4, alpha=0.0)
    ours = rounds(learner)
    state = {name: torch.stack([kept[name] for kept in ours.kept]) for name in ours.kept[0]}
    for phi in islice(learner.adaptation_trajectory(NET, ours.theta, state, EPISODE.support, keys(range(3))), 4):
        assert all(torch.equal(p[i], ours.theta[name]) for name, p in phi.items() for i in range(3))


def test_with_nothing_but_its_own_a_device_trains_alone() -> None:
    learner = APFL(inner_lr=LR, inner_steps=4, alpha=1.0)
    ours = rounds(learner)
    for kept, own in zip(ours.kept, data(), strict=True):
        v = START
        for _ in range(8):
            v = combine(lambda p, g: p - LR * g, v, gradient(v, own))
        same(subtree(kept, OWN), v, rtol=1e-9, atol=1e-11)


def test_devices_answer_with_the_mixture_and_not_with_either_model() -> None:
    learner = APFL(inner_lr=LR, inner_steps=4, alpha=0.25)
    ours = rounds(learner)
    state = {name: torch.stack([kept[name] for kept in ours.kept]) for name in ours.kept[0]}
    known, adapted = (learner.adapt(NET, ours.theta, state, EPISODE.support, keys(range(3)), k) for k in (0, 1))
    for i, own in enumerate(data()):
        v = subtree(ours.kept[i], OWN)
        same({name: p[i] for name, p in known.items()}, mix(v, ours.theta, 0.25), rtol=1e-7, atol=1e-9)
        moved = combine(lambda p, g: p - LR * 0.25 * g, v, gradient(mix(v, ours.theta, 0.25), own))
        same({name: p[i] for name, p in adapted.items()}, mix(moved, ours.theta, 0.25), rtol=1e-7, atol=1e-9)
