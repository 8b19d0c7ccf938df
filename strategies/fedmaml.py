"""FedMAML: an outer optimiser over the clients' query gradients (Chen et al. 2018, FedMeta).

Serves every learner that reports a gradient or a pseudo-gradient: FOMAML, MAML, Meta-SGD, ANIL, Per-FedAvg.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metapulse.methods.base import Paper
from metapulse.outer import OuterName, Weighting
from metapulse.settings import setting
from metapulse.strategies.base import OuterSettings


@dataclass(frozen=True)
class MAMLSettings(OuterSettings):
    """Uniform weights and Adam, as MAML's outer loop."""

    paper: ClassVar[Paper] = Paper(
        "chen2018fedmeta",
        "Chen, Luo, Dong, Li and He",
        2018,
        "Federated Meta-Learning with Fast Convergence and Efficient Communication",
        "1802.07876",
        "Algorithm 1",
    )

    weighting: Weighting = setting("uniform", "weight of a client's update")
    outer: OuterName = setting("adam", "outer optimiser")
    lr: float = setting(0.001, "outer learning rate β", gt=0)
