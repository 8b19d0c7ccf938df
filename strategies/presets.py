"""Strategies that are the outer step with other numbers: each a method's server half, by its settings alone.

FedMAML's (Chen et al. 2018, FedMeta) serves every learner that reports a gradient or a pseudo-gradient: FOMAML, MAML,
Meta-SGD, ANIL, Per-FedAvg.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from metapulse.methods.base import Paper
from metapulse.methods.fedavg import FedAvg
from metapulse.methods.reptile import Reptile
from metapulse.outer import OuterName, Schedule, Weighting
from metapulse.settings import setting
from metapulse.strategies.aggregators.krum import Krum
from metapulse.strategies.aggregators.median import Median
from metapulse.strategies.base import OuterSettings


@dataclass(frozen=True)
class FedAvgSettings(OuterSettings):
    """Weighted by samples, outer SGD of rate 1. With another outer optimiser it is FedOpt (Reddi et al. 2021)."""

    paper: ClassVar[Paper] = FedAvg.paper


@dataclass(frozen=True)
class ReptileSettings(OuterSettings):
    """Uniform weights, ε falling linearly to zero."""

    paper: ClassVar[Paper] = Reptile.paper

    weighting: Weighting = setting("uniform", "weight of a client's update")
    lr: float = setting(1.0, "ε of the first round", gt=0)
    schedule: Schedule = setting("linear", "how ε moves over the rounds")


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


@dataclass(frozen=True)
class MedianOfUpdates(OuterSettings):
    """The coordinate-wise median, outer SGD of rate 1."""

    paper: ClassVar[Paper] = Median.paper

    aggregator: Mapping[str, Any] = setting({"name": "median"}, "what makes one update of many: name and settings")


@dataclass(frozen=True)
class KrumOfUpdates(OuterSettings):
    """Krum, outer SGD of rate 1; no attackers are assumed unless ``aggregator.attackers`` says how many."""

    paper: ClassVar[Paper] = Krum.paper

    aggregator: Mapping[str, Any] = setting(
        {"name": "krum", "attackers": 0.0}, "what makes one update of many: name and settings"
    )
