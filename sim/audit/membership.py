"""Who was in the training, judged by losses: of θ on people, and of personal models on samples.

Every attack has a negative control, the same question about two groups of which neither was in it: AUC 0.5.

Source: Yeom, Giacomelli, Fredrikson and Jha 2018, "Privacy Risk in Machine Learning", arXiv:1709.01604, Section 3;
Watson, Guo, Cormode and Sablayrolles 2021, arXiv:2111.08440 (losses relative to a model that has not seen them).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float64
from scipy.stats import mannwhitneyu  # type: ignore[attr-defined]

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import Trial
from metapulse.episodes import Batch, EpisodePlan, stack_batches
from metapulse.errors import DataError
from metapulse.losses import task_loss
from metapulse.methods.base import Learner
from metapulse.rng import Keys, generator
from metapulse.server.statistics import bootstrap
from metapulse.sim.audit.audited_run import AuditedRun
from metapulse.trees import Stacked, stack

Scores = Float64[np.ndarray, " _"]


@dataclass(frozen=True)
class Membership:
    """One attack: area under its curve with a 95 % interval, and that of its control.

    Args:
        name: what was attacked, and by what.
        auc: probability that a member looks more like one than a non-member does.
        low, high: of ``auc``.
        members, others: how many there were.
        control, control_low, control_high: the same of two groups without members.
    """

    name: str
    auc: float
    low: float
    high: float
    members: int
    others: int
    control: float
    control_low: float
    control_high: float


def auc(members: Scores, others: Scores) -> float:
    """P[a > b] + P[a = b] / 2 for a of members and b of others.

    Args:
        members: scores, larger for who seems to be one; at least one.
        others: likewise.
    """
    return float(mannwhitneyu(members, others).statistic) / (len(members) * len(others))


def auc_interval(area: float, members: int, others: int) -> tuple[float, float]:
    """95 % interval of an area under a curve.

    Args:
        area: in [0, 1].
        members, others: how many scores it rests on.

    Source:
        Hanley and McNeil 1982, "The meaning and use of the area under a ROC curve", equation 1.
    """
    q1, q2 = area / (2.0 - area), 2.0 * area**2 / (1.0 + area)
    spread = area * (1.0 - area) + (members - 1) * (q1 - area**2) + (others - 1) * (q2 - area**2)
    half = 1.96 * float(np.sqrt(max(spread, 0.0) / (members * others)))
    return max(0.0, area - half), min(1.0, area + half)


def of_theta(subject: AuditedRun, most: int, seed: int) -> Membership | None:
    """Is θ's loss smaller on people of the training than on held-out ones? None where fewer than four are held out.

    Args:
        most: people on either side, at most.
        seed: of the choice of people, and of their samples.
    """
    members = _people_losses(subject, subject.people(seed, most), seed)
    others = _people_losses(subject, held_out(subject)[:most], seed)
    if len(others) < 4 or not len(members):
        return None
    mixed = generator(seed, "audit/control").permutation(others)
    halves = mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]
    area, control = auc(-members, -others), auc(*halves)
    bounds = auc_interval(area, len(members), len(others))
    sizes = (len(members), len(others))
    return Membership("θ, loss of a person", area, *bounds, *sizes, control, *auc_interval(control, *map(len, halves)))


def held_out(subject: AuditedRun) -> list[int]:
    """People who were in no round, by partition id; none where the meta-test asks known people alone."""
    scenarios = subject.config.evaluation.held_out
    return subject.sampler.targets(scenarios[0]) if scenarios else []


def _people_losses(subject: AuditedRun, clients: list[int], seed: int) -> Scores:
    trial = Trial("audit", subject.config.episodes, steps=(0,), episodes=1, seed=seed)
    metrics = subject.work.evaluate(subject.theta, subject.round, clients, trial).metrics if clients else {}
    if not metrics:
        return np.empty(0)
    return metrics["loss" if subject.work.task.kind == "classification" else "mse"].double().flatten().numpy()


def of_personal_models(subject: AuditedRun, most: int, seed: int) -> list[Membership]:
    """Does a personal model give away which of a person's samples it was adapted on?

    By its loss, and by how much smaller that is than θ's, which has seen neither. One area per person; their mean.

    Args:
        most: people, at most; held-out ones.
        seed: of samples and of the control's halves.
    """
    found = list(_personal(subject, held_out(subject)[:most], seed))
    names = ("personal models, loss of a sample", "personal models, loss relative to θ's")
    return [_over_people(name, [one[i] for one in found]) for i, name in enumerate(names)] if found else []


def _over_people(name: str, found: list[tuple[Scores, Scores, Scores]]) -> Membership:
    """Mean over people, who are resampled; a person's members, others, and other others."""
    areas = np.array([auc(inside, np.concatenate([a, b])) for inside, a, b in found])
    controls = np.array([auc(a, b) for _, a, b in found])
    users = np.arange(len(found))
    sizes = sum(len(inside) for inside, _, _ in found), sum(len(a) + len(b) for _, a, b in found)
    low, high = bootstrap(areas, users)
    return Membership(name, float(areas.mean()), low, high, *sizes, float(controls.mean()), *bootstrap(controls, users))


def _personal(
    subject: AuditedRun, clients: list[int], seed: int
) -> Iterator[tuple[tuple[Scores, Scores, Scores], tuple[Scores, Scores, Scores]]]:
    """For every person scores of support and of two halves of query: by loss, and by loss relative to θ's."""
    e, work = subject.config.evaluation, subject.work
    plan = EpisodePlan(e.split, e.shots[0], e.query)
    trial = Trial("audit/personal", plan, episodes=1, adapt=e.adapt, seed=seed)
    learner = work.adapted(trial)
    for client in clients:
        try:
            ((support, query),) = work.episodes(client, trial)
        except DataError:
            continue
        if len(query[0]) < 2:
            continue
        seen, unseen = stack_batches([support]), stack_batches([query])
        state = stack(learner.initial_state(work.model, subject.theta), 1)
        path = islice(
            learner.adaptation_trajectory(work.model, subject.theta, state, seen, Keys(seed, 0, [client])),
            max(e.steps) + 1,
        )
        # A point of the path may be overwritten by the next: each is judged as it comes.
        judged = [[_losses(work, learner, phi, part) for part in (seen, unseen)] for phi in path]
        before, after = judged[0], judged[-1]
        mixed = generator(seed, "audit/halves", 0, client).permutation(len(query[0]))
        halves = np.array_split(mixed, 2)
        yield (
            (-after[0], *(-after[1][half] for half in halves)),
            (before[0] - after[0], *((before[1] - after[1])[half] for half in halves)),
        )


def _losses(work: ClientExecutor, learner: Learner, phi: Stacked, part: Batch) -> Scores:
    """The loss of each sample of one person: each counted as a person of its own."""
    with torch.no_grad():
        answers = learner.predict(work.model, phi, part.x)
    loss = task_loss(work.task, *(one.transpose(0, 1) for one in (answers, part.y, part.mask)))
    return loss.double().numpy()
