"""Every method runs from its name alone, to the end, and judges people."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from metapulse.registry import METHODS
from metapulse.server.config import build_config
from metapulse.sim.experiment import run_experiment
from tests.runs import CURVES, WORLDS


@pytest.mark.long
@pytest.mark.parametrize("name", METHODS)
def test_a_method_runs_from_its_name_alone(name: str, tmp_path: Path) -> None:
    world = WORLDS["sine" if name in CURVES else "wearables"]
    table: dict[str, Any] = {**world, "run": {"rounds": 2}, "method": {"name": name}}
    evaluation = {"episodes": 1, "steps": [0, 1], "shots": [2], "split": world["episodes"]["split"]}
    summary = run_experiment(build_config({**table, "evaluation": evaluation}), tmp_path / name)
    assert summary["rounds"] == 2
    assert summary["scores"]
    assert all(math.isfinite(score["mean"]) for score in summary["scores"])
