"""A ``torch.nn.Module`` that is there already as a model, in place of one that a dotted reference makes."""

from __future__ import annotations

import copy
from dataclasses import KW_ONLY, dataclass

from torch import nn

from metapulse.models.construction import constructed
from metapulse.models.module import TorchModule


@dataclass(frozen=True)
class GivenModule(TorchModule):
    """``TorchModule`` of one object: its architecture, and its frozen parameters and buffers as they are.

    Args:
        given: the module, from ``made_of``; it is copied, and never changed.
    """

    _: KW_ONLY
    given: nn.Module

    def _make(self, seed: int) -> nn.Module:
        """A copy."""
        return copy.deepcopy(self.given)


def made_of(module: nn.Module) -> nn.Module:
    """A copy of a module in evaluation mode, if it can serve as a model.

    Args:
        module: any.

    Raises:
        ConfigError: it has nothing to learn, mixes the samples of a batch, or is not of float32.
    """
    return constructed(type(module).__name__, lambda: copy.deepcopy(module), 0)
