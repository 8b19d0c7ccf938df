"""What a run cost: gradients, floating-point operations and bytes, beside the time that they took here.

Work is counted on updates of the run itself, done again one client at a time, by autograd: its backward passes, and the
operations of products of matrices and of convolutions as PyTorch counts them, two for a multiplication with addition.
So every learner is counted by what it does, whatever it is, and none has to say what it costs. Operations on single
numbers (activations, optimisers) are not counted, nor is the linear system that R2D2 solves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from metapulse.client.executor import ClientExecutor
from metapulse.episodes import Episode
from metapulse.rng import Keys
from metapulse.server.client_sampler import ClientSampler
from metapulse.server.config import Config, build_config, merge
from metapulse.server.folder import RunFolder
from metapulse.sim.engines.cohort import SourceDirectory
from metapulse.strategies.registry import STRATEGIES
from metapulse.trees import Params

ROUNDS, CLIENTS = 6, 6  # updates of a run that are done again: of so many rounds, so many clients each
METRIC = 8  # bytes of a reply's weight, and of each of its metrics


@dataclass(frozen=True)
class Cost:
    """What training costs, of one client's update or of a whole run.

    Args:
        gradient_steps: backward passes: a gradient or a Hessian-vector product each.
        flops: floating-point operations.
        bytes_up: numbers that clients send.
        bytes_down: numbers that clients are sent.
    """

    gradient_steps: float
    flops: float
    bytes_up: float
    bytes_down: float


@dataclass(frozen=True)
class RunCost(Cost):
    """A run's training, all clients together; the meta-test is no part of it.

    Args:
        rounds: how many.
        seconds: that the rounds took, by the wall clock.
    """

    rounds: int
    seconds: float


class _Backwards(TorchFunctionMode):
    """Counts backward passes."""

    def __init__(self) -> None:
        self.passes = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.passes += func is torch.autograd.grad
        return func(*args, **(kwargs or {}))


def run_cost(path: Path) -> RunCost:
    """The cost of the training in a run's folder.

    Σ over rounds of (clients asked) · (bytes down), and of (clients that answered) · (mean cost of an update).

    Raises:
        RunError: it holds no run.
        ConfigError: what the run was made with is not here any more.
    """
    folder = RunFolder(path)
    table = folder.config()[0]
    rounds = [event for event in folder.events() if event["kind"] == "round"]
    asked, answered = (sum(event[key] for event in rounds) for key in ("asked", "clients"))
    # Seeds differ in whom they ask, which changes nothing on average: with one for all, their runs share the answer.
    table = merge(table, {"run": {"seed": 0, "name": "cost"}})
    one = _update_cost(json.dumps(table, sort_keys=True)) if answered else Cost(0.0, 0.0, 0.0, 0.0)
    return RunCost(
        gradient_steps=answered * one.gradient_steps,
        flops=answered * one.flops,
        bytes_up=answered * one.bytes_up,
        bytes_down=asked * one.bytes_down,
        rounds=len(rounds),
        seconds=sum(event["seconds"] for event in rounds),
    )


@lru_cache(maxsize=1024)
def _update_cost(text: str) -> Cost:
    return update_cost(build_config(json.loads(text)))


def update_cost(config: Config) -> Cost:
    """The mean cost of an update, over some of a run's own: some clients in each of some evenly spaced rounds.

    Args:
        config: of the run, with one round at least.
    """
    work = ClientExecutor(config.client_config())
    vars(work.model).update(chain=None, compiled=None)  # autograd, whose products PyTorch sees, in place of the kernels
    theta = work.init()
    sampler, size = ClientSampler(SourceDirectory(work.source), config), STRATEGIES.make(config.strategy).cohort
    found = []
    for round in _spaced(range(1, config.run.rounds + 1), ROUNDS):
        known: dict[tuple[torch.Size, torch.Size], tuple[int, int, int]] = {}  # same numbers of samples, same work
        for client in _spaced(sampler.cohort(round, size), CLIENTS):
            kept, episode, _ = work.training_episodes(round, [client])
            sizes = episode.support.mask.shape, episode.query.mask.shape
            if kept and sizes not in known:
                known[sizes] = _measured(work, theta, episode, Keys(work.spec.seed, round, kept))
            found += [known[sizes]] if kept else []
    steps, flops, up = np.mean(found or [(0, 0, 0)], axis=0).tolist()
    down = sum(theta[name].nbytes for name in work.learner.downloaded_parameters(work.model, theta))
    return Cost(steps, flops, up, float(down))


def _spaced(items: Sequence[int], count: int) -> list[int]:
    """At most ``count`` of the items, evenly spaced."""
    kept = min(count, len(items))
    return [items[i * len(items) // kept] for i in range(kept)]


def _measured(work: ClientExecutor, theta: Params, episode: Episode, keys: Keys) -> tuple[int, int, int]:
    """Backward passes, operations and bytes up of one client's update."""
    with FlopCounterMode(display=False) as products, _Backwards() as backwards:
        report = work.learner.update(work.model, theta, {}, episode, keys)
    sent = sum(p.nbytes for p in report.update.values() if p.any())  # what is not for the server is reported as zeros
    return backwards.passes, products.get_total_flops(), sent + METRIC * (1 + len(report.metrics))
