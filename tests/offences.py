"""Hostile and malformed replies, and one round of an aggregator against them.

Eleven replies, two of them hostile, fifty numbers; honest updates are independent, x_i = μ + 0.3 N(0, I) with
μ ~ N(0, I), an easy case. The error is ‖Δ − mean of the honest‖ over the norm of that mean, where θ ← θ − Δ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from torch import Tensor

from metapulse.client.wire import ARRAYS, METRICS, decode, encode
from metapulse.rng import Keys, generator
from metapulse.sim.attacks.base import Attacker
from metapulse.sim.attacks.colluding import ALIE, IPM
from metapulse.sim.attacks.forging import NotANumber, ScalingAttack, SignFlip
from metapulse.sim.engines.cohort import CohortGrid
from metapulse.strategies.registry import make_strategy
from metapulse.strategies.replies import Dropped

CLIENTS, HOSTILE, WIDTH, NOISE = 11, 2, 50, 0.3
HONEST = CLIENTS - HOSTILE

AGGREGATORS: Mapping[str, Mapping[str, Any]] = {
    "mean": {"name": "mean"},
    "median": {"name": "median"},
    "trimmed": {"name": "trimmed_mean", "attackers": HOSTILE},
    "Krum": {"name": "krum", "attackers": HOSTILE},
    "m-Krum": {"name": "multi_krum", "attackers": HOSTILE},
    "Bulyan": {"name": "bulyan", "attackers": HOSTILE},
    "geometric": {"name": "geometric_median", "steps": 20},
    "clipping": {"name": "centred_clipping", "radius": 3.0, "steps": 10},
    "norm filter": {"name": "norm_filter", "attackers": HOSTILE},
    "nnm + trimmed": {"name": "nnm", "attackers": HOSTILE, "then": {"name": "trimmed_mean", "attackers": HOSTILE}},
}


@dataclass(frozen=True)
class Offence:
    """What the hostile replies are.

    Args:
        forge: from the honest stack, (clients, width), to the one that is sent.
        examples: number of samples that they claim.
        shape: shape of their update, where it is not that of θ.
        copies: how often each is sent.
        refused: whether such a reply can be told from an honest one, so that its sender is dropped and named.
    """

    forge: Callable[[Tensor], Tensor] = lambda x: x
    examples: float = 7.0
    shape: tuple[int, ...] = (WIDTH,)
    copies: int = 1
    refused: bool = False


def by(attack: Attacker) -> Callable[[Tensor], Tensor]:
    """What an attack makes of a stack whose last rows are hostile."""
    bad = torch.arange(CLIENTS) >= HONEST
    return lambda x: attack.forge({"w": x}, bad, Keys(0, 1, range(CLIENTS)))["w"]


def constant(value: float) -> Callable[[Tensor], Tensor]:
    """The same number everywhere."""
    return lambda x: torch.cat([x[:HONEST], torch.full_like(x[HONEST:], value)])


OFFENCES: Mapping[str, Offence] = {
    "none": Offence(),
    "sign flip × 10": Offence(by(SignFlip(factor=10.0))),
    "IPM, ε = 0.5": Offence(by(IPM(epsilon=0.5))),
    "ALIE, z = 1.5": Offence(by(ALIE(z=1.5))),
    "replacement × n/f": Offence(by(SignFlip(factor=CLIENTS / HOSTILE))),
    "scaling × 100": Offence(by(ScalingAttack(factor=100.0))),
    "1e30": Offence(constant(1e30)),
    "NaN": Offence(by(NotANumber()), refused=True),
    "+inf": Offence(by(NotANumber(value="inf")), refused=True),
    "one NaN coordinate": Offence(by(NotANumber(everywhere=False)), refused=True),
    "num-examples = 1e9": Offence(by(SignFlip(factor=1.0)), 1e9, refused=True),
    "num-examples = NaN": Offence(examples=math.nan, refused=True),
    "num-examples = −5": Offence(examples=-5.0, refused=True),
    "wrong shape": Offence(shape=(WIDTH // 2, 2), refused=True),
    "oversize, 4 MB": Offence(shape=(1_000_000,), refused=True),
    "duplicate": Offence(copies=2, refused=True),
}


@dataclass(frozen=True)
class Outcome:
    """Of one round: relative error (not a number: it was given up), the new θ, and who was dropped."""

    error: float
    theta: Tensor
    dropped: list[Dropped]

    @property
    def named(self) -> set[int]:
        """Clients that were dropped."""
        return {one.client for one in self.dropped if one.client >= 0}


def one_round(aggregator: Mapping[str, Any], offence: Offence, seed: int) -> Outcome:
    """One round of FedAvg with an aggregator, from θ = 0; replies are real messages."""
    grid, told = CohortGrid(CLIENTS), list[Dropped]()
    settings = {"name": "fedavg", "cohort": 0, "aggregator": dict(aggregator)}
    strategy = make_strategy(settings, 1, seed, lambda round, dropped: told.extend(dropped))
    asked = list(strategy.configure_train(1, encode({"w": torch.zeros(WIDTH)}), ConfigRecord(), grid))
    rng = generator(seed, "attack-table")
    target = rng.standard_normal(WIDTH)
    honest = torch.from_numpy(target + NOISE * rng.standard_normal((CLIENTS, WIDTH))).float()
    sent = offence.forge(honest)
    replies = [_reply(message, sent[i], offence if i >= HONEST else Offence()) for i, message in enumerate(asked)]
    replies += replies[HONEST:] * (offence.copies - 1)
    moved, _ = strategy.aggregate_train(1, replies)
    if moved is None:
        return Outcome(math.nan, torch.zeros(WIDTH), told)
    theta, mean = decode(moved)["w"], honest[:HONEST].double().mean(0)
    return Outcome(float((-theta.double() - mean).norm() / mean.norm()), theta, told)


def _reply(asked: Message, update: Tensor, offence: Offence) -> Message:
    values = update if offence.shape == (WIDTH,) else torch.zeros(offence.shape)
    arrays: ArrayRecord = encode({"w": values})
    return Message(
        RecordDict({ARRAYS: arrays, METRICS: MetricRecord({"num-examples": offence.examples})}), reply_to=asked
    )
