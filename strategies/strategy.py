"""What a run asks of a strategy beside Flower's interface."""

from __future__ import annotations

from flwr.serverapp.strategy import Strategy

from metapulse.trees import Params


class RunStrategy(Strategy):
    """A Flower strategy that a run can carry on from a checkpoint; what it needs besides has defaults."""

    #: What it keeps between rounds, as a checkpoint holds it; setting it is going on from there.
    state: Params
    #: How an engine that holds many clients may add their updates up, "samples" or "uniform"; "": it may not.
    sums: str = ""
    #: Whether it may draw from Python's, NumPy's or PyTorch's global generators, which are then seeded around a round.
    draws: bool = False

    @property
    def clip(self) -> float:
        """C, the norm that updates of the next round are clipped to; 0: they are not."""
        return 0.0

    def check_cohort(self, clients: int) -> None:
        """Refuse a cohort that is too small for it.

        Args:
            clients: that a round asks.

        Raises:
            ConfigError: how many it takes.
        """
        return None
