"""A made-up comparison as its folder would have it, for tests of what is said about it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from metapulse.rng import generator
from metapulse.server.config import build_config, merge, resolved
from metapulse.sim.lab.compare import judge_methods
from metapulse.sim.report.comparison.folder import CellState, ComparisonFolder

#: Learner and settings of methods; the first is the reference. Two pairs differ in one setting.
METHODS: dict[str, dict[str, Any]] = {
    "fedavg_ft": {"learner": {"name": "fedavg_ft"}},
    "maml": {"learner": {"name": "maml", "inner_lr": 0.01}},
    "maml_fast": {"learner": {"name": "maml", "inner_lr": 0.1}},
    "local_only": {"learner": {"name": "local_only"}, "run": {"rounds": 0}},
    "reptile": {"learner": {"name": "reptile", "inner_steps": 5}},
    "reptile_one": {"learner": {"name": "reptile", "inner_steps": 1}},
    "anil": {"learner": {"name": "anil"}},
    "fomaml": {"learner": {"name": "fomaml"}},
    "meta_sgd": {"learner": {"name": "meta_sgd"}},
    "protonet": {"learner": {"name": "protonet"}},
    "ditto": {"learner": {"name": "ditto"}},
    "fedprox": {"learner": {"name": "fedprox"}},
    "scaffold": {"method": {"name": "scaffold"}},
    "fedrep": {"learner": {"name": "fedrep"}},
    "qffl": {"method": {"name": "qffl"}},
}
DATASETS: dict[str, dict[str, Any]] = {
    "watches": {"source": {"name": "wearables"}, "split": {"train_devices": ["phone"]}},
    "both": {"source": {"name": "wearables"}, "split": {"train_devices": ["phone", "watch"]}},
    "glucose": {"source": {"name": "sine"}, "model": {"name": "sine"}, "transform": {"name": "none"}},
    "homes": {"source": {"name": "wearables", "users": 40}},
    "gyms": {"source": {"name": "wearables", "users": 50}},
}


@dataclass(frozen=True)
class Size:
    """How much there is of everything."""

    methods: int = 4
    datasets: int = 3
    shots: Sequence[int] = (1, 5)
    seeds: Sequence[int] = (0, 1)
    people: int = 6
    looks: Sequence[int] = (10, 20)


LARGE = Size(15, 5, (1, 3, 5, 10), (0, 1, 2), 9, (20, 60, 100, 150, 200))
SCENARIOS, STEPS = ("new_user", "new_device"), (0, 1, 5, 20)


def lab(size: Size) -> ComparisonFolder:
    """A comparison in which later methods are a little better, one does not train, and one run failed."""
    methods, datasets = list(METHODS)[: size.methods], list(DATASETS)[: size.datasets]
    rows = pl.concat(_rows(dataset, method, size) for dataset in datasets for method in methods)
    baselines = [method for method in methods if method == "local_only"]
    comparison = judge_methods(rows, "made-up", methods[0], methods, datasets, size.seeds, (), None, baselines)
    tuning = [_study(dataset, methods[1]) for dataset in datasets]
    return ComparisonFolder(
        comparison, rows.lazy(), _costs(datasets, methods, size), tuple(_cells(datasets, methods, size)), tuning
    )


def _metric(dataset: str) -> str:
    return "mse" if dataset == "glucose" else "balanced_accuracy"


def _rows(dataset: str, method: str, size: Size) -> pl.DataFrame:
    """Every number of one method: people's own levels, seeds' own luck, growth over rounds, steps and shots."""
    rng = generator(0, f"{dataset}/{method}")
    level, quick = generator(0, f"level/{dataset}").normal(0, 0.06, size.people), 0.02 * list(METHODS).index(method)
    looks = [0] if method == "local_only" else list(size.looks)
    asked = [("validation", r) for r in looks] + [("test", r) for r in sorted({looks[0], looks[-1]})]
    people = [(p, device) for p in range(size.people) for device in ("phone", "watch")[: 1 + p % 2]]
    made = []
    for (phase, r), scenario, k, step, seed, (i, (p, device)) in itertools.product(
        asked, SCENARIOS, size.shots, STEPS, size.seeds, enumerate(people)
    ):
        device = "ring" if scenario == "new_device" else device
        gain = (0.25 + quick) * (1 - np.exp(-r / 60)) + 0.05 * np.log1p(k) * np.log1p(step) / 3
        value = 0.3 + gain + level[p] + rng.normal(0, 0.02) + 0.01 * seed - 0.06 * (scenario == "new_device")
        value = 2.0 - 1.5 * value if dataset == "glucose" else min(max(value, 0.0), 1.0)
        where = (dataset, method, seed, phase, scenario, k, step, r, i, f"p{p}", device)
        made.append((*where, _metric(dataset), float(value)))
    names = ["dataset", "method", "seed", "phase", "scenario", "shots", "step", "round", "client"]
    names += ["user", "device", "metric", "value"]
    return pl.DataFrame(made, schema=names, orient="row")


def _costs(datasets: list[str], methods: list[str], size: Size) -> pl.DataFrame:
    """Later methods compute more; the one that does not train costs nothing."""
    made = []
    for dataset, (i, method), seed in itertools.product(datasets, enumerate(methods), size.seeds):
        rounds = 0 if method == "local_only" else size.looks[-1]
        each = {"gradient_steps": 50.0, "flops": 1e7 * (1 + i % 5), "bytes_up": 4e5, "bytes_down": 4e5 * (1 + i % 2)}
        spent = {name: value * rounds for name, value in each.items()}
        made.append(
            {"dataset": dataset, "method": method, "seed": seed, "rounds": rounds, **spent, "seconds": 1.5 * rounds}
        )
    return pl.DataFrame(made)


def _cells(datasets: list[str], methods: list[str], size: Size) -> Iterator[CellState]:
    for dataset, method, seed in itertools.product(datasets, methods, size.seeds):
        table = merge(merge({}, DATASETS[dataset]), METHODS[method])
        config = build_config(merge(table, {"run": {"seed": seed}}))
        failed = (dataset, method, seed) == (datasets[-1], methods[-1], size.seeds[-1])
        why = "out of memory <b>& more" if failed else ""
        yield CellState(dataset, method, seed, config.digest()[:16], _as_json(resolved(config)), why, not failed)


def _as_json(table: dict[str, Any]) -> dict[str, Any]:
    """As it comes back from spec.json."""
    back: dict[str, Any] = json.loads(json.dumps(table, sort_keys=True))
    return back


def _study(dataset: str, method: str) -> dict[str, Any]:
    rng = generator(0, f"tuning/{dataset}")
    settings = [
        {},
        *({"learner.inner_lr": float(rng.uniform(0.01, 0.5)), "learner.inner_steps": i} for i in range(1, 9)),
    ]
    scores = [[0.5 + 0.01 * n, 0.6 + 0.01 * n][: 1 + (n > 5)] for n in range(9)]
    tried = [
        {"number": n, "settings": s, "scores": scores[n], "by_seed": [[v - 0.02, v + 0.02] for v in scores[n]]}
        for n, s in enumerate(settings)
    ]
    tried[3] |= {"scores": [None], "by_seed": [[]]}
    names = {"dataset": dataset, "method": method, "rounds": [7, 20], "seeds": [9, 10]}
    told = {"steps": {"new_user/5": 20}, "untouched": ["strategy.lr"]}
    return names | {"trials": tried, "chosen": settings[-1]} | told
