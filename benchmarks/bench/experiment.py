"""The workload as an experiment of metapulse: its configuration, and θ before the first round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench.torch_models import MODELS, parameters
from benchmarks.bench.workload import BATCH, FEATURES, OUTER_RATE, RATE, STEPS, Load, Workload
from metapulse.client.executor import ClientExecutor
from metapulse.server.config import Config, build_config, merge, parse

SECTIONS: Mapping[str, dict[str, Any]] = {
    "mlp": {"name": "mlp", "hidden": [64, 32]},
    "module": {"name": "module", "factory": "benchmarks.bench.torch_models:MLP"},
    "cnn": {"name": "cnn1d", "channels": [32, 64], "kernel": 5},
    "gru": {"name": "gru", "hidden": 32},
    "sine": {"name": "sine", "start": "uniform"},
}


def experiment(load: Load, options: Sequence[str] = (), rounds: int = 1) -> Config:
    """The workload's configuration.

    Args:
        load: which workload, and where its files are.
        options: settings of a variant, ``section.key=value``.
        rounds: how many; checkpoints are written before the first and after the last.
    """
    workload = load.workload
    cut = "forward" if workload.second_order else "samples"
    table: dict[str, Any] = {
        "run": {"rounds": rounds},
        "source": {"name": "benchmarks.bench.source:Numbers", "folder": str(load.folder), "model": workload.model},
        "split": {"test": 0.0, "validation": 0.0},
        "transform": {"name": "none"},
        "model": dict(SECTIONS[workload.model]),
        "learner": {
            "name": "reptile",
            "inner_lr": RATE,
            "inner_steps": STEPS,
            "batch_size": BATCH,
            "order": "sequential",
        },
        "strategy": {"name": "fedavg", "weighting": "uniform"},
        "evaluation": {"scenarios": []},
        "checkpoint": {"every": rounds},
    }
    if workload.second_order:
        table["episodes"] = {"split": cut, "shots": 0}  # the first half of the points against the second
        table["learner"] = {"name": "maml", "inner_lr": RATE, "inner_steps": STEPS}
        table["strategy"] = {"name": "fedmaml", "outer": "sgd", "lr": OUTER_RATE}
    merge(table, parse("", options)[0])
    table["strategy"]["cohort"] = workload.cohort
    return build_config(table)


def write_theta(folder: Path) -> None:
    """Write θ₀ of every model: where metapulse starts, and so all systems.

    Raises:
        ValueError: metapulse's names, order or shapes are not those of the peers' modules.
    """
    for model in FEATURES:
        theta = start(Load(Workload(model, 1), folder))
        expected = {name: tuple(p.shape) for name, p in parameters(MODELS[model]()).items()}
        if list(expected.items()) != [(name, p.shape) for name, p in theta.items()]:
            raise ValueError(f"{model}: metapulse has {list(theta)}, the module {list(expected)}")
        arrays: dict[str, Any] = theta
        np.savez(folder / f"{model}-theta.npz", **arrays)


def start(load: Load, options: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """θ before the first round of metapulse's run."""
    theta = ClientExecutor(experiment(load, options).client_config()).init()
    return {name: p.numpy() for name, p in theta.items()}
