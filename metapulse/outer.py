"""Outer updates: pure functions from (state, θ, aggregate) to the next θ and state.

The aggregate Δ is a pseudo-gradient: θ moves against it. The moments live in the state, which the caller keeps over
rounds and restarts; nothing is hidden in an object.

Source: Reddi et al. 2021, "Adaptive Federated Optimization", arXiv:2003.00295, Algorithm 2; Adam with the bias
correction of Kingma and Ba 2015, arXiv:1412.6980.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from metapulse.errors import ConfigError
from metapulse.trees import Flat, Params, flat, prefixed

Weighting: TypeAlias = Literal["samples", "uniform"]
OuterName: TypeAlias = Literal["sgd", "momentum", "adam", "yogi", "adagrad"]
Schedule: TypeAlias = Literal["constant", "linear", "cosine"]

#: Outer state: moments under "m/…" and "v/…", and the number of steps under "t".
State = dict[str, Tensor]


@dataclass(frozen=True)
class OuterUpdate:
    """θ ← θ − β · direction(Δ + 2λθ).

    Args:
        kind: which of ``DIRECTIONS``.
        beta1: decay of the first moment, in [0, 1).
        beta2: decay of the second moment, in [0, 1).
        tau: τ, adaptivity floor added to the root of the second moment, > 0.
        l2: λ of the regularised outer objective λ‖θ‖², ≥ 0.
    """

    kind: str = "sgd"
    beta1: float = 0.9
    beta2: float = 0.999
    tau: float = 1e-8
    l2: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in DIRECTIONS:
            raise ConfigError("strategy.outer", self.kind, f"must be one of {', '.join(DIRECTIONS)}")

    def init(self, theta: Params) -> State:
        """The state before the first round: zero moments."""
        state: State = {"t": torch.zeros((), dtype=torch.int64)}
        for moment in DIRECTIONS[self.kind].moments:
            state |= {f"{moment}/{name}": torch.zeros_like(p) for name, p in theta.items()}
        return state

    def apply(self, state: State, theta: Params, aggregate: Params, lr: float) -> tuple[Params, State]:
        """One outer step.

        Args:
            state: from ``init`` or the last ``apply``; not changed.
            theta: θ; not changed.
            aggregate: Δ, in the shape of θ.
            lr: β ≥ 0 (ε for Reptile).
        """
        t = state["t"] + 1
        after: State = {"t": t}
        if isinstance(theta, Flat) and isinstance(aggregate, Flat):  # all tensors in one operation
            kept = {k: flat({name: state[f"{k}/{name}"] for name in theta}).buffer for k in self._moments}
            buffer, moments = self._moved(theta.buffer, aggregate.buffer, kept, int(t), lr)
            for k, m in moments.items():
                after |= prefixed(theta.like(m), f"{k}/")
            return theta.like(buffer), after
        moved: dict[str, Tensor] = {}
        for name, p in theta.items():
            kept = {k: state[f"{k}/{name}"] for k in self._moments}
            moved[name], moments = self._moved(p, aggregate[name], kept, int(t), lr)
            after |= {f"{k}/{name}": m for k, m in moments.items()}
        return moved, after

    @property
    def _moments(self) -> str:
        return DIRECTIONS[self.kind].moments

    def _moved(
        self, p: Tensor, delta: Tensor, moments: dict[str, Tensor], step: int, lr: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Some of θ after a step, and its moments."""
        g = delta + (2.0 * self.l2) * p if self.l2 else delta
        direction, moments = DIRECTIONS[self.kind].direction(self, g, moments, step)
        return p - lr * direction, moments


def outer_rate(lr: float, schedule: Schedule, round: int, rounds: int) -> float:
    """The outer learning rate of one round.

    constant: lr;  linear: lr · (1 − (t − 1)/T), as Reptile's ε;  cosine: lr · ½(1 + cos(π (t − 1)/T)).

    Args:
        lr: rate of the first round, > 0.
        schedule: "constant", "linear" or "cosine".
        round: t, from 1.
        rounds: T, how many there will be, ≥ 1.
    """
    done = min((round - 1) / max(rounds, 1), 1.0)
    if schedule == "linear":
        return lr * (1.0 - done)
    if schedule == "cosine":
        return lr * 0.5 * (1.0 + math.cos(math.pi * done))
    return lr


#: From the rule's numbers, Δ, the moments before and the number of the step: the direction, and the moments after it.
Direction = Callable[[OuterUpdate, Tensor, dict[str, Tensor], int], tuple[Tensor, dict[str, Tensor]]]


@dataclass(frozen=True)
class Rule:
    """An outer optimiser.

    Args:
        direction: what θ moves against.
        moments: which it keeps, "m" and "v".
        reads: which of the numbers of ``OuterUpdate`` it reads; the others are refused beside it.
    """

    direction: Direction
    moments: str = ""
    reads: tuple[str, ...] = ()


def _sgd(rule: OuterUpdate, g: Tensor, moments: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
    return g, {}


def _momentum(rule: OuterUpdate, g: Tensor, moments: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Heavy ball, m ← β₁ m + Δ."""
    m = rule.beta1 * moments["m"] + g
    return m, {"m": m}


def _adam(rule: OuterUpdate, g: Tensor, moments: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
    m = torch.lerp(moments["m"], g, 1 - rule.beta1)
    v = torch.lerp(moments["v"], g * g, 1 - rule.beta2)
    root = (v / (1 - rule.beta2**step)).sqrt() + rule.tau
    return (m / (1 - rule.beta1**step)) / root, {"m": m, "v": v}


def _yogi(rule: OuterUpdate, g: Tensor, moments: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Adam with v ← v − (1 − β₂) Δ² sign(v − Δ²)."""
    square = g * g
    m = torch.lerp(moments["m"], g, 1 - rule.beta1)
    v = moments["v"] - (1 - rule.beta2) * square * torch.sign(moments["v"] - square)
    root = (v / (1 - rule.beta2**step)).sqrt() + rule.tau
    return (m / (1 - rule.beta1**step)) / root, {"m": m, "v": v}


def _adagrad(rule: OuterUpdate, g: Tensor, moments: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
    v = moments["v"] + g * g
    return g / (v.sqrt() + rule.tau), {"v": v}


DIRECTIONS: dict[str, Rule] = {
    "sgd": Rule(_sgd),
    "momentum": Rule(_momentum, "m", ("beta1",)),
    "adam": Rule(_adam, "mv", ("beta1", "beta2", "tau")),
    "yogi": Rule(_yogi, "mv", ("beta1", "beta2", "tau")),
    "adagrad": Rule(_adagrad, "v", ("tau",)),
}


def reading(number: str) -> tuple[str, ...]:
    """The rules that read a number of ``OuterUpdate``."""
    return tuple(name for name, rule in DIRECTIONS.items() if number in rule.reads)
