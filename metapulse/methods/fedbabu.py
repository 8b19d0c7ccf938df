"""FedBABU (Oh, Kim, Yun 2022): the body alone is trained, under a head that stays as it was initialised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metapulse.episodes import Episode
from metapulse.methods.base import Paper, Report
from metapulse.methods.fedavg import LocalSGD
from metapulse.methods.method import Method, Server
from metapulse.methods.oracles import FrozenParameters
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.trees import Params, Stacked


@dataclass(frozen=True)
class FedBABU(LocalSGD):
    """FedAvg on the body; the head, the same random one on all devices, moves at test time only, with the body."""

    paper: ClassVar[Paper] = Paper(
        "oh2022fedbabu",
        "Oh, Kim and Yun",
        2022,
        "FedBABU: Towards Enhanced Representation for Federated Image Classification",
        "2106.06042",
        "Algorithm 1",
    )

    def downloaded_parameters(self, model: Model, meta: Params) -> frozenset[str]:
        """The body; the head is that of the start."""
        return frozenset(meta) - model.head

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """FedAvg's work with the head held."""
        body = FrozenParameters(model, frozenset(meta) - model.head, task=model.task)
        return super().update(body, meta, state, episode, keys)


METHOD = Method(
    "fedbabu",
    FedBABU,
    Server("fedavg", fixed=("l2",)),
    sends="the body of θ − φ_K under the head as it was initialised; 0 for the head",
    head=True,
)
