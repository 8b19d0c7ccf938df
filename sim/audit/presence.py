"""Adding a person: what a run's own draws and sums reveal about one person more, at worst.

Rounds are drawn again with fresh secrets by the run's own sampler, and held against the law that is accounted for. Its
own strategy is shown every number of people that can be drawn, and adds up next to no noise, so that it is seen who
counts. The observer knows all people's data: the one who may be there counts as +C along a direction, all others as −C
along it, or as nothing. The rate at which people are drawn is public, and stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from jaxtyping import Float64, Int64
from scipy.stats import binom  # type: ignore[attr-defined]

from metapulse.client.wire import Instructions, decode, encode
from metapulse.rng import generator
from metapulse.server.client_sampler import SubsetGrid, over_selected
from metapulse.server.directory import Directory
from metapulse.sim.audit.audited_run import AuditedRun
from metapulse.sim.audit.probe import DOUBT, Probe
from metapulse.sim.audit.worst_case import SumDistribution, epsilon_at_least
from metapulse.sim.engines.cohort import FIRST_NODE, CohortGrid
from metapulse.strategies.privacy.accounting import REPLACE, Release
from metapulse.strategies.privacy.plan import PrivacyPlan
from metapulse.strategies.privacy.strategy import PrivateStrategy
from metapulse.strategies.registry import make_strategy
from metapulse.strategies.replies import Replies, UpdateStack

SILENT = 1e-9  # σ of rounds in which it is to be seen who counts
SURE = 6.0  # standard errors: sound draws are doubted once in 1e9
TWICE, SHOWN = 2, 400  # rounds in which a number of people is shown to the strategy, and how many numbers are
AGAINST = (0.0, 1.0)  # how much of C all others count in the other direction
RARE = 1e-14  # probability below which a number of people is left out of the sums


@dataclass(frozen=True)
class Presence:
    """Result of the audit that adds a person.

    Args:
        replays: rounds that were drawn.
        people: who could be in them.
        rate: q that the accountant counts on.
        drawn: mean number of people drawn.
        fewer: rounds in which fewer counted than were drawn.
        doubt: why draws are not what is accounted for; "" where they may be.
        sigma: noise over what a person can count for at most, as measured.
        rounds: T.
        delta: δ.
        epsilon: ε is at least this.
        claimed: what the run states; None: nothing.
    """

    replays: int
    people: int
    rate: float
    drawn: float
    fewer: int
    doubt: str
    sigma: float
    rounds: int
    delta: float
    epsilon: float
    claimed: float | None

    @property
    def refuted(self) -> bool:
        """Whether the claim cannot be true."""
        return self.claimed is not None and self.epsilon > self.claimed


def presence(subject: AuditedRun, plan: PrivacyPlan, measured: Probe, replays: int, seed: int) -> Presence | None:
    """Draw rounds again, and hold what they show at worst beside the claim; None under local privacy: no sums there.

    Args:
        measured: what a person counts for and how much noise there is.
        replays: rounds to draw, ≥ 2.
        seed: of the secrets.
    """
    if plan.settings.mechanism == "local":
        return None
    release, delta = plan.release, plan.settings.delta
    rounds = int(subject.spent.get("rounds", plan.rounds))
    draws = list(drawn(subject, plan, replays, seed))
    sizes = np.array([len(one) for one in draws])
    rate, sigma = _rate(release, sizes), _sigma(plan, measured)
    rule = people_that_count(subject, plan, np.union1d(sizes, _possible(release, rate)), seed)
    pairs = [laws(release, rate, rule, against) for against in AGAINST]
    shown = max(epsilon_at_least(*pair, sigma, rounds, delta) for pair in pairs)
    fewer = sum(rule[size] < size for size in sizes.tolist())
    facts = (replays, release.people, release.rate, float(sizes.mean()), fewer, doubt(subject, release, draws))
    return Presence(*facts, sigma, rounds, delta, shown, subject.claimed)


def drawn(subject: AuditedRun, plan: PrivacyPlan, replays: int, seed: int) -> Iterator[list[int]]:
    """Partition ids of rounds, each drawn as the run draws, with a secret of its own.

    Args:
        replays: how many.
        seed: of the secrets.
    """
    secrets, sampling = generator(seed, "presence/secret").integers(2**63, size=replays), plan.settings.sampling
    for round, secret in enumerate(secrets.tolist(), 1):
        yield subject.sampler.persons(secret, round, plan.release.cohort, sampling, plan.release.people)


def people_that_count(
    subject: AuditedRun, plan: PrivacyPlan, sizes: Int64[np.ndarray, " sizes"], seed: int
) -> dict[int, int]:
    """How many count of so many drawn; all of them where that is not always the same.

    Args:
        sizes: numbers of people drawn, ascending; of very many some are shown to the strategy, and between them as
            many are left out as between their neighbours.
        seed: of who they are.
    """
    shown = sizes if len(sizes) <= SHOWN else sizes[np.linspace(0, len(sizes) - 1, SHOWN).astype(int)]
    plain = {**over_selected(subject.config), "outer": "sgd", "lr": 1.0, "schedule": "constant", "l2": 0.0}
    silent = replace(plan, release=replace(plan.release, sigma=SILENT))
    made = make_strategy(plain, len(shown) * TWICE, subject.config.run.seed, None, (silent, seed))
    strategy, pool = cast(PrivateStrategy, made), np.array(subject.people(seed, int(sizes[-1])))
    grid, left = CohortGrid(len(subject.sampler.directory)), []  # which nothing is sent through
    for place, size in enumerate(shown.tolist()):
        found = set()
        for round in range(place * TWICE + 1, (place + 1) * TWICE + 1):
            chosen = generator(seed, "presence/round", round).choice(pool, size, replace=False)
            found.add(_count(strategy, grid, sorted(chosen.tolist()), round, subject.sampler.directory))
        left.append(size - found.pop() if len(found) == 1 else 0)
    grid.close()
    return dict(
        zip(sizes.tolist(), (sizes - np.floor(np.interp(sizes, shown, left))).astype(int).tolist(), strict=True)
    )


def _count(strategy: PrivateStrategy, grid: Grid, clients: list[int], round: int, directory: Directory) -> int:
    """How many of those drawn are in the sum that a round of the strategy releases: each of them sends C."""
    view = SubsetGrid(grid, clients, directory)
    theta = {"w": torch.zeros(1, dtype=torch.float64)}
    strategy.state = {}
    asked = cast(Instructions, strategy.configure_train(round, encode(theta), ConfigRecord(), view)).nodes
    clip, stack = strategy.plan.settings.clip, None
    if asked:
        update = torch.full((len(asked), 1), clip, dtype=torch.float64)
        who = sorted(view.client_of(node) for node in asked)
        stack = UpdateStack(who, {"w": update}, torch.ones(len(asked)), {})
    arrays, _ = strategy.aggregate_train(round, Replies(stack, [], _message))
    moved = 0.0 if arrays is None else -float(decode(arrays)["w"])
    return int(np.rint(moved * strategy.plan.release.cohort / clip))


def _message(index: int) -> Message:
    """What a stack stands for; it is not looked at."""
    return Message(RecordDict(), FIRST_NODE + index, MessageType.TRAIN)


def _rate(release: Release, sizes: Int64[np.ndarray, " replays"]) -> float:
    """q; more where more were drawn, beyond doubt."""
    if release.sampling != "poisson":
        return release.rate
    trials = release.people * len(sizes)
    seen = float(sizes.sum()) / trials
    return max(release.rate, seen - SURE * float(np.sqrt(seen * (1.0 - seen) / trials)))


def _sigma(plan: PrivacyPlan, measured: Probe) -> float:
    """σ over the most that a person counts for: as claimed, unless beyond doubt it is less noise, or more of him."""
    sigma = plan.release.sigma
    if measured.quiet:
        sigma *= (measured.noise + DOUBT * measured.error) / measured.sigma
    return sigma / (max(measured.shares) / measured.clip) if measured.unclipped else sigma


def laws(
    release: Release, rate: float, rule: dict[int, int], against: float
) -> tuple[SumDistribution, SumDistribution]:
    """Σ over C with and without the person, or with him and with his opposite where one replaces the other.

    Of N − 1 others d ~ Binomial(N − 1, q) are drawn, and with him d + 1, of whom ``rule`` lets K count, each as likely
    as the next.

    Args:
        rate: q.
        rule: people who count by people drawn.
        against: λ; others count as −λ.
    """
    total, weights = _support(release, rate)
    others = total - 1 if release.sampling == "poisson" else total
    without = SumDistribution(-against * np.array([rule[d] for d in others.tolist()]), weights)
    count = np.array([rule[d] for d in total.tolist()])
    heard = np.minimum(1.0, count / np.maximum(total, 1))
    absent = without if release.relation != REPLACE else _joined(without, count, heard, weights, rate, against, -1.0)
    return _joined(without, count, heard, weights, rate, against, 1.0), absent


def _support(release: Release, rate: float) -> tuple[Int64[np.ndarray, " d"], Float64[np.ndarray, " d"]]:
    """Numbers of people who are drawn together with a given one, himself included, and their probabilities."""
    if release.sampling != "poisson":
        return np.array([release.cohort]), np.ones(1)
    weights = binom.pmf(np.arange(release.people), release.people - 1, rate)
    likely = np.flatnonzero(weights > RARE)
    return likely + 1, weights[likely]


def _possible(release: Release, rate: float) -> Int64[np.ndarray, " d"]:
    """Numbers of people who may be drawn, with a given person or without."""
    total, _ = _support(release, rate)
    return total if release.sampling != "poisson" else np.union1d(total, total - 1)


def _joined(
    without: SumDistribution,
    count: Int64[np.ndarray, " d"],
    heard: Float64[np.ndarray, " d"],
    weights: Float64[np.ndarray, " d"],
    rate: float,
    against: float,
    own: float,
) -> SumDistribution:
    """With probability q he is drawn: he counts for ``own`` with probability ``heard``, or is left out."""
    places = np.concatenate([without.places, own - against * (count - 1.0), -against * count])
    masses = np.concatenate([(1.0 - rate) * without.weights, rate * weights * heard, rate * weights * (1.0 - heard)])
    return SumDistribution(places[masses > 0.0], masses[masses > 0.0])


def doubt(subject: AuditedRun, release: Release, draws: list[list[int]]) -> str:
    """Why draws are not what is accounted for, "" where they may be; each test doubts sound ones once in 1e9.

    Args:
        draws: partition ids of independent rounds.
    """
    sizes = np.array([len(one) for one in draws])
    if release.sampling != "poisson":
        return "" if (sizes == release.cohort).all() else f"{sizes.min()} to {sizes.max()} people in a round"
    if _rate(release, sizes) > release.rate:
        return f"{sizes.mean():.4g} people in a round, expected {release.cohort}"
    rate = float(sizes.mean()) / release.people
    who = [subject.sampler.directory.client(client).user for draw in draws for client in draw]
    every = np.unique(who, return_counts=True)[1]
    people = np.pad(every, (0, max(0, release.people - len(every))))
    for what, counts, size in (
        ("people in a round", sizes, release.people),
        ("rounds of a person", people, len(draws)),
    ):
        if abs(z := dispersion(counts, size, rate)) > SURE:
            return f"the number of {what} varies {'more' if z > 0 else 'less'} than independent coins let it"
    return ""


def dispersion(counts: Int64[np.ndarray, " draws"], size: int, rate: float) -> float:
    """How far Σ (k − nq)² / nq(1 − q) is from what it is of binomials, in standard deviations.

    Args:
        counts: k, each of ``size`` coins.
        size: n.
        rate: q in [0, 1].
    """
    variance = size * rate * (1.0 - rate)
    if variance == 0.0:
        return 0.0 if (counts == size * rate).all() else float("inf")
    squares = float(((counts - size * rate) ** 2).sum()) / variance
    excess = (1.0 - 6.0 * rate * (1.0 - rate)) / variance
    return (squares - len(counts)) / float(np.sqrt(len(counts) * (2.0 + excess)))
