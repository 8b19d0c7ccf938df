"""What a pilot of seeds costs and keeps: levels, power, and how many seeds it asks for.

    python benchmarks/seed_pilot.py [--tries 1000]

Prints the tables of docs/statistics.md, section "When the first seeds decide". Scores are those of
``tests.points.World``: in points, person + method × person + method × seed + rest.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.stats import t as student

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from metapulse.rng import generator
from metapulse.sim.lab.pairs import Key
from metapulse.sim.lab.seeds import SeedDecision, SeedPlan, decide
from metapulse.sim.lab.statistics.crossed import crossed_p_value
from metapulse.sim.lab.statistics.families import holm
from tests.points import World

PEOPLE, ALPHA, MOST = 30, 0.05, 60
WORLDS = {"seeds alone": World(0.0, 1.0, 0.05), "A/A": World(0.0, 0.5, 2.0), "tie": World(1.0, 0.5, 2.0)}


def levels(pilot: int, tries: int) -> tuple[float, float]:
    """Share of wrong tests at 5 % by the seeds after the pilot, and by all: of normals alone, S ∝ the pilot's variance.

    Args:
        pilot: seeds, ≥ 2.
        tries: at once, in memory.
    """
    x = generator(pilot, "levels").normal(size=(tries, MOST))
    shown = x[:, :pilot].var(1, ddof=1) * (pilot - 1)
    seeds = np.clip(np.ceil(11.0 * shown / (pilot - 1)), pilot + 2, MOST).astype(int)
    rows = np.arange(tries)
    mean = np.cumsum(x, 1)[rows, seeds - 1] / seeds
    squares = np.cumsum(x**2, 1)[rows, seeds - 1] - seeds * mean**2
    wrong = []
    for left, df in ((squares - shown, seeds - pilot), (squares, seeds - 1)):
        wrong.append(float((2.0 * student.sf(np.abs(mean) / np.sqrt(left / df / seeds), df) <= ALPHA).mean()))
    return wrong[0], wrong[1]


def concluded(world: World, attempt: int, methods: int, plan: SeedPlan, gain: float = 0.0) -> tuple[bool, SeedDecision]:
    """Whether the first method is called different, having gained, or any where none has; and what was decided."""
    scores = world.scores(generator(attempt, "pilot"), plan.most, PEOPLE, methods + 1)
    scores[1] += gain
    values = scores[1:] - scores[0]
    found: dict[Key, np.ndarray] = {(("data", "new_user", 5), f"m{i}"): v[: plan.first] for i, v in enumerate(values)}
    decision = decide(plan, found, dict.fromkeys(found, ALPHA / methods))
    p = holm(np.array([crossed_p_value(v[: decision.seeds], decision.deciding) for v in values]))
    return bool((p[0] if gain else p.min()) <= ALPHA), decision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=1000)
    tries = parser.parse_args().tries
    for pilot in (3, 5):
        exact, plain = levels(pilot, 400 * tries)
        print(f"pilot of {pilot}: wrong {100 * exact:.2f} %, by a plain t {100 * plain:.2f} %", flush=True)
    print("| world | methods | find | wrong | found | seeds: median (10 to 90 %) |\n|---|---|---|---|---|---|")
    for name, world in WORLDS.items():
        for methods in (1, 3, 12):
            for find in (1.0, 2.0):
                plan = SeedPlan(5, MOST, find)
                none = [concluded(world, i, methods, plan) for i in range(tries)]
                some = [concluded(world, i, methods, plan, find) for i in range(tries)]
                wrong, found = (100 * np.mean([called for called, _ in told]) for told in (none, some))
                low, middle, high = np.quantile([decision.seeds for _, decision in none], [0.1, 0.5, 0.9])
                counts = f"{middle:.0f} ({low:.0f} to {high:.0f})"
                print(f"| {name} | {methods} | {find:g} | {wrong:.1f} | {found:.1f} | {counts} |", flush=True)


if __name__ == "__main__":
    main()
