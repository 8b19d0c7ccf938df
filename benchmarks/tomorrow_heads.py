"""Tomorrow of 33 Fitbits by learners in closed form, five parts of the people, the ridge chosen by validation people.

    METAPULSE_DATA=… metapulse data records fitbit_33 people
    METAPULSE_DATA=… python benchmarks/tomorrow_heads.py OUT

Mean and median over people of their absolute error, without shots and with the first five days; nothing is random.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
from shared import finished

from metapulse.sim.suite import read_suite

CONFIG = Path(__file__).with_suffix(".toml")
#: Recipes, and the unit of y.
QUESTIONS = {
    "sleep_tonight": ('"sleep_tonight"', 60.0),
    "steps_tomorrow": ('"steps_tomorrow"', 4000.0),
    "resting_heart_rate": ('{ name = "resting_heart_rate_tomorrow", of = "lowest" }', 10.0),
}
RIDGES, FOLDS, STEPS = 3, 5, (0, 1)


def part(question: str, method: str, fold: int, out: Path) -> dict[int, list[float]]:
    """Absolute errors of a part's people by step, with the ridge that its validation people choose."""
    sets = [f"source.recipe={QUESTIONS[question][0]}", f"split.fold={fold}"]
    configs, found = read_suite(CONFIG, sets).configs, []
    for number in range(RIDGES):
        name = f"{method}_{number}"
        rows = pl.read_parquet(finished(configs[name], out / question / str(fold) / name) / "metrics.parquet")
        last = rows.filter(pl.col("round") == pl.col("round").max(), pl.col("shots") == 5)
        score = last.filter(phase="validation", metric="mse", step=1)["value"].mean()
        errors = {step: last.filter(phase="test", metric="mae", step=step)["value"].to_list() for step in STEPS}
        found.append((score, number, errors))
    return min(found)[2]


def main(out: Path) -> None:
    """Print a row a question and method."""
    print("| | | people | no shots: mean, median | 5 shots: mean, median |\n|---|---|---|---|---|")
    for question, (_, unit) in QUESTIONS.items():
        for method in ("pooled_ridge", "random_effects"):
            parts = [part(question, method, fold, out) for fold in range(FOLDS)]
            each = [unit * np.concatenate([one[step] for one in parts]) for step in STEPS]
            cells = [f"{errors.mean():.2f}, {np.median(errors):.2f}" for errors in each]
            print(f"| {question} | {method} | {len(each[0])} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
