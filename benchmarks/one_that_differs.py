"""How often something false is said of data sets on which nothing differs, where a method does differ on another one.

    python benchmarks/one_that_differs.py [--tries 400]

Prints the table of docs/statistics.md: of so many data sets with one question each, every method is truly 20 points
better on the first and equal to the reference on all others; 30 people × 10 seeds. Deviations of the normal parts of a
difference (person, seed, rest) are (2, .5, 2) for a tie and (0, 1, .3) where seeds alone differ.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from metapulse.rng import generator
from metapulse.sim.lab.statistics.crossed import crossed_p_value
from metapulse.sim.lab.statistics.families import nested_corrections

PEOPLE, SEEDS, GAIN, LEVEL = 30, 10, 20.0, 0.05
KINDS = {"tie": (2.0, 0.5, 2.0), "seeds": (0.0, 1.0, 0.3)}
SIZES = ((5, 1), (9, 1), (5, 12))  # data sets, methods


def false_elsewhere(rng: np.random.Generator, datasets: int, methods: int, parts: tuple[float, float, float]) -> bool:
    """Whether one comparison calls a method different on a data set where it is not."""
    person, seed, rest = parts
    p = np.empty((datasets, methods))
    for d in range(datasets):
        for m in range(methods):
            difference = GAIN * (d == 0) + rng.normal(0, person, PEOPLE) + rng.normal(0, seed, (SEEDS, 1))
            p[d, m] = crossed_p_value(difference + rng.normal(0, rest, (SEEDS, PEOPLE)))
    question = [(f"d{d}", "new_user", 5) for d in range(datasets) for _ in range(methods)]
    method = [f"m{m}" for _ in range(datasets) for m in range(methods)]
    levels: list[Sequence[Hashable]] = [question, [q[0] for q in question], [None] * len(question)]
    told = nested_corrections(p.ravel(), method, levels) <= LEVEL
    return bool(told[methods:].any())


def main() -> None:
    """Print a row for each size and kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=400)
    tries = parser.parse_args().tries
    print("| data sets | methods | tie | seeds alone |\n|---:|---:|---:|---:|")
    for number, (datasets, methods) in enumerate(SIZES):
        rng = generator(0, "one that differs", number)
        shares = [np.mean([false_elsewhere(rng, datasets, methods, k) for _ in range(tries)]) for k in KINDS.values()]
        print(f"| {datasets} | {methods} | {shares[0]:.1%} | {shares[1]:.1%} |", flush=True)


if __name__ == "__main__":
    main()
