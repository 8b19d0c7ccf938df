"""What another person shows at worst, of rounds as they are drawn and of rounds cut to a cohort, beside what is stated.

    python benchmarks/true_epsilon.py [--draws 500] [--seed 0]

Printed for every setting of (people, cohort, σ, rounds, δ): ε that is stated, a lower bound on the true one as
``metapulse audit`` finds it (``sim/audit/presence.py``), the same of rounds that a strategy cuts to a cohort, which is
the first of ``tests/mistakes.py``'s mistakes about draws, and what is said against either's draws.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from tests.mistakes import planted, shown, subject

SETTINGS = (
    (60, 30, 4.5, 20, 1e-5),
    (100, 50, 20.0, 400, 1e-5),
    (100, 90, 10.0, 100, 1e-5),
    (1000, 100, 20.0, 1000, 1e-6),
    # Small rates, large ones, one round, many, little noise, much.
    (1000, 10, 1.0, 200, 1e-6),
    (5000, 50, 2.0, 1000, 1e-6),
    (100, 20, 4.0, 60, 1e-5),
    (30, 29, 8.0, 30, 1e-4),
    (50, 50, 6.0, 20, 1e-5),
    (200, 100, 40.0, 5000, 1e-6),
    (40, 8, 0.6, 1, 1e-4),
    (40, 8, 0.8, 10, 1e-4),
    (300, 3, 0.7, 100, 1e-5),
    (500, 250, 100.0, 2000, 1e-5),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print("| people | cohort | σ | rounds | δ | stated: ε ≤ | shown: ε ≥ | cut to a cohort: ε ≥ | said |")
    print("|---|---|---|---|---|---|---|---|---|")
    for setting in SETTINGS:
        made = subject(*setting)
        good = shown(made, args.draws, args.seed)
        with planted("rounds cut to a cohort"):
            bad = shown(made, args.draws, args.seed)
        verdict = " / ".join("refuted" if one.refuted else one.doubt or "–" for one in (good, bad))
        numbers = f"{made.claimed:.3f} | {good.epsilon:.3f} | {bad.epsilon:.3f}"
        print(f"| {' | '.join(f'{value:g}' for value in setting)} | {numbers} | {verdict} |", flush=True)


if __name__ == "__main__":
    main()
