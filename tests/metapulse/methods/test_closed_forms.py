"""Quadratic losses, where everything has a formula.

Squared error of a linear model is a quadratic in θ = (w, b): with Z = (x, 1), H = 2ZᵀZ/n and c = 2Zᵀy/n the gradient
is Hθ − c, an inner step is φ ← (I − αH)φ + αc, and after K steps φ_K = Mθ + r with M = (I − αH)^K. Hence, for support
(M, r) and query (H, c):

    MAML     Mᵀ(H(Mθ + r) − c)        FOMAML   H(Mθ + r) − c        Reptile   (I − M)θ − r

each affine in θ, so the mean over tasks vanishes at one point that a linear system gives.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch, Episode
from metapulse.methods.base import Learner
from metapulse.methods.fomaml import FOMAML
from metapulse.methods.maml import MAML
from metapulse.methods.meta_sgd import MetaSGD
from metapulse.methods.reptile import Reptile
from metapulse.models.mlp import MLP
from metapulse.trees import prefixed, stack
from tests.cases import batch, keys

LINE = MLP(hidden=(), task=Task("regression", (1,), 1))
ALPHA, STEPS, TASKS = 0.1, 3, 6
LEARNERS = {
    "maml": MAML(inner_lr=ALPHA, inner_steps=STEPS),
    "fomaml": FOMAML(inner_lr=ALPHA, inner_steps=STEPS),
    "reptile": Reptile(inner_lr=ALPHA, inner_steps=STEPS),
}


def as_theta(point: np.ndarray) -> dict[str, Tensor]:
    w, b = torch.from_numpy(point)
    return {"layer0.weight": w.reshape(1, 1), "layer0.bias": b.reshape(1)}


def mean_update(learner: Learner, point: np.ndarray, ep: Episode) -> np.ndarray:
    report = learner.update(LINE, as_theta(point), {}, ep, keys(range(TASKS)))
    return np.array([report.update["layer0.weight"].mean(), report.update["layer0.bias"].mean()])


def quadratic(part: Batch, client: int) -> tuple[np.ndarray, np.ndarray]:
    """H and c of one client."""
    real = part.mask[client].numpy() > 0
    x, y = part.x[client, real, 0].numpy(), part.y[client, real, 0].numpy()
    z = np.stack([x, np.ones_like(x)], 1)
    return 2 * z.T @ z / len(z), 2 * z.T @ y / len(z)


def affine(name: str, ep: Episode) -> tuple[np.ndarray, np.ndarray]:
    """A and a of the mean update Aθ − a."""
    total, offset = np.zeros((2, 2)), np.zeros(2)
    for client in range(TASKS):
        h, c = quadratic(ep.support, client)
        m, r = np.eye(2), np.zeros(2)
        for _ in range(STEPS):
            m, r = (np.eye(2) - ALPHA * h) @ m, (np.eye(2) - ALPHA * h) @ r + ALPHA * c
        if name == "reptile":  # trains on all samples: here the query is empty
            total, offset = total + np.eye(2) - m, offset + r
            continue
        h, c = quadratic(ep.query, client)
        left = m.T if name == "maml" else np.eye(2)
        total, offset = total + left @ h @ m, offset - left @ (h @ r - c)
    return total / TASKS, offset / TASKS


def tasks(name: str) -> Episode:
    task, dtype = LINE.task, torch.float64
    query = batch(task, [3] * TASKS, 1, dtype) if name != "reptile" else batch(task, [0] * TASKS, 1, dtype, longest=0)
    return Episode(batch(task, [2, 3, 4, 5, 6, 7], 0, dtype), query)


@pytest.mark.parametrize("name", LEARNERS)
def test_the_update_is_the_formula(name: str) -> None:
    ep = tasks(name)
    matrix, offset = affine(name, ep)
    for point in (np.array([0.0, 0.0]), np.array([1.5, -2.0])):
        np.testing.assert_allclose(mean_update(LEARNERS[name], point, ep), matrix @ point - offset, rtol=1e-11)


@pytest.mark.parametrize("name", LEARNERS)
def test_gradient_descent_of_the_server_ends_at_the_fixed_point(name: str) -> None:
    ep = tasks(name)
    matrix, offset = affine(name, ep)
    fixed = np.linalg.solve(matrix, offset)
    np.testing.assert_allclose(mean_update(LEARNERS[name], fixed, ep), 0, atol=1e-12)
    point = np.zeros(2)
    for _ in range(150):
        point = point - 0.4 * mean_update(LEARNERS[name], point, ep)
    np.testing.assert_allclose(point, fixed, rtol=1e-4)


def valleys(curvatures: np.ndarray, minima: np.ndarray, dtype: torch.dtype = torch.float64) -> Episode:
    """Tasks that are one-dimensional: x = ±s, y = w*x gives L = (λ/2)(w − w*)² with λ = 2s², and b = 0 stays."""
    s = torch.from_numpy(np.sqrt(curvatures / 2)).to(dtype)
    x = torch.stack([s, -s], 1).unsqueeze(2)
    y = x * torch.from_numpy(minima).to(dtype).view(-1, 1, 1)
    part = Batch(x, y, torch.ones(len(s), 2, dtype=dtype))
    return Episode(part, part)


LAMBDA, MINIMA = np.array([0.5, 1.0, 2.0, 4.0, 6.0, 8.0]), np.array([-1.0, 2.0, 0.5, 3.0, -2.0, 1.0])
WEIGHTS = {
    "maml": LAMBDA * (1 - ALPHA * LAMBDA) ** (2 * STEPS),
    "fomaml": LAMBDA * (1 - ALPHA * LAMBDA) ** STEPS,
    "reptile": 1 - (1 - ALPHA * LAMBDA) ** STEPS,
}


@pytest.mark.parametrize("name", LEARNERS)
def test_in_one_dimension_each_method_weighs_the_minima_its_own_way(name: str) -> None:
    """Update of task i = weight_i (w − w*_i): MAML λ(1−αλ)^2K, FOMAML λ(1−αλ)^K, Reptile 1 − (1−αλ)^K."""
    weights, ep = WEIGHTS[name], valleys(LAMBDA, MINIMA)
    report = LEARNERS[name].update(LINE, as_theta(np.array([0.7, 0.0])), {}, ep, keys(range(TASKS)))
    np.testing.assert_allclose(report.update["layer0.weight"].flatten(), weights * (0.7 - MINIMA), rtol=1e-12)
    fixed = np.array([(weights * MINIMA).sum() / weights.sum(), 0.0])
    np.testing.assert_allclose(mean_update(LEARNERS[name], fixed, ep), 0, atol=1e-14)


def test_the_three_fixed_points_differ() -> None:
    fixed = [(w * MINIMA).sum() / w.sum() for w in WEIGHTS.values()]
    assert min(abs(a - b) for i, a in enumerate(fixed) for b in fixed[:i]) > 0.05


def test_the_rate_that_solves_every_task_in_one_step_has_no_gradient() -> None:
    """L_query(α) = (λ/2)(1 − αλ)²(w − w*)², so dL/dα = −λ²(1 − αλ)(w − w*)², zero at Newton's α = 1/λ."""
    curvature, w = 4.0, 0.7
    ep = valleys(np.full(TASKS, curvature), MINIMA)
    for alpha in (0.25, 0.1, 0.4):
        rates = as_theta(np.array([alpha, 0.1]))
        theta = as_theta(np.array([w, 0.0])) | prefixed(rates, "rate/")
        report = MetaSGD(inner_steps=1).update(LINE, theta, {}, ep, keys(range(TASKS)))
        expected = -(curvature**2) * (1 - alpha * curvature) * (w - MINIMA) ** 2
        np.testing.assert_allclose(report.update["rate/layer0.weight"].flatten(), expected, rtol=1e-11, atol=1e-12)
        loss = curvature / 2 * (1 - alpha * curvature) ** 2 * (w - MINIMA) ** 2
        np.testing.assert_allclose(report.metrics["loss"], loss, rtol=1e-11, atol=1e-12)


def test_the_path_contracts_by_one_minus_alpha_lambda() -> None:
    ep = valleys(LAMBDA, MINIMA)
    start = as_theta(np.array([0.7, 0.0]))
    for k in range(6):
        phi = Reptile(inner_lr=ALPHA).adapt(LINE, start, {}, ep.support, keys(range(TASKS)), k)
        expected = MINIMA + (1 - ALPHA * LAMBDA) ** k * (0.7 - MINIMA)
        np.testing.assert_allclose(phi["layer0.weight"].flatten(), expected, rtol=1e-12)
    hessian = LINE.hvp(stack(start, TASKS), ep.support, stack(as_theta(np.array([1.0, 0.0])), TASKS))
    np.testing.assert_allclose(hessian["layer0.weight"].flatten(), LAMBDA, rtol=1e-12)
