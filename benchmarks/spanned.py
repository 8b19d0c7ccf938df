"""What do steps of a perceptron within the span of a few samples save?

    python benchmarks/spanned.py [--turns 9] [--clients 64]

CPU microseconds a client, 384-64-32-6 and 46 samples as in ``configs/main.toml``. The plain way gets the samples from
two places by turns, which the compiled code does not take for the same samples. Both take turns.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from metapulse.data import Task  # noqa: E402
from metapulse.models.mlp import MLP  # noqa: E402
from metapulse.trees import flat_stack  # noqa: E402
from tests.cases import batch, personal  # noqa: E402


def main() -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--clients", type=int, default=64)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = MLP(hidden=(64, 32), task=Task("classification", (384,), 6))
    code = model.compiled
    if code is None:
        raise SystemExit("there is no compiler here")
    part = batch(model.task, (46,) * args.clients)
    other = replace(part, x=part.x.clone())
    phi = flat_stack(personal(model, args.clients))
    print("| steps | plain, µs a client | within the span | ratio (range of turns) |\n|---:|---:|---:|---:|")
    for steps in (2, 5, 15):
        plain, spanned = [], []
        for _ in range(args.turns):
            for to, batches in ((plain, [part, other] * steps), (spanned, [part] * steps)):
                began = time.process_time()
                for _ in range(5):
                    code.descend(phi, batches[:steps], 0.01)
                to.append((time.process_time() - began) / args.clients / 5 * 1e6)
        ratios = sorted(a / b for a, b in zip(plain, spanned, strict=True))
        spread = f"{median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"
        print(f"| {steps} | {median(plain):.0f} | {median(spanned):.0f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
