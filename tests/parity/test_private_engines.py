"""Privacy on the cohort engine and on Flower's: the same people, the same noise, the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metapulse.server.config import Config
from metapulse.sim import experiment
from metapulse.trees import norm, sub
from tests.parity.conftest import Runtime
from tests.runs import Result, distance, make, read

COMMON = {"noise_seed": 11, "noise_multiplier": 0.5, "delta": 1e-3, "clip": 0.05}
PRIVACY: dict[str, dict[str, Any]] = {
    "central": {"mechanism": "central", "sampling": "fixed"},
    "adaptive": {"mechanism": "central", "sampling": "poisson", "adaptive": True, "count_noise": 1.0},
    "client": {"mechanism": "client", "sampling": "fixed"},
    "local": {"mechanism": "local"},
}


def cases() -> dict[str, Config]:
    """Two rounds each, so that C has moved once where it adapts."""
    return {
        name: make("meta_sgd", "fedmaml", "sine", 2, privacy=COMMON | privacy, strategy={"weighting": "uniform"})
        for name, privacy in PRIVACY.items()
    }


@pytest.fixture(scope="module")
def flower(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    return runtime(cases(), tmp_path_factory.mktemp("flower"))


@pytest.mark.ray
@pytest.mark.parametrize("name", PRIVACY)
def test_private_rounds_are_the_same(name: str, flower: dict[str, Result], tmp_path: Path) -> None:
    ours, theirs = read(tmp_path / name, experiment.run_experiment(cases()[name], tmp_path / name)), flower[name]
    assert distance(ours.thetas[1], theirs.thetas[1]) <= 1e-6
    steps = [sub(result.thetas[2], result.thetas[0]) for result in (ours, theirs)]
    assert norm(steps[0]) > 0
    assert distance(*steps) <= 1e-4
    assert ours.summary["privacy"] == theirs.summary["privacy"]
