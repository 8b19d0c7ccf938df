"""Local normalisation: FedBN's idea (Li et al. 2021) for layers that have no running statistics.

FedBN keeps batch normalisation on the device. The models here have layer norms, which share everything but their scale
and shift: those are what stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metapulse.methods.base import Paper
from metapulse.methods.method import Method, Server
from metapulse.methods.partly import PartlyPersonal
from metapulse.models.base import Model
from metapulse.settings import setting
from metapulse.trees import Params


@dataclass(frozen=True)
class LocalNorm(PartlyPersonal):
    """FedAvg with normalisation layers' scale and shift on the device; without such a layer it is ``fedavg_ft``."""

    paper: ClassVar[Paper] = Paper(
        "li2021fedbn",
        "Li, Jiang, Zhang, Kamp and Dou",
        2021,
        "FedBN: Federated Learning on Non-IID Features via Local Batch Normalization",
        "2102.07623",
        "Section 3.2",
    )

    layers: str = setting("norm", "parameters whose name contains this stay on the device")

    def personal(self, model: Model, meta: Params) -> frozenset[str]:
        """Names with ``layers`` in them."""
        return frozenset(name for name in meta if self.layers in name)


METHOD = Method(
    "local_norm",
    LocalNorm,
    Server("fedavg", fixed=("l2",)),
    sends="θ − φ_K; 0 for normalisation layers' scale and shift",
    keeps="scale and shift of its normalisation layers",
    notes="FedBN's idea, for layer norms: no batch norm is here, and no running statistics.",
)
