"""What a whole comparison says falsely, and how often it finds what it promises to find.

    python benchmarks/whole_comparison.py [--tries 400]

Prints the tables of docs/statistics.md. Differences of a method from the reference are, in points,

    gain + person + seed + rest,

each part normal, half of its variance common to the questions of a data set; 30 people × 10 seeds, twelve methods on
five data sets of four questions. Deviations are (2, .5, 2) for a tie and (0, 1, .3) where seeds alone differ.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from metapulse.rng import generator
from metapulse.sim.lab.pairs import ALPHA, Key, levels, p_values
from metapulse.sim.lab.statistics.crossed import Values, detectable

PEOPLE, SEEDS, GAIN = 30, 10, 20.0
KINDS = {"tie": (2.0, 0.5, 2.0), "seeds alone": (0.0, 1.0, 0.3)}
SIZES = ((1, 1), (5, 1), (9, 1), (5, 12))  # data sets, methods
QUESTIONS = 4


def drawn(rng: np.random.Generator, datasets: int, methods: int, kind: str) -> dict[Key, Values]:
    """Differences without any gain."""

    def half() -> Values:
        person, seed, rest = (sd / 2**0.5 for sd in KINDS[kind])
        part = rng.normal(0, person, PEOPLE) + rng.normal(0, seed, (SEEDS, 1))
        return np.asarray(part + rng.normal(0, rest, (SEEDS, PEOPLE)))

    found: dict[Key, Values] = {}
    for dataset, method in np.ndindex(datasets, methods):
        common = half()
        for shots in range(1, QUESTIONS + 1):
            found[(f"d{dataset}", "new_user", shots), f"m{method}"] = common + half()
    return found


def called(family: dict[Key, Values]) -> dict[Key, bool]:
    """What is called different, as the lab does it."""
    return dict(zip(family, (p_values(family)[1] <= ALPHA).tolist(), strict=True))


def wrong(kind: str, datasets: int, methods: int, differs: bool, tries: int) -> float:
    """Share of comparisons that call something different which is not.

    Args:
        differs: every method is 20 points better on two of the first data set's four questions.
    """
    count = 0
    for i in range(tries):
        family = drawn(generator(i, "whole comparison"), datasets, methods, kind)
        true = [key for key in family if differs and key[0][0] == "d0" and key[0][2] <= QUESTIONS // 2]
        told = called(family | {key: family[key] + GAIN for key in true})
        count += any(one for key, one in told.items() if key not in true)
    return count / tries


def found(kind: str, questions: int, tries: int) -> float:
    """Share of comparisons that find a method's gain on a question where it is as large as ``detectable`` says.

    Args:
        questions: of the first data set on which the first method has that gain.
    """
    size = (5, 12)
    asked: Key = ("d0", "new_user", 1), "m0"
    pilots = [drawn(generator(i, "pilot"), *size, kind) for i in range(20)]
    gain = float(np.mean([detectable(one[asked], levels(one)[asked]) for one in pilots]))
    count = 0
    for i in range(tries):
        family = drawn(generator(i, "whole comparison"), *size, kind)
        better = [(("d0", "new_user", shots), "m0") for shots in range(1, questions + 1)]
        count += called(family | {key: family[key] + gain for key in better})[asked]
    return count / tries


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=400)
    tries = parser.parse_args().tries
    print("| data sets | methods | differs on one | " + " | ".join(KINDS) + " |\n|---:|---:|---|---:|---:|")
    for (datasets, methods), differs in ((size, differs) for size in SIZES for differs in (False, True)):
        shares = [f"{wrong(kind, datasets, methods, differs, tries):.1%}" for kind in KINDS]
        print(f"| {datasets} | {methods} | {'yes' if differs else 'no'} | {' | '.join(shares)} |", flush=True)
    print("| gains on | " + " | ".join(KINDS) + " |\n|---|---:|---:|")
    for questions in (1, QUESTIONS):
        shares = [f"{found(kind, questions, tries):.1%}" for kind in KINDS]
        print(f"| {questions} of {QUESTIONS} questions | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
