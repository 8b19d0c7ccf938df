"""How fast do more workers make a round? One and two Ray workers, on one node and on two, against this process alone.

    python benchmarks/scaling.py [--repeats 3] [--rounds 20] [--out FOLDER]

Strong scaling: the same clients among more workers. Weak scaling: as many clients for every worker. Workload W (the MLP
with 1 000 clients, the CNN with 100) on a population of a million. The second node is another ``ray start`` on the
loopback address (``benchmarks/nodes.py``), so that what travels between nodes goes through the loopback device, where
it is counted (of all programs on the machine: run it on a quiet one). Within a node it goes through shared memory; so
with two nodes half of what is moved is on the device. Peak memory is without a cluster's own programs. Every case
runs in a process of its own; cases take turns.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from benchmarks.model import Load  # noqa: E402
from benchmarks.nodes import cluster  # noqa: E402
from benchmarks.rounds import Measured, chunk_size, measure, over, save, workload  # noqa: E402

PARAMETERS = {"mlp": 6_438, "cnn": 11_686}


@dataclass(frozen=True)
class Case:
    """What is measured.

    Args:
        model: of workload W.
        clients: a round.
        workers: Ray's; 0: this process.
        nodes: 0: Ray is started by the run itself; otherwise a cluster of so many.
    """

    model: str
    clients: int
    workers: int
    nodes: int = 0

    @property
    def title(self) -> str:
        """Who computes, in words."""
        where = f" on {self.nodes} nodes" if self.nodes else ""
        return f"{self.workers} Ray worker{'s' if self.workers > 1 else ''}{where}" if self.workers else "in process"

    def table(self, rounds: int, address: str = "") -> dict[str, Any]:
        """Its configuration."""
        return workload(1_000_000, self.clients, rounds, self.model, workers=self.workers, address=address)

    def load(self) -> Load:
        """Its bytes, as the model of the cost counts them."""
        return Load(self.clients, 0.0, PARAMETERS[self.model], self.workers, chunk_size(self.table(1)))

    def run(self, rounds: int) -> Measured:
        """One run, on a cluster of its own where it asks for nodes."""
        with cluster(self.nodes) if self.nodes else nullcontext("") as address:
            return measure(self.table(rounds, address))


CASES = tuple(
    Case(model, clients * more, workers, nodes)
    for model, clients in (("mlp", 1000), ("cnn", 100))
    for workers, nodes, more in ((0, 0, 1), (1, 0, 1), (2, 0, 1), (2, 0, 2), (2, 2, 1), (2, 2, 2))
)
HEAD = (
    "| model | clients | who computes | updates/s | ÷ in process | ÷ one worker | round ms | transfer ms "
    "| aggregation ms | θ down, sums up kB | on the loopback kB | first round after s | peak MB |\n" + "|---" * 13 + "|"
)


def rows(found: Mapping[Case, Mapping[str, float]]) -> list[str]:
    """The table's lines."""
    speed = {case: case.clients / f["wall_s"] for case, f in found.items()}
    out = []
    for case, f in found.items():
        alone, one = (next(v for c, v in speed.items() if (c.model, c.workers) == (case.model, w)) for w in (0, 1))
        load = case.load()
        moved = f"{load.down / 1000:.0f} + {load.up / 1000:.0f}" if case.workers else "–"
        out.append(
            f"| {case.model} | {case.clients:,} | {case.title} | {speed[case]:,.0f} | {speed[case] / alone:.2f} "
            f"| {speed[case] / one:.2f} | {1000 * f['wall_s']:.1f} | {1000 * f['transfer']:.1f} "
            f"| {1000 * f['aggregate']:.1f} | {moved} | {f['lo_bytes'] / 1000:.0f} | {f['startup_s']:.1f} "
            f"| {f['peak_mb']:.0f} |"
        )
    return out


def main() -> None:
    """Measure every case, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--models", nargs="+", default=["mlp", "cnn"], choices=["mlp", "cnn"])
    parser.add_argument("--out", type=Path, default=Path(".bench/scale"))
    args = parser.parse_args()
    runs: dict[Case, list[Measured]] = {case: [] for case in CASES if case.model in args.models}
    for _ in range(args.repeats):
        for case, measured in runs.items():
            measured.append(case.run(args.rounds))
            print(case, f"{case.clients / over(measured)['wall_s']:,.0f} updates/s", file=sys.stderr, flush=True)
    found = {case: over(measured) for case, measured in runs.items()}
    save(args.out, "scaling", "\n".join([HEAD, *rows(found)]), [{**asdict(case), **f} for case, f in found.items()])


if __name__ == "__main__":
    main()
