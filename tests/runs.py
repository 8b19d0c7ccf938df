"""Small whole runs for tests of strategies, servers and engines: six people, tiny models, a round or two."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from metapulse.data import Samples
from metapulse.errors import DataError
from metapulse.methods.base import Learner
from metapulse.registry import LEARNERS
from metapulse.server.config import Config, build_config
from metapulse.server.folder import RunFolder, digest
from metapulse.server.method import method_of
from metapulse.sim.sources.sine import Sine
from metapulse.trees import norm, sub
from tests.thorough import THOROUGH

STRATEGIES: dict[str, dict[str, Any]] = {
    "fedavg": {"name": "fedavg"},
    "fedreptile": {"name": "fedreptile"},
    "fedmaml": {"name": "fedmaml"},
    "fednova": {"name": "fednova"},
    "stock-fedavg": {"name": "stock", "reference": "flwr.serverapp.strategy:FedAvg"},
    "stock-trimmed": {"name": "stock", "reference": "flwr.serverapp.strategy:FedTrimmedAvg", "options": {"beta": 0.4}},
    "stock-median": {"name": "stock", "reference": "flwr.serverapp.strategy:FedMedian"},
    "stock-adam": {"name": "stock", "reference": "flwr.serverapp.strategy:FedAdam", "options": {"eta": 0.01}},
}

#: Those that look at every update; three replies are enough for each.
ROBUST: dict[str, dict[str, Any]] = {
    "median": {"name": "median"},
    "krum": {"name": "krum"},
} | {
    f"fedavg-{aggregator['name']}": {"name": "fedavg", "aggregator": aggregator}
    for aggregator in (
        {"name": "trimmed_mean"},
        {"name": "multi_krum", "attackers": 0},
        {"name": "bulyan", "attackers": 0},
        {"name": "centred_clipping", "radius": 0.5},
        {"name": "norm_filter"},
        {"name": "nnm", "then": {"name": "geometric_median"}},
    )
}

#: One of each kind of update: local training, a query gradient, one with more in θ, none, and one through a memory.
KINDS = ("fedavg", "reptile", "maml", "meta_sgd", "local_only", "protonet")
#: Learners of curves alone.
CURVES = ("alpaca", "cnp", "persistence")
#: The head that answers best for all is solved from a Gram matrix of more inputs than these worlds have samples, which
#: makes of the last bit of θ the fourth digit of a score: engines, which add in other orders, agree on EM's mean,
#: and on a ridge that is as strong as the inputs.
OWN: dict[str, dict[str, Any]] = {"random_effects": {"centre": "heads"}, "pooled_ridge": {"ridge": 1.0}}
OF_CLASSES = sorted(set(LEARNERS) - set(CURVES))
#: Every learner of classes under one strategy, in turn, and pairs that are a paper's; a thorough run has each learner
#: under FedMAML and each kind under every strategy as well. What a strategy makes of the replies that it is given, a
#: stack or messages, is asked of all strategies in tests/conformance.
PAIRS: list[tuple[str, str]] = sorted(
    {*zip(OF_CLASSES, itertools.cycle(STRATEGIES), strict=False)}
    | {("fednova", "fednova"), ("scaffold", "fedavg"), ("qffl", "fedavg")}
    | {("maml", "fedmaml"), ("fedavg", "stock-adam")}
    | ({*itertools.product(OF_CLASSES, ["fedmaml"]), *itertools.product(KINDS, STRATEGIES)} if THOROUGH else set())
)

CLIENTS = 6  # two are held out, three of the other four are in a round
WORLDS: dict[str, dict[str, Any]] = {
    "wearables": {
        "source": {"name": "wearables", "users": CLIENTS, "devices": ["watch"], "executions": 2, "windows": 3},
        "transform": {"name": "standardise"},
        "model": {"name": "cnn1d", "channels": [6], "kernel": 5},
        "episodes": {"split": "groups", "shots": 2},
    },
    "sine": {
        "source": {"name": "sine", "clients": CLIENTS},
        "transform": {"name": "none"},
        "model": {"name": "sine", "hidden": [8, 8]},
        "episodes": {"split": "samples", "shots": 5},
    },
}


def make(learner: str, strategy: str, world: str = "", rounds: int = 1, /, **sections: dict[str, Any]) -> Config:
    """A configuration of a world ("": people, or curves where the learner is for them alone) under ``sections``."""
    world = world or ("sine" if learner in CURVES else "wearables")
    settings: dict[str, Any] = {"inner_steps": 2}
    if issubclass(LEARNERS[learner], Learner):
        if not LEARNERS[learner].uses_query_set:
            settings["batch_size"] = 4  # minibatches: drawn, so that addresses are tested too
        has = {field.name for field in fields(LEARNERS[learner])}
        settings = {key: value for key, value in settings.items() if key in has} | OWN.get(learner, {})
    section, method = (STRATEGIES | ROBUST)[strategy], method_of(LEARNERS[learner])
    free = method is not None and section["name"] != method.server.strategy  # engines run pairs that are no paper's
    fixed = {k: v for k, v in method.server.settings.items() if k in method.server.fixed} if method else {}
    table: dict[str, Any] = {
        **WORLDS[world],
        "run": {"rounds": rounds, "seed": 5},
        "split": {"test": 0.34, "validation": 0.0},
        "learner": {"name": learner, **settings},
        "method": {"free": free},
        "strategy": {**({} if free else fixed), **section, "cohort": 3},
        "evaluation": {
            "episodes": 2,
            "shots": [2],
            "steps": [0, 1, 3],
            "split": WORLDS[world]["episodes"]["split"],
        },
        "checkpoint": {"every": 1, "keep": 1000},
    }
    for name, section in sections.items():
        held = table.get(name, {})
        table[name] = section if "name" in section and section["name"] != held.get("name") else {**held, **section}
    return build_config(table)


@dataclass(frozen=True)
class Result:
    """What a run left behind: θ after every round, its scores, its summary."""

    thetas: list[dict[str, torch.Tensor]]
    rows: list[dict[str, Any]]
    summary: dict[str, Any]

    @property
    def digests(self) -> list[str]:
        """Names for the bits of θ after every round."""
        return [digest(theta) for theta in self.thetas]


def read(path: Path, summary: dict[str, Any]) -> Result:
    """The result in a run's folder."""
    folder = RunFolder(path)
    thetas = [load_file(checkpoint / "theta.safetensors") for checkpoint in folder.checkpoints()]
    return Result(thetas, folder.metrics(), summary)


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """‖a − b‖₂ / ‖b‖₂ over the whole tree, in float64."""
    return float(norm(sub(a, b)) / norm(b))


@dataclass(frozen=True)
class Faulty(Sine):
    """Sine curves of which client 1 has no samples and client 2 not a number among them."""

    def remarks(self) -> tuple[str, ...]:
        """What people have to know."""
        return ("client 1 has no samples",)

    def samples(self, index: int) -> Samples:
        """What client ``index`` has."""
        held = super().samples(index)
        if index == 1:
            return held.take(np.arange(0))
        if index == 2:
            held.x[3] = np.nan
        return held

    def block(self, clients: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Nothing at once: two of them have nothing to give."""
        raise DataError("ask one by one")
