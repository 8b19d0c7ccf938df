"""iMAML: quadratics, where the inner solution and the implicit gradient have a formula; the solver; slopes on a net.

With L = ½φᵀHφ − cᵀφ + const (``quadratic`` gives H and c), φ* = (H + λI)⁻¹(c + λθ), and the gradient in θ of the query
loss there is λ(H + λI)⁻¹(H_Q φ* − c_Q).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch
from metapulse.methods.imaml import IMAML, conjugate_gradient
from metapulse.models.mlp import MLP
from metapulse.trees import add, dot, norm, pick, sub
from tests.cases import classification, episode, flat, keys, own_samples, same, theta

F64 = torch.float64
LINE = MLP(hidden=(), task=Task("regression", (2,), 1))
LEARNER = IMAML(inner_lr=0.15, inner_steps=80, attraction=2.0, cg_steps=3)


def quadratic(part: Batch, client: int) -> tuple[np.ndarray, np.ndarray]:
    """H and c of one client's squared error in (w₁, w₂, b)."""
    x, y = (value.numpy() for value in own_samples(part, client))
    z = np.concatenate([x, np.ones((len(x), 1))], 1)
    return 2 * z.T @ z / len(z), 2 * z.T @ y[:, 0] / len(z)


def vector(tree: dict[str, Tensor]) -> np.ndarray:
    return np.concatenate([tree["layer0.weight"].flatten().numpy(), tree["layer0.bias"].numpy()])


def test_on_quadratics_solution_and_gradient_are_the_formulas() -> None:
    start, ep = theta(LINE, dtype=F64), episode(LINE.task, (5, 2, 3), (4, 3, 6), dtype=F64)
    phi = LEARNER.adapt(LINE, start, {}, ep.support, keys(range(3)))
    report = LEARNER.update(LINE, start, {}, ep, keys(range(3)))
    for client in range(3):
        (h, c), (hq, cq) = quadratic(ep.support, client), quadratic(ep.query, client)
        left = h + 2.0 * np.eye(3)
        solution = np.linalg.solve(left, c + 2.0 * vector(start))
        np.testing.assert_allclose(vector(pick(phi, client)), solution, rtol=1e-8)
        expected = 2.0 * np.linalg.solve(left, hq @ solution - cq)
        np.testing.assert_allclose(vector(pick(report.update, client)), expected, rtol=1e-7, atol=1e-9)


def test_on_a_net_it_is_the_slope_of_the_query_loss_of_the_solved_inner_problem() -> None:
    """Central differences through 60 inner steps, which leave nothing to solve; enough conjugate gradient, too."""
    net = MLP(hidden=(3,), activation="tanh", task=classification(2))
    learner = IMAML(inner_lr=0.3, inner_steps=60, attraction=2.0, cg_steps=15)
    start, ep = theta(net, dtype=F64), episode(net.task, (4,), (5,), dtype=F64)

    def objective(at: dict[str, Tensor]) -> Tensor:
        return net.loss(learner.adapt(net, at, {}, ep.support, keys([0])), ep.query)[0]

    report = learner.update(net, start, {}, ep, keys([0]))
    direction = theta(net, seed=8, dtype=F64)
    ahead, behind = (objective(dict(add(start, direction, width))) for width in (1e-4, -1e-4))
    along = (flat(pick(report.update, 0)) * flat(direction)).sum()
    assert along.abs() > 1e-2
    torch.testing.assert_close(along, (ahead - behind) / 2e-4, rtol=1e-5, atol=1e-8)


def test_without_conjugate_gradient_or_curvature_it_is_the_query_gradient() -> None:
    """λ → ∞ and no steps of the solver both leave I: the gradient at φ_K, as FOMAML's."""
    start, ep = theta(LINE, dtype=F64), episode(LINE.task, (5, 2), (4, 3), dtype=F64)
    for learner in (replace(LEARNER, cg_steps=0), replace(LEARNER, attraction=1e9, inner_lr=1e-10, inner_steps=3)):
        phi = learner.adapt(LINE, start, {}, ep.support, keys(range(2)))
        report = learner.update(LINE, start, {}, ep, keys(range(2)))
        same(report.update, LINE.grad(phi, ep.query), rtol=1e-7, atol=1e-9)


def symmetric(eigenvalues: tuple[float, ...], seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(eigenvalues), len(eigenvalues))))
    return q @ np.diag(eigenvalues) @ q.T


def test_conjugate_gradient_solves_n_unknowns_in_n_steps_each_client_its_own() -> None:
    matrices = torch.from_numpy(np.stack([symmetric((1, 2, 5, 9), 0), symmetric((3, 3, 3, 3), 1)]))
    b = torch.from_numpy(np.random.default_rng(2).standard_normal((2, 4)))
    asked = []

    def product(v: dict[str, Tensor]) -> dict[str, Tensor]:
        asked.append(v)
        return {"x": (matrices @ v["x"].unsqueeze(2)).squeeze(2)}

    for steps in (4, 9):  # solved ones stay solved
        x = conjugate_gradient(product, {"x": b}, steps)["x"]
        torch.testing.assert_close(x, torch.linalg.solve(matrices, b), rtol=1e-9, atol=1e-12)
    assert len(asked) == 5 + 10


def test_a_direction_without_positive_curvature_ends_the_iteration_of_that_client_alone() -> None:
    matrices = torch.from_numpy(np.stack([symmetric((-4, -3), 0), symmetric((1, 2), 1)]))
    b = torch.ones(2, 2, dtype=F64)
    product = lambda v: {"x": (matrices @ v["x"].unsqueeze(2)).squeeze(2)}  # noqa: E731
    x = conjugate_gradient(product, {"x": b}, 2)["x"]
    assert torch.equal(x[0], b[0])
    torch.testing.assert_close(x[1], torch.linalg.solve(matrices[1], b[1]), rtol=1e-10, atol=1e-12)


def test_dot_is_each_clients_own() -> None:
    a = {"w": torch.arange(6.0).view(2, 3), "b": torch.tensor([1.0, 2.0])}
    assert dot(a, a).tolist() == [0 + 1 + 4 + 1, 9 + 16 + 25 + 4]


def test_theta_attracts_wherever_adaptation_begins() -> None:
    """From another start the same solution: the centre is θ, not the start."""
    start, ep = theta(LINE, dtype=F64), episode(LINE.task, (5, 2), (4, 3), dtype=F64)
    far = {name: p + 3.0 for name, p in LEARNER.start(start, 2).items()}
    paths = [LEARNER.adaptation_trajectory(LINE, start, {}, ep.support, keys(range(2)), at) for at in (None, far)]
    ends = [[next(path) for _ in range(80)][-1] for path in paths]
    same(ends[0], ends[1], rtol=1e-7, atol=1e-9)
    assert norm(sub(ends[0], LEARNER.start(start, 2))) > 1e-2
