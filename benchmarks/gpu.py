"""Does a GPU give the CPU's numbers, and how many client updates a second?

    python benchmarks/gpu.py [CASE…] [--device cuda] [--rounds 30] [--images 1500]

Wall-clock seconds of whole rounds (sampling, Grid, Strategy, log), the first left out; a cohort is one stack on a GPU.
First every case runs for three rounds on both, and θ's way from where it starts has to agree to 1e-3 of its length;
the exit status is 1 where it does not. The last case has the settings of pfl-research's benchmark of images
(Granqvist et al. 2024, arXiv:2404.06430: 1 500 rounds, 50 clients of 50 images each, one epoch of batches of ten at
rate .1), on made-up images of CIFAR-10's shape, with its network but without its two dropouts.
``--device cpu --rounds 3 --images 3`` tries the script itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from benchmarks.bench.experiment import experiment  # noqa: E402
from benchmarks.bench.workload import WORKLOADS, Load, write  # noqa: E402
from metapulse.data import Client, Samples, Task  # noqa: E402
from metapulse.server.config import Config, build_config  # noqa: E402
from metapulse.server.folder import RunFolder  # noqa: E402
from metapulse.settings import setting  # noqa: E402
from metapulse.sim.experiment import run_experiment  # noqa: E402

WAY = 1e-3  # of the length of θ's way
CASES = ("mlp-100", "mlp-1000", "cnn-100", "module-100", "maml-25", "maml-1000")


@dataclass(frozen=True)
class Images:
    """Noise around one picture per class: 1 000 people with 50 images of 32 × 32 in three colours each."""

    users: int = setting(1000, "number of people")

    @property
    def task(self) -> Task:
        """Ten classes."""
        return Task("classification", (3, 32, 32), 10)

    @property
    def devices(self) -> tuple[str, ...]:
        """One."""
        return ("camera",)

    def __len__(self) -> int:
        return self.users

    def client(self, index: int) -> Client:
        """Client i is person i."""
        return Client(index, index, "camera", str(index))

    def clients_of(self, user: int) -> Sequence[int]:
        """One device each."""
        return (user,)

    @cached_property
    def _pictures(self) -> np.ndarray:
        return np.random.default_rng(0).normal(size=(10, 3, 32, 32)).astype(np.float32)

    def samples(self, index: int) -> Samples:
        """Fifty images, each a group of its own."""
        rng = np.random.default_rng([1, index])
        y = rng.integers(10, size=50)
        x = self._pictures[y] + rng.normal(size=(50, 3, 32, 32)).astype(np.float32)
        return Samples(x.astype(np.float32), y, np.arange(50), np.zeros(50, dtype=bool))


def network() -> nn.Module:
    """Two convolutions of 3 × 3, the larger half of every 2 × 2, a dense layer: 1.6 million parameters."""
    convolved = [nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*convolved, nn.Linear(64 * 14 * 14, 128), nn.ReLU(), nn.Linear(128, 10))


def images(device: str, rounds: int) -> Config:
    """The benchmark of images."""
    here = "benchmarks.gpu"
    engine = {"device": device} | ({} if device == "cpu" else {"chunk": 50})
    return build_config(
        {
            "run": {"rounds": rounds},
            "source": {"name": f"{here}:Images"},
            "split": {"test": 0.0, "validation": 0.0},
            "transform": {"name": "none"},
            "model": {"name": "module", "factory": f"{here}:network"},
            "learner": {"name": "reptile", "inner_lr": 0.1, "inner_steps": 5, "batch_size": 10, "order": "sequential"},
            "strategy": {"name": "fedavg", "weighting": "uniform", "cohort": 50},
            "engine": engine,
            "evaluation": {"scenarios": []},
            "checkpoint": {"every": rounds},
        }
    )


def workload(name: str, folder: Path, device: str, rounds: int) -> Config:
    """A case of the bench."""
    load = Load(WORKLOADS[name], folder)
    own = () if device == "cpu" else (f"engine.chunk={load.workload.cohort}",)
    return experiment(load, (f"engine.device='{device}'", *own), rounds)


class Clock:
    """Notes when rounds end."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.clients = 0

    def round(self, round: int, rounds: int, clients: int, spent: Mapping[str, float]) -> None:
        """A round is over."""
        self.ends.append(time.perf_counter())
        self.clients = clients

    def score(self, round: int, value: float | None) -> None:
        """Not counted."""

    def note(self, text: str) -> None:
        """Not shown."""


def done(config: Config) -> tuple[dict[str, torch.Tensor], Clock]:
    """Where θ ends, and the times of the rounds."""
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="metapulse-bench-") as folder:
        run_experiment(config, Path(folder) / "run", clock)
        return RunFolder(Path(folder) / "run").final()[1], clock


def apart(
    one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], start: Mapping[str, torch.Tensor]
) -> float:
    """‖θ_a − θ_b‖ / ‖θ_a − θ_0‖."""
    gap = sum(float((one[name] - other[name]).double().square().sum()) for name in one)
    way = sum(float((one[name] - start[name]).double().square().sum()) for name in one)
    return float((gap / way) ** 0.5)


def main() -> None:
    """Check, measure, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join((*CASES, 'images'))} (default: all)")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=30, help="of workload W (default 30)")
    parser.add_argument("--images", type=int, default=1500, help="rounds of the images (default 1500)")
    args = parser.parse_args()
    if args.device != "cpu":
        print(torch.cuda.get_device_name(args.device))
    unequal = 0
    with tempfile.TemporaryDirectory(prefix="metapulse-bench-") as folder:
        write(Path(folder))
        cases: dict[str, Any] = {name: partial(workload, name, Path(folder)) for name in CASES} | {"images": images}
        if unknown := set(args.cases) - set(cases):
            parser.error(f"{', '.join(sorted(unknown))}: allowed are {', '.join(cases)}")
        print("| | apart, of the way | updates/s | seconds |\n|---|---:|---:|---:|")
        for name in args.cases or cases:
            case = cases[name]
            (start, _), (cpu, _), (there, _) = (
                done(case(device, n)) for device, n in (("cpu", 0), ("cpu", 3), (args.device, 3))
            )
            gap = apart(cpu, there, start)
            unequal += not gap <= WAY
            rounds = args.images if name == "images" else args.rounds
            _, clock = done(case(args.device, rounds))
            seconds = clock.ends[-1] - clock.ends[0]
            print(f"| {name} | {gap:.1e} | {clock.clients * (rounds - 1) / seconds:.0f} | {seconds:.1f} |", flush=True)
    if unequal:
        raise SystemExit(f"{unequal} cases are not the CPU's: more than {WAY} of the way apart")


if __name__ == "__main__":
    main()
