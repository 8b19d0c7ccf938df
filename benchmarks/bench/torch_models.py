"""The models as plain ``torch.nn`` modules, written in the usual way; their parameters have metapulse's names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class MLP(nn.Module):
    """64-64-32-6."""

    def __init__(self) -> None:
        super().__init__()
        self.layer0, self.layer1, self.layer2 = nn.Linear(64, 64), nn.Linear(64, 32), nn.Linear(32, 6)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of a batch."""
        return self.layer2(torch.relu(self.layer1(torch.relu(self.layer0(x)))))


class Clamped(MLP):
    """The same numbers by an operation that no compiled code of metapulse knows."""

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of a batch."""
        return self.layer2(self.layer1(self.layer0(x).clamp_min(0)).clamp_min(0))


class CNN(nn.Module):
    """conv 6→32 k5, relu, max-pool 2, conv 32→64 k5, relu, mean over time, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0, self.conv1, self.head = nn.Conv1d(6, 32, 5), nn.Conv1d(32, 64, 5), nn.Linear(64, 6)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of a batch."""
        x = functional.max_pool1d(torch.relu(self.conv0(x)), 2)
        return self.head(torch.relu(self.conv1(x)).mean(2))


class GRU(nn.Module):
    """One layer of width 32 over 128 steps of 6 channels; linear from its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(6, 32, batch_first=True), nn.Linear(32, 6)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of a batch."""
        return self.head(self.gru(x.transpose(1, 2))[1][0])


class Sine(nn.Module):
    """1-40-40-1."""

    def __init__(self) -> None:
        super().__init__()
        self.layer0, self.layer1, self.layer2 = nn.Linear(1, 40), nn.Linear(40, 40), nn.Linear(40, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of a batch."""
        return self.layer2(torch.relu(self.layer1(torch.relu(self.layer0(x)))))


MODELS: Mapping[str, type[nn.Module]] = {"mlp": MLP, "module": MLP, "cnn": CNN, "gru": GRU, "sine": Sine}


def module(model: str, theta: Mapping[str, np.ndarray]) -> nn.Module:
    """A module with the given parameters."""
    made = MODELS[model]()
    with torch.no_grad():
        for name, p in parameters(made).items():
            p.copy_(torch.from_numpy(theta[name]))
    return made


def parameters(made: nn.Module) -> dict[str, Tensor]:
    """A module's own parameters by metapulse's names, which do not number the layers of a GRU."""
    return {name.removesuffix("_l0"): p for name, p in made.named_parameters()}


def arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Tensors as numpy arrays of their own."""
    return {name: p.detach().numpy().copy() for name, p in tensors.items()}


def loss(model: str, outputs: Tensor, y: Tensor) -> Tensor:
    """Squared error for the curves, cross-entropy for the rest; mean over samples."""
    return functional.mse_loss(outputs, y) if model == "sine" else functional.cross_entropy(outputs, y)
