"""Strategies by name: their settings, and how a strategy is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flwr.serverapp.strategy import Strategy

from client.registry import Registry
from strategies.base import OuterStrategy
from strategies.replies import Dropped
from strategies.stock import Stock, StockStrategy

STRATEGIES = Registry(
    "strategy",
    {
        "fedavg": "strategies.fedavg:FedAvg",
        "fedreptile": "strategies.fedreptile:FedReptile",
        "fedmaml": "strategies.fedmaml:FedMAML",
        "median": "strategies.median:MedianOfUpdates",
        "krum": "strategies.krum:KrumOfUpdates",
        "stock": "strategies.stock:Stock",
    },
)


def make_strategy(
    section: Mapping[str, Any], rounds: int, seed: int, on_drop: Callable[[int, list[Dropped]], None] | None = None
) -> Strategy:
    """The Flower strategy of a configuration's ``[strategy]`` section.

    Args:
        section: ``name`` and the method's settings.
        rounds: how many rounds there will be, for schedules.
        seed: of the run.
        on_drop: told (round, dropped clients) when replies are refused.
    """
    settings = STRATEGIES.make(section)
    if isinstance(settings, Stock):
        return StockStrategy(settings, on_drop)
    return OuterStrategy(settings, rounds, seed, on_drop)
