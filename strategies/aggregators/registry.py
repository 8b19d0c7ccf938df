"""Aggregators by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metapulse.registry import Registry
from metapulse.settings import plain

AGGREGATORS = Registry(
    "strategy.aggregator",
    {
        "mean": "metapulse.strategies.aggregators.mean:Mean",
        "median": "metapulse.strategies.aggregators.median:Median",
        "trimmed_mean": "metapulse.strategies.aggregators.trimmed_mean:TrimmedMean",
        "krum": "metapulse.strategies.aggregators.krum:Krum",
        "multi_krum": "metapulse.strategies.aggregators.krum:MultiKrum",
        "bulyan": "metapulse.strategies.aggregators.bulyan:Bulyan",
        "geometric_median": "metapulse.strategies.aggregators.geometric_median:GeometricMedian",
        "centred_clipping": "metapulse.strategies.aggregators.centred_clipping:CentredClipping",
        "norm_filter": "metapulse.strategies.aggregators.norm_filter:NormFilter",
        "nnm": "metapulse.strategies.aggregators.nnm:NearestNeighbourMixing",
    },
)


def complete(section: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A section that chooses an aggregator, every setting with its value.

    Raises:
        ConfigError: unknown name or key, wrong type, or out of range.
    """
    made = AGGREGATORS.make(section, where)
    return {"name": section["name"], **plain(made)}


def aggregator_names(section: Mapping[str, Any]) -> Iterator[str]:
    """Names of the aggregators that a section chooses: its own, and those behind it."""
    if section:
        yield section["name"]
        yield from aggregator_names(section.get("then", {}))
