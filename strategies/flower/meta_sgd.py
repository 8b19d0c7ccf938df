"""FedMetaSGD: the server of Meta-SGD, whose θ has an inner learning rate beside every parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Unpack

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result
from torch import Tensor

from metapulse.client.wire import decode, encode
from metapulse.errors import ConfigError
from metapulse.methods.meta_sgd import RATE
from metapulse.rng import generator
from metapulse.strategies.flower.outer import FedOuter
from metapulse.strategies.flower.replies import is_learned
from metapulse.strategies.flower.words import OuterWords
from metapulse.strategies.presets import MAMLSettings


class FedMetaSGD(FedOuter):
    """FedMeta's server for Meta-SGD: Adam over the meta-gradients in θ and in the inner rates α.

    ``start`` is given a model's arrays and adds the rates, one for every number, under ``rate/`` and the name of the
    array: they travel in the same record. Its clients are those of ``metapulse.client.meta_app(…, "meta_sgd")``. The
    result and ``evaluate_fn`` hold the model's arrays alone; the learned rates are in ``rates``.

    Args:
        rate_low, rate_high: the initial rates are drawn from U[low, high]; 0 < low ≤ high.
        seed: of that draw, ≥ 0.
        lr: β > 0, the outer learning rate; 0.001.
        words: as for ``FedMAML``.

    Raises:
        ConfigError: an unknown word, or a value out of range.

    Source:
        Li, Zhou, Chen and Li 2017, arXiv:1707.09835, Algorithm 1; Chen et al. 2018, arXiv:1802.07876, Algorithm 1.
    """

    kind = MAMLSettings

    def __init__(
        self,
        *,
        rate_low: float = 0.005,
        rate_high: float = 0.1,
        seed: int = 0,
        lr: float = 0.001,
        **words: Unpack[OuterWords],
    ) -> None:
        super().__init__(lr=lr, **words)
        if not 0.0 < rate_low <= rate_high < float("inf"):
            allowed = f"must be > 0 and ≤ rate_high = {rate_high}"
            raise ConfigError(f"{type(self).__name__}.rate_low", rate_low, allowed)
        self.rate_low, self.rate_high, self.seed = rate_low, rate_high, seed
        self.rates = ArrayRecord()

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """``FedOuter.start`` with the rates beside the model's arrays; rates that are there already are gone on with.

        Args:
            grid, initial_arrays, num_rounds, timeout, train_config, evaluate_config, evaluate_fn: as Flower's.

        Raises:
            NoResultError: no round moved θ.
            ConfigError: rounds have begun, and the rates that they learned are neither in a loaded state nor beside
                the model's arrays.
        """

        def judge(round: int, arrays: ArrayRecord) -> MetricRecord | None:
            self._keep(arrays)  # before evaluate_fn, which may save the state of this round
            return None if evaluate_fn is None else evaluate_fn(round, self._model(arrays))

        both = self._with_rates(initial_arrays)
        result = super().start(grid, both, num_rounds, timeout, train_config, evaluate_config, judge)
        self._keep(result.arrays)
        result.arrays = self._model(result.arrays)
        return result

    def state_dict(self) -> dict[str, Tensor]:
        """``FedOuter``'s, and the rates learned so far, under ``rate/`` and the name of the array."""
        return super().state_dict() | {RATE + name: p for name, p in decode(self.rates).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``, with its rates.

        Raises:
            ConfigError: it is not one of this kind of strategy.
        """
        rates = {name: torch.as_tensor(value) for name, value in state.items() if name.startswith(RATE)}
        super().load_state_dict({name: value for name, value in state.items() if name not in rates})
        self.rates = encode({name.removeprefix(RATE): p for name, p in rates.items()})

    def _keep(self, arrays: ArrayRecord) -> None:
        """Hold the rates among a round's arrays."""
        self.rates = ArrayRecord({k.removeprefix(RATE): a for k, a in arrays.items() if k.startswith(RATE)})

    def _with_rates(self, arrays: ArrayRecord) -> ArrayRecord:
        """A model's arrays and their rates: given, learned in an earlier start, or, before the first round, drawn."""
        rng, both = generator(self.seed, "init"), self._model(arrays)
        for name, p in decode(both).items():
            if is_learned(name, p):
                drawn = rng.uniform(self.rate_low, self.rate_high, tuple(p.shape)).astype(p.numpy().dtype)
                known = arrays.get(RATE + name) or self.rates.get(name)
                if known is None and self._begun:
                    allowed = f"must hold the rates that {self._begun} rounds have learned; {RATE}{name} is missing"
                    raise ConfigError(f"{type(self).__name__}: state", sorted(self.rates)[:3], allowed)
                both[RATE + name] = Array(np.asarray(drawn)) if known is None else known
        return both

    @staticmethod
    def _model(arrays: ArrayRecord) -> ArrayRecord:
        """The model's arrays alone."""
        return ArrayRecord({name: array for name, array in arrays.items() if not name.startswith(RATE)})
