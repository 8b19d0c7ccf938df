"""What a device answers before round 1 where inputs are scaled alike for all people: mean and mean square, per channel.

The question is an ordinary training instruction whose θ is the answer's shape, so that clipping, noise, secure
aggregation and the checks of replies are those of any round. A person counts once, with one device.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from metapulse.client.executor import ClientExecutor, States
from metapulse.client.spec import Trial
from metapulse.errors import InstructionError
from metapulse.methods.base import Report, SumSpec
from metapulse.outcome import Outcome, Scores, each
from metapulse.transforms import Global
from metapulse.trees import Params

COUNT, MEAN, SQUARE = "count", "mean", "square"


class ScalingExecutor(ClientExecutor):
    """Work of a run whose transform is not learnt yet."""

    def init(self) -> dict[str, Tensor]:
        """Zeros in the shape of an answer: one number for who is there, and two per channel."""
        return empty_moments(self.task.features[0])

    def train(
        self,
        meta: Params,
        round: int,
        clients: Sequence[int],
        states: States | None = None,
        sum_spec: SumSpec | None = None,
    ) -> Outcome:
        """Minus 1, mean and mean square of every client: an outer step of rate 1 from zero is their mean."""
        began = time.perf_counter()
        moments, failures = each(clients, self._moments, round, "transform")
        seconds = {"data": time.perf_counter() - began}
        if not moments:
            return Outcome([], None, failures, seconds)
        mean, square = (-torch.from_numpy(np.stack([one[i] for one in moments.values()])) for i in (0, 1))
        update = {COUNT: -torch.ones(len(moments), 1, dtype=torch.float64), MEAN: mean, SQUARE: square}
        return Outcome(list(moments), Report(update, torch.ones(len(moments)), {}, {}), failures, seconds)

    def evaluate(
        self, meta: Params, round: int, clients: Sequence[int], trial: Trial, states: States | None = None
    ) -> Scores:
        """Refused: there is nothing to judge yet."""
        raise InstructionError("transform.name = 'global': a meta-test comes with the numbers that were learnt")

    @cached_property
    def _known(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Moments of clients that were asked before: two numbers a channel."""
        return {}

    def _moments(self, client: int) -> tuple[np.ndarray, np.ndarray]:
        if client not in self._known:
            samples = self._own(client)
            transform = self.transform
            assert isinstance(transform, Global)
            self._known[client] = transform.moments(samples.x[self.spec.episodes.everything(samples).support])
        return self._known[client]


def empty_moments(channels: int) -> dict[str, Tensor]:
    """θ of the question: zero samples, zero means.

    Args:
        channels: C ≥ 1, or features where samples have no time axis.
    """
    sizes = {COUNT: 1, MEAN: channels, SQUARE: channels}
    return {name: torch.zeros(size, dtype=torch.float64) for name, size in sizes.items()}
