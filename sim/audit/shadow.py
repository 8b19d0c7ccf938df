"""Who was in the training, judged by likelihood ratios: shadow models are the run again, with other people each time.

Every person is in each of several runs by a fair coin. Of a run under attack the others are shadows: they say how small
a person's loss is with him in the training and without him.

Source: Carlini, Chien, Nasr, Song, Terzis and Tramèr 2022, "Membership Inference Attacks From First Principles",
arXiv:2112.03570, Algorithm 1 (online), variances shared as in Section VI-C.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64

from metapulse.client.spec import Trial
from metapulse.rng import generator
from metapulse.server.statistics import bootstrap
from metapulse.sim.audit.audited_run import AuditedRun
from metapulse.sim.audit.bound import EpsilonBound, best_bound, guess_bounds
from metapulse.sim.audit.canaries import Canaries
from metapulse.sim.audit.membership import Scores, auc
from metapulse.trees import Params, sub

SMALLEST = 1e-12  # loss that is not told from none
FALSE_ALARM = 0.05  # share of those who were not in it who are said to have been, for the rate that is shown


@dataclass(frozen=True)
class Shadows:
    """Result of the likelihood-ratio attack.

    Args:
        runs: trained; each is attacked, the others are its shadows.
        people: who may be in them.
        auc, low, high: probability that a member looks more like one, mean over runs, who are resampled (95 %).
        hits: share of members found where 5 % of the others are taken for one.
        control, control_low, control_high: the area of coins that no run was made with.
        bound: what guesses about the first run show of ε, with its ceiling; δ is the run's.
    """

    runs: int
    people: int
    auc: float
    low: float
    high: float
    hits: float
    control: float
    control_low: float
    control_high: float
    bound: EpsilonBound


def shadow_audit(subject: AuditedRun, shadows: int, most: int, seed: int) -> Shadows | None:
    """Train runs in which people are by coins, and guess the coins; None where fewer than four people can be judged.

    The cost is ``shadows`` + 1 runs, of ``most`` people at most.

    Args:
        subject: the run; its settings are those of all.
        shadows: how many beside the one under attack, ≥ 2.
        most: people, at most.
        seed: of coins, draws and noise.
    """
    judge, *people = subject.people(seed, most + 1)
    if len(people) < 4:
        return None
    runs = shadows + 1
    coins = generator(seed, "shadow/coin").random((runs, len(people))) < 0.5
    losses = np.stack([_losses(subject, [judge, *people], coins[run], seed + run) for run in range(runs)])
    usable = np.isfinite(losses).all(0)
    if usable.sum() < 4:
        return None
    losses, coins = losses[:, usable], coins[:, usable]
    scores = np.stack([ratios(losses, coins, run) for run in range(runs)])
    fresh = generator(seed, "shadow/control").random(coins.shape) < 0.5
    found, control = over_runs(scores, coins), over_runs(scores, fresh)
    delta = 0.0 if subject.plan is None else subject.plan.settings.delta
    threshold = np.quantile(scores[~coins], 1.0 - FALSE_ALARM)
    hits = float((scores[coins] > threshold).mean())
    return Shadows(
        runs, int(usable.sum()), *found, hits, *control, best_bound(guess_bounds(scores[0], coins[0], delta))
    )


def ratios(
    losses: Float64[np.ndarray, "runs people"], coins: Bool[np.ndarray, "runs people"], run: int
) -> Float64[np.ndarray, " people"]:
    """log N(ℓ; μ_in, s²) − log N(ℓ; μ_out, s²) of each person's loss in one run, by all other runs.

    0 for people who were in all of those, or in none; s² is common to all people.

    Args:
        losses: ℓ, logarithms of losses.
        coins: who was in which run.
        run: under attack.
    """
    others = np.arange(len(losses)) != run
    seen, inside = losses[others], coins[others]
    means, squares = [], 0.0
    for which in (inside, ~inside):
        count = which.sum(0)
        mean = np.where(which, seen, 0.0).sum(0) / np.maximum(count, 1)
        squares += float((np.where(which, seen - mean, 0.0) ** 2).sum())
        means.append(np.where(count > 0, mean, np.nan))
    variance = max(squares / max(1, seen.size - 2 * seen.shape[1]), SMALLEST)
    ratio = ((losses[run] - means[1]) ** 2 - (losses[run] - means[0]) ** 2) / (2.0 * variance)
    known: Scores = np.nan_to_num(ratio, nan=0.0)
    return known


def over_runs(
    scores: Float64[np.ndarray, "runs people"], coins: Bool[np.ndarray, "runs people"]
) -> tuple[float, float, float]:
    """Area under the curve of a run's guesses, mean over runs, with a 95 % interval under resampling of runs.

    Args:
        scores: larger for who seems to be in.
        coins: who is.
    """
    areas = np.array([auc(s[c], s[~c]) for s, c in zip(scores, coins, strict=True) if 0 < c.sum() < len(c)])
    low, high = bootstrap(areas, np.arange(len(areas)))
    return float(areas.mean()), low, high


def _losses(subject: AuditedRun, people: list[int], coins: Bool[np.ndarray, " people"], seed: int) -> Scores:
    """log ℓ of all but the first, under θ of a run with those whose coin says so; NaN of who cannot be judged."""
    absent = frozenset(np.array(people[1:])[~coins].tolist())
    no_canaries = Canaries(len(subject.sampler.directory), np.zeros(0, np.int64), 1.0, np.zeros(0), seed, absent)
    cohort = max(1, (len(people) - 1) * subject.cohort // subject.sampler.people)
    with tempfile.TemporaryDirectory() as folder:
        moved, _ = subject.again(no_canaries, people, cohort, Path(folder) / "run", {})
    return judged_losses(subject, sub(subject.work.init(), moved), people[1:])


def judged_losses(subject: AuditedRun, theta: Params, people: list[int]) -> Scores:
    """log ℓ of some people under a θ; NaN of who has too few samples."""
    trial = Trial("audit/shadow", subject.config.episodes, steps=(0,), episodes=1)
    found = subject.work.evaluate(dict(theta), subject.round, people, trial)
    name = "loss" if subject.work.task.kind == "classification" else "mse"
    known = (
        dict(zip(found.clients, found.metrics[name].double().flatten().tolist(), strict=True)) if found.clients else {}
    )
    logs: Scores = np.log(np.maximum(np.array([known.get(one, np.nan) for one in people]), SMALLEST))
    return logs
