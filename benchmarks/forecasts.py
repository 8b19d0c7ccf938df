"""Glucose of new people, half an hour and an hour ahead: error and coverage of every learner, beside plain forecasts.

    METAPULSE_DATA=… python benchmarks/forecasts.py OUT [--horizons 30 60] [--seeds 0 1 2 3 4] [--methods …]

The root of the mean over people of their mean square error, and the share of targets inside the 90 % interval. One
number of each method (penalty, worth of a sample, steps) is chosen by the validation people, for each K. Gradient
boosting needs scikit-learn. Finished runs in OUT are not done again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shared import finished
from torch import Tensor

from metapulse.client.executor import ClientExecutor
from metapulse.episodes import Batch, stack_batches
from metapulse.gaussian_head import GaussianHead, condition
from metapulse.rng import Keys
from metapulse.server.client_sampler import ClientSampler
from metapulse.server.config import Config
from metapulse.server.folder import RunFolder
from metapulse.server.metatest import question
from metapulse.sim.engines.cohort import SourceDirectory
from metapulse.sim.suite import read_suite

CONFIG = Path("configs/recorded/forecasts.toml")
SHOTS = (0, 10, 50, 200)
UNIT, Z90 = 50.0, 1.6448536269514722
#: What the validation people choose, of each method; "steps" is no setting but how far adaptation goes.
CHOICES: dict[str, tuple[str, tuple[float, ...]]] = {
    "pooled_ridge": ("pull", (1e4, 1e3, 100.0, 10.0, 1.0)),
    "random_effects": ("worth", (1.0, 0.5, 0.25, 0.1, 0.05, 0.02)),
    "alpaca": ("worth", (1.0, 0.5, 0.25, 0.1, 0.05, 0.02)),
    "r2d2": ("ridge_factor", (0.1, 1.0, 10.0, 100.0, 1e3, 1e4)),
    "r2d2_head": ("ridge_factor", (0.1, 1.0, 10.0, 100.0, 1e3, 1e4)),
    "fedavg_ft": ("steps", (0, 1, 5, 20, 60)),
}
CLOSED = ("pooled_ridge", "random_effects")  # nothing random in them: one seed
#: Of a support and inputs: means, and variances where there are any.
Answer = Callable[[Batch, Tensor], tuple[Tensor, Tensor | None]]


@dataclass(frozen=True)
class People:
    """Support with the most shots and query of a stack of people, by partition id."""

    clients: list[int]
    support: Batch
    query: Batch

    def judge(self, answer: Answer, shots: int) -> tuple[float, float]:
        """RMSE in mg/dL over people, and the coverage in per cent, NaN without variances."""
        support = self.support.slice(0, max(shots, 1))
        support = replace(support, mask=support.mask * float(shots > 0))
        with torch.no_grad():
            mean, variance = answer(support, self.query.x)
        error = (self.query.y - mean).squeeze(2)
        mse = (error.square() * self.query.weights).sum(1).mean()
        if variance is None:
            return UNIT * float(mse.sqrt()), float("nan")
        inside = (error.abs() <= Z90 * variance.squeeze(2).sqrt()).to(error)
        return UNIT * float(mse.sqrt()), 100.0 * float((inside * self.query.weights).sum(1).mean())


def people(config: Config, phase: str) -> People:
    """Those of a phase, with an episode each."""
    work = ClientExecutor(config.client_config())
    clients = ClientSampler(SourceDirectory(work.source), config).targets("new_user", phase)
    trial = question(config, "new_user", max(SHOTS))
    pairs = [work.episodes(client, trial)[0] for client in clients]
    support, query = (stack_batches([pair[side] for pair in pairs]) for side in (0, 1))
    return People(clients, support, query)


def training(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """All windows of the people in meta-training, as a federation cannot have them."""
    work = ClientExecutor(config.client_config())
    clients = ClientSampler(SourceDirectory(work.source), config).cohort(1, 0)
    parts = [work.source.samples(client) for client in clients]
    return np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts])


def learned(config: Config, path: Path, asked: People, key: str, value: float) -> Answer:
    """A run's answers with one number set."""
    work, theta = ClientExecutor(config.client_config()), RunFolder(path).final()[1]
    learner = work.adapted(question(config, "new_user", 1))
    steps = int(value) if key == "steps" else 1
    learner = learner if key == "steps" else replace(learner, **{key: value})
    keys = Keys(0, 0, asked.clients)

    def answer(support: Batch, x: Tensor) -> tuple[Tensor, Tensor | None]:
        some = steps if bool(support.mask.any()) else 0
        phi = learner.adapt(work.model, theta, {}, support, keys, some)
        return learner.predictive(work.model, phi, x) or (learner.predict(work.model, phi, x), None)

    return answer


