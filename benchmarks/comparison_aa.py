"""A finished comparison's own methods against themselves: how often that is called a difference, and what is found.

    metapulse compare configs/comparison.toml --workers 2 --out FOLDER
    python benchmarks/comparison_aa.py FOLDER [--tries 400]

Each try deals the seeds of every method into two halves and pairs them at random; what the comparison would say of one
half against the other is false (A/A), whatever is true of the methods. Then a gain is planted for one method on all
questions of one data set: of the size that ``detectable`` says there, and of .01 (of errors a log ratio).
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import polars as pl

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from metapulse.metrics.table import larger_is_better
from metapulse.rng import generator
from metapulse.sim.lab.pairs import ALPHA, Key, levels, log_ratios, p_values
from metapulse.sim.lab.panel import panel
from metapulse.sim.lab.select import KEYS, judged_rows, main_rows
from metapulse.sim.lab.statistics.crossed import Values, detectable

SMALL = 0.01


def scores(folder: Path) -> tuple[dict[Key, Values], dict[str, bool]]:
    """Of every question and method the scores by seed and person after the last round; data set → whether errors."""
    last, _ = judged_rows(main_rows(pl.read_parquet(folder / "results.parquet")))
    errors = {d: not larger_is_better(m) for d, m in last.select("dataset", "metric").unique().iter_rows()}
    found: dict[Key, Values] = {}
    for (dataset, scenario, shots, method), rows in last.partition_by(KEYS, as_dict=True).items():
        people = panel(rows).people
        if np.ptp(people, axis=0).any():  # a method without randomness is the same with every seed
            found[(dataset, scenario, shots), method] = people
    return found, errors


def halves(found: dict[Key, Values], errors: dict[str, bool], attempt: int) -> dict[Key, Values]:
    """One half of each method's seeds against the other."""
    made: dict[Key, Values] = {}
    for key, values in found.items():
        order = generator(attempt, f"halves {key[0][0]} {key[1]}").permutation(len(values))  # alike on all questions
        a, b = values[order[: len(order) // 2]], values[order[len(order) // 2 : len(order) // 2 * 2]]
        made[key] = log_ratios(b, a) if errors[key[0][0]] else a - b
    return made


def called(family: dict[Key, Values]) -> dict[Key, bool]:
    """What would be called different."""
    return dict(zip(family, (p_values(family)[1] <= ALPHA).tolist(), strict=True))


def main() -> None:
    """Print the share of false alarms, then what is found on each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tries", type=int, default=400)
    options = parser.parse_args()
    found, errors = scores(options.folder)
    alarms, hits, sizes = 0, defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    methods = sorted({method for _, method in found})
    for attempt in range(options.tries):
        family = halves(found, errors, attempt)
        alarms += any(called(family).values())
        planted = methods[attempt % len(methods)]
        level = levels(family)
        for dataset in errors:
            mine = [key for key in family if key[1] == planted and key[0][0] == dataset]
            gains = {key: detectable(family[key], level[key]) for key in mine}
            for name, size in (("detectable", gains), ("small", dict.fromkeys(mine, SMALL))):
                told = called(family | {key: family[key] + size[key] for key in mine})
                hits[f"{dataset} {name}"] += [told[key] for key in mine]
            sizes[dataset] += gains.values()
    print(f"{len({key[1] for key in found})} methods, {len(found)} tests: false alarms in {alarms} of {options.tries}")
    print("| | detectable (median) | found of that size | found of .01 |\n|---|---:|---:|---:|")
    for dataset in errors:
        shares = [f"{np.mean(hits[f'{dataset} {name}']):.0%}" for name in ("detectable", "small")]
        print(f"| {dataset} | {np.median(sizes[dataset]):.3f} | {' | '.join(shares)} |")


if __name__ == "__main__":
    main()
