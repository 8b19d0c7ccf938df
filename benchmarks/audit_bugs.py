"""Which mistakes in the mechanism does an audit notice? Each planted by itself, in a run that is private otherwise.

    python benchmarks/audit_bugs.py [--canaries 1000] [--seed 0]

Printed for every mistake: what the canaries show beside what is claimed and what they could show at most, what the
direct assertions measure, and who refutes the claim. A mistake is planted by putting another function in the place of
one of the mechanism's.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from flwr.app import ArrayRecord
from torch import Tensor

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from client.privacy import normal, shrinkage  # noqa: E402
from client.trees import Params, add, scale  # noqa: E402
from client.wire import decode, encode  # noqa: E402
from server.config import Config, build_config  # noqa: E402
from sim.audit.canary_run import CanaryAudit, canary_audit  # noqa: E402
from sim.audit.probe import Probe, probe  # noqa: E402
from sim.audit.subject import Subject, read_subject  # noqa: E402
from sim.experiment import run  # noqa: E402
from strategies.base import OuterStrategy  # noqa: E402
from strategies.privacy.strategy import PrivateStrategy  # noqa: E402

CLIPPING = ("strategies.aggregate.shrinkage", "strategies.privacy.strategy.shrinkage", "client.privacy.shrinkage")


def private(**privacy: Any) -> Config:
    """A short run with much noise; its outer rate is not one, so that it matters where noise is added."""
    return build_config(
        {
            "run": {"name": "audited", "rounds": 20},
            "source": {"name": "sine", "clients": 60},
            "transform": {"name": "none"},
            "model": {"name": "sine", "hidden": [100, 100]},
            "learner": {"name": "reptile", "inner_steps": 2},
            "episodes": {"split": "samples"},
            "strategy": {"name": "fedreptile", "cohort": 21, "lr": 5.0},
            "evaluation": {"split": "samples", "steps": [0, 2]},
            "privacy": {"mechanism": "central", "noise_multiplier": 4.5, "delta": 1e-5, "noise_seed": 1, **privacy},
        }
    )


def clipping(factors: Callable[[Tensor, float], Tensor]) -> dict[str, Any]:
    """Wherever updates are clipped, other factors."""
    return dict.fromkeys(CLIPPING, factors)


def unclipped_first(norms: Tensor, clip: float) -> Tensor:
    """One of every stack is left as it is."""
    factors = shrinkage(norms, clip)
    factors[0] = 1.0
    return factors


def noise_after() -> dict[str, Any]:
    """The mean is bare, and what it should have had is added to θ after the outer step."""
    owed: list[Any] = []

    def bare(total: Params, deviation: float, cohort: float, rng: Any) -> Params:
        owed[:] = deviation / cohort, rng
        return scale(total, 1.0 / cohort)

    def step(self: PrivateStrategy, round: int, aggregate: Params) -> ArrayRecord | None:
        arrays = OuterStrategy._step(self, round, aggregate)
        if arrays is None:
            return None
        theta = decode(arrays)
        noisy = add(theta, normal(theta, *owed))
        return encode({name: p.to(theta[name].dtype) for name, p in noisy.items()})

    return {
        "strategies.privacy.strategy.noised_mean": bare,
        "strategies.privacy.strategy.PrivateStrategy._step": step,
    }


def half_the_noise() -> dict[str, Any]:
    """σ is half of what the accountant knows."""
    whole = PrivateStrategy._deviation
    name = "strategies.privacy.strategy.PrivateStrategy._deviation"
    return {name: lambda self, replied: whole(self, replied) / 2.0}


BUGS: dict[str, Callable[[], Mapping[str, Any]]] = {
    "none": dict,
    "clipping left out": lambda: clipping(lambda norms, clip: torch.ones_like(norms)),
    "clipping × 5": lambda: clipping(lambda norms, clip: shrinkage(norms, 5.0 * clip)),
    "noise after the optimiser": noise_after,
    "one client unclipped": lambda: clipping(unclipped_first),
    "σ halved": half_the_noise,
    "weights by example count": lambda: {"strategies.aggregate.shares": lambda weight, weighting: weight},
}


@contextmanager
def planted(bug: str) -> Iterator[None]:
    """The mechanism with a mistake in it."""
    with ExitStack() as stack:
        for name, other in BUGS[bug]().items():
            stack.enter_context(patch(name, other))
        yield


def attack(subject: Subject, bug: str, canaries: int, seed: int) -> tuple[CanaryAudit, Probe]:
    """Canaries and assertions against a mechanism with a mistake in it."""
    assert subject.plan is not None
    with planted(bug):
        return canary_audit(subject, canaries, 40, seed), probe(subject, subject.plan, seed)


def caught(found: CanaryAudit, measured: Probe) -> list[str]:
    """Who refutes the claim."""
    said = {"canaries": found.refuted, "norm": bool(measured.unclipped), "noise": measured.quiet}
    return [name for name, speaks in said.items() if speaks]


def main() -> None:
    """Plant every mistake, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--canaries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| mistake | canaries: ε ≥ | claimed: ε ≤ | ceiling | most counts, of C | noise, of σ | caught by |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        run(private(), Path(folder) / "run")
        subject = read_subject(Path(folder) / "run")
        for bug in BUGS:
            found, p = attack(subject, bug, args.canaries, args.seed)
            shown, most, noise = found.bound, max(p.shares) / p.clip, p.noise / p.sigma
            ceiling = max(bound.ceiling for bound in found.bounds)
            numbers = f"{shown.epsilon:.2f} | {found.epsilon:.2f} | {ceiling:.2f} | {most:.4g} | {noise:.3f}"
            print(f"| {bug} | {numbers} | {', '.join(caught(found, p)) or '–'} |", flush=True)


if __name__ == "__main__":
    main()
