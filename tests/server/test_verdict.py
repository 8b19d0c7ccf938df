"""Rounds that came to nothing, θ that stood still, and numbers that were lost on the way are said aloud."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from metapulse.client.wire import differ, encode
from metapulse.errors import ConfigError, NoResultError
from metapulse.server.divergence import read_settings
from metapulse.server.folder import RunFolder
from metapulse.server.progress import SilentProgress
from metapulse.server.verdict import STEPS, warnings
from metapulse.sim import experiment
from metapulse.sim.cells import Cell
from metapulse.sim.runner import run_cell
from metapulse.strategies.secure import SecureSettings
from tests.runs import make


@dataclass
class Listening(SilentProgress):
    """Keeps what is said."""

    said: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.said.append(text)


def config(secure: dict[str, Any], rounds: int = 3, lr: float = 1.0):
    return make(
        "meta_sgd",
        "fedmaml",
        "sine",
        rounds,
        split={"test": 0.0, "validation": 0.0},
        evaluation={"scenarios": []},
        strategy={"cohort": 0, "outer": "sgd", "lr": lr},
        secure_aggregation={"on": True, **secure},
    )


def rounds(path: Path) -> list[dict[str, Any]]:
    return [dict(e) for e in RunFolder(path).events() if e["kind"] == "round"]


def test_a_range_so_large_that_rounding_is_all_there_is_is_refused(tmp_path: Path) -> None:
    """R/(2 L √n) with L = ⌊(2¹⁵ − 1)/6⌋: .37 a number, and θ's own are a ninth of that."""
    with pytest.raises(
        ConfigError, match=r"secure_aggregation\.range = 10000\.0: must be smaller: with 16 bits and 6 .* by 0\.37"
    ):
        experiment.run_experiment(config({"range": 1e4, "bits": 16}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    experiment.run_experiment(config({"range": 1e4, "bits": 32}, 1), tmp_path / "fine")


def test_numbers_rounded_to_zero_are_counted_and_said(tmp_path: Path) -> None:
    """Weights of a thousandth of W leave five levels of 5461: nearly every number becomes zero."""
    told = Listening()
    found = experiment.run_experiment(
        config({"range": 60.0, "bits": 16, "max_weight": 1e4}, lr=0.01), tmp_path / "run", told
    )
    (line,) = [line for line in found["warnings"] if "rounded" in line]
    assert "of the numbers of the updates to zero: range = 60 is too large for 16 bits" in line
    assert f"warning: {line}" in told.said
    for event in rounds(tmp_path / "run"):
        assert event["zeroed-numbers"] > 0.5
        assert event["step"]


def test_numbers_clipped_are_counted_and_said(tmp_path: Path) -> None:
    told = Listening()
    found = experiment.run_experiment(config({"range": 1e-4}), tmp_path / "run", told)
    assert [line.startswith("secure aggregation clipped ") for line in found["warnings"]] == [True]
    assert told.said[-1] == f"warning: {found['warnings'][0]}"
    assert all(event["clipped"] == 1.0 and event["clipped-numbers"] > 0.1 for event in rounds(tmp_path / "run"))


def test_nothing_is_said_of_a_run_that_is_well(tmp_path: Path) -> None:
    told = Listening()
    assert "warnings" not in experiment.run_experiment(config({"range": 32.0}, lr=0.1), tmp_path / "run", told)
    assert told.said == []


def test_a_round_moved_only_if_theta_is_another() -> None:
    """A step that was taken need not move θ: it may be too small for float32."""
    theta, other = (encode({"w": torch.tensor([1.0, step])}) for step in (2.0, 2.5))
    assert not differ(theta, encode({"w": torch.tensor([1.0, 2.0])}))
    assert differ(theta, other)
    still = [{"kind": "round", "round": t, "moved": False, "step": True} for t in (1, 2, 3)]
    assert warnings(still, SecureSettings(on=True)) == ["θ did not move in 3 of 3 rounds"]


def test_a_run_whose_rounds_were_all_given_up_is_no_success(tmp_path: Path) -> None:
    """Exit code 1 and one line; no summary says that it is finished."""
    made = config({"dropout": [0.0, 0.0, 1.0, 0.0]}, rounds=6)
    outcome = run_cell(Cell("run", made, tmp_path / "run"))
    assert (outcome.code, outcome.summary) == (1, None)
    why = "; most often (6 times): round given up: secure aggregation: "
    assert outcome.error.startswith(f"no round of 6 had a usable outcome{why}")
    assert not (tmp_path / "run" / "summary.json").exists()


def test_so_is_one_all_of_whose_replies_were_refused(tmp_path: Path) -> None:
    made = make("maml", "fedmaml", "sine", 3, learner={"name": "maml", "inner_lr": 1e30})
    with pytest.raises(NoResultError, match=r"no round of 3 had a usable outcome; most often \(\d+ times\): "):
        experiment.run_experiment(made, tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"learner": {"inner_steps": 0}}, "learner.inner_steps = 0"),
        ({"learner": {"inner_lr": 1e-30}, "strategy": {"lr": 1e-30}}, "strategy.lr = 1e-30"),
    ],
)
def test_so_is_one_whose_steps_never_moved_theta(tmp_path: Path, change: dict[str, Any], at: str) -> None:
    """Replies came and steps were taken, each too small for a float32, or of nothing."""
    with pytest.raises(NoResultError, match="θ did not move in any of 3 rounds: nothing was trained; look at ") as said:
        experiment.run_experiment(make("reptile", "fedavg", "sine", 3, **change), tmp_path / "run")
    assert at in str(said.value)
    assert not (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize("learner", ["majority", "local_only"])
def test_methods_that_share_nothing_are_not_meant_to_move_theta(tmp_path: Path, learner: str) -> None:
    found = experiment.run_experiment(make(learner, "fedavg", "sine", 2), tmp_path / "run")
    assert found["scores"]
    assert not any(event["moved"] for event in rounds(tmp_path / "run"))


def test_a_rate_that_the_learner_does_not_have_is_not_one_to_look_at() -> None:
    settings = {"learner": {"name": "protonet"}, "strategy": {"name": "fedavg", "lr": 2.0}}
    assert read_settings(settings, STEPS) == ["strategy.lr = 2.0"]
