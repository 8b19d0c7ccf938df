"""FedAvg's outer step along the median of every coordinate instead of the mean (Yin et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from metapulse.methods.base import Paper
from metapulse.settings import setting
from metapulse.strategies.aggregators.median import Median
from metapulse.strategies.base import OuterSettings


@dataclass(frozen=True)
class MedianOfUpdates(OuterSettings):
    """The coordinate-wise median, outer SGD of rate 1."""

    paper: ClassVar[Paper] = Median.paper

    aggregator: Mapping[str, Any] = setting({"name": "median"}, "what makes one update of many: name and settings")
