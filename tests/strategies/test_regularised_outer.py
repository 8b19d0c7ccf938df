"""λ‖θ‖², the regularised outer objective: its gradient 2λθ is added to what the clients report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from metapulse.outer import DIRECTIONS, OuterUpdate
from metapulse.server.config import build_config
from metapulse.server.folder import RunFolder
from metapulse.sim.experiment import run_experiment

THETA = {"w": torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), "b": torch.tensor(3.0, dtype=torch.float64)}
GOAL = {"w": torch.tensor([-1.0, 4.0, 0.0], dtype=torch.float64), "b": torch.tensor(2.0, dtype=torch.float64)}


@pytest.mark.parametrize("kind", DIRECTIONS)
def test_it_is_the_gradient_of_lambda_times_the_squared_norm(kind: str) -> None:
    """The step is that of the aggregate plus the slope of λ‖θ‖², whatever the outer optimiser."""
    leaves = {name: p.clone().requires_grad_() for name, p in THETA.items()}
    (0.3 * sum(p.square().sum() for p in leaves.values())).backward()
    summed = {name: GOAL[name] + p.grad for name, p in leaves.items()}
    plain, regularised = OuterUpdate(kind), OuterUpdate(kind, l2=0.3)
    expected, moments = plain.apply(plain.init(THETA), THETA, summed, 0.1)
    found, state = regularised.apply(regularised.init(THETA), THETA, GOAL, 0.1)
    for name, p in expected.items():
        torch.testing.assert_close(found[name], p, rtol=1e-12, atol=1e-14)
    for name, p in moments.items():
        torch.testing.assert_close(state[name], p, rtol=1e-12, atol=1e-14)
    without, _ = plain.apply(plain.init(THETA), THETA, GOAL, 0.1)
    assert any(not torch.allclose(without[name], p) for name, p in found.items())


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adagrad"])
def test_its_fixed_point_is_shrunk(kind: str) -> None:
    """min ½‖θ − a‖² + λ‖θ‖² is a / (1 + 2λ)."""
    rule, theta = OuterUpdate(kind, l2=0.5), dict(THETA)
    state = rule.init(theta)
    for _ in range(800):
        theta, state = rule.apply(
            state, theta, {n: p - GOAL[n] for n, p in theta.items()}, 0.1 if kind != "adagrad" else 1
        )
    for name, p in theta.items():
        torch.testing.assert_close(p, GOAL[name] / 2, rtol=1e-6, atol=1e-6)


def test_a_run_of_clients_that_report_nothing_shrinks_theta_geometrically(tmp_path: Path) -> None:
    """Local-only reports zero, so with β = 1 every round is θ ← (1 − 2λ) θ."""
    table: dict[str, Any] = {
        "run": {"rounds": 3},
        "source": {"name": "sine", "clients": 20},
        "transform": {"name": "none"},
        "model": {"name": "mlp", "hidden": [4]},
        "method": {"name": "local_only", "free": True},
        "strategy": {"name": "fedavg", "cohort": 4, "l2": 0.05},
        "evaluation": {"split": "samples", "clients": 2},
        "checkpoint": {"every": 1, "keep": 10},
    }
    run_experiment(build_config(table), tmp_path / "run")
    first, *later = [load_file(p / "theta.safetensors") for p in RunFolder(tmp_path / "run").checkpoints()]
    assert len(later) == 3
    for t, theta in enumerate(later, 1):
        for name, p in theta.items():
            torch.testing.assert_close(p, 0.9**t * first[name], rtol=1e-5, atol=1e-7)
