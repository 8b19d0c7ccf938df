"""The model, the data, and training and testing in plain PyTorch.

The data is generated: images of 8 × 8 pixels of four kinds. Every person has a style of their own, a pattern that lies
over all of their images, so that a model does better once it has seen a few of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

CLASSES, SIDE = 4, 8


class Net(nn.Module):
    """A small convolutional network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.pool = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(8 * 3 * 3, 32)
        self.fc2 = nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images (samples, 1, 8, 8)."""
        x = self.pool(torch.relu(self.conv(x))).flatten(1)
        return self.fc2(torch.relu(self.fc1(x)))


class Images(Dataset):
    """Images of one person.

    Args:
        person: whose.
        count: how many.
        draw: which images of this person; other numbers give other images.
    """

    def __init__(self, person: int, count: int, draw: int) -> None:
        kinds = torch.randn(CLASSES, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
        style = torch.randn(1, SIDE, SIDE, generator=torch.Generator().manual_seed(1 + person))
        own = torch.Generator().manual_seed(1_000 * (1 + person) + draw)
        self.labels = torch.arange(count) % CLASSES
        noise = torch.randn(count, 1, SIDE, SIDE, generator=own)
        self.images = kinds[self.labels] + 1.5 * style + noise

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"img": self.images[index], "label": self.labels[index]}


def load_data(person: int, batch_size: int, draw: int = 0) -> tuple[DataLoader, DataLoader]:
    """A person's training and test images."""
    train, test = Images(person, 64, 2 * draw), Images(person, 32, 2 * draw + 1)
    return DataLoader(train, batch_size=batch_size, shuffle=True), DataLoader(test, batch_size=batch_size)


def train(net: nn.Module, loader: DataLoader, epochs: int, lr: float) -> float:
    """Stochastic gradient descent; the mean loss."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    net.train()
    total = 0.0
    for _ in range(epochs):
        for batch in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(batch["img"]), batch["label"])
            loss.backward()
            optimizer.step()
            total += loss.item()
    return total / (epochs * len(loader))


def test(net: nn.Module, loader: DataLoader) -> tuple[float, float]:
    """Mean loss, and accuracy."""
    net.eval()
    total, correct, count = 0.0, 0, 0
    with torch.no_grad():
        for batch in loader:
            outputs = net(batch["img"])
            total += nn.functional.cross_entropy(outputs, batch["label"], reduction="sum").item()
            correct += int((outputs.argmax(1) == batch["label"]).sum())
            count += len(batch["label"])
    return total / count, correct / count
