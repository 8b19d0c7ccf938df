"""What one person's update, or the sum of some people's, shows of the samples behind it.

Where the first layer is dense, a row of its update over its bias's is a mean of inputs, exactly one where one sample
alone moved the row. Otherwise inputs are sought whose gradient points where the update does.

Source: Geiping, Bauermeister, Dröge and Moeller 2020, "Inverting Gradients", arXiv:2003.14053, Proposition 3.1 and
equation 4; Zhu, Liu and Han 2019, "Deep Leakage from Gradients", arXiv:1906.08935.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.client.privacy import lengths, normal, shrinkage, step_of
from metapulse.episodes import Batch
from metapulse.models.base import Model
from metapulse.rng import generator
from metapulse.sim.audit.audited_run import AuditedRun
from metapulse.strategies.privacy.plan import PrivacyPlan
from metapulse.trees import Params, Stacked, add, per_client, pick, zeros_like

STEPS, SPEED = 300, 0.1  # of the search
SUMMED = 8  # people whose updates are attacked as one sum
FOUND = 0.1  # squared error over the variance of inputs below which a sample counts as recovered


@dataclass(frozen=True)
class Inversion:
    """One attack, over some people.

    Args:
        name: what was attacked.
        private: whether after clipping, with the noise of a round.
        people: whose updates.
        error: median squared error of the nearest reconstruction over the variance of inputs; 1 is no better than
            the mean. None where no update showed anything.
        recovered: share of samples with an error below ``FOUND``; samples whose update shows nothing are not.
        control: median error of the same reconstructions, held against another person's samples.
        control_recovered: share of those.
        nothing: why some updates, or all, left nothing to invert; "" where each showed something.
    """

    name: str
    private: bool
    people: int
    error: float | None
    recovered: float
    control: float | None
    control_recovered: float
    nothing: str = ""


def invert(subject: AuditedRun, people: int, seed: int) -> list[Inversion]:
    """Invert updates of a few people: of one sample and one step, as the run sends them, and added up.

    Bare, and private where the run is. A sum is what a server sees under secure aggregation; sums are of two groups of
    people, each the other's control, and left out where there are not enough people.

    Args:
        people: how many, ≥ 2; the control needs another person.
        seed: of the choice of people, the search's start and the noise.
    """
    clients = subject.people(seed, max(people, 2 * SUMMED))
    kept, episode, _ = subject.work.training_episodes(subject.round + 1, clients)
    everything = episode.pooled
    first = range(min(people, len(kept)))
    single = [[_victim(subject, everything, i, kept[i], single=True)] for i in first]
    found = _attacked(subject, "one sample, one step", single, seed)
    rounds = [_victim(subject, everything, i, c, single=False) for i, c in enumerate(kept)]
    found += _attacked(subject, "the update of a round", [[rounds[i]] for i in first], seed)
    half = min(len(rounds) // 2, SUMMED)
    if half > 1:
        groups = [rounds[:half], rounds[half : 2 * half]]
        found += _attacked(subject, f"the sum of {half} people's updates", groups, seed)
    return found


@dataclass(frozen=True)
class _Victim:
    """What a person sends, and the samples it is of."""

    client: int
    batch: Batch
    update: Params


def _victim(subject: AuditedRun, everything: Batch, index: int, client: int, single: bool) -> _Victim:
    batch = _of_one(everything, index, single)
    return _Victim(client, batch, _update(subject, client, batch, single))


def _attacked(subject: AuditedRun, name: str, groups: Sequence[Sequence[_Victim]], seed: int) -> list[Inversion]:
    """Invert the sum of each group's updates; without privacy and with it, where there is some."""
    truths = [torch.cat([v.batch.x[0].flatten(1) for v in group]) for group in groups]
    plans = (None, subject.plan) if subject.plan else (None,)
    return [
        _judge(name, plan is not None, [_guess(subject, group, plan, seed) for group in groups], truths)
        for plan in plans
    ]


def _of_one(batch: Batch, client: int, single: bool) -> Batch:
    """One client's real samples, or the first of them."""
    rows = torch.nonzero(batch.mask[client]).flatten()
    rows = rows[:1] if single else rows
    return Batch(batch.x[client, rows][None], batch.y[client, rows][None], batch.mask[client, rows][None])


def _update(subject: AuditedRun, client: int, batch: Batch, single: bool) -> Params:
    """What a client reports next: the gradient at its start, or what its learner makes of the round."""
    work = subject.work
    if not work.learner.downloaded_parameters(work.model, subject.theta):
        return zeros_like(subject.theta)  # nothing is shared: no gradient is ever sent
    if single:
        return pick(work.model.grad(work.learner.start(subject.theta, 1), batch), 0)
    report = work.train(subject.theta, subject.round + 1, [client]).report
    if report is None:
        raise ValueError("a client whose episode could be cut reports something")
    return pick(report.update, 0)


