"""Which mistakes in the mechanism does an audit notice? Each planted by itself, in a run that is private otherwise.

    python benchmarks/audit_bugs.py [--canaries 1000] [--seed 0]

Printed for every mistake: what the canaries show and could show at most, what the direct assertions measure, what
another person shows at worst, what is claimed, and who refutes it. The mistakes are those of tests/mistakes.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from metapulse.sim.audit.audited_run import read_audited_run
from metapulse.sim.experiment import run_experiment
from tests.mistakes import BUGS, attack, caught, private


def main() -> None:
    """Plant every mistake, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--canaries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    head = "canaries: ε ≥ | ceiling | most counts, of C | noise, of σ | adding a person: ε ≥ | claimed: ε ≤ | caught by"
    print(f"| mistake | {head} |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        run_experiment(private(), Path(folder) / "run")
        subject = read_audited_run(Path(folder) / "run")
        for bug in BUGS:
            found, p, more = attack(subject, bug, args.canaries, args.seed)
            shown, most, noise = found.bound, max(p.shares) / p.clip, p.noise / p.sigma
            ceiling = max(bound.ceiling for bound in found.bounds)
            numbers = f"{shown.epsilon:.2f} | {ceiling:.2f} | {most:.4g} | {noise:.3f} | {more.epsilon:.4g}"
            said = ", ".join(caught(found, p, more)) or "–"
            print(f"| {bug} | {numbers} | {found.epsilon:.4g} | {said} |", flush=True)


if __name__ == "__main__":
    main()
