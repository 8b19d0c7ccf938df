"""What does differential privacy cost accuracy? Three methods, budgets from ε = 0.5 to none, five seeds.

    python benchmarks/utility.py run docs/utility.json [--seeds 5] [--populations …] [--workers 1]
    python benchmarks/utility.py page docs/utility.json utility.html

Simulated people, each with a watch, drawn for every round by independent coins (200 expected); C follows the median
norm; σ is the smallest that keeps ε over all rounds at δ = 1 / (10 N). Held-out people adapt on five shots a class.
Settings other than ε are the same for every ε and were not tuned for any. ``run_experiment`` adds the runs that the
file does not have yet, writes it whenever a process has done all of one seed and population, and prints the table;
``page`` draws it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from metapulse.files import write_atomic
from metapulse.server.config import build_config
from metapulse.server.folder import RunFolder
from metapulse.server.metatest import last_scores
from metapulse.sim.experiment import run_experiment
from metapulse.sim.report.document import Page, document
from metapulse.sim.report.plots import Figure, colour, layout, mark
from metapulse.sim.sources.wearables import population

COHORT, ROUNDS, STEPS = 200, 100, 5
TEST, HELD_OUT = 0.05, 100  # share of people in no round, and how many of them are asked
EPSILONS = (0.5, 1.0, 2.0, 4.0, 8.0, None)  # None: no privacy
METHODS: dict[str, dict[str, Any]] = {
    "fedreptile": {
        "learner": {"name": "reptile", "inner_lr": 0.1, "inner_steps": 5},
        "strategy": {"name": "fedreptile", "cohort": COHORT},
    },
    "fomaml": {
        "learner": {"name": "fomaml", "inner_lr": 0.1, "inner_steps": 3},
        "strategy": {"name": "fedmaml", "cohort": COHORT, "weighting": "uniform", "lr": 0.01},
    },
    "fedavg_ft": {
        "learner": {"name": "fedavg_ft", "inner_lr": 0.1, "inner_steps": 5},
        "strategy": {"name": "fedavg", "cohort": COHORT, "weighting": "uniform"},
    },
}

Row = dict[str, Any]


def table(method: str, epsilon: float | None, people: int, seed: int) -> dict[str, Any]:
    """The configuration of one run with so many people in training."""
    private = {"mechanism": "central", "epsilon": epsilon, "delta": 0.1 / people, "clip": 1.0, "adaptive": True}
    users = round(people / (1 - TEST))
    return {
        **METHODS[method],
        "run": {"rounds": ROUNDS, "seed": seed},
        "source": {"name": "wearables", "users": users, "devices": ["watch"], "executions": 2, "windows": 4},
        "split": {"test": TEST, "validation": 0.0},
        "transform": {"name": "standardise"},
        "model": {"name": "cnn1d", "channels": [16], "kernel": 5},
        "episodes": {"shots": 5},
        "evaluation": {"clients": HELD_OUT, "episodes": 2, "shots": [5], "steps": [0, STEPS]},
        "privacy": private if epsilon else {},
    }


def one(method: str, epsilon: float | None, people: int, seed: int) -> Row:
    """Run it: balanced accuracy before and after adaptation, σ, ε that was spent, and the CPU seconds it took."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        summary = run_experiment(build_config(table(method, epsilon, people, seed)), Path(folder) / "run")
        plans = [event for event in RunFolder(Path(folder) / "run").events() if event["kind"] == "privacy"]
    scores = {s["step"]: s["mean"] for s in last_scores(summary) if s["metric"] == "balanced_accuracy"}
    row: Row = {"method": method, "epsilon": epsilon, "people": people, "seed": seed}
    row |= {"before": scores[0], "after": scores[STEPS], "spent": summary.get("privacy", {}).get("epsilon")}
    return row | {"sigma": plans[0]["noise_multiplier"] if plans else 0.0, "cpu_s": time.process_time() - began}


def together(people: int, seed: int, wanted: Sequence[tuple[str, float | None]]) -> list[Row]:
    """All runs of one seed and population: simulating people costs most, so each is simulated once."""
    population._record = lru_cache(maxsize=None)(population._record.__wrapped__)  # 50 kB each
    return [one(method, epsilon, people, seed) for method, epsilon in wanted]


def same(rows: Sequence[Row], method: str, epsilon: float | None, people: int) -> list[Row]:
    """The seeds of one cell."""
    return [r for r in rows if (r["method"], r["epsilon"], r["people"]) == (method, epsilon, people)]


def spread(rows: Sequence[Row], side: str) -> tuple[float, float]:
    """Mean over the seeds and their standard deviation, in per cent."""
    values = [100 * row[side] for row in rows]
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def title(epsilon: float | None) -> str:
    """A budget in words."""
    return f"ε = {epsilon:g}" if epsilon else "no privacy"


