"""What second-order learners cost beside MAML, through the full path: 1000 sine tasks a round, ten shots.

    python benchmarks/second_order.py [--repeats 5] [--seconds 1]

MAML and Meta-SGD take five inner steps on ten points and one gradient on the ten others; Per-FedAvg takes five local
steps, each with batches of ten of a client's twenty points (four gradients a step where it is Hessian-free), in the
order in which they come, as MAML's do, or from fresh shuffles. Learners
take turns in one process; the ratio is CPU time of an update over MAML's in the same turn.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.bench.experiment import experiment  # noqa: E402
from benchmarks.bench.workload import WORKLOADS, Load, write  # noqa: E402
from metapulse.sim.experiment import run_experiment  # noqa: E402

LOCAL = ('learner.name="per_fedavg"', "learner.local_steps=5", "learner.batch_size=10", 'strategy.name="fedavg"')
IN_ORDER = 'learner.order="sequential"'
LEARNERS: Mapping[str, tuple[str, ...]] = {
    "maml": (),
    "meta_sgd": ('learner.name="meta_sgd"', "learner.inner_steps=5", "learner.rate_high=0.01", "strategy.lr=1e-5"),
    "per_fedavg, Hessian-free": (*LOCAL, IN_ORDER, 'learner.variant="hessian_free"'),
    "per_fedavg, Hessian-free, shuffled": (*LOCAL, 'learner.variant="hessian_free"'),
    "per_fedavg, first order": (*LOCAL, IN_ORDER),
    "fomaml": ('learner.name="fomaml"', "learner.inner_steps=5"),
}


class EnoughError(Exception):
    """Ends a run that has been measured."""


class Stopwatch:
    """CPU seconds of an update, from the end of the second round on."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._updates = seconds, 0
        self.each = 0.0

    def round(self, round: int, rounds: int, clients: int, seconds: float) -> None:
        """A round is over."""
        if round == 2:
            self._began = time.process_time()
        elif round > 2:
            self._updates += clients
            spent = time.process_time() - self._began
            if spent >= self._seconds:
                self.each = spent / self._updates
                raise EnoughError

    def score(self, round: int, value: float | None) -> None:
        """Never: the run ends before its meta-test."""

    def note(self, text: str) -> None:
        """Not shown."""


def measure(load: Load, options: tuple[str, ...], seconds: float) -> float:
    """CPU seconds of one client's update."""
    watch = Stopwatch(seconds)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(EnoughError):
        run_experiment(experiment(load, options, 10**7), Path(folder) / "run", watch)
    return watch.each


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="measured per learner and turn")
    parser.add_argument("--data", type=Path, default=ROOT / ".bench" / "data", help="where the tasks are, or are put")
    args = parser.parse_args()
    write(args.data)
    load = Load(WORKLOADS["maml-1000"], args.data)
    turns = [{n: measure(load, o, args.seconds) for n, o in LEARNERS.items()} for _ in range(args.repeats)]
    print("| learner | updates per CPU-s, median (range) | cost ÷ MAML's, median (range) |\n|---|---|---|")
    for name in LEARNERS:
        rates = [1 / turn[name] for turn in turns]
        ratios = [turn[name] / turn["maml"] for turn in turns]
        print(
            f"| {name} | {statistics.median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f}) "
            f"| {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) |"
        )


if __name__ == "__main__":
    main()
