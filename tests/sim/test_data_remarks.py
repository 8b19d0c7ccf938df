"""What is said of the data before round 1, alike on every engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metapulse.client.executor import ClientExecutor
from metapulse.data import Samples, Task
from metapulse.errors import ConfigError
from metapulse.server.config import Config, EngineSettings
from metapulse.server.folder import RunFolder
from metapulse.sim import experiment
from metapulse.sim.data_remarks import data_remarks, probed, still_inputs
from metapulse.sim.engines.settings import Cohort, Flower
from metapulse.sim.sources.sine import Sine
from metapulse.transforms import Fixed, Standardise
from tests.runs import make


@dataclass(frozen=True)
class Still(Sine):
    """Sine curves whose inputs of odd clients move by less than a thousandth of their level."""

    def samples(self, index: int) -> Samples:
        """What client ``index`` has."""
        held = super().samples(index)
        return replace(held, x=held.x * np.float32(1e-5) + 7.0) if index % 2 else held


class Named(Still):
    """The same, its inputs under one name for all of a window, as an array without columns has."""

    @property
    def task(self) -> Task:
        """Regression from two numbers that are called x."""
        return replace(super().task, features=(2,), names=("x",))

    def samples(self, index: int) -> Samples:
        """What client ``index`` has."""
        held = super().samples(index)
        return replace(held, x=np.concatenate([held.x, held.x], 1))


def config(**sections: Any) -> Config:
    return make("maml", "fedmaml", "sine", 1, **{"evaluation": {"scenarios": []}, **sections})


def test_inputs_that_hardly_move_are_named_with_how_many_devices() -> None:
    work = ClientExecutor(config(source={"name": "tests.sim.test_data_remarks:Still", "clients": 6}).client_config())
    (line,) = still_inputs(work, Standardise())
    assert "1 inputs hardly move" in line
    assert "on how many of 6 devices): 0 (3)" in line
    assert still_inputs(work, Fixed()) == []


def test_inputs_without_names_of_their_own_are_counted() -> None:
    work = ClientExecutor(config(source={"name": "tests.sim.test_data_remarks:Named", "clients": 6}).client_config())
    (line,) = still_inputs(work, Standardise())
    assert "2 inputs hardly move" in line
    assert "which, counted from 0 (on how many of 6 devices): 0 (3), 1 (3)" in line


@pytest.mark.parametrize(
    ("pool", "floored"),
    [
        (np.full((9, 2), 3.0), [True, True]),
        (np.stack([np.arange(9.0), 1000 + 1e-2 * np.arange(9)], axis=1), [False, True]),
        (np.zeros((4, 3, 5)), [True, True, True]),
    ],
    ids=["constant", "close to its level", "windows"],
)
def test_a_floor_acts_where_standardise_would_divide_by_less(pool: np.ndarray, floored: list[bool]) -> None:
    pool = pool.astype(np.float32)
    assert Standardise().floored(pool).tolist() == floored
    moved = abs(Standardise().apply(pool, pool, None))
    assert (moved.reshape(len(pool), len(floored), -1).std((0, 2))[floored] < 0.9).all()


@pytest.mark.parametrize("engine", [Cohort(), pytest.param(Flower(workers=1), marks=pytest.mark.ray)])
def test_remarks_reach_terminal_and_log_on_every_engine(engine: EngineSettings, tmp_path: Path) -> None:
    made = replace(config(source={"name": "tests.runs:Faulty", "clients": 6}), engine=engine)
    experiment.run_experiment(made, tmp_path / "run")
    told = [e["remark"] for e in RunFolder(tmp_path / "run").events() if e["kind"] == "data"]
    assert told[: len(said := data_remarks(ClientExecutor(made.client_config()), made))] == said
    assert said[0] == "client 1 has no samples"


class Detached(torch.nn.Module):
    """Its first layer is cut off from the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = torch.nn.Linear(1, 4), torch.nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).detach())


def test_parameters_without_a_gradient_are_told_and_refused_under_noise() -> None:
    module = {"name": "module", "factory": "tests.sim.test_data_remarks:Detached"}
    made = make("fedavg", "fedavg", "sine", 1, model=module)
    assert [
        line.startswith("model: body.weight, body.bias get no gradient")
        for line in probed(ClientExecutor(made.client_config()), made)
    ] == [True]
    for section in (
        {"privacy": {"mechanism": "central", "noise_multiplier": 1.0}, "strategy": {"weighting": "uniform"}},
        {"secure_aggregation": {"on": True}},
    ):
        noisy = make("fedavg", "fedavg", "sine", 1, model=module, **section)
        with pytest.raises(ConfigError, match=r"^model.factory = .*body\.weight, body\.bias get no gradient"):
            probed(ClientExecutor(noisy.client_config()), noisy)
