"""How many seeds and people a comparison needs, from the runs of it that are finished: a pilot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from metapulse.sim.lab.pairs import Key, Question
from metapulse.sim.lab.statistics.crossed import Components, Values, components, found_with_power

WANTED = (0.05, 0.02, 0.01)  # differences; of errors log ratios, which are about shares of the error
MOST = 10_000  # seeds, or people, beyond which the answer is that more of them do not help


@dataclass(frozen=True)
class PowerPlan:
    """What one question can tell apart, and what it would take; of methods the median.

    Args:
        dataset, scenario, shots: the question.
        methods: that were held against the reference.
        seeds, people: of the pilot.
        detectable: difference found with probability 0.8, after the family's correction, with these.
        more_seeds: seeds that find each of ``WANTED`` with the pilot's people; None: no number of seeds does.
        more_people: people that find it with the pilot's seeds; None: no number of people does.
    """

    dataset: str
    scenario: str
    shots: int
    methods: int
    seeds: int
    people: int
    detectable: float
    more_seeds: tuple[int | None, ...]
    more_people: tuple[int | None, ...]


def power_plans(differences: Mapping[Key, Values], levels: Mapping[Key, float]) -> list[PowerPlan]:
    """One plan per question.

    Args:
        differences: per question and method, by how much it is better, per seed and person.
        levels: at which each is tested.
    """
    questions: dict[Question, list[Key]] = {}
    for key, values in differences.items():
        if min(values.shape) > 1:
            questions.setdefault(key[0], []).append(key)
    return [_plan(question, [(differences[k], levels[k]) for k in keys]) for question, keys in questions.items()]


def needed(detectable: Callable[[int], float], wanted: float) -> int | None:
    """The least n from 2 to ``MOST`` with which a difference is found; None: there is none.

    Args:
        detectable: with n; it falls.
        wanted: the difference, > 0.
    """
    if detectable(MOST) > wanted:
        return None
    low, high = 1, MOST  # too few, enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if detectable(middle) <= wanted else (middle, high)
    return high


def _plan(question: Question, pairs: Sequence[tuple[Values, float]]) -> PowerPlan:
    seeds, people = (min(values.shape[axis] for values, _ in pairs) for axis in (0, 1))
    parts = [(components(values), alpha) for values, alpha in pairs]
    return PowerPlan(
        *question,
        len(pairs),
        seeds,
        people,
        median(_detectable(one, seeds, people, alpha) for one, alpha in parts),
        tuple(_median([needed(lambda n, c=c, a=a: _detectable(c, n, people, a), d) for c, a in parts]) for d in WANTED),
        tuple(_median([needed(lambda n, c=c, a=a: _detectable(c, seeds, n, a), d) for c, a in parts]) for d in WANTED),
    )


def _detectable(variances: Components, seeds: int, people: int, alpha: float) -> float:
    return found_with_power(variances.errors(seeds, people), alpha)


def _median(numbers: Sequence[int | None]) -> int | None:
    """The upper median, "none does" being the largest."""
    return sorted(numbers, key=lambda n: (n is None, n))[len(numbers) // 2]
