"""FedPer (Arivazhagan et al. 2019): shared base layers, a personal head that never leaves the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metapulse.methods.base import Paper
from metapulse.methods.method import Method, Server
from metapulse.methods.partly import PartlyPersonal
from metapulse.models.base import Model
from metapulse.trees import Params


@dataclass(frozen=True)
class FedPer(PartlyPersonal):
    """Body and head are trained together; the body is shared, the head stays."""

    paper: ClassVar[Paper] = Paper(
        "arivazhagan2019fedper",
        "Arivazhagan, Aggarwal, Singh and Choudhary",
        2019,
        "Federated Learning with Personalization Layers",
        "1912.00818",
        "Algorithms 1 and 2",
    )

    def personal(self, model: Model, meta: Params) -> frozenset[str]:
        """The head."""
        return model.head


METHOD = Method(
    "fedper",
    FedPer,
    Server("fedavg", fixed=("l2",)),
    sends="the body of θ − φ_K, both parts trained together; 0 for the head",
    keeps="its head",
    head=True,
)
