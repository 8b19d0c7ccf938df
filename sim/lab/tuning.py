"""Fair tuning: the same number of trials for every method, judged by meta-validation people alone.

Rung 0 runs all trials for a fraction of the rounds; the best 1/η of a rung go on, to η times the rounds, until the last
ones have run all of them (successive halving). The settings of the specification are always trial 0: tuning may leave
them as they are.

A study is a pure function of its scores: it proposes what to run next and knows nothing of who runs it, so a comparison
that is killed and started again asks for the same cells, whatever order they ended in.

Source: Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
arXiv:1502.07943, Figure 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from metapulse.rng import generator
from metapulse.server.config import merge
from metapulse.server.metatest import Row, merit
from metapulse.settings import setting
from metapulse.sim.lab.space import Space, draw, nested_table

#: Scores of a rung by number of the trial: the larger the better; None for a trial that failed.
Scores: TypeAlias = Mapping[int, float | None]


@dataclass(frozen=True)
class TuningSettings:
    """How every method that has a search space is tuned."""

    trials: int = setting(0, "settings tried of each method on each data set, its own included (0: no tuning)", ge=0)
    eta: int = setting(3, "one in so many trials goes on to the next rung", ge=2, used_if=("trials",))
    seed: int = setting(0, "seed of the settings that are tried", ge=0, used_if=("trials",))
    fraction: float = setting(0.34, "share of the rounds that the first rung runs", gt=0, le=1, used_if=("trials",))


@dataclass(frozen=True)
class StudyTrial:
    """One run that a study asks for.

    Args:
        number: of the settings, 0 for the method's own.
        settings: "section.key" → value, what differs from the method's own.
        change: what to lay over the method's configuration.
    """

    number: int
    settings: Mapping[str, Any]
    change: Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """The tuning of one method on one data set.

    Args:
        dataset: its name; with the method's, the address of what is drawn.
        space: what may be chosen.
        rounds: of a full run, ≥ 0.
        seed: of the trials' runs; one that the comparison does not use.
        settings: of the tuning, with one trial at least.
    """

    dataset: str
    method: str
    space: Space
    rounds: int
    seed: int
    settings: TuningSettings

    @cached_property
    def rungs(self) -> tuple[int, ...]:
        """Rounds of every rung, ascending: fraction · ηʳ of all, all in the last."""
        last = round(math.log(1.0 / self.settings.fraction) / math.log(self.settings.eta))
        shares = [self.settings.fraction * self.settings.eta**rung for rung in range(last)]
        return tuple(sorted({*(max(1, round(share * self.rounds)) for share in shares if self.rounds), self.rounds}))

    @cached_property
    def proposed(self) -> tuple[dict[str, Any], ...]:
        """What every trial changes; nothing in the first. All are drawn before any has run."""
        rng = generator(self.settings.seed, f"tuning/{self.dataset}/{self.method}")
        return {}, *draw(self.space, self.settings.trials - 1, int(rng.integers(2**31)))

    def trials(self, found: Sequence[Scores]) -> list[StudyTrial]:
        """What to run next; nothing when the study is over.

        Args:
            found: scores of the rungs that are done, from the first.
        """
        if len(found) == len(self.rungs):
            return []
        run = {
            "run": {"rounds": self.rungs[len(found)], "seed": self.seed},
            "evaluation": {"phase": "validation", "every": 0},
        }
        kept = max(1, self.settings.trials // self.settings.eta ** len(found))
        numbers = sorted(_ranked(found[-1])[:kept]) if found else range(self.settings.trials)
        return [StudyTrial(n, self.proposed[n], merge(nested_table(self.proposed[n]), run)) for n in numbers]

    def chosen(self, found: Sequence[Scores]) -> dict[str, Any]:
        """The settings of the best trial of the last rung: "section.key" → value."""
        return self.proposed[_ranked(found[-1])[0]]

    def record(self, found: Sequence[Scores]) -> dict[str, Any]:
        """All that was tried and what was chosen, as plain data."""
        tried = [
            {"number": n, "settings": settings, "scores": [scores[n] for scores in found if n in scores]}
            for n, settings in enumerate(self.proposed)
        ]
        names = {"dataset": self.dataset, "method": self.method}
        return names | {"rounds": list(self.rungs), "trials": tried, "chosen": self.chosen(found)}


def _ranked(scores: Scores) -> list[int]:
    """Numbers of trials, the best first; failed ones last, and of equals the earlier first."""
    return sorted(scores, key=lambda n: (math.inf if (value := scores[n]) is None else -value, n))


def judge(rung: Mapping[int, Sequence[Row] | None], main: str = "") -> dict[int, float | None]:
    """Scores of a rung's trials.

    A trial under which fewer people could be judged than under another has failed: who answers with no numbers is not
    among its rows, and the mean over the others would speak for it.

    Args:
        rung: rows of metrics.parquet by number of the trial, each validated equally often; None for a run that failed.
        main: the metric that was chosen to decide; "": none was.
    """
    answers = {n: sum(row["phase"] == "validation" for row in rows or ()) for n, rows in rung.items()}
    most = max(answers.values())
    return {n: score(rows, main) if rows and answers[n] == most else None for n, rows in rung.items()}


def score(rows: Iterable[Row], main: str = "") -> float | None:
    """A trial's score: the merit of its last look at validation people (``metapulse.server.metatest.merit``).

    Args:
        rows: as in metrics.parquet.
        main: as for ``judge``.

    Returns:
        None where no person could be judged, or a mean is not finite.
    """
    asked = [row for row in rows if row["phase"] == "validation"]
    last = max((row["round"] for row in asked), default=0)
    return merit([row for row in asked if row["round"] == last], main)
