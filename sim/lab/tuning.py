"""Fair tuning: the same number of trials for every method, more for the reference, judged by validation people alone.

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
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from metapulse.rng import generator
from metapulse.server.config import merge
from metapulse.server.merit import best_steps
from metapulse.server.metatest import Row
from metapulse.settings import setting
from metapulse.sim.lab.space import Space, draw, nested_table

#: Scores of a rung by number of the trial: the larger the better; None for a trial that failed.
Scores: TypeAlias = Mapping[int, float | None]


@dataclass(frozen=True)
class TuningSettings:
    """How every method that has a search space is tuned."""

    trials: int = setting(0, "settings tried of each method on each data set, its own included (0: no tuning)", ge=0)
    reference_trials: int = setting(
        2, "times as many for the reference, so that it is no easy one to beat", ge=1, used_if=("trials",)
    )
    seeds: int = setting(3, "training runs of every trial, each with a seed of its own", ge=1, used_if=("trials",))
    shared: bool = setting(
        True, "what one method may try of a setting, others of its kind may too", used_if=("trials",)
    )
    eta: int = setting(3, "one in so many trials goes on to the next rung", ge=2, used_if=("trials",))
    seed: int = setting(0, "seed of the settings that are tried", ge=0, used_if=("trials",))
    fraction: float = setting(0.34, "share of the rounds that the first rung runs", gt=0, le=1, used_if=("trials",))


@dataclass(frozen=True)
class TrialScore:
    """What a trial's runs scored in a rung; the larger the better.

    Args:
        value: mean over scenarios and shots of each one's best step, by the people of all seeds; None: it failed.
        by_seed: the same of each seed alone, at the steps that are best for all of them together.
        steps: "scenario/shots" → the best step.
    """

    value: float | None
    by_seed: tuple[float, ...] = ()
    steps: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyTrial:
    """One run that a study asks for.

    Args:
        number: of the settings, 0 for the method's own.
        settings: "section.key" → value, what differs from the method's own.
        change: what to lay over the method's configuration, for each of the study's seeds.
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
        seeds: of a trial's runs; the comparison uses none of them.
        settings: of the tuning, with one trial at least.
        untouched: settings that the method leaves alone while others of the same kind tune them.
    """

    dataset: str
    method: str
    space: Space
    rounds: int
    seeds: tuple[int, ...]
    settings: TuningSettings
    untouched: tuple[str, ...] = ()

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
            "run": {"rounds": self.rungs[len(found)]},
            "evaluation": {"phase": "validation", "every": 0},
        }
        kept = max(1, self.settings.trials // self.settings.eta ** len(found))
        numbers = sorted(_ranked(found[-1])[:kept]) if found else range(self.settings.trials)
        return [StudyTrial(n, self.proposed[n], merge(nested_table(self.proposed[n]), run)) for n in numbers]

    def chosen(self, found: Sequence[Scores]) -> dict[str, Any]:
        """The settings of the best trial of the last rung: "section.key" → value."""
        return self.proposed[_ranked(found[-1])[0]]

    def record(self, told: Sequence[Mapping[int, TrialScore]]) -> dict[str, Any]:
        """All that was tried and what was chosen, as plain data.

        Args:
            told: scores of all rungs.
        """
        tried = [
            {
                "number": n,
                "settings": settings,
                "scores": [rung[n].value for rung in told if n in rung],
                "by_seed": [list(rung[n].by_seed) for rung in told if n in rung],
            }
            for n, settings in enumerate(self.proposed)
        ]
        best = _ranked(plain_scores(told[-1]))[0]
        return {
            "dataset": self.dataset,
            "method": self.method,
            "rounds": list(self.rungs),
            "seeds": list(self.seeds),
            "trials": tried,
            "chosen": self.proposed[best],
            "steps": dict(told[-1][best].steps),
            "untouched": list(self.untouched),
        }


def plain_scores(rung: Mapping[int, TrialScore]) -> dict[int, float | None]:
    """The scores of a rung alone."""
    return {n: score.value for n, score in rung.items()}


def _ranked(scores: Scores) -> list[int]:
    """Numbers of trials, the best first; failed ones last, and of equals the earlier first."""
    return sorted(scores, key=lambda n: (math.inf if (value := scores[n]) is None else -value, n))


def judge(rung: Mapping[int, Sequence[Sequence[Row] | None]], main: str = "") -> dict[int, TrialScore]:
    """Scores of a rung's trials.

    A trial under which fewer people could be judged than under another has failed: who answers with no numbers is not
    among its rows, and the mean over the others would speak for it. One that failed with one seed has failed.

    Args:
        rung: by number of the trial, rows of metrics.parquet of each of its runs, the first seed first, each validated
            equally often; None for a run that failed.
        main: the metric that was chosen to decide; "": none was.
    """
    looks = {n: [_last_look(rows) for rows in runs] for n, runs in rung.items()}
    answers = {n: sum(map(len, runs)) for n, runs in looks.items()}
    most = max(answers.values())
    failed = TrialScore(None)
    return {n: score(runs, main) if all(runs) and answers[n] == most else failed for n, runs in looks.items()}


def _last_look(rows: Iterable[Row] | None) -> list[Row]:
    asked = [row for row in rows or () if row["phase"] == "validation"]
    last = max((row["round"] for row in asked), default=0)
    return [row for row in asked if row["round"] == last]


def score(runs: Sequence[Sequence[Row]], main: str = "") -> TrialScore:
    """A trial's score: by its last looks at validation people, those of all seeds taken together.

    A step that is best for one seed by luck is not chosen for it alone: one step serves all, as in the comparison.

    Args:
        runs: rows as in metrics.parquet, of each seed; the last look decides.
        main: as for ``judge``.

    Returns:
        Without a value where no person could be judged, or a mean is not finite.
    """
    runs = [_last_look(rows) for rows in runs]
    best = best_steps([row for rows in runs for row in rows], main)
    found = [value for _, value in best.values()]
    mean = sum(found) / len(found) if found else math.nan
    if not math.isfinite(mean):
        return TrialScore(None)
    kept = [
        [row for row in rows if row["step"] == best.get((row["scenario"], row["shots"]), (None,))[0]] for rows in runs
    ]
    each = [[value for _, value in best_steps(rows, main).values()] for rows in kept]
    by_seed = tuple(sum(one) / len(one) for one in each if one)
    return TrialScore(mean, by_seed, {f"{scenario}/{shots}": step for (scenario, shots), (step, _) in best.items()})
