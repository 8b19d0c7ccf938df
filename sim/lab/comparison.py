"""What a comparison says: scores, paired differences, ranks and the verdict in words; plain values, ready for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["better", "worse", "no difference shown"]


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Score:
    """How a method does on one question: a data set, a scenario, a number of shots.

    Args:
        scenario: who is asked: ``new_user``, ``new_device``, …
        shots: support samples; 0 stands for all there is.
        step: adaptation step at which the method is judged.
        metric: what is measured.
        higher: whether more of it is better.
        last: mean over people after the last round.
        best: the same after the best validation round of every seed; None where nothing was validated.
        iqm: mean of the middle half of (seed, person), after the last round.
        worst_decile: mean of the worst tenth of clients, seeds averaged.
        spread: standard deviation between clients, seeds averaged.
        gini: Gini coefficient over clients, seeds averaged; 0 where all clients get the same, NaN where a score is
            negative.
        clients: a person's devices counted one by one.
    """

    dataset: str
    method: str
    scenario: str
    shots: int
    step: int
    metric: str
    higher: bool
    last: Interval
    best: Interval | None
    iqm: Interval
    worst_decile: float
    spread: float
    gini: float
    users: int
    clients: int
    seeds: int


@dataclass(frozen=True)
class Pair:
    """A method against the reference on one question, on the same seeds, clients and episodes, after the last round.

    Args:
        scenario: who is asked.
        shots: support samples.
        reference: name of the method it is held against.
        difference: mean over people; positive where the method is better, whatever the metric. Of shares their
            difference; of errors log(reference / method), so that 0.69 stands for half the error.
        improvement: probability that the method is better for a person and a seed; ties count half.
        p: two-sided, of no difference.
        p_holm: corrected for all tests of its family (competitors, or baselines): by Hommel over the questions of the
            data set, by Holm over methods and data sets.
        verdict: "better" or "worse" where ``p_holm`` ≤ 0.05 and there are people and seeds enough to say so.
        detectable: a true difference of this size is found with probability 0.8 by these people and seeds, whatever
            differs elsewhere: at 5 % divided by the methods × data sets of its family, and by the data set's questions.
        users: people that both were judged on.
        seeds: training runs that both have.
    """

    dataset: str
    scenario: str
    shots: int
    method: str
    reference: str
    difference: Interval
    improvement: Interval
    p: float
    p_holm: float
    verdict: Verdict
    detectable: float
    users: int
    seeds: int


@dataclass(frozen=True)
class Ranking:
    """Mean ranks, and over data sets which of them cannot be told apart.

    Args:
        dataset: the data set whose questions are ranked; None for all data sets.
        methods: best first; those that answered every question.
        ranks: mean rank of each, 1 the best.
        cd: Nemenyi's critical difference at 5 %; None for one data set, whose questions are not independent.
        cliques: maximal groups of methods whose ranks differ by less than ``cd``, in order of rank.
        friedman_p: of Friedman's test that all methods rank alike; None as for ``cd``.
        blocks: what ranks are means over: questions of the data set, or data sets.
    """

    dataset: str | None
    methods: tuple[str, ...]
    ranks: tuple[float, ...]
    cd: float | None
    cliques: tuple[tuple[str, ...], ...]
    friedman_p: float | None
    blocks: int


@dataclass(frozen=True)
class Comparison:
    """Everything a report shows.

    Args:
        reference: the method that verdicts are against.
        methods: in the order of the specification.
        datasets: in the order of the specification.
        seeds: of training.
        scores: one per data set, scenario, shots and method.
        pairs: one per data set, scenario, shots and method other than the reference.
        ranking: over data sets; None with fewer than three methods.
        rankings: within each data set.
        words: the verdict in sentences, the most important first.
        failures: those of them that name what failed.
        baselines: methods other than the reference that are no competitors: a family of tests of their own.
        pilot: first seeds whose variation decided how many there are; 0: the number was settled before.
    """

    name: str
    reference: str
    methods: tuple[str, ...]
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: tuple[Score, ...]
    pairs: tuple[Pair, ...]
    ranking: Ranking | None
    rankings: tuple[Ranking, ...]
    words: tuple[str, ...]
    baselines: tuple[str, ...] = ()
    pilot: int = 0
    failures: tuple[str, ...] = ()
