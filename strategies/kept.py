"""The state of a strategy between rounds, as a checkpoint holds it, whatever kind of strategy it is."""

from __future__ import annotations

import numpy as np
import torch
from flwr.serverapp.strategy import Strategy

from metapulse.errors import ConfigError
from metapulse.strategies.base import OuterStrategy
from metapulse.strategies.stock import StockStrategy
from metapulse.trees import Params


def state_of(strategy: Strategy) -> Params:
    """What a strategy keeps.

    Raises:
        ConfigError: it is neither ours nor one of Flower's.
    """
    if isinstance(strategy, OuterStrategy):
        return strategy.state
    if isinstance(strategy, StockStrategy):
        return {k: torch.from_numpy(np.array(v)) for k, v in strategy.state().items()}
    raise ConfigError("strategy.name", type(strategy).__name__, "has no state that a checkpoint could hold")


def load_state(strategy: Strategy, state: Params) -> None:
    """Let it go on from there."""
    if isinstance(strategy, OuterStrategy):
        strategy.state = dict(state)
    elif isinstance(strategy, StockStrategy):
        strategy.load_state({k: v.numpy() for k, v in state.items()})
