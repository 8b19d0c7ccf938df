"""The state of a strategy between rounds, as a checkpoint holds it."""

from __future__ import annotations

from typing import Any

from flwr.serverapp.strategy import Strategy

from metapulse.errors import ConfigError
from metapulse.trees import Params


def state_of(strategy: Strategy) -> Params:
    """What a strategy keeps: its ``state``.

    Raises:
        ConfigError: it has none.
    """
    state: Params | None = getattr(strategy, "state", None)
    if state is None:
        raise ConfigError("strategy.name", type(strategy).__name__, "has no state that a checkpoint could hold")
    return state


def load_state(strategy: Any, state: Params) -> None:
    """Let a strategy go on from what ``state_of`` told."""
    strategy.state = dict(state)
