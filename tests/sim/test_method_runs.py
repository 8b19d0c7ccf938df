"""A method's constants reach the clients of a run, and a combination of one's own is told of in its log and report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metapulse.errors import ConfigError
from metapulse.server.config import build_config
from metapulse.server.folder import RunFolder
from metapulse.sim.experiment import run_experiment
from metapulse.sim.report.runs.run_data import read_run
from metapulse.sim.report.runs.tables import provenance

TABLE: dict[str, Any] = {
    "run": {"rounds": 2},
    "source": {"name": "sine", "clients": 10},
    "split": {"test": 0.2, "validation": 0.0},
    "transform": {"name": "none"},
    "model": {"name": "sine", "hidden": [4]},
    "strategy": {"cohort": 2},
    "episodes": {"split": "samples"},
    "evaluation": {"split": "samples", "shots": [2], "steps": [0, 1], "episodes": 1},
}


def remarks(folder: RunFolder) -> list[str]:
    return [event["remark"] for event in folder.events() if event["kind"] == "data"]


def test_the_share_is_told_and_a_resumed_run_is_told_the_same(tmp_path: Path) -> None:
    """Two of the eight people who are not held out: |S|/N is a quarter, and a typed quarter is the same run."""
    summaries = [
        run_experiment(build_config({**TABLE, "method": {"name": "scaffold"}, "learner": learner}), tmp_path / name)
        for name, learner in {"computed": {}, "typed": {"share": 0.25}}.items()
    ]
    assert summaries[0]["theta"] == summaries[1]["theta"]
    assert "learner.share = 0.25: 2 of 8 clients are in a round" in remarks(RunFolder(tmp_path / "computed"))
    whole = build_config({**TABLE, "method": {"name": "scaffold", "free": True}})
    assert (
        run_experiment(whole, tmp_path / "whole")["theta"] != summaries[0]["theta"]
    )  # a share of one, as if all took part
    with pytest.raises(ConfigError, match=r"^learner.share = 0.5: .*2 of 8 clients are in a round"):
        run_experiment(
            build_config({**TABLE, "method": {"name": "scaffold"}, "learner": {"share": 0.5}}), tmp_path / "wrong"
        )
    assert not (tmp_path / "wrong" / "config.json").exists()


def test_under_privacy_the_share_is_of_the_people_that_are_published(tmp_path: Path) -> None:
    """Of eight, where sixteen are stated: neither the log nor what devices are told gives the true number away."""
    privacy = {"mechanism": "central", "noise_multiplier": 1.0, "delta": 1e-2, "people": 16}
    run_experiment(build_config({**TABLE, "method": {"name": "scaffold"}, "privacy": privacy}), tmp_path / "run")
    assert "learner.share = 0.125: 2 of 16 clients are in a round" in remarks(RunFolder(tmp_path / "run"))
    assert "of 8 clients" not in (tmp_path / "run" / "events.jsonl").read_text()


def test_a_combination_of_ones_own_is_told_of(tmp_path: Path) -> None:
    pair = {"learner": {"name": "scaffold"}, "strategy": {"name": "fedmaml", "cohort": 2}, "method": {"free": True}}
    run_experiment(build_config({**TABLE, **pair}), tmp_path / "own")
    (said,) = (line for line in remarks(RunFolder(tmp_path / "own")) if "method.free" in line)
    assert said.startswith("strategy.name = 'fedmaml' makes another algorithm; scaffold goes with fedavg")
    assert "a combination of its own" in provenance([read_run(tmp_path / "own")])
