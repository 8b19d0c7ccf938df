"""The methods: which aggregate, which outer step, and with which defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Unpack

from metapulse.errors import ConfigError
from metapulse.settings import setting
from metapulse.strategies.flower.outer import FedOuter
from metapulse.strategies.flower.words import OuterWords
from metapulse.strategies.presets import FedAvgSettings, MAMLSettings, MedianOfUpdates, ReptileSettings


class FedReptile(FedOuter):
    """Reptile: θ ← θ + ε_t · mean(φ_i − θ), every client counting the same.

    It takes the place of ``FedAvg(…)`` before any ClientApp that trains and returns parameters.

    Args:
        epsilon: ε > 0 of the first round.
        words: as for ``FedOuter``; ``schedule`` is "linear" (ε falls to 0 after the last round) unless given.

    Raises:
        ConfigError: an unknown word, or a value out of range.

    Source:
        Nichol, Achiam and Schulman 2018, arXiv:1803.02999, Algorithm 2.
    """

    kind = ReptileSettings
    called: ClassVar[Mapping[str, str]] = {"lr": "epsilon"}

    def __init__(self, *, epsilon: float = 1.0, **words: Unpack[OuterWords]) -> None:
        super().__init__(epsilon=epsilon, **words)  # type: ignore[call-arg]


class FedMAML(FedOuter):
    """FedMeta's server: Adam over the mean of the clients' meta-gradients g_i = ∇_θ L_query(φ_K(θ)).

    A client sends θ − g_i (``reports="parameters"``) or g_i itself (``reports="updates"``);
    ``metapulse.client.meta_app`` makes one that follows. Before clients that train and return parameters it is Adam
    over θ − φ_i, which is FedOpt and not MAML.

    Args:
        lr: β > 0, the outer learning rate; 0.001.
        words: as for ``FedOuter``; ``outer`` is "adam", ``weighting`` "uniform" unless given.

    Raises:
        ConfigError: an unknown word, or a value out of range.

    Source:
        Chen, Luo, Dong, Li and He 2018, arXiv:1802.07876, Algorithm 1.
    """

    kind = MAMLSettings

    def __init__(self, *, lr: float = 0.001, **words: Unpack[OuterWords]) -> None:
        super().__init__(lr=lr, **words)


@dataclass(frozen=True)
class AdaptiveSettings(FedAvgSettings):
    """FedOpt's defaults, as Flower's ``FedAdam`` has them."""

    outer: Literal["momentum", "adam", "yogi", "adagrad"] = setting("adam", "outer optimiser")
    lr: float = setting(0.1, "outer learning rate β", gt=0)
    beta2: float = setting(0.99, "decay of the second moment", ge=0, lt=1, used_if=("outer", "adam", "yogi"))
    tau: float = setting(1e-3, "adaptivity floor", gt=0, used_if=("outer", "adam", "yogi", "adagrad"))


class FedAdaptive(FedOuter):
    """FedOpt: an adaptive outer optimiser over FedAvg's weighted mean.

    Adam and Yogi correct the bias of their moments by the number of outer steps.

    Args:
        outer: "adam" (FedAdam), "yogi" (FedYogi), "adagrad" (FedAdagrad) or "momentum" (FedAvgM).
        words: as for ``FedOuter``; ``lr`` is 0.1, ``beta2`` 0.99 and ``tau`` 0.001 unless given.

    Raises:
        ConfigError: an unknown word, or a value out of range.

    Source:
        Reddi et al. 2021, arXiv:2003.00295, Algorithm 2.
    """

    kind = AdaptiveSettings

    def __init__(self, *, outer: str = "adam", **words: Unpack[OuterWords]) -> None:
        super().__init__(outer=outer, **words)  # type: ignore[arg-type]


class FedRobust(FedOuter):
    """The outer step along an aggregate that some hostile clients cannot move far.

    Args:
        aggregator: "median", "trimmed_mean", "krum", "multi_krum", "bulyan", "geometric_median", "centred_clipping",
            "norm_filter" or "nnm"; or a table with its name and settings, {"name": "krum", "attackers": 2}. What
            each withstands, and with how many replies: docs/methods.md.
        words: as for ``FedOuter``.

    Raises:
        ConfigError: an unknown word, a value out of range, or "mean", which one client can move anywhere.

    Source:
        of each aggregator, in ``metapulse.strategies.aggregators``.
    """

    kind = MedianOfUpdates

    def __init__(self, *, aggregator: str | Mapping[str, Any] = "median", **words: Unpack[OuterWords]) -> None:
        super().__init__(aggregator=aggregator, **words)
        if self.core.linear:
            raise ConfigError(f"{type(self).__name__}.aggregator", aggregator, "is not robust; FedOuter has the mean")
