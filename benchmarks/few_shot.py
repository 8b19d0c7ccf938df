"""Few-shot personalisation on recorded data: every method on the same episodes, beside what needs no model.

    METAPULSE_DATA=… python benchmarks/few_shot.py configs/recorded/spsw_unseen.toml OUT
        [--seeds 0 1 2 3 4] [--splits 0 1 2 3 4] [--methods …] [--steps 20]

Split 0 is the configuration's own; the others hold out as many people drawn by number. A figure is the mean over
clients of their mean over episodes, then mean ± sd over seeds. A method is judged after its last step; fine-tuning
before any as well, which is FedAvg. Finished runs in OUT are not done again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from shared import finished, last_rows

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import Trial
from metapulse.rng import generator
from metapulse.server.client_sampler import ClientSampler
from metapulse.server.config import Config
from metapulse.server.metatest import MetaTest
from metapulse.sim.engines.cohort import SourceDirectory
from metapulse.sim.suite import read_suite

Part = tuple[np.ndarray, np.ndarray]
Baseline = Callable[[Part, Part], float]


def held_out(config: Config, split: int) -> list[str]:
    """Labels of the people held out in a split: the configuration's own for 0, drawn by number otherwise."""
    if split == 0:
        return list(config.split.test_users)
    source = ClientExecutor(config.client_config()).source
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


SHARES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # λ a sample


def _ridge_weights(part: Part, shares: Sequence[float] = SHARES) -> np.ndarray:
    """(XᵀX + λnI)⁻¹ XᵀY with a constant input, λ by the leave-one-out error on the part itself."""
    x, y = _with_one(part[0]), part[1]
    best: tuple[float, np.ndarray] | None = None
    for share in shares:
        inverse = np.linalg.inv(x.T @ x + share * len(x) * np.eye(x.shape[1]))
        weights = inverse @ (x.T @ y)
        leverage = np.einsum("ij,jk,ik->i", x, inverse, x, optimize=True)[:, None]
        error = float((((y - x @ weights) / (1.0 - np.minimum(leverage, 0.999))) ** 2).mean())
        best = (error, weights) if best is None or error < best[0] else best
    assert best is not None
    return best[1]


def _with_one(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x.reshape(len(x), -1), np.ones((len(x), 1))], 1)


def ridge(support: Part, query: Part) -> float:
    """Ridge regression on the support set alone; squared error."""
    return float(((_with_one(query[0]) @ _ridge_weights(support) - query[1]) ** 2).mean())


def strong_ridge(support: Part, query: Part) -> float:
    """The same with λ = 1 a sample: neighbouring windows are alike, and leaving one out then trusts too much."""
    return float(((_with_one(query[0]) @ _ridge_weights(support, (1.0,)) - query[1]) ** 2).mean())


BASELINES: dict[str, dict[str, Baseline]] = {
    "classification": {"class mean, no model": class_mean},
    "regression": {
        "persistence, no model": persistence,
        "ridge on the shots": ridge,
        "ridge on the shots, λ = 1": strong_ridge,
    },
}


def baselines(config: Config, scenario: str) -> Iterator[tuple[str, dict[int, float]]]:
    """(name, shots → figure) on the very episodes of the meta-test."""
    plain = build_plain(config)
    work = ClientExecutor(plain.client_config())
    sampler = ClientSampler(SourceDirectory(work.source), plain)
    test = MetaTest(plain, sampler, None)  # type: ignore[arg-type]  # only asked for its trials
    judges = dict(BASELINES[work.task.kind])
    if work.task.kind == "regression":
        judges["ridge on all people's samples"] = pooled_ridge(plain)
    for name, judge in judges.items():
        figures = {}
        for shots in plain.evaluation.shots:
            trial: Trial = test.trial(scenario, shots)
            each = [
                np.mean([judge(support, query) for support, query in work.episodes(client, trial)])
                for client in sampler.targets(scenario)
            ]
            figures[shots] = float(np.mean(each))
        yield name, figures


def build_plain(config: Config) -> Config:
    """The same question with windows standardised and nothing else."""
    own = config.transform["name"]
    return replace(config, transform={"name": "none" if own == "none" else "standardise"}, model={"name": "mlp"})


def judged(rows: Sequence[dict[str, Any]], scenario: str, metric: str, step: int) -> dict[int, float]:
    """Shots → mean over clients."""
    groups: dict[int, list[float]] = {}
    for row in rows:
        if (row["scenario"], row["metric"], row["step"]) == (scenario, metric, step):
            groups.setdefault(row["shots"], []).append(row["value"])
    return {shots: float(np.mean(values)) for shots, values in groups.items()}


def pooled_ridge(config: Config) -> Baseline:
    """Ridge regression on the pooled samples of all people in meta-training, as a federation cannot have them."""
    work = ClientExecutor(config.client_config())
    sampler = ClientSampler(SourceDirectory(work.source), config)
    parts = [work.source.samples(c) for c in sampler.cohort(1, 0)]
    weights = _ridge_weights((np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts])))
    return lambda support, query: float(((_with_one(query[0]) @ weights - query[1]) ** 2).mean())


def line(name: str, split: int, scenario: str, figures: Sequence[dict[int, float]], unit: float | None) -> str:
    """One row of the table; squared errors as their root, times the task's unit."""
    cells = []
    for shots in sorted(figures[0]):
        values = np.array([one[shots] for one in figures])
        values = values if unit is None else unit * np.sqrt(values)
        digits = 3 if unit is None else 2
        spread = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
        cells.append(f"{values.mean():.{digits}f}{spread}")
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
    first = next(iter(read_suite(args.config).configs.values()))
    shots = " | ".join(f"K = {k}" for k in sorted(first.evaluation.shots))
    print(
        f"| split | scenario | method | {shots} | seeds |\n|---|---|---|" + "---|" * (len(first.evaluation.shots) + 1)
    )
    task = ClientExecutor(first.client_config()).task
    metric = "balanced_accuracy" if task.kind == "classification" else "mse"
    unit = float(task.unit.split()[0]) if task.kind == "regression" else None  # "50 mg/dL"
    for split in args.splits:
        people = str(held_out(first, split)).replace("'", '"')
        sets = [f"split.test_users={people}"] if split else []
        base = next(iter(read_suite(args.config, sets).configs.values()))
        for scenario in base.evaluation.scenarios:
            for name, figures in baselines(base, scenario):
                print(line(name, split, scenario, [figures], unit), flush=True)
        for method in args.methods or read_suite(args.config).configs:
            done = []
            for seed in args.seeds:
                config = read_suite(args.config, [*sets, f"run.seed={seed}"]).configs[method]
                done.append(last_rows(finished(config, args.out / args.config.stem / str(split) / method / str(seed))))
            last = max(config.evaluation.steps)
            steps = (0, last) if method.startswith("fedavg_ft") else (last,)
            for scenario, step in product(base.evaluation.scenarios, steps):
                figures_ = [judged(rows, scenario, metric, step) for rows in done]
                name = method.replace("fedavg_ft", "FedAvg, no shots") if step == 0 else f"{method}, {step} steps"
                print(line(name, split, scenario, figures_, unit), flush=True)


if __name__ == "__main__":
    main()
