"""Laws of a learner about stacks: padding, other clients, and what a device keeps."""

from __future__ import annotations

import torch

from metapulse.episodes import Batch, Episode
from metapulse.methods.base import SumSpec, update_shares
from metapulse.models.base import Model
from metapulse.rng import Keys, RunKeys
from metapulse.sim.conformance.learners import THREE, LearnerUnderTest, RefusalError, WatchedTensors, require
from metapulse.sim.conformance.worlds import in_minibatches, keys, near, padded, same, some
from metapulse.trees import pick, stack, stacked, weighted_sum


def neither_padding_nor_company_changes_a_client(subject: LearnerUnderTest, model: Model) -> None:
    """Garbage where the mask is zero changes nothing, and each client alone does what it does in a stack (float64)."""
    learner, start, ep = subject.world(model)
    start = {key: p.double() for key, p in start.items()}
    parts = [
        Batch(b.x.double(), b.y.double() if b.y.is_floating_point() else b.y, b.mask.double())
        for b in (ep.support, ep.query)
    ]
    clean, dirty = Episode(*parts), Episode(*(padded(part, 3, seed) for seed, part in enumerate(parts)))
    a, b = (learner.update(model, start, {}, each, keys(THREE)) for each in (clean, dirty))
    same(b.update, a.update, rtol=1e-9, atol=1e-11)
    answers = [
        learner.predict(model, learner.adapt(model, start, {}, each.support, keys(THREE), 2), clean.query.x)
        for each in (clean, dirty)
    ]
    torch.testing.assert_close(*answers, rtol=1e-9, atol=1e-11)
    for client in THREE:
        alone = learner.update(model, start, {}, some(dirty, [client]), keys([client]))
        same({key: p[0] for key, p in alone.update.items()}, pick(a.update, client), rtol=1e-9, atol=1e-11)


def a_device_keeps_all_that_it_remembers(subject: LearnerUnderTest, model: Model) -> None:
    """Two rounds of a stack are two rounds of each alone; an initial state is no state; what goes in is not changed."""
    learner, start, ep = subject.world(model)
    learner = in_minibatches(learner)
    first = learner.update(model, start, {}, ep, keys(THREE))
    begun = stack(learner.initial_state(model, start), 3) if first.state else {}
    again = learner.update(model, start, begun, ep, keys(THREE))
    near(again.update, first.update)
    near(again.state, first.state)
    kept = {key: p.clone() for key, p in first.state.items()}
    watched = WatchedTensors(kept)
    second = learner.update(model, start, kept, ep, keys(THREE, round=2))
    phi = learner.adapt(model, start, kept, ep.support, keys(THREE), 2)
    watched.untouched()
    for client in THREE:
        own = {key: p[[client]] for key, p in kept.items()}
        alone = learner.update(model, start, own, some(ep, [client]), keys([client], round=2))
        for one, many in ((alone.update, second.update), (alone.state, second.state)):
            same(pick(one, 0), pick(many, client), rtol=1e-3, atol=1e-5)
        adapted = learner.adapt(model, start, own, some(ep, [client]).support, keys([client]), 2)
        same(pick(adapted, 0), pick(phi, client), rtol=1e-3, atol=1e-5)


def what_a_device_keeps_matters(subject: LearnerUnderTest, model: Model) -> None:
    """To its next round, or to its answers; otherwise it need not be kept."""
    learner, start, ep = subject.world(model)
    kept = learner.update(model, start, {}, ep, keys(THREE)).state
    if not kept:
        raise RefusalError(f"{subject.name}: its devices keep nothing")
    before, after = (
        (
            learner.update(model, start, state, ep, keys(THREE)).update,
            learner.adapt(model, start, state, ep.support, keys(THREE), 0),
        )
        for state in ({}, kept)
    )
    moved = any(float((a[key] - b[key]).abs().max()) > 1e-5 for a, b in zip(before, after, strict=True) for key in a)
    require(moved, "what a device keeps changes its next update or its answers")


def a_sum_is_that_of_the_updates(subject: LearnerUnderTest, model: Model) -> None:
    """Of those who offer one: a learner with an update of its own must not inherit another's sum."""
    learner, start, ep = subject.world(model)
    learner = in_minibatches(learner)
    for weighting in ("samples", "uniform"):
        summed = learner.update_sum(model, start, {}, ep, keys(THREE), SumSpec(weighting))
        if summed is None:
            raise RefusalError(f"{subject.name}: it offers no sum")
        report, total = summed
        stacked = learner.update(model, start, {}, ep, keys(THREE))
        require(not report.update, "a report beside a sum holds no updates")
        require(torch.equal(report.weight, stacked.weight), "the weights are those of the updates")
        near(report.metrics, stacked.metrics)
        same(total, weighted_sum(stacked.update, update_shares(stacked.weight, weighting)), rtol=1e-5, atol=1e-7)


def runs_side_by_side_are_runs_alone(subject: LearnerUnderTest, model: Model) -> None:
    """Two rounds of clients of two runs in one stack, each with its run's θ and addresses, are those of each alone."""
    learner, start, ep = subject.world(model)
    if not type(learner).takes_runs():
        raise RefusalError(f"{subject.name}: it looks at one run's θ at a time")
    learner = in_minibatches(learner)
    metas = [start, {name: 0.5 * p for name, p in start.items()}]
    together = stacked({name: torch.stack([m[name] for m in metas]).repeat_interleave(3, 0) for name in start})
    twice = Episode(*(Batch(*(torch.cat([part, part]) for part in (b.x, b.y, b.mask))) for b in (ep.support, ep.query)))
    kept: list[dict[str, torch.Tensor]] = [
        dict(stack(learner.initial_state(model, m), 3)) if learner.initial_state(model, m) else {} for m in metas
    ]
    for round in (1, 2):
        addresses = [Keys(seed, round, list(THREE)) for seed in (7, 8)]
        state = {name: torch.cat([run[name] for run in kept]) for name in kept[0]}
        many = learner.update(model, together, state, twice, RunKeys(addresses))
        for run, (own, address) in enumerate(zip(metas, addresses, strict=True)):
            alone = learner.update(model, own, kept[run], ep, address)
            rows = slice(3 * run, 3 * run + 3)
            near(dict(alone.update), {name: p[rows] for name, p in many.update.items()})
            near(dict(alone.state), {name: p[rows] for name, p in many.state.items()})
            torch.testing.assert_close(alone.weight, many.weight[rows])
            kept[run] = dict(alone.state)
