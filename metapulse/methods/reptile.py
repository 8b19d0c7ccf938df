"""Reptile (Nichol, Achiam, Schulman 2018): move the start towards where each client's training ends.

The client's work is FedAvg's; what makes Reptile is the outer update θ ← θ − ε · mean(θ − φ_K) with ε < 1 falling
over the rounds, and adaptation at test time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metapulse.methods.base import Paper
from metapulse.methods.fedavg import LocalSGD
from metapulse.methods.method import Method, Server


@dataclass(frozen=True)
class Reptile(LocalSGD):
    """Reports θ − φ_K; adapts from θ."""

    paper: ClassVar[Paper] = Paper(
        "nichol2018reptile",
        "Nichol, Achiam and Schulman",
        2018,
        "On First-Order Meta-Learning Algorithms",
        "1803.02999",
        "Algorithm 2",
    )


METHOD = Method(
    "reptile",
    Reptile,
    Server("fedreptile", step="θ ← θ − ε mean(θ − φ_K), ε falling to 0"),
    sends="θ − φ_K after K steps of SGD or Adam on all samples",
    notes="With ``strategy.cohort = 1`` it is Algorithm 1, one task per outer step. Weighted by samples, with ε = 1, "
    "it is fine-tuned FedAvg (``fedavg_ft``).",
)
