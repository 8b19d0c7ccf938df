"""Mistakes in the mechanism of privacy, each planted by itself, in a run that is private otherwise; and audits of them.

A mistake is planted by putting another function in the place of one of the mechanism's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid
from torch import Tensor

from metapulse.client.privacy import lengths, normal, shrinkage, step_of, whole
from metapulse.client.wire import decode, encode
from metapulse.methods.base import NORM
from metapulse.rng import generator
from metapulse.server.client_sampler import ClientSampler
from metapulse.server.config import Config, build_config, merge, resolved
from metapulse.server.grid import GridWrapper
from metapulse.sim.audit.audit import DRAWS
from metapulse.sim.audit.audited_run import AuditedRun
from metapulse.sim.audit.canary_run import CanaryAudit, canary_audit
from metapulse.sim.audit.presence import Presence, presence
from metapulse.sim.audit.probe import Probe, probe_round
from metapulse.strategies.aggregate import AggregationSpec
from metapulse.strategies.base import OuterStrategy
from metapulse.strategies.privacy.strategy import PrivateStrategy
from metapulse.trees import Params, Stacked, add, flatten, scale, unflatten

CLIPPING = "metapulse.client.privacy.shrinkage"


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
            "privacy": {"mechanism": "central", "noise_multiplier": 4.5, "delta": 1e-5, **privacy},
        }
    )


def clipping(factors: Callable[[Tensor, float], Tensor]) -> dict[str, Any]:
    """Wherever updates are clipped, other factors."""
    return {CLIPPING: factors}


def unclipped_first(norms: Tensor, clip: float) -> Tensor:
    """One of every stack is left as it is."""
    factors = shrinkage(norms, clip)
    factors[0] = 1.0
    return factors


def by_examples(
    update: Stacked, weight: Tensor, aggregation: AggregationSpec, dtype: torch.dtype
) -> tuple[Params, dict[str, Tensor]]:
    """A person counts as often as he has samples."""
    norms = lengths(update)
    step = step_of(aggregation.clip)
    total = (weight.double() * step) @ whole(flatten(update, torch.float64), norms, aggregation.clip, step)
    return unflatten(total, {name: u.shape[1:] for name, u in update.items()}), {NORM: norms}


def noise_after() -> dict[str, Any]:
    """The mean is bare, and what it should have had is added to θ after the outer step."""
    owed: list[Any] = []

    def bare(total: Params, deviation: float, cohort: float, rng: Any, step: float) -> Params:
        owed[:] = deviation / cohort, rng, step / cohort
        return scale(total, 1.0 / cohort)

    def step(self: PrivateStrategy, round: int, aggregate: Params) -> ArrayRecord | None:
        arrays = OuterStrategy._step(self, round, aggregate)
        if arrays is None:
            return None
        theta = decode(arrays)
        noisy = add(theta, normal(theta, *owed))
        return encode({name: p.to(theta[name].dtype) for name, p in noisy.items()})

    return {
        "metapulse.strategies.privacy.strategy.noised_mean": bare,
        "metapulse.strategies.privacy.strategy.PrivateStrategy._step": step,
    }


def half_the_noise() -> dict[str, Any]:
    """σ is half of what the accountant knows."""
    whole = PrivateStrategy._deviation
    name = "metapulse.strategies.privacy.strategy.PrivateStrategy._deviation"
    return {name: lambda self, replied: whole(self, replied) / 2.0}


class Fewer(GridWrapper):
    """A grid that shows some of its nodes."""

    def __init__(self, grid: Grid, nodes: list[int]) -> None:
        super().__init__(grid)
        self._nodes = nodes
        self.client_of = grid.client_of  # type: ignore[attr-defined]

    def get_node_ids(self) -> list[int]:
        """Those."""
        return self._nodes


def cut_to_cohort() -> dict[str, Any]:
    """Of those drawn the strategy asks a cohort, chosen by the public seed of the run: an arrival pushes others out."""
    whole = PrivateStrategy.configure_train

    def configure(
        self: PrivateStrategy, round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        nodes, size = sorted(grid.get_node_ids()), self.settings.cohort
        if 0 < size < len(nodes):
            chosen = generator(self.seed, "cohort", round).choice(len(nodes), size, replace=False)
            nodes = sorted(nodes[i] for i in chosen.tolist())
        return whole(self, round, arrays, config, Fewer(grid, nodes))

    return {"metapulse.strategies.privacy.strategy.PrivateStrategy.configure_train": configure}


def other_draws(change: Callable[[ClientSampler, list[int], int], list[int]]) -> dict[str, Any]:
    """The sampler draws as it does, and changes something about it."""
    whole = ClientSampler.persons

    def persons(self: ClientSampler, seed: int, round: int, size: int, sampling: str, *people: int) -> list[int]:
        drawn = whole(self, seed, round, size, sampling, *people)
        return change(self, drawn, size) if sampling == "poisson" else drawn

    return {"metapulse.server.client_sampler.ClientSampler.persons": persons}


def cut_where_drawn(sampler: ClientSampler, drawn: list[int], size: int) -> list[int]:
    """The sampler never draws more than a cohort."""
    return drawn[:size]


def first_always(sampler: ClientSampler, drawn: list[int], size: int) -> list[int]:
    """One person is in every round."""
    return sorted({int(sampler.persons(0, 0, sampler.people, "fixed")[0]), *drawn})


BUGS: dict[str, Callable[[], Mapping[str, Any]]] = {
    "none": dict,
    "clipping left out": lambda: clipping(lambda norms, clip: torch.ones_like(norms)),
    "clipping × 5": lambda: clipping(lambda norms, clip: shrinkage(norms, 5.0 * clip)),
    "noise after the optimiser": noise_after,
    "one client unclipped": lambda: clipping(unclipped_first),
    "σ halved": half_the_noise,
    "weights by example count": lambda: {"metapulse.strategies.aggregate._sum": by_examples},
    "rounds cut to a cohort": cut_to_cohort,
    "rounds cut where drawn": lambda: other_draws(cut_where_drawn),
    "one client in every round": lambda: other_draws(first_always),
}


@contextmanager
def planted(bug: str) -> Iterator[None]:
    """The mechanism with a mistake in it."""
    with ExitStack() as stack:
        for name, other in BUGS[bug]().items():
            stack.enter_context(patch(name, other))
        yield


def attack(subject: AuditedRun, bug: str, canaries: int, seed: int) -> tuple[CanaryAudit, Probe, Presence]:
    """Canaries, assertions and another person against a mechanism with a mistake in it."""
    with planted(bug):
        return canary_audit(subject, canaries, 40, seed), *added(subject, seed)


def added(subject: AuditedRun, seed: int) -> tuple[Probe, Presence]:
    """Assertions and another person."""
    assert subject.plan is not None
    measured = probe_round(subject, subject.plan, seed)
    found = presence(subject, subject.plan, measured, DRAWS, seed)
    assert found is not None
    return measured, found


def caught(found: CanaryAudit, measured: Probe, shown: Presence) -> list[str]:
    """Who refutes the claim."""
    said = {
        **{"canaries": found.refuted, "norm": bool(measured.unclipped), "noise": measured.quiet},
        **{"adding": shown.refuted, "draws": bool(shown.doubt)},
    }
    return [name for name, speaks in said.items() if speaks]


def subject(people: int, cohort: int, sigma: float, rounds: int, delta: float, **privacy: Any) -> AuditedRun:
    """A run of so many people that are trained, and one who is not; what it states is what its accountant says."""
    table = {
        "run": {"rounds": rounds},
        "source": {"clients": people + 1},
        "split": {"test": 0.0, "validation": 0.0, "test_users": ["sine-0"]},
        "strategy": {"cohort": cohort},
        "privacy": {"noise_multiplier": sigma, "delta": delta, **privacy},
    }
    made = AuditedRun(Path(), build_config(merge(resolved(private()), table)), rounds, {})
    assert made.plan is not None
    return replace(made, spent=made.plan.stated(rounds))


def shown(made: AuditedRun, draws: int, seed: int) -> Presence:
    """What another person shows where a person counts for C, and noise is what it should be."""
    assert made.plan is not None
    sigma = made.plan.multiplier
    found = presence(made, made.plan, Probe(1.0, [1.0], sigma, sigma, 0.1), draws, seed)
    assert found is not None
    return found
