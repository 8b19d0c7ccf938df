"""What another person shows at worst, of rounds as they are drawn and of rounds cut to a cohort, beside what is stated.

    python benchmarks/true_epsilon.py [--draws 500] [--seed 0]

Printed for every setting of (people, cohort, σ, rounds, δ): ε that is stated, a lower bound on the true one as
``metapulse audit`` finds it (``sim/audit/presence.py``), the same of rounds that a strategy cuts to a cohort, which is
the first of ``benchmarks/audit_bugs.py``'s mistakes about draws, and what is said against either's draws.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from benchmarks.audit_bugs import planted, private  # noqa: E402
from metapulse.server.config import build_config, merge, resolved  # noqa: E402
from metapulse.sim.audit.presence import Presence, presence  # noqa: E402
from metapulse.sim.audit.probe import Probe  # noqa: E402
from metapulse.sim.audit.subject import Subject  # noqa: E402

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


def subject(people: int, cohort: int, sigma: float, rounds: int, delta: float, **privacy: Any) -> Subject:
    """A run of so many people that are trained, and one who is not; what it states is what its accountant says."""
    table = {
        "run": {"rounds": rounds},
        "source": {"clients": people + 1},
        "split": {"test": 0.0, "validation": 0.0, "test_users": ["sine-0"]},
        "strategy": {"cohort": cohort},
        "privacy": {"noise_multiplier": sigma, "delta": delta, **privacy},
    }
    made = Subject(Path(), build_config(merge(resolved(private()), table)), rounds, {})
    assert made.plan is not None
    return replace(made, spent=made.plan.stated(rounds))


def shown(made: Subject, draws: int, seed: int) -> Presence:
    """What another person shows where a person counts for C, and noise is what it should be."""
    assert made.plan is not None
    sigma = made.plan.multiplier
    found = presence(made, made.plan, Probe(1.0, [1.0], sigma, sigma, 0.1), draws, seed)
    assert found is not None
    return found


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
