"""Per-FedAvg against its own objective, F(w) = f(w − α∇f(w)), whose gradient is (I − α∇²f(w)) ∇f(w − α∇f(w))."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch, Episode
from metapulse.methods.fedavg import FedAvg
from metapulse.methods.per_fedavg import PerFedAvg
from metapulse.models.base import Model
from metapulse.models.mlp import MLP
from metapulse.trees import add, norm, scale, stack, sub
from tests.cases import MODELS, batch, classification, episode, keys, same, some, theta

NET = MLP(hidden=(4,), activation="tanh", task=classification(3))
ALPHA, BETA = 0.3, 0.05
F64 = torch.float64
KINKED = ("sine", "cnn1d", "cnn2d", "encoder1d")  # ReLU inside: a wide difference crosses kinks
SMOOTH = [name for name in MODELS if "relu" not in name and not name.startswith(KINKED)]


def exact(model: Model, w: dict[str, Tensor], part: Batch) -> dict[str, Tensor]:
    """∇F(w), the Hessian's product by the oracle (held to finite differences elsewhere)."""
    v = model.grad(add(w, model.grad(w, part), -ALPHA), part)
    return add(v, model.hvp(w, part, v), -ALPHA)


def learner(**settings: object) -> PerFedAvg:
    return PerFedAvg(**{"inner_lr": ALPHA, "local_lr": BETA, "local_steps": 1} | settings)


def test_the_objectives_gradient_is_the_formula() -> None:
    start, ep = theta(NET, dtype=F64), episode(NET.task, (5, 3), (2, 2), dtype=F64)
    direction = theta(NET, seed=4, dtype=F64)

    def objective(width: float) -> Tensor:
        w = stack(add(start, direction, width), 2)
        return NET.loss(add(w, NET.grad(w, ep.pooled), -ALPHA), ep.pooled)

    slope = (objective(1e-5) - objective(-1e-5)) / 2e-5
    grads = exact(NET, stack(start, 2), ep.pooled)
    torch.testing.assert_close(
        sum((grads[n] * direction[n]).flatten(1).sum(1) for n in grads), slope, rtol=1e-7, atol=0
    )


@pytest.mark.parametrize("name", SMOOTH)
def test_hessian_free_approaches_the_exact_gradient_as_delta_squared(name: str) -> None:
    model = MODELS[name]
    start, ep = theta(model, dtype=F64), episode(model.task, (5, 3), (2, 2), dtype=F64)
    expected = exact(model, stack(start, 2), ep.pooled)
    errors = []
    for delta in (1e-1, 1e-2, 1e-3):
        report = learner(variant="hessian_free", delta=delta).update(model, start, {}, ep, keys(range(2)))
        errors.append(float(norm(sub(scale(report.update, 1 / BETA), expected)) / norm(expected)))
    assert errors[2] < 1e-6
    if errors[0] > 1e-9:  # otherwise a quadratic loss, whose difference is exact at any width
        assert errors[1] == pytest.approx(errors[0] / 100, rel=0.2)
        assert errors[2] == pytest.approx(errors[1] / 100, rel=0.3)


def test_a_quadratic_needs_no_small_delta() -> None:
    model = MLP(hidden=(), task=Task("regression", (3,), 2))
    start, ep = theta(model, dtype=F64), episode(model.task, (5, 3), (2, 2), dtype=F64)
    report = learner(variant="hessian_free", delta=10.0).update(model, start, {}, ep, keys(range(2)))
    same(report.update, scale(exact(model, stack(start, 2), ep.pooled), BETA), rtol=1e-9, atol=1e-12)


def test_first_order_leaves_the_hessian_out() -> None:
    start, ep = theta(NET, dtype=F64), episode(NET.task, (5, 3), (2, 2), dtype=F64)
    at = stack(start, 2)
    first = learner().update(NET, start, {}, ep, keys(range(2))).update
    same(first, scale(NET.grad(add(at, NET.grad(at, ep.pooled), -ALPHA), ep.pooled), BETA), rtol=1e-10, atol=1e-12)
    assert norm(sub(scale(first, 1 / BETA), exact(NET, at, ep.pooled))) > 0.05 * norm(exact(NET, at, ep.pooled))


@pytest.mark.parametrize("variant", ["first_order", "hessian_free"])
def test_local_steps_follow_one_another(variant: str) -> None:
    start, ep = theta(NET, dtype=F64), episode(NET.task, (5, 3), (2, 2), dtype=F64)
    one = learner(variant=variant)
    ours = learner(variant=variant, local_steps=3)
    for client in range(2):
        own = some(ep, [client])
        w, total = start, {name: torch.zeros_like(p) for name, p in stack(start, 1).items()}
        for _ in range(3):
            move = one.update(NET, w, {}, own, keys([client])).update
            w, total = {n: w[n] - move[n][0] for n in w}, add(total, move)
        same(ours.update(NET, start, {}, own, keys([client])).update, total, rtol=1e-9, atol=1e-12)


def test_without_an_inner_step_it_is_fedavg() -> None:
    start, ep = theta(NET, dtype=F64), episode(NET.task, (5, 3), (2, 2), dtype=F64)
    fedavg = FedAvg(inner_lr=BETA, inner_steps=4).update(NET, start, {}, ep, keys(range(2))).update
    for variant in ("first_order", "hessian_free"):
        ours = learner(inner_lr=1e-12, local_steps=4, variant=variant).update(NET, start, {}, ep, keys(range(2))).update
        same(ours, fedavg, rtol=1e-8, atol=1e-10)


def test_hessian_free_in_float32_survives_a_small_gradient() -> None:
    """Near a minimum v shrinks, and a difference of absolute width δ‖v‖ would drown in rounding; δ/‖v‖ does not.

    The loss is a quadratic; θ is its minimum moved by 1e-3 in every coordinate.
    """
    model = MLP(hidden=(), task=Task("regression", (3,), 1))
    part, nothing = batch(model.task, (8,), dtype=F64), batch(model.task, (0,), longest=0)
    z = torch.cat([part.x[0], torch.ones(8, 1, dtype=F64)], 1)
    near = torch.linalg.lstsq(z, part.y[0]).solution.flatten() + 1e-3
    start = {"layer0.weight": near[:3].reshape(1, 3), "layer0.bias": near[3:]}
    single = {name: p.float() for name, p in start.items()}
    ep = Episode(batch(model.task, (8,)), nothing)
    hessian_free, first_order = (
        learner(variant=variant, local_lr=1.0).update(model, single, {}, ep, keys([0])).update
        for variant in ("hessian_free", "first_order")
    )
    expected = exact(model, stack(start, 1), part)
    assert norm(sub({n: p.double() for n, p in hessian_free.items()}, expected)) < 0.01 * norm(expected)
    assert norm(sub({n: p.double() for n, p in first_order.items()}, expected)) > 0.1 * norm(expected)
