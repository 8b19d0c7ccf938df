"""Strategies by name: their settings, and how a strategy is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from metapulse.errors import ConfigError
from metapulse.registry import Registry
from metapulse.strategies.privacy.plan import PrivacyPlan
from metapulse.strategies.privacy.strategy import PrivateStrategy
from metapulse.strategies.replies import Dropped
from metapulse.strategies.strategy import RunStrategy

STRATEGIES = Registry(
    "strategy",
    {
        "fedavg": "metapulse.strategies.presets:FedAvgSettings",
        "fedreptile": "metapulse.strategies.presets:ReptileSettings",
        "fedmaml": "metapulse.strategies.presets:MAMLSettings",
        "median": "metapulse.strategies.presets:MedianOfUpdates",
        "krum": "metapulse.strategies.presets:KrumOfUpdates",
        "fednova": "metapulse.strategies.fednova:FedNovaSettings",
        "stock": "metapulse.strategies.stock:Stock",
    },
    base="metapulse.strategies.base:StrategySettings",
)


def make_strategy(
    section: Mapping[str, Any],
    rounds: int,
    seed: int,
    on_drop: Callable[[int, list[Dropped]], None] | None = None,
    privacy: tuple[PrivacyPlan, int] | None = None,
    note: Callable[[str], None] | None = None,
) -> RunStrategy:
    """The Flower strategy of a configuration's ``[strategy]`` section.

    Args:
        section: ``name`` and the method's settings.
        rounds: how many rounds there will be, for schedules.
        on_drop: told (round, dropped clients) when replies are refused.
        note: told what people have to know, once.
        privacy: the plan, and the secret that addresses its noise; the settings are such that it may be combined.
    """
    settings = STRATEGIES.make(section)
    if privacy is not None:
        return PrivateStrategy(settings, rounds, seed, on_drop, *privacy)
    made = settings.make(rounds, seed, on_drop, note)
    if not isinstance(made, RunStrategy):
        raise ConfigError("strategy.name", type(made).__name__, "has no state that a checkpoint could hold")
    return made
