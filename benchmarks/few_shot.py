"""Few-shot personalisation on recorded data: every method on the same episodes, beside what needs no model.

    METAPULSE_DATA=… python benchmarks/few_shot.py configs/recorded/spsw_unseen.toml OUT
        [--seeds 0 1 2 3 4] [--splits 0 1 2 3 4] [--methods …] [--steps 20]

Split 0 is the configuration's own; the others hold out as many people drawn by number. A figure is the mean over
clients of their mean over episodes, then mean ± sd over seeds. A method is judged after its last step, FedAvg before
any. Finished runs in OUT are not done again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from runs import finished, last_rows

from client.rng import generator
from client.work import Trial, Work
from server.config import Config
from server.metatest import MetaTest
from server.roster import Roster
from sim.engines.cohort import SourceDirectory
from sim.suite import plan

Part = tuple[np.ndarray, np.ndarray]
Baseline = Callable[[Part, Part], float]


def held_out(config: Config, split: int) -> list[str]:
    """Labels of the people held out in a split: the configuration's own for 0, drawn by number otherwise."""
    if split == 0:
        return list(config.split.test_users)
    source = Work(config.work()).source
    labels = sorted({source.client(c).label for c in range(len(source))}, key=lambda text: (len(text), text))
    size = len(config.split.test_users) or round(config.split.test * len(labels))
    return [labels[i] for i in sorted(generator(split, "held-out people").choice(len(labels), size, replace=False))]


def class_mean(support: Part, query: Part) -> float:
    """Nearest class mean on each channel's mean and sd; balanced accuracy."""
    s, q = _simple(support[0]), _simple(query[0])
    classes = np.unique(support[1])
    means = np.stack([s[support[1] == c].mean(0) for c in classes])
    guess = classes[((q[:, None] - means) ** 2).sum(2).argmin(1)]
    return float(np.mean([(guess[query[1] == c] == c).mean() for c in np.unique(query[1])]))


def _simple(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x.mean(2), x.std(2)], 1) if x.ndim == 3 else x


def persistence(support: Part, query: Part) -> float:
    """The value stays as it is; squared error of a target that is the change."""
    return float((query[1] ** 2).mean())


def ridge(support: Part, query: Part) -> float:
    """Ridge regression (λ = 1 a sample) on the support set alone; squared error."""
    ones = [np.concatenate([x, np.ones((len(x), 1))], 1) for x in (support[0], query[0])]
    gram = ones[0].T @ ones[0] + len(ones[0]) * np.eye(ones[0].shape[1])
    return float(((ones[1] @ np.linalg.solve(gram, ones[0].T @ support[1]) - query[1]) ** 2).mean())


BASELINES: dict[str, dict[str, Baseline]] = {
    "classification": {"class mean, no model": class_mean},
    "regression": {"persistence, no model": persistence, "ridge on the shots": ridge},
}


def baselines(config: Config, scenario: str) -> Iterator[tuple[str, dict[int, float]]]:
    """(name, shots → figure) on the very episodes of the meta-test."""
    plain = build_plain(config)
    work = Work(plain.work())
    roster = Roster(SourceDirectory(work.source), plain)
    test = MetaTest(plain, roster, None)  # type: ignore[arg-type]  # only asked for its trials
    for name, judge in BASELINES[work.task.kind].items():
        figures = {}
        for shots in plain.evaluation.shots:
            trial: Trial = test.trial(scenario, shots)
            each = [
                np.mean([judge(support, query) for support, query in work.episodes(client, trial)])
                for client in roster.targets(scenario)
            ]
            figures[shots] = float(np.mean(each))
        yield name, figures


def build_plain(config: Config) -> Config:
    """The same question with windows standardised and nothing else."""
    return replace(config, transform={"name": "standardise"}, model={"name": "mlp"})


def judged(rows: Sequence[dict[str, Any]], scenario: str, metric: str, step: int) -> dict[int, float]:
    """Shots → mean over clients."""
    groups: dict[int, list[float]] = {}
    for row in rows:
        if (row["scenario"], row["metric"], row["step"]) == (scenario, metric, step):
            groups.setdefault(row["shots"], []).append(row["value"])
    return {shots: float(np.mean(values)) for shots, values in groups.items()}


def line(name: str, split: int, scenario: str, figures: Sequence[dict[int, float]], metric: str) -> str:
    """One row of the table; squared errors as their root."""
    cells = []
    for shots in sorted(figures[0]):
        values = np.array([one[shots] for one in figures])
        values = np.sqrt(values) if metric == "mse" else values
        spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
        cells.append(f"{values.mean():.3f}{spread}")
    return f"| {split} | {scenario} | {name} | " + " | ".join(cells) + f" | {len(figures)} |"


def main() -> None:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--splits", nargs="*", type=int, default=[0])
    parser.add_argument("--methods", nargs="*", default=[])
    args = parser.parse_args()
    first = next(iter(plan(args.config).configs.values()))
    shots = " | ".join(f"K = {k}" for k in sorted(first.evaluation.shots))
    print(
        f"| split | scenario | method | {shots} | seeds |\n|---|---|---|" + "---|" * (len(first.evaluation.shots) + 1)
    )
    metric = "balanced_accuracy" if Work(first.work()).task.kind == "classification" else "mse"
    for split in args.splits:
        people = str(held_out(first, split)).replace("'", '"')
        sets = [f"split.test_users={people}"] if split else []
        base = next(iter(plan(args.config, sets).configs.values()))
        for scenario in base.evaluation.scenarios:
            for name, figures in baselines(base, scenario):
                print(line(name, split, scenario, [figures], metric), flush=True)
        for method in args.methods or plan(args.config).configs:
            done = []
            for seed in args.seeds:
                config = plan(args.config, [*sets, f"run.seed={seed}"]).configs[method]
                done.append(last_rows(finished(config, args.out / args.config.stem / str(split) / method / str(seed))))
            step = max(config.evaluation.steps)
            for scenario in base.evaluation.scenarios:
                figures_ = [judged(rows, scenario, metric, step) for rows in done]
                print(line(f"{method}, {step} steps", split, scenario, figures_, metric), flush=True)


if __name__ == "__main__":
    main()
