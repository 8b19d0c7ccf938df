"""Which step and which memory should a person's intervals have? Persistence on new people of cgm_open.

    METAPULSE_DATA=… python benchmarks/intervals.py [--people 12] [--readings 3000]

A score is how far glucose has moved in half an hour, over the population's standard deviation of that, and is known
half an hour later. Nominal coverage is 90 %. Days of a person with at least 100 forecasts have a coverage of their own.
Shown are coverage over all, the least and the most of one person, the share of days below 80 %, the mean half width in
mg/dL, and the share of forecasts without a finite one. "Population alone" never looks at the person; γ = 0 is split
conformal on the last scores.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections import deque
from pathlib import Path

import numpy as np

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from metapulse.personal.conformal import Conformal, conformal, judge, radius  # noqa: E402

AHEAD, STEP = 6, 5.0  # readings of five minutes
CASES = {
    "population alone": (0.0, 1, 1e9),
    **{f"γ = {step}, last {memory}": (step, memory, 100.0) for memory in (300, 2000) for step in (0.0, 0.005, 0.02)},
    "γ = 0.05, last 2000": (0.05, 2000, 100.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--readings", type=int, default=3000)
    given = parser.parse_args()
    people = moves(given.readings)
    order = np.random.default_rng(0).permutation(len(people))
    judged, others = order[: given.people], order[given.people :]
    changes = np.abs(np.concatenate([people[i][1][::6] for i in others]))
    sd = float(np.sqrt(np.mean(changes**2)))
    scores = np.quantile(changes / sd, (np.arange(200) + 0.5) / 200)
    print(f"{len(judged)} people judged, {len(others)} others\n")
    print("| intervals | coverage | of one person | days below 80 % | half width, mg/dL | none |")
    print("|---|---|---|---|---|---|")
    for name, (step, memory, weight) in CASES.items():
        found = [walked(*people[i], sd, conformal(scores, 0.1, step, weight, memory)) for i in judged]
        coverage, days, width, none = zip(*found, strict=True)
        cells = f"{np.mean(coverage):.1%} | {min(coverage):.1%} to {max(coverage):.1%}"
        below = np.mean(np.concatenate(days) < 0.8)
        print(f"| {name} | {cells} | {below:.1%} | {np.mean(width):.1f} | {np.mean(none):.1%} |", flush=True)


def moves(readings: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each person with so many five-minute readings: minutes, and the change half an hour later."""
    with np.load(Path(os.environ["METAPULSE_DATA"]) / "cgm_open" / "cgm_open.npz", allow_pickle=False) as data:
        owner = np.char.add(np.char.add(data["dataset"].astype(str), "/"), data["user"].astype(str))
        time, value = data["t_min"].astype(np.float64), data["mg_dl"].astype(np.float64)
    found = []
    for rows in np.split(np.arange(len(owner)), np.flatnonzero(owner[1:] != owner[:-1]) + 1):
        t, y = time[rows], value[rows]
        whole = np.flatnonzero(t[AHEAD:] - t[:-AHEAD] == AHEAD * STEP)[:readings]
        if len(whole) == readings:
            found.append((t[whole], y[whole + AHEAD] - y[whole]))
    return found


def walked(t: np.ndarray, change: np.ndarray, sd: float, state: Conformal) -> tuple[float, np.ndarray, float, float]:
    """Coverage, that of every day, the mean half width, and the share without one."""
    waits: deque[tuple[float, float]] = deque()
    inside, widths = np.empty(len(t), bool), []
    for at, score in enumerate((np.abs(change) / sd).tolist()):
        promised = radius(state)
        inside[at] = score <= promised
        widths += [promised * sd] if math.isfinite(promised) else []
        waits.append((score, promised))
        if len(waits) > AHEAD:
            state = judge(state, *waits.popleft())
    day = (t // 1440).astype(np.int64)
    counts = np.bincount(day - day[0])
    share = np.bincount(day - day[0], inside)[counts >= 100] / counts[counts >= 100]
    return float(inside.mean()), share, float(np.mean(widths)), 1.0 - len(widths) / len(t)


if __name__ == "__main__":
    main()
