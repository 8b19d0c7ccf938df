"""Attacks × aggregators × heterogeneity: what is left of the accuracy for new people, as a heat map.

    python benchmarks/attack_map.py run docs/attack_map.json [--seeds 5]
    python benchmarks/attack_map.py page docs/attack_map.json attack_map.html

``run_experiment`` makes every run in this process, one after another (some four CPU-minutes), writes what there is
after every seed, and prints the tables; ``page`` draws them. Forty simulated people train a small network with FedAvg,
twenty new people adapt it in five steps on five shots. Every person attacks with probability 0.15, so that their number
differs between seeds; robust aggregators assume 0.225, nine of forty, the most that Bulyan can take. Clipping has half
the length of an honest update as its radius.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metapulse.files import write_atomic
from metapulse.registry import ATTACKS as REGISTRY
from metapulse.server.client_sampler import ClientSampler
from metapulse.server.config import Config, build_config
from metapulse.server.folder import RunFolder
from metapulse.sim.attacks.poisoning import SUCCESS
from metapulse.sim.engines.cohort import SourceDirectory
from metapulse.sim.experiment import run_experiment
from metapulse.sim.report.document import Page, document
from metapulse.sim.report.plots import Figure, layout
from metapulse.sim.sources.wearables.population import Wearables

FRACTION, ASSUMED, ROUNDS = 0.15, 0.225, 20
ACCURACY = "balanced_accuracy"

#: "none" is an attack that never begins, so that the success of its trigger is known without it.
ATTACKS: Mapping[str, Mapping[str, Any]] = {
    "none": {"name": "replacement", "first": 10**6},
    "sign flip": {"name": "sign_flip"},
    "ALIE": {"name": "alie"},
    "IPM": {"name": "ipm"},
    "label flip": {"name": "label_flip"},
    "NaN": {"name": "nan"},
    "scaling": {"name": "scaling"},
    "replacement": {"name": "replacement"},
    "free riders": {"name": "free_rider"},
}
AGGREGATORS: Mapping[str, Mapping[str, Any]] = {
    "mean": {"name": "mean"},
    "median": {"name": "median"},
    "trimmed": {"name": "trimmed_mean", "attackers": ASSUMED},
    "multi-Krum": {"name": "multi_krum", "attackers": ASSUMED},
    "Bulyan": {"name": "bulyan", "attackers": ASSUMED},
    "geometric": {"name": "geometric_median"},
    "clipping": {"name": "centred_clipping", "radius": 0.2},
    "norm filter": {"name": "norm_filter", "attackers": ASSUMED},
    "nnm + trimmed": {"name": "nnm", "attackers": ASSUMED, "then": {"name": "trimmed_mean", "attackers": ASSUMED}},
}
LEVELS: Mapping[str, Mapping[str, float]] = {
    "alike": {"person_spread": 0.5, "device_spread": 0.5, "missing": 0.0},
    "unlike": {"person_spread": 2.0, "device_spread": 2.0, "missing": 0.4},
}

Row = dict[str, Any]


def config(attack: str, aggregator: str, level: str, seed: int) -> Config:
    """One run of the map."""
    people = {"users": 60, "devices": ["watch"], "executions": 2, "windows": 4, "seed": seed, **LEVELS[level]}
    table: dict[str, Any] = {
        "run": {"rounds": ROUNDS, "seed": seed},
        "source": {"name": "wearables", **people},
        "split": {"test": 1 / 3, "validation": 0.0},
        "transform": {"name": "standardise"},
        "model": {"name": "mlp", "hidden": [16]},
        "learner": {"name": "fedavg_ft", "inner_lr": 0.05, "inner_steps": 5, "batch_size": 8},
        "strategy": {
            "name": "fedavg",
            "cohort": 0,
            "aggregator": dict(AGGREGATORS[aggregator]),
            **({"weighting": "uniform"} if AGGREGATORS[aggregator]["name"] == "mean" else {}),
        },
        "attack": {**ATTACKS[attack], "fraction": FRACTION},
        "evaluation": {"shots": [5], "steps": [0, 5], "episodes": 1},
        "checkpoint": {"every": ROUNDS},
    }
    return build_config(table)


def measure(attack: str, aggregator: str, level: str, seed: int) -> Row:
    """One run: accuracy and success of a backdoor after adaptation, and how many rounds changed θ."""
    chosen = config(attack, aggregator, level, seed)
    with tempfile.TemporaryDirectory() as folder:
        summary = run_experiment(chosen, Path(folder) / "run")
        moved = sum(e["moved"] for e in RunFolder(Path(folder) / "run").events() if e["kind"] == "round")
    last = {s["metric"]: s["mean"] for s in summary["scores"] if s["step"] == 5}
    row: Row = {"attack": attack, "aggregator": aggregator, "level": level, "seed": seed, "rounds_moved": moved}
    return row | {"accuracy": last[ACCURACY], "success": last.get(SUCCESS), "dropped": summary["dropped"]}


def attackers(level: str, seed: int) -> int:
    """How many of the forty attack."""
    chosen = config("sign flip", "mean", level, seed)
    source = Wearables(**{k: v for k, v in chosen.source.items() if k != "name"} | {"devices": ("watch",)})
    people = [source.client(c).user for c in ClientSampler(SourceDirectory(source), chosen).cohort(1, 0)]
    return int(REGISTRY.make(chosen.attack).attackers(seed, 1, people).sum())


def measured(seed: int) -> list[Row]:
    """All runs of a seed."""
    return [measure(a, g, k, seed) for k in LEVELS for a in ATTACKS for g in AGGREGATORS]


def cells(rows: Sequence[Row], level: str, value: str, attacks: Sequence[str]) -> list[list[tuple[float, float]]]:
    """(mean, standard deviation between seeds) by attack and aggregator, in per cent."""

    def cell(attack: str, aggregator: str) -> tuple[float, float]:
        mine = [r[value] for r in rows if (r["attack"], r["aggregator"], r["level"]) == (attack, aggregator, level)]
        return 100 * float(np.mean(mine)), 100 * float(np.std(mine, ddof=1)) if len(mine) > 1 else 0.0

    return [[cell(attack, aggregator) for aggregator in AGGREGATORS] for attack in attacks]


def table(rows: Sequence[Row], level: str, value: str, attacks: Sequence[str]) -> str:
    """The same as Markdown."""
    lines = ["| | " + " | ".join(AGGREGATORS) + " |", "|---" * (len(AGGREGATORS) + 1) + "|"]
    for attack, row in zip(attacks, cells(rows, level, value, attacks), strict=True):
        lines.append(f"| {attack} | " + " | ".join(f"{mean:.1f} ± {sd:.1f}" for mean, sd in row) + " |")
    return "\n".join(lines)


#: Attacks whose trigger is asked after.
WITH_TRIGGER = ("none", "replacement")


def heat(rows: Sequence[Row], level: str, value: str, attacks: Sequence[str], scale: str) -> Figure:
    """One heat map; the first attack is on top."""
    found = cells(rows, level, value, attacks)
    text = [[f"{mean:.0f}" for mean, _ in row] for row in found]
    spread = [[sd for _, sd in row] for row in found]
    trace = {
        "type": "heatmap",
        "x": list(AGGREGATORS),
        "y": list(attacks),
        "z": [[mean for mean, _ in row] for row in found],
        "zmin": 0,
        "zmax": 100,
        "colorscale": scale,
        "text": text,
        "texttemplate": "%{text}",
        "customdata": spread,
        "hovertemplate": "%{y} against %{x}: %{z:.1f} ± %{customdata:.1f} %<extra></extra>",
        "colorbar": {"thickness": 12, "title": {"text": "%"}},
    }
    axes = {"yaxis": {"autorange": "reversed"}, "margin": {"l": 96, "b": 90}}
    return {"data": [trace], "layout": layout("aggregator", "attack", 130 + 36 * len(attacks), **axes)}


def page(data: Mapping[str, Any]) -> str:
    """The map as a page by itself."""
    rows, made = data["runs"], Page()
    made.add(
        "What is left of the accuracy",
        "Balanced accuracy of new people after five steps on five shots, mean over the seeds, per cent.",
        *(made.figure(heat(rows, k, "accuracy", list(ATTACKS), "Viridis"), f"People {k}") for k in LEVELS),
    )
    made.add(
        "Whether the backdoor is there",
        "Share of new people's samples of other classes that are taken for the target once they bear the trigger, after"
        " five steps on their own clean samples, per cent. The first row is the same trigger without an attack.",
        *(made.figure(heat(rows, k, "success", WITH_TRIGGER, "Reds"), f"People {k}") for k in LEVELS),
    )
    facts = [("runs", str(len(rows))), ("attack with probability", str(FRACTION)), ("assumed", str(ASSUMED))]
    return document(made, "metapulse", "Attacks and aggregators", facts)


def main() -> None:
    """What the first argument says."""
    parser = argparse.ArgumentParser(description="Attacks × aggregators × heterogeneity.")
    commands = parser.add_subparsers(required=True, dest="command")
    run_it = commands.add_parser("run")
    run_it.add_argument("data", type=Path)
    run_it.add_argument("--seeds", type=int, default=5)
    draw_it = commands.add_parser("page")
    draw_it.add_argument("data", type=Path)
    draw_it.add_argument("page", type=Path)
    chosen = parser.parse_args()
    if chosen.command == "page":
        write_atomic(chosen.page, page(json.loads(chosen.data.read_text())).encode())
        return
    there = {level: [attackers(level, seed) for seed in range(chosen.seeds)] for level in LEVELS}
    rows: list[Row] = []
    for seed in range(chosen.seeds):
        rows += measured(seed)
        write_atomic(chosen.data, json.dumps({"attackers": there, "runs": rows}, allow_nan=False).encode())
    for level in LEVELS:
        print(f"\n{level}, attackers {there[level]}\n\n{table(rows, level, 'accuracy', list(ATTACKS))}")
        print(f"\nsuccess\n\n{table(rows, level, 'success', WITH_TRIGGER)}")


if __name__ == "__main__":
    main()