def persistence(support: Batch, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """The change is 0."""
    return x.new_zeros(*x.shape[:2], 1), None


def autoregression(order: int, steps: int) -> Answer:
    """AR(p) with a constant, by least squares on a person's own shots (hardly penalised), iterated every 5 minutes."""

    def answer(support: Batch, x: Tensor) -> tuple[Tensor, Tensor | None]:
        past = support.x[:, :, 0].double().unfold(2, order + 1, 1)  # (clients, n, 24 − p, p + 1)
        seen = support.mask.double().unsqueeze(2).expand(-1, -1, past.shape[2]).flatten(1)
        rows = past.flatten(1, 2)
        z = torch.cat([rows[:, :, :-1], torch.ones_like(rows[:, :, :1])], 2)
        last = torch.zeros(len(x), order + 1, 1).double()
        last[:, order - 1] = 1.0  # without shots: persistence
        prior = GaussianHead(last, 100.0 * torch.eye(order + 1).double().expand(len(x), -1, -1), last[:, 0] + 1.0)
        head = condition(prior, z, rows[:, :, -1:], seen).mean
        series = list(x[:, :, 0].double().unbind(2))
        for _ in range(steps):
            recent = torch.stack([*series[-order:], torch.ones_like(series[-1])], 2)
            series.append((recent @ head).squeeze(2).clamp(-2.0, 8.0))
        change: Tensor = (series[-1] - x[:, :, 0, -1]).unsqueeze(2).to(x)
        return change, None

    return answer


def boosting(config: Config) -> Answer:
    """Gradient boosting on the pooled windows of all people in meta-training."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    x, y = training(config)
    trees = HistGradientBoostingRegressor(max_iter=300, learning_rate=0.05, early_stopping=True, random_state=0)
    trees.fit(x[:, 0], y[:, 0])

    def answer(support: Batch, x: Tensor) -> tuple[Tensor, Tensor | None]:
        said = trees.predict(x.flatten(0, 1).flatten(1).numpy())
        return torch.from_numpy(said).to(x).view(*x.shape[:2], 1), None

    return answer


def line(name: str, cells: list[list[tuple[float, float]]]) -> str:
    """A row: error and coverage for each K, mean ± sd over seeds."""
    words = []
    for cell in cells:
        error, cover = np.array(cell).T
        spread = f" ± {error.std(ddof=1):.2f}" if len(error) > 1 else ""
        words.append(f"{error.mean():.2f}{spread}" + ("" if np.isnan(cover).any() else f" ({cover.mean():.0f} %)"))
    return f"| {name} | " + " | ".join(words) + " |"


def rows(horizon: int, out: Path, seeds: list[int], methods: list[str]) -> Iterator[str]:
    """The table of one horizon."""
    sets = [f"source.horizon_min={horizon}"]
    first = next(iter(read_suite(CONFIG, sets).configs.values()))
    asked, chooser = people(first, "test"), people(first, "validation")
    yield line("persistence", [[asked.judge(persistence, k)] for k in SHOTS])
    plain = autoregression(6, horizon // 5)
    yield line("AR(6) of the person", [[asked.judge(plain, k)] for k in SHOTS])
    if not methods or "boosting" in methods:
        try:
            yield line("gradient boosting, pooled", [[asked.judge(boosting(first), k)] for k in SHOTS[:1]])
        except ModuleNotFoundError:
            yield "| gradient boosting, pooled | needs scikit-learn |"
    for method in [name for name in CHOICES if not methods or name in methods]:
        key, values = CHOICES[method]
        cells: list[list[tuple[float, float]]] = [[] for _ in SHOTS]
        for seed in seeds[:1] if method in CLOSED else seeds:
            config = read_suite(CONFIG, [*sets, f"run.seed={seed}"]).configs[method]
            path = finished(config, out / str(horizon) / method / str(seed))
            for cell, shots in zip(cells, SHOTS, strict=True):
                best = best_value(config, path, chooser, key, values, shots)
                cell.append(asked.judge(learned(config, path, asked, key, best), shots))
        yield line(method, cells)


def best_value(config: Config, path: Path, chooser: People, key: str, values: tuple[float, ...], shots: int) -> float:
    """The number with which the validation people are forecast best."""
    if shots == 0:
        return values[0]
    errors = [chooser.judge(learned(config, path, chooser, key, value), shots)[0] for value in values]
    return values[int(np.argmin(errors))]


def main() -> None:
    """Run what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--horizons", nargs="*", type=int, default=[30, 60])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--methods", nargs="*", default=[])
    args: Any = parser.parse_args()
    for horizon in args.horizons:
        print(f"\n{horizon} min\n\n| | " + " | ".join(f"K = {k}" for k in SHOTS) + " |\n|---|" + "---|" * len(SHOTS))
        for row in rows(horizon, args.out, args.seeds, args.methods):
            print(row, flush=True)


if __name__ == "__main__":
    main()