def markdown(rows: Sequence[Row]) -> str:
    """Balanced accuracy after adaptation (before it), per cent: mean over seeds ± their standard deviation."""
    lines = ["| people | method | " + " | ".join(map(title, EPSILONS)) + " |", "|---" * (len(EPSILONS) + 2) + "|"]
    for people in sorted({row["people"] for row in rows}):
        for method in METHODS:
            cells = [f"{people:,}", method]
            for epsilon in EPSILONS:
                seeds = same(rows, method, epsilon, people)
                text = "{:.1f} ± {:.1f} ({:.1f})"
                cells.append(text.format(*spread(seeds, "after"), spread(seeds, "before")[0]) if seeds else "–")
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def curves(rows: Sequence[Row], people: int, side: str) -> Figure:
    """Accuracy against ε, a line a method; the last place is no privacy."""
    data = []
    for place, method in enumerate(METHODS):
        found = [(title(e), *spread(seeds, side)) for e in EPSILONS if (seeds := same(rows, method, e, people))]
        x, y, deviation = zip(*found, strict=True)
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": method,
                "x": list(x),
                "y": list(y),
                "error_y": {"type": "data", "array": list(deviation), "thickness": 1.5, "width": 4},
                "line": {"color": colour(place)},
                "marker": {"symbol": mark(place), "size": 8},
                "hovertemplate": "%{x}: %{y:.1f} ± %{error_y.array:.1f} %<extra>" + method + "</extra>",
            }
        )
    more = {"showlegend": True, "xaxis": {"categoryarray": list(map(title, EPSILONS)), "categoryorder": "array"}}
    return {"data": data, "layout": layout("budget", "balanced accuracy (%)", 320, **more)}


def page(rows: Sequence[Row]) -> str:
    """The table as curves, on a page by itself."""
    made, populations = Page(), sorted({row["people"] for row in rows})
    for side, heading in (("after", f"After {STEPS} steps on five shots a class"), ("before", "Without adaptation")):
        made.add(
            heading,
            "Balanced accuracy of people who took no part in training; mean over the seeds, bars their deviation.",
            *(made.figure(curves(rows, people, side), f"{people:,} people in training") for people in populations),
        )
    facts = [("runs", str(len(rows))), ("rounds", str(ROUNDS)), ("expected in a round", str(COHORT))]
    facts.append(("δ", "1 / (10 people)"))
    return document(made, "metapulse", "Utility against privacy", facts)


def save(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """The rows in a fixed order."""
    order = sorted(rows, key=lambda r: (r["people"], r["method"], r["epsilon"] or math.inf, r["seed"]))
    text = ",\n".join(json.dumps(row, allow_nan=False) for row in order)
    write_atomic(path, f'{{"runs": [\n{text}\n]}}\n'.encode())


def main() -> int:
    """What the first argument says; 1 if a run failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, dest="command")
    run_it = commands.add_parser("run")
    run_it.add_argument("data", type=Path)
    run_it.add_argument("--populations", nargs="+", type=int, default=[10_000, 100_000])
    run_it.add_argument("--seeds", type=int, default=5)
    run_it.add_argument("--workers", type=int, default=1)
    draw_it = commands.add_parser("page")
    draw_it.add_argument("data", type=Path)
    draw_it.add_argument("page", type=Path)
    chosen = parser.parse_args()
    rows: list[Row] = json.loads(chosen.data.read_text())["runs"] if chosen.data.exists() else []
    if chosen.command == "page":
        write_atomic(chosen.page, page(rows).encode())
        return 0
    done = {(r["people"], r["seed"], r["method"], r["epsilon"]) for r in rows}
    with ProcessPoolExecutor(chosen.workers, get_context("spawn"), max_tasks_per_child=1) as pool:
        groups = []
        for seed in range(chosen.seeds):
            for people in chosen.populations:
                wanted = [(m, e) for m in METHODS for e in EPSILONS if (people, seed, m, e) not in done]
                groups += [pool.submit(together, people, seed, wanted)] if wanted else []
        for group in as_completed(groups):
            if error := group.exception():
                print(f"failed: {error!r}", file=sys.stderr, flush=True)
                continue
            rows += group.result()
            save(chosen.data, rows)
            last = rows[-1]
            print(f"seed {last['seed']}, {last['people']:,} people: {len(rows)} runs", file=sys.stderr, flush=True)
    print(markdown(rows))
    return int(any(group.exception() for group in groups))


if __name__ == "__main__":
    sys.exit(main())