def _guess(
    subject: AuditedRun, group: Sequence[_Victim], plan: PrivacyPlan | None, seed: int
) -> Float[Tensor, "guesses features"]:
    """Reconstructions of some people's inputs, from the sum of their updates, or from their round if they are alone.

    There are none where every number of the update is 0.
    """
    rng = generator(seed, "audit/inversion", 0, group[0].client)
    batch = Batch(*(torch.cat([getattr(v.batch, side) for v in group], 1) for side in ("x", "y", "mask")))
    updates = {name: torch.stack([v.update[name] for v in group]) for name in group[0].update}
    if plan is not None:
        updates = per_client(updates, shrinkage(lengths(updates), plan.settings.clip))
    total: Params = {name: u.sum(0) for name, u in updates.items()}
    if plan is not None:
        total = add(total, normal(total, plan.multiplier * plan.settings.clip, rng, step_of(plan.settings.clip)))
    total = {name: p.to(subject.theta[name].dtype) for name, p in total.items()}
    if not any(bool(p.any()) for p in total.values()):
        return torch.zeros(0, math.prod(batch.x.shape[2:]))
    closed = first_layer(total, math.prod(batch.x.shape[2:]))
    if closed is not None:
        return closed
    return match(subject.work.model, subject.work.learner.start(subject.theta, 1), total, batch, rng)


def first_layer(update: Params, inputs: int) -> Float[Tensor, "guesses features"] | None:
    """ΔW_k / Δb_k for every row k that moved: means of the inputs, weighted by how much each moved the row.

    Args:
        update: a pseudo-gradient.
        inputs: numbers in an input.

    Returns:
        None where the first layer is not a dense one with a bias, or that bias did not move; (rows, inputs) otherwise.

    Source:
        Geiping et al. 2020, arXiv:2003.14053, Proposition 3.1.
    """
    weight = next(iter(update))
    bias = update.get(weight.removesuffix("weight") + "bias")
    if bias is None or update[weight].shape != (len(bias), inputs) or not bias.any():
        return None
    moved = bias.abs() > 1e-6 * bias.abs().max()
    return update[weight][moved] / bias[moved].unsqueeze(1)


def match(
    model: Model, start: Stacked, update: Params, batch: Batch, rng: np.random.Generator
) -> Float[Tensor, "guesses features"]:
    """arg min over x of 1 − cos(∇L(x, y), u), by Adam from noise; labels are given away.

    Args:
        model: the architecture.
        start: where the gradient is taken, a stack of one.
        update: u.
        batch: labels, and how many samples there are; its inputs are not looked at.
        rng: where the search starts.

    Source:
        Geiping et al. 2020, arXiv:2003.14053, equation 4, without the prior on images.
    """
    x = torch.from_numpy(rng.standard_normal(tuple(batch.x.shape)).astype(np.float32)).requires_grad_()
    leaves = {name: p.detach().clone().requires_grad_() for name, p in start.items()}
    wanted = torch.cat([update[name].flatten() for name in leaves])
    search = torch.optim.Adam([x], SPEED)
    for _ in range(STEPS):
        loss = model.loss(leaves, Batch(x, batch.y, batch.mask)).sum()
        grads = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
        distance = 1.0 - torch.cosine_similarity(torch.cat([g.flatten() for g in grads]), wanted, dim=0)
        (x.grad,) = torch.autograd.grad(distance, [x])
        search.step()
    return x.detach()[0].flatten(1)


def _judge(name: str, private: bool, guesses: list[Tensor], truths: list[Tensor]) -> Inversion:
    """Reconstructions against the samples they are of, and against the next person's."""
    variance = float(torch.cat(truths).var(0, correction=0).sum())
    own = torch.cat([_errors(g, t) for g, t in zip(guesses, truths, strict=True)]) / variance
    others = [*truths[1:], truths[0]]
    control = torch.cat([_errors(g, t) for g, t in zip(guesses, others, strict=True)]) / variance
    shares = [float((one < FOUND).double().mean()) for one in (own, control)]
    errors = [one[one.isfinite()] for one in (own, control)]
    medians = [float(one.median()) if len(one) else None for one in errors]
    zero = sum(len(g) == 0 for g in guesses)
    nothing = f"{zero} of {len(guesses)} updates are 0 in every number" if zero else ""
    return Inversion(name, private, len(truths), medians[0], shares[0], medians[1], shares[1], nothing)


def _errors(guesses: Float[Tensor, "g f"], truth: Float[Tensor, "n f"]) -> Float[Tensor, " n"]:
    """‖x̂ − x‖² of the nearest reconstruction of each sample; ∞ without a reconstruction."""
    if not len(guesses):
        return truth.new_full((len(truth),), math.inf)
    return torch.cdist(truth, guesses).square().min(1).values
