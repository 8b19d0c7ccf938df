"""Persistence: what is to come is as it was, the forecast that every other has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch, Inputs, Outputs
from metapulse.errors import ConfigError
from metapulse.methods.base import Paper
from metapulse.methods.method import Method, Server
from metapulse.methods.untrained import Untrained
from metapulse.models.base import Model
from metapulse.settings import setting
from metapulse.trees import Stacked

KNOWN = "_known"  # after an input's name: the input that is 1 where there is a value and 0 where it is missing


@dataclass(frozen=True)
class Persistence(Untrained):
    """ŷ = 0, for targets that are a change from now or from a mean; or ŷ = the last value of one input over time.

    Inputs are read as they come, so ``transform.name = "none"`` goes with it.
    """

    paper: ClassVar[Paper] = Paper("persistence", "baseline", 0, "Nothing changes", "", "no equation")
    kinds: ClassVar[tuple[str, ...]] = ("regression",)

    input: str = setting("", "the input whose last known value is the answer; empty: 0 is")

    def encode_support(self, model: Model, phi: Stacked, support: Batch) -> dict[str, Tensor]:
        """Nothing."""
        return {"nothing": support.mask.new_zeros(len(support.mask), 1)}

    def answer(self, model: Model, phi: Stacked, memory: Stacked, x: Inputs) -> Outputs:
        """0, or the last value of (clients, samples, channels, time) that is known; 0 where none is."""
        if not self.input:
            return x.new_zeros(*x.shape[:2], model.task.outputs)
        at = channel(model.task, self.input)
        value = x[:, :, at] if x.dim() == 4 else x[:, :, at : at + 1]  # (clients, samples, time)
        if self.input + KNOWN in model.task.names:
            known = x[:, :, channel(model.task, self.input + KNOWN)].reshape(value.shape)
            place = torch.arange(1, value.shape[2] + 1, device=x.device) * (known > 0)
            last = place.argmax(2, keepdim=True)
            value = torch.where(place.amax(2, keepdim=True) > 0, value.gather(2, last), value.new_zeros(()))
        return value[:, :, -1:].expand(-1, -1, model.task.outputs)


def channel(task: Task, name: str) -> int:
    """Which input has that name.

    Raises:
        ConfigError: none has.
    """
    if name not in task.names:
        raise ConfigError("learner.input", name, f"must be one of {', '.join(task.names) or 'no inputs with names'}")
    return task.names.index(name)


METHOD = Method(
    "persistence",
    Persistence,
    Server("fedavg", fixed=("l2",), step="θ stays where it began"),
    sends="0",
    adapts="0 for every sample, or the last known value of one input",
    baseline=True,
)
