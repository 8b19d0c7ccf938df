"""A torch.nn.Module of your own, meta-learned by MAML on simulated watches, and back as an ordinary module.

metapulse calls it with other parameters for every client (``torch.func.functional_call`` under ``vmap``), so there is
nothing to change in it; second derivatives come from autograd. Batch-norm is refused: it mixes a client's samples.

Run it: python examples/04_your_own_module.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from metapulse.client.executor import ClientExecutor
from metapulse.server.config import build_config
from metapulse.server.folder import RunFolder
from metapulse.server.metatest import last_scores
from metapulse.sim.experiment import run_experiment


class Windows(nn.Module):
    """A strided convolution, group norm, the mean over time, a linear head: (samples, 6, time) → (samples, outputs).

    Args:
        channels: sensor axes of a window.
        width: filters.
        outputs: classes.
    """

    def __init__(self, channels: int, width: int, outputs: int) -> None:
        super().__init__()
        self.filters = nn.Conv1d(channels, width, kernel_size=9, stride=2)
        self.norm = nn.GroupNorm(4, width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.head(torch.relu(self.norm(self.filters(x))).mean(2))


OPTIONS = {"channels": 6, "width": 16, "outputs": 6}
CONFIG: dict[str, Any] = {
    "run": {"name": "own-module", "rounds": 20},
    "source": {"name": "wearables", "users": 60, "devices": ["watch"], "windows": 3},
    # A module of yours on the path would be "my_package.nets:Windows".
    "model": {"name": "module", "factory": "__main__:Windows", "options": OPTIONS},
    "learner": {"name": "maml", "inner_lr": 0.1, "inner_steps": 2},
    "strategy": {"name": "fedmaml", "cohort": 8, "lr": 0.01},
    "evaluation": {"shots": [3], "steps": [0, 2, 5], "episodes": 2, "clients": 12},
}


def fine_tune(net: nn.Module, x: Tensor, y: Tensor, steps: int, lr: float) -> None:
    """Plain torch, on one person's own windows."""
    optimiser = torch.optim.SGD(net.parameters(), lr)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()


def main() -> None:
    """Train, print the meta-test, then use the result without metapulse's learners."""
    config = build_config(CONFIG)
    with tempfile.TemporaryDirectory() as folder:
        summary = run_experiment(config, Path(folder) / "run")
        theta = load_file(RunFolder(Path(folder) / "run").checkpoints()[-1] / "theta.safetensors")
    print(f"{summary['parameters']} parameters; balanced accuracy of new users, 3 shots per class:")
    for score in last_scores(summary):
        if score["metric"] == "balanced_accuracy":
            print(f"  after {score['step']} steps: {score['mean']:.3f} [{score['low']:.3f}, {score['high']:.3f}]")

    net = Windows(**OPTIONS)
    net.load_state_dict(theta)  # θ is a state dict
    samples = ClientExecutor(config.client_config()).source.samples(
        0
    )  # one person's windows, standardised as a device would
    x, y = torch.tensor(samples.x), torch.tensor(samples.y)
    x = (x - x.mean((0, 2), keepdim=True)) / x.std((0, 2), keepdim=True)
    before = nn.functional.cross_entropy(net(x), y).item()
    fine_tune(net, x, y, steps=5, lr=0.1)
    after = nn.functional.cross_entropy(net(x), y).item()
    print(f"one person, plain torch: cross-entropy {before:.3f} before five steps, {after:.3f} after")


if __name__ == "__main__":
    main()
