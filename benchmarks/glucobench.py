"""Glucose an hour ahead in the protocol of GlucoBench (Sergazinov et al. 2024, arXiv:2410.05780), without covariates.

    METAPULSE_DATA=… python benchmarks/glucobench.py

Segments without a gap over 45 (Hall: 30) minutes and of at least 192 readings, every 5 minutes; a tenth of the people
is unseen (OOD); of the others the last 192 points of segments of 576 are tested (ID), and the 192 before them choose
lags and the worth of a sample. Twelve steps from every sixth point, after 144 of history; the median over windows of their
(MSE, MAE), mean over splits.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metapulse.empirical_bayes import condition_scaled, for_each, scaled_m_step, scaled_moments
from metapulse.episodes import stack_batches
from metapulse.gaussian_head import GaussianHead
from metapulse.rng import generator

SETS = {"Colas_2019": 45.0, "Hall_2018": 30.0}
PART, HISTORY, AHEAD, STRIDE = 192, 144, 12, 6
LAGS, SPLITS, ITERATIONS = (12, 24), 2, 10
RIDGE, TARGET, SHRINKAGE, FREEDOM = 1e-4, 0.1, 0.05, 10.0
WORTHS = (1.0, 0.25, 0.1, 0.03)
Windows = tuple[np.ndarray, np.ndarray]


def segments(name: str) -> dict[int, list[np.ndarray]]:
    """Glucose in 50 mg/dL around 140 every 5 minutes, by person."""
    data = np.load(Path(os.environ["METAPULSE_DATA"]) / "cgm_open" / "cgm_open.npz", allow_pickle=False)
    mine = data["dataset"] == [str(n) for n in data["dataset_names"]].index(name)
    found: dict[int, list[np.ndarray]] = {}
    for user in np.unique(data["user"][mine]):
        t, first = np.unique(data["t_min"][mine & (data["user"] == user)], return_index=True)
        value = data["mg_dl"][mine & (data["user"] == user)][first]
        for rows in np.split(np.arange(len(t)), np.flatnonzero(np.diff(t) > SETS[name]) + 1):
            if len(rows) >= PART:
                grid = np.arange(t[rows[0]], t[rows[-1]] + 1, 5)
                found.setdefault(int(user), []).append((np.interp(grid, t[rows], value[rows]) - 140.0) / 50.0)
    return found


def windows(parts: list[np.ndarray], lags: int, begin: int, stride: int) -> Windows:
    """Pasts with a constant 1, and changes over the next steps, from every so manyth point."""
    x, y = [np.empty((0, lags + 1))], [np.empty((0, AHEAD))]
    for part in parts:
        if len(part) >= begin + AHEAD:
            view = np.lib.stride_tricks.sliding_window_view(part[begin - lags :], lags + AHEAD)[::stride]
            x.append(np.concatenate([view[:, :lags], np.ones((len(view), 1))], 1))
            y.append(view[:, lags:] - view[:, lags - 1 : lags])
    return np.concatenate(x), np.concatenate(y)


@dataclass(frozen=True)
class Split:
    """Segments of the people who are trained on, their later parts, and those of unseen people."""

    train: list[list[np.ndarray]]
    choose: list[list[np.ndarray]]
    later: list[list[np.ndarray]]
    unseen: list[list[np.ndarray]]


def split(people: dict[int, list[np.ndarray]], seed: int) -> Split:
    """One of the ten."""
    ids = generator(seed, "unseen people").permutation(list(people))
    unseen = ids[: math.ceil(0.1 * len(ids))]
    known = [people[i] for i in people if i not in set(unseen.tolist())]
    choose = [
        [p[-2 * PART : -PART] if len(p) >= 3 * PART else p[-PART:] for p in ps if len(p) >= 2 * PART] for ps in known
    ]
    train = [
        [p[: -2 * PART] if len(p) >= 3 * PART else p[:-PART] if len(p) >= 2 * PART else p for p in ps] for ps in known
    ]
    later = [[p[-PART:] for p in ps if len(p) >= 3 * PART] for ps in known]
    return Split(train, choose, later, [people[i] for i in unseen])


def stacked(people: list[list[np.ndarray]], lags: int) -> tuple[Tensor, Tensor, Tensor]:
    """All windows of each person."""
    batch = stack_batches([tuple(a.astype(np.float32) for a in windows(p, lags, lags, 1)) for p in people])
    return batch.x.double(), batch.y.double(), batch.mask.double()


def population(x: Tensor, y: Tensor, mask: Tensor, worth: float) -> GaussianHead:
    """The prior over heads around the ridge of all windows; ``worth`` 0: that ridge alone."""
    every, identity = mask > 0, torch.eye(x.shape[2]).double()
    z, t = x[every], y[every]
    mean = torch.linalg.solve(z.T @ z / len(z) + RIDGE * identity, z.T @ t / len(z))
    prior = GaussianHead(mean[None], TARGET * identity[None], (t - z @ mean).square().mean(0)[None])
    for _ in range(ITERATIONS if worth else 0):
        told = scaled_moments(for_each(prior, len(x)), x, y, worth * mask, FREEDOM).average()
        found = scaled_m_step(told, TARGET * identity, SHRINKAGE)
        prior = GaussianHead(mean[None], found.covariance, found.noise)
    return prior


def errors(heads: Tensor, people: list[list[np.ndarray]], lags: int) -> np.ndarray:
    """(MSE, MAE) of every window, in mg/dL; a head each, or one for all."""
    found = [np.empty((0, 2))]
    for number, parts in enumerate(people):
        x, y = windows(parts, lags, HISTORY, STRIDE)
        miss = 50.0 * (x @ heads[min(number, len(heads) - 1)].numpy() - y)
        found.append(np.stack([(miss**2).mean(1), np.abs(miss).mean(1)], 1))
    return np.concatenate(found)


def medians(windows: np.ndarray) -> np.ndarray:
    """Over windows; NaN where there are none."""
    return np.median(windows, 0) if len(windows) else np.full(2, np.nan)


def judged(people: dict[int, list[np.ndarray]], seed: int) -> dict[str, np.ndarray]:
    """ID and OOD median (MSE, MAE) of each row, in one split."""
    made = split(people, seed)
    found: dict[str, tuple[float, np.ndarray]] = {}
    for lags in LAGS:
        x, y, mask = stacked(made.train, lags)
        for worth in (0.0, *WORTHS):
            prior = population(x, y, mask, worth)
            each = for_each(prior, len(x))
            heads = condition_scaled(each, x, y, worth * mask, FREEDOM).mean if worth else prior.mean
            rows = np.concatenate(
                [medians(errors(heads, made.later, lags)), medians(errors(prior.mean, made.unseen, lags))]
            )
            name, score = (
                ("random effects" if worth else "pooled ridge"),
                float(medians(errors(heads, made.choose, lags))[0]),
            )
            if name not in found or score < found[name][0]:
                found[name] = (score, rows)
    still = torch.zeros(1, LAGS[0] + 1, AHEAD).double()
    plain = [medians(errors(still, part, LAGS[0])) for part in (made.later, made.unseen)]
    return {"persistence": np.concatenate(plain)} | {name: rows for name, (_, rows) in found.items()}


def main() -> None:
    """Print a row a method and data set."""
    print("| data | method | ID RMSE | ID MAE | OOD RMSE | OOD MAE |\n|---|---|---|---|---|---|")
    for name in SETS:
        people = segments(name)
        splits = [judged(people, seed) for seed in range(SPLITS)]
        for method in splits[0]:
            mse, mae, ood_mse, ood_mae = np.mean([one[method] for one in splits], 0)
            cells = (mse**0.5, mae, ood_mse**0.5, ood_mae)
            print(
                f"| {name} | {method} | "
                + " | ".join("–" if math.isnan(cell) else f"{cell:.2f}" for cell in cells)
                + " |",
                flush=True,
            )


if __name__ == "__main__":
    main()
