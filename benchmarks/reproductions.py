"""Do published numbers come out? Runs ``configs/reproductions`` and prints published, ours, the spread, and a verdict.

    python benchmarks/reproductions.py OUT [--only a4 a5] [--seeds 0 1 2] [--methods …] [--best 20]

``--best N`` is the protocol of papers that report their best round: people are asked every N rounds, and of each figure
the best of all rounds is taken, which flatters every method. Finished runs in OUT are not done again. Published figures
stand in ``published.py`` with what they are of.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from published import PUBLISHED
from shared import finished, last_rows

from metapulse.registry import SOURCES
from metapulse.server.folder import RunFolder
from metapulse.sim.suite import read_suite

CONFIGS = Path(__file__).resolve().parent.parent / "configs" / "reproductions"
#: Configurations whose seeds are also seeds of the data.
POPULATIONS = ("a6", "a7", "a8", "uci_har")
#: Meta-tests at the end that are averaged, where it is more than the last.
AVERAGED = {"a8_fedprox_synthetic": 10}

#: (step, metric) → mean.
Scores = dict[tuple[int, str], float]


def final(folder: Path, tests: int = 1) -> Scores:
    """Means over clients at the last meta-tests; where samples are held out, accuracy also pooled over them (percent).

    Metrics of further scenarios than the first are called ``scenario metric``.

    Args:
        folder: of a finished run.
        tests: meta-tests that are averaged.
    """
    return scores_among(last_rows(folder, tests), RunFolder(folder).config()[0])


def best(folder: Path) -> Scores:
    """The same of the best meta-test of all, figure by figure."""
    config, rows = RunFolder(folder).config()[0], last_rows(folder, 0)
    rounds = sorted({row["round"] for row in rows})
    each = [scores_among([row for row in rows if row["round"] == r], config) for r in rounds]
    return {key: (min if key[1].endswith(("mse", "loss")) else max)(one[key] for one in each) for key in each[0]}


def scores_among(rows: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> Scores:
    """``final`` of some rows."""
    first = config["evaluation"]["scenarios"][0]
    groups: dict[tuple[int, str], list[tuple[int, float]]] = {}
    for row in rows:
        metric = row["metric"] if row["scenario"] == first else f"{row['scenario']} {row['metric']}"
        groups.setdefault((row["step"], metric), []).append((row["client"], row["value"]))
    scores = {key: float(np.mean([value for _, value in values])) for key, values in groups.items()}
    if config["evaluation"]["split"] == "held_out":
        # The published accuracies count every test sample once, not every client.
        source = SOURCES.make(config["source"])
        sizes = {c: int(source.samples(c).held_out.sum()) for c in {row["client"] for row in rows}}
        for (step, metric), values in groups.items():
            if metric == "accuracy":
                mean = np.average([value for _, value in values], weights=[sizes[c] for c, _ in values])
                scores[step, "pooled"] = 100 * float(mean)
    return scores


def scores_of(
    path: Path, out: Path, seeds: Sequence[int], methods: Sequence[str], every: int = 0
) -> dict[str, list[Scores]]:
    """Scores of every method at every seed, running what is missing; with ``every``, of the best round."""
    scores: dict[str, list[Scores]] = {}
    for seed in seeds:
        sets = [f"run.seed={seed}"] + ([f"source.seed={seed}"] if path.stem.startswith(POPULATIONS) else [])
        sets += [f"evaluation.every={every}"] if every else []
        for method, config in read_suite(path, sets).configs.items():
            if not methods or method in methods:
                folder = finished(config, out / f"{path.stem}{'_best' if every else ''}" / method / str(seed))
                found = best(folder) if every else final(folder, AVERAGED.get(path.stem, 1))
                scores.setdefault(method, []).append(found)
    return scores


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="*", default=[])
    parser.add_argument("--best", type=int, default=0, help="rounds from one meta-test to the next; 0: the last round")
    args = parser.parse_args(argv)
    print("| config | method | step | metric | published | ours, mean ± sd over seeds | seeds | verdict |")
    print("|---|---|---|---|---|---|---|---|")
    for path in sorted(CONFIGS.glob("*.toml")):
        if not path.stem.startswith(tuple(args.only)):
            continue
        scores = scores_of(path, args.out, args.seeds, args.methods, args.best)
        for (stem, method, step, metric), cell in PUBLISHED.items():
            if stem == path.stem and method in scores:
                values = [s[step, metric] for s in scores[method]]
                sd = np.std(values, ddof=1) if len(values) > 1 else float("nan")
                ours, verdict = f"{np.mean(values):.4g} ± {sd:.2g}", cell.verdict(float(np.mean(values)))
                row = (stem, method, step, metric, cell.text, ours, len(values), verdict)
                print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
