"""LG-FedAvg (Liang et al. 2020): each device has its own representation, and a global model works on top of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metapulse.methods.base import Paper
from metapulse.methods.method import Method, Server
from metapulse.methods.partly import PartlyPersonal
from metapulse.models.base import Model
from metapulse.trees import Params


@dataclass(frozen=True)
class LGFedAvg(PartlyPersonal):
    """Body and head are trained together; the head is shared, the body stays."""

    paper: ClassVar[Paper] = Paper(
        "liang2020lgfedavg",
        "Liang et al.",
        2020,
        "Think Locally, Act Globally: Federated Learning with Local and Global Representations",
        "2001.01523",
        "Algorithm 1, without the auxiliary losses",
    )

    def personal(self, model: Model, meta: Params) -> frozenset[str]:
        """Everything but the head."""
        return frozenset(meta) - model.head


METHOD = Method(
    "lg_fedavg",
    LGFedAvg,
    Server("fedavg", fixed=("l2",)),
    sends="the head of θ − φ_K, both parts trained together; 0 for the body",
    keeps="its body",
    notes="Without the auxiliary losses.",
    head=True,
)
