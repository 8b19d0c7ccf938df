"""FedMetaSGD: the server of Meta-SGD, whose θ has an inner learning rate beside every parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result

from metapulse.client.wire import decode
from metapulse.errors import ConfigError
from metapulse.methods.meta_sgd import RATE
from metapulse.rng import generator
from metapulse.strategies.flower.outer import FedOuter
from metapulse.strategies.flower.reading import is_learned
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
        """

        def judge(round: int, arrays: ArrayRecord) -> MetricRecord | None:
            return None if evaluate_fn is None else evaluate_fn(round, self._model(arrays))

        both = self._with_rates(initial_arrays)
        result = super().start(grid, both, num_rounds, timeout, train_config, evaluate_config, judge)
        self.rates = ArrayRecord({k.removeprefix(RATE): a for k, a in result.arrays.items() if k.startswith(RATE)})
        result.arrays = self._model(result.arrays)
        return result

    def _with_rates(self, arrays: ArrayRecord) -> ArrayRecord:
        """A model's arrays and their rates: given, learned in an earlier start, or drawn."""
        rng, both = generator(self.seed, "init"), self._model(arrays)
        for name, p in decode(both).items():
            if is_learned(name, p):
                drawn = rng.uniform(self.rate_low, self.rate_high, tuple(p.shape)).astype(p.numpy().dtype)
                known = arrays.get(RATE + name) or self.rates.get(name)
                both[RATE + name] = Array(np.asarray(drawn)) if known is None else known
        return both

    @staticmethod
    def _model(arrays: ArrayRecord) -> ArrayRecord:
        """The model's arrays alone."""
        return ArrayRecord({name: array for name, array in arrays.items() if not name.startswith(RATE)})
