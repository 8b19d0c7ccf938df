"""Hostile and malformed replies against every aggregator: the relative error that one round makes.

    python benchmarks/attacks.py [--seeds 5]

Prints the first table of docs/attacks.md, a mean over the seeds. The replies are those of tests/offences.py, which the
tests hold every aggregator against.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from tests.offences import AGGREGATORS, CLIENTS, HONEST, OFFENCES, one_round


def table(seeds: Sequence[int]) -> str:
    """The table as Markdown; "–" where the round is given up in every seed."""
    lines = ["| attack | " + " | ".join(AGGREGATORS) + " | named |", "|---" * (len(AGGREGATORS) + 2) + "|"]
    for name, offence in OFFENCES.items():
        rows = [[one_round(aggregator, offence, seed) for seed in seeds] for aggregator in AGGREGATORS.values()]
        cells = [_cell([one.error for one in row]) for row in rows]
        named = all(one.named == set(range(HONEST, CLIENTS)) for row in rows for one in row)
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {'yes' if named else 'cannot be'} |")
    return "\n".join(lines)


def _cell(errors: Sequence[float]) -> str:
    known = [error for error in errors if not math.isnan(error)]
    return f"{np.mean(known):.3g}" if known else "–"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Hostile replies against every aggregator.")
    parser.add_argument("--seeds", type=int, default=5)
    print(table(range(parser.parse_args().seeds)))
