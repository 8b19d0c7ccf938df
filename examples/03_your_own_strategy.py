"""A Flower strategy on the fast engine: one of Flower's own, then one written here, each by its dotted name.

Nothing in a strategy is metapulse's: it sees a Grid and Messages. It runs on the cohort engine, which
runs clients by the stack, as on Flower's Simulation Runtime or on devices; replies are checked before it sees them.

Run it: python examples/03_your_own_strategy.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg

from metapulse.server.config import build_config
from metapulse.server.metatest import last_scores
from metapulse.sim.experiment import run_experiment

STRATEGIES = {
    "FedAvg": ("flwr.serverapp.strategy:FedAvg", {}),
    "FedTrimmedAvg": ("flwr.serverapp.strategy:FedTrimmedAvg", {"beta": 0.2}),
    "Heavy, below": ("__main__:Heavy", {"memory": 0.5}),  # a module of yours on the path: "my_package.heavy:Heavy"
}


class Heavy(FedAvg):
    """FedAvg with a memory: θ ← θ + v, where v ← memory · v + (mean of the clients' weights − θ).

    Args:
        memory: how much of the last step is kept, in [0, 1).
        settings: of Flower's FedAvg.
    """

    def __init__(self, memory: float, **settings: Any) -> None:
        super().__init__(**settings)
        self.memory = memory
        # Arrays and numbers among a strategy's attributes are written to checkpoints, so that a run can be resumed.
        self.velocity: dict[str, Any] = {}
        self.theta = ArrayRecord()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Flower's, remembering θ."""
        self.theta = arrays
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Flower's weighted mean, then the step."""
        mean, metrics = super().aggregate_train(server_round, replies)
        if mean is None:
            return None, metrics
        moved = ArrayRecord()
        for name, array in self.theta.items():
            step = mean[name].numpy() - array.numpy()
            self.velocity[name] = self.memory * self.velocity.get(name, 0.0) + step
            moved[name] = Array(array.numpy() + self.velocity[name])
        return moved, metrics


def config(reference: str, options: dict[str, Any]) -> dict[str, Any]:
    """FedAvg's local training on simulated watches, under a strategy given by its dotted name."""
    return {
        "run": {"name": "own-strategy", "rounds": 20},
        "source": {"name": "wearables", "users": 60, "devices": ["watch"], "windows": 3},
        "model": {"name": "cnn1d", "channels": [8, 16]},
        "learner": {"name": "fedavg_ft", "inner_lr": 0.1, "inner_steps": 5, "batch_size": 16},
        "strategy": {"name": "stock", "reference": reference, "options": options, "cohort": 8},
        "evaluation": {"shots": [3], "steps": [0, 5], "episodes": 2, "clients": 12, "adapt": {"batch_size": 0}},
    }


def main() -> None:
    """One run per strategy, judged on people who were not in training."""
    print("balanced accuracy of new users, 3 shots per class, after steps: 0 5")
    with tempfile.TemporaryDirectory() as folder:
        for name, (reference, options) in STRATEGIES.items():
            summary = run_experiment(build_config(config(reference, options)), Path(folder) / name.replace(" ", "-"))
            scores = {s["step"]: s["mean"] for s in last_scores(summary) if s["metric"] == "balanced_accuracy"}
            print(f"{name:>14}", *(f"{scores[step]:6.3f}" for step in (0, 5)))


if __name__ == "__main__":
    main()
