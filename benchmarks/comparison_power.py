"""How often a comparison is wrong about methods that are alike, and right about one that is two points better.

    python benchmarks/comparison_power.py [--tries 2000]

Prints the tables of docs/statistics.md. A score of a method for a person after a seed's run is, in points,

    person + method × person + method × seed + method × seed × person,

each normal with the standard deviation that a table names. Scores of one method against itself with other seeds have no
method × person (A/A); methods that are equally good for the population but not for each person do (a tie).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import rankdata, trim_mean, wilcoxon

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from metapulse.rng import generator
from metapulse.sim.lab.statistics.bootstrap import grand_mean, improvement, interquartile_mean
from metapulse.sim.lab.statistics.crossed import crossed_p_value
from metapulse.sim.lab.statistics.families import grouped_corrections, holm
from metapulse.sim.lab.statistics.ranks import friedman
from tests.points import METHODS, WORLDS, World, percentile

ALPHA = 0.05
GAIN = 2.0
DESIGNS = ((6, 5), (10, 5), (30, 5), (30, 10))  # people, seeds


def people_only(differences: np.ndarray) -> np.ndarray:
    """p of every method by Wilcoxon's signed ranks of people, seeds averaged: what is usually done."""
    return np.asarray(wilcoxon(differences.mean(1), axis=1).pvalue)


def crossed(differences: np.ndarray) -> np.ndarray:
    """p of every method as the lab has it."""
    return np.array([crossed_p_value(values) for values in differences])


Test = Callable[[np.ndarray], np.ndarray]


def called(
    world: World, people: int, seeds: int, test: Test, tries: int, gain: float = 0.0, methods: int = METHODS
) -> float:
    """Share of tries in which the first method is called different, having gained; without a gain, in which any is."""
    count = 0
    for i in range(tries):
        scores = world.scores(generator(i, "power"), seeds, people, methods + 1)
        scores[1] += gain
        p = holm(test(scores[1:] - scores[0]))
        count += bool((p[0] if gain else p.min()) <= ALPHA)
    return count / tries


def anywhere(world: World, people: int, seeds: int, tries: int, questions: int = 8) -> tuple[float, float]:
    """Shares of tries in which a method is called different on any of several questions to the same runs.

    Half of the variance of every part is common to the questions. First: correcting for the methods of each question;
    second: for the questions as well, as the lab does.
    """
    half = World(*(sd / 2**0.5 for sd in (world.method, world.seed, world.rest, world.person)))
    single = both = 0
    for i in range(tries):
        rng = generator(i, "anywhere")
        common = half.scores(rng, seeds, people)
        scores = [common + half.scores(rng, seeds, people) for _ in range(questions)]
        p = np.array([crossed(s[1:] - s[0]) for s in scores])
        single += bool(min(holm(one).min() for one in p) <= ALPHA)
        both += bool(grouped_corrections(p.ravel(), list(range(METHODS)) * questions).min() <= ALPHA)
    return single / tries, both / tries


def ceiling(rng: np.random.Generator, seeds: int, people: int) -> np.ndarray:
    """Shares right of 40 questions, near the top: most people at 100 %, a few far below."""
    logits = (
        3.0 + rng.normal(size=(1, people)) + 0.3 * rng.normal(size=(seeds, 1)) + 0.3 * rng.normal(size=(seeds, people))
    )
    return rng.binomial(40, 1.0 / (1.0 + np.exp(-logits))) / 40


def coverage(tries: int) -> dict[str, dict[str, float]]:
    """How often intervals hold the truth: that of millions of people and seeds."""
    draws = {
        "scores of a method": lambda rng, s, u: WORLDS["tie"].scores(rng, s, u, 1)[0],
        "differences, tie": lambda rng, s, u: np.subtract(*WORLDS["tie"].scores(rng, s, u, 2)),
        "differences, lucky seeds": lambda rng, s, u: np.subtract(*WORLDS["A/A, lucky seeds"].scores(rng, s, u, 2)),
        "near the ceiling": ceiling,
    }
    statistics = {
        "percentiles, mean": (percentile, np.mean),
        "mean": (grand_mean, np.mean),
        "interquartile mean": (interquartile_mean, lambda x: trim_mean(x, 0.25, axis=None)),
        "improvement": (improvement, lambda x: (1.0 + np.sign(x)).mean() / 2.0),
    }
    table: dict[str, dict[str, float]] = {}
    for name, draw in draws.items():
        large = draw(generator(0, "truth"), 2000, 2000)
        for people, seeds in DESIGNS:
            row = table.setdefault(f"{name} | {people} × {seeds}", {})
            samples = [draw(generator(i, f"coverage {name}"), seeds, people) for i in range(tries)]
            for label, (statistic, truth) in statistics.items():
                if label == "improvement" and "differences" not in name:
                    continue
                aim = float(truth(large)) if name == "near the ceiling" else 0.5 * (label == "improvement")
                found = [statistic(values) for values in samples]
                row[label] = sum(one.low <= aim <= one.high for one in found) / tries
    return table


def blocks(datasets: int, methods: int, tries: int) -> tuple[float, float]:
    """Shares of A/A comparisons that Friedman's test rejects: eight questions of a data set as blocks, and data sets.

    Half of the variance of a method's mean is common to the questions of a data set.
    """
    questions = each = 0
    for i in range(tries):
        rng = generator(i, "blocks")
        merits = rng.normal(size=(datasets, 1, methods)) + rng.normal(size=(datasets, 8, methods))
        questions += friedman(merits.reshape(-1, methods)) <= ALPHA
        each += friedman(-rankdata(-merits, axis=2).mean(1)) <= ALPHA
    return questions / tries, each / tries


def row(*cells: object) -> None:
    print("| " + " | ".join(f"{100 * c:.1f}" if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=2000)
    tries = parser.parse_args().tries
    row("world", "people × seeds", "wrong: people only", "wrong", "gain found among 12", "gain found alone")
    for name, world in WORLDS.items():
        for people, seeds in DESIGNS:
            row(
                name,
                f"{people} × {seeds}",
                called(world, people, seeds, people_only, tries),
                called(world, people, seeds, crossed, tries),
                called(world, people, seeds, crossed, tries, GAIN),
                called(world, people, seeds, crossed, tries, GAIN, methods=1),
            )
    row("world", "people × seeds", "wrong anywhere of 8 questions, each alone", "wrong anywhere, questions too")
    for name in ("A/A", "A/A, lucky seeds", "tie"):
        for people, seeds in DESIGNS[:3]:
            row(name, f"{people} × {seeds}", *anywhere(WORLDS[name], people, seeds, tries // 4))
    row("data sets", "methods", "questions as blocks", "data sets as blocks")
    for datasets in (2, 3, 5):
        for methods in (3, 12):
            row(datasets, methods, *blocks(datasets, methods, tries))
    table = coverage(tries // 2)
    row("values | people × seeds", *next(iter(table.values())))
    for label, cells in table.items():
        row(label, *cells.values())


if __name__ == "__main__":
    main()
