"""FedAvg + fine-tuning: train as FedAvg, then adapt on the support set at test time (Jiang et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metapulse.methods.base import Paper
from metapulse.methods.fedavg import LocalSGD
from metapulse.methods.method import Method, Server


@dataclass(frozen=True)
class FedAvgFineTune(LocalSGD):
    """FedAvg's update with the common adaptation path."""

    paper: ClassVar[Paper] = Paper(
        "jiang2019improving",
        "Jiang et al.",
        2019,
        "Improving Federated Learning Personalization via Model Agnostic Meta Learning",
        "1909.12488",
        "Section 3",
    )


METHOD = Method(
    "fedavg_ft",
    FedAvgFineTune,
    Server("fedavg"),
    sends="θ − φ_K after K steps of SGD or Adam on all samples",
)
