"""The list of checks with their test problems, and all of them for one learner."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from metapulse.models.base import Model
from metapulse.sim.conformance import learners, stacks
from metapulse.sim.conformance.learners import LearnerUnderTest, RefusalError
from metapulse.sim.conformance.worlds import MODELS

Check = Callable[[LearnerUnderTest, Model], None]
HOME = ()  # only the subject's own kind of task
ALL, BOTH = tuple(MODELS), ("mlp-tanh", "mlp-regression")
CHECKS: dict[Check, tuple[str, ...]] = {
    learners.update_has_the_shape_of_theta: ALL,
    learners.adapt_reads_the_path: ALL,
    learners.path_begins_where_it_is_told: HOME,
    learners.variances_go_with_the_answers: BOTH,
    learners.small_steps_descend_the_support_loss: BOTH,
    learners.same_inputs_same_bits: ALL,
    learners.no_steps_learn_nothing_locally: HOME,
    learners.clients_without_support_do_not_move: HOME,
    learners.update_descends: HOME,
    learners.theta_has_an_address: HOME,
    learners.settings_and_paper_are_documented: HOME,
    stacks.neither_padding_nor_company_changes_a_client: BOTH,
    stacks.a_device_keeps_all_that_it_remembers: ("mlp-tanh", "encoder1d"),
    stacks.what_a_device_keeps_matters: ("encoder1d",),
    stacks.a_sum_is_that_of_the_updates: (*BOTH, "cnn1d"),
    stacks.runs_side_by_side_are_runs_alone: (*BOTH, "cnn1d"),
}


@dataclass(frozen=True)
class Verdict:
    """How one check ended.

    Args:
        check: its name, in words.
        problem: what is wrong, in one line; "" where nothing is.
        refused: the learner is not for this model, and says so, or the law is not about such a learner.
    """

    check: str
    model: str
    problem: str = ""
    refused: bool = False


def check_places() -> Iterator[tuple[Check, str]]:
    """Every check with every model it runs on; "" is the learner's own kind of task."""
    for check, models in CHECKS.items():
        for model in models or ("",):
            yield check, model


def run_check(check: Check, subject: LearnerUnderTest, model: str) -> None:
    """One check.

    Raises:
        AssertionError: the law does not hold.
        RefusalError: the learner is not for this model, or the law not about it.
    """
    check(subject, MODELS[model] if model else subject.home)


def examine(subject: LearnerUnderTest) -> Iterator[Verdict]:
    """All checks of one learner, whatever it raises."""
    for check, model in check_places():
        words = check.__name__.replace("_", " ")
        try:
            run_check(check, subject, model)
        except RefusalError as refusal:
            yield Verdict(words, model, str(refusal), refused=True)
        except Exception as error:
            yield Verdict(words, model, f"{type(error).__name__}: {_one_line(error)}")
        else:
            yield Verdict(words, model)


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()
