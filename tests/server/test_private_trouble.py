"""Privacy among attackers and devices that fail: no client moves θ further than the mechanism allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metapulse.registry import ATTACKS
from metapulse.server.config import Config
from metapulse.server.folder import RunFolder
from metapulse.sim.experiment import run_experiment
from metapulse.trees import norm, sub
from tests.runs import Result, make, read

PEOPLE, COHORT, CLIP, RATE = 40, 12, 0.02, 0.5
FIXED = {"mechanism": "central", "noise_multiplier": 2.0, "delta": 1e-3, "sampling": "fixed", "noise_seed": 3}


def config(**sections: dict[str, Any]) -> Config:
    """One round of people who are drawn by the noise's seed, so by the same whatever goes wrong."""
    return make(
        "reptile",
        "fedreptile",
        "wearables",
        1,
        source={"users": PEOPLE, "devices": ["watch"]},
        strategy={"cohort": COHORT, "lr": RATE, "schedule": "constant"},
        evaluation={"clients": 2},
        **({"privacy": FIXED | {"clip": CLIP}} | sections),
    )


def done(made: Config, path: Path) -> Result:
    return read(path, run_experiment(made, path))


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return done(config(), tmp_path_factory.mktemp("honest") / "run")


@pytest.mark.parametrize("attack", ["sign_flip", "scaling", "replacement", "nan", "label_flip", "free_rider"])
def test_attackers_count_for_no_more_than_anybody(attack: str, honest: Result, tmp_path: Path) -> None:
    """k of them move θ by at most 2 k C β / qN, whatever they send; the budget is spent as it is without them."""
    section = {"name": attack, "fraction": 0.3}
    attackers = int(ATTACKS.make(section).attackers(5, 1, range(PEOPLE)).sum())
    result = done(config(attack=section), tmp_path / "run")
    moved = float(norm(sub(result.thetas[1], honest.thetas[1])))
    assert 0 < moved <= RATE * 2 * attackers * CLIP / COHORT * (1 + 1e-4)
    assert result.summary["privacy"] == honest.summary["privacy"]


def test_a_device_that_fails_leaves_the_denominator_alone(honest: Result, tmp_path: Path) -> None:
    """Half of them are away: θ moves by what they would have added, over the same qN; the log does not say who."""
    result = done(config(faults={"outage": 0.5}), tmp_path / "run")
    moved = float(norm(sub(result.thetas[1], honest.thetas[1])))
    assert 0 < moved <= RATE * COHORT * CLIP / COHORT * (1 + 1e-4)
    assert result.summary["privacy"] == honest.summary["privacy"]
    assert not [event for event in RunFolder(tmp_path / "run").events() if event["kind"] == "dropped"]


def test_without_the_mechanism_an_attacker_goes_further(tmp_path: Path) -> None:
    """So that the bound above is one."""
    bare = {"mechanism": "none"}
    honest = done(config(privacy=bare), tmp_path / "honest")
    result = done(config(privacy=bare, attack={"name": "scaling", "fraction": 0.3}), tmp_path / "run")
    assert float(norm(sub(result.thetas[1], honest.thetas[1]))) > 2 * RATE * CLIP
