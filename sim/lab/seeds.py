"""How many seeds a comparison has, where the first of them decide: by how much they vary, never by who is ahead.

A pilot of ``first`` seeds gives the variances of every difference from the reference. From them follows the number of
seeds with which a difference of ``find`` is found with the planned power; they are run, and nothing is looked at before
all of them are there. The pilot's seeds stay in every mean. The error over seeds is estimated from what the pilot has
not shown (``metapulse.sim.lab.statistics.crossed.errors``), so that the tests keep their level.

Source: Stein 1945, "A two-sample test for a linear hypothesis whose power is independent of the variance"; Wittes et
al. 1999, "Internal pilot studies I", for what a plain t-test does after such a decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean

from metapulse.errors import ConfigError
from metapulse.settings import setting
from metapulse.sim.lab.pairs import Key, Question
from metapulse.sim.lab.power import MOST, needed
from metapulse.sim.lab.statistics.crossed import Components, Values, components, found_with_power

#: Power that is planned for, so that about 0.8 comes out of variances that are themselves estimated from few seeds.
PLANNED = 0.85
#: Where people are what limits, so many times the limit is near enough: more seeds would hardly help.
NEAR = 1.1
LEAST = 2  # seeds after the pilot


@dataclass(frozen=True)
class SeedPlan:
    """Training seeds 0, 1, 2, …, as many as the first of them ask for: ``[compare] seeds = {…}``."""

    first: int = setting(5, "seeds of the pilot, which are always run", ge=3, le=1000)
    most: int = setting(30, "seeds at most", ge=5, le=10_000)
    find: float = setting(0.02, "the difference to be found: of shares in their unit, of errors a log ratio", gt=0)
    budget_minutes: float = setting(0.0, "time for all runs, by what the pilot took (0: any)", ge=0)

    def __post_init__(self) -> None:
        if self.most < self.first + LEAST:
            raise ConfigError("compare.seeds.most", self.most, f"must be ≥ first + {LEAST} = {self.first + LEAST}")


@dataclass(frozen=True)
class SeedDecision:
    """What the pilot came to.

    Args:
        pilot: seeds that decided.
        seeds: in all.
        wanted: seeds that the questions ask for, before limits; None: nothing is held against the reference.
        limit: what kept them from it: "", "most" or "budget".
        beyond: questions on which no number of seeds finds the difference with these people.
    """

    pilot: int
    seeds: int
    wanted: int | None
    limit: str = ""
    beyond: tuple[Question, ...] = ()

    @property
    def deciding(self) -> int:
        """Seeds whose variation decided on the number; 0 where it was the budget alone."""
        return self.pilot if self.seeds > self.pilot else 0


def decide(
    plan: SeedPlan, differences: Mapping[Key, Values], levels: Mapping[Key, float], affordable: int | None = None
) -> SeedDecision:
    """How many seeds to run, from the pilot's.

    On each question: the least number with which the mean variances of its methods find ``find`` with the planned
    power; of questions the largest.

    Args:
        plan: what is asked for.
        differences: per question and method, by how much it is better, per seed of the pilot and person.
        levels: at which each is tested.
        affordable: seeds that the budget allows, the pilot's included; None: any number.
    """
    questions: dict[Question, list[Key]] = {}
    for key, values in differences.items():
        if min(values.shape) > 1:
            questions.setdefault(key[0], []).append(key)
    numbers, beyond = [], []
    for question, keys in questions.items():
        people = min(differences[key].shape[1] for key in keys)
        variances = _mean([components(differences[key]) for key in keys])
        count, reached = _asked(variances, people, min(levels[key] for key in keys), plan)
        numbers.append(count)
        beyond += [] if reached else [question]
    wanted = max(numbers) if numbers else None
    seeds, limit = min(wanted or plan.first, plan.most), "most" if (wanted or 0) > plan.most else ""
    if affordable is not None and seeds > affordable:
        seeds, limit = affordable if affordable >= plan.first + LEAST else plan.first, "budget"
    return SeedDecision(plan.first, seeds, wanted, limit, tuple(beyond))


def _asked(variances: Components, people: int, alpha: float, plan: SeedPlan) -> tuple[int, bool]:
    """Seeds that a question asks for, and whether they find the difference."""

    def found(seeds: int) -> float:
        return found_with_power(variances.errors(seeds, people, plan.first), alpha, PLANNED)

    least = plan.first + LEAST
    limit = found(least + MOST)
    near = max(plan.find, NEAR * limit)
    more = needed(lambda n: found(least - 2 + n), near)  # n from 2 on
    return least - 2 + (more or MOST), limit <= plan.find


def _mean(found: list[Components]) -> Components:
    return Components(*(mean(getattr(one, name) for one in found) for name in ("person", "seed", "rest")))


def affordable_seeds(plan: SeedPlan, seconds: float, workers: int) -> int | None:
    """Seeds within the budget, the pilot's included, if all take what those of the pilot took; None: no budget.

    Args:
        plan: with the budget.
        seconds: that the runs of the pilot took in all, one after another.
        workers: runs at once, ≥ 1.
    """
    if not plan.budget_minutes or seconds <= 0:
        return None
    return int(60.0 * plan.budget_minutes * workers / (seconds / plan.first))


def seed_words(decision: SeedDecision, find: float) -> tuple[str, ...]:
    """What people have to know of the number of seeds.

    Args:
        decision: of the pilot.
        find: the difference that was to be found.
    """
    count, pilot = decision.seeds, decision.pilot
    if decision.wanted is None:
        return ()
    told = f"Of {count} seeds the first {pilot} decided how many there are, by their variation alone"
    words = [
        f"{told}, for a difference of {find:g} to be found; the error over seeds is estimated from what came after."
    ]
    if decision.limit:
        kept = "compare.seeds.most" if decision.limit == "most" else "the budget"
        words = words if count > pilot else []
        words.append(f"{decision.wanted} seeds were wanted for a difference of {find:g}; {kept} allowed {count}.")
    if decision.beyond:
        asked = ", ".join(f"{dataset}/{scenario}/{shots or 'all'}" for dataset, scenario, shots in decision.beyond)
        words.append(f"No number of seeds finds {find:g} with these people on {asked}: it takes more people.")
    return tuple(words)
