"""FedAvg's outer step along the update that Krum chooses (Blanchard et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from metapulse.methods.base import Paper
from metapulse.settings import setting
from metapulse.strategies.aggregators.krum import Krum
from metapulse.strategies.base import OuterSettings


@dataclass(frozen=True)
class KrumOfUpdates(OuterSettings):
    """Krum, outer SGD of rate 1; no attackers are assumed unless ``aggregator.attackers`` says how many."""

    paper: ClassVar[Paper] = Krum.paper

    aggregator: Mapping[str, Any] = setting(
        {"name": "krum", "attackers": 0.0}, "what makes one update of many: name and settings"
    )
