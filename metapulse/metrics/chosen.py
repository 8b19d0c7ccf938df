"""The metrics that a configuration or an instruction chose: checked, and computed for a stack of clients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch, Outputs, PerClient, stack_targets
from metapulse.errors import ConfigError
from metapulse.metrics.answers import Answers
from metapulse.metrics.own import OwnMetric, check_own, own_metric, own_scores
from metapulse.metrics.table import KEY, METRICS, check_task, is_own

LONGEST = 64  # characters of a name that a reply may have


def check_chosen(names: Sequence[str]) -> None:
    """Refuse what is no metric; nothing is imported.

    Raises:
        ConfigError: names what there is.
    """
    for name in names:
        if not is_own(name) and name not in METRICS:
            raise ConfigError(KEY, name, f"must be one of {', '.join(METRICS)}, or package.module:function")
        if len(name) > LONGEST:
            raise ConfigError(KEY, name, f"must have at most {LONGEST} characters")


def find_own(names: Sequence[str]) -> dict[str, OwnMetric]:
    """The user's own functions among them, imported.

    Raises:
        ConfigError: one cannot be imported, may not be imported here, or is no function.
    """
    return {name: own_metric(name) for name in names if is_own(name)}


def check_metrics(names: Sequence[str], task: Task) -> None:
    """Refuse metrics that are not for a task, and functions of the user's that give no number, before anything runs.

    Raises:
        ConfigError: names the metric and what is wrong with it.
    """
    for name in names:
        (check_own if is_own(name) else check_task)(name, task)


def check_fit(names: Sequence[str], task: Task) -> None:
    """Refuse what cannot be computed here of a task; a function of the user's is imported where it may be, not called.

    Raises:
        ConfigError: a metric is unknown or not for the task, or a function may not be imported.
    """
    check_chosen(names)
    find_own(names)
    for name in names:
        if not is_own(name):
            check_task(name, task)


def reads_values(names: Sequence[str], task: Task) -> bool:
    """Whether any of the metrics reads the values that targets stand for, where the source knows them."""
    return bool(task.value_unit) and any(is_own(name) or METRICS[name].needs for name in names)


class ChosenMetrics:
    """Chosen metrics of answers to one query.

    Args:
        names: of the metrics, which ``check_fit`` allows.
        task: what is predicted.
        query: what is asked.
        allowed: for classification, the classes a client may answer with; None: all.
        base: values that targets of 0 stand for; None: they are not read, or not known.
    """

    def __init__(
        self,
        names: Sequence[str],
        task: Task,
        query: Batch,
        allowed: Bool[Tensor, "clients classes"] | None,
        base: Outputs | None,
    ) -> None:
        self._ours = {name: of for name in names if not is_own(name) and (of := METRICS[name].of) is not None}
        self._own = find_own(names)
        self._task, self._query, self._allowed, self._base = task, query, allowed, base
        self.failures: dict[int, str] = {}  # places in the stack at which a function failed, and why

    def __call__(self, predictions: Outputs) -> dict[str, PerClient]:
        """One value per client for each metric that is not always reported."""
        query = self._query
        answers = Answers(self._task, predictions, query.y, query.mask, self._allowed, self._base)
        found = {name: of(answers) for name, of in self._ours.items()}
        for name, function in self._own.items():
            found[name], failed = own_scores(name, function, answers)
            self.failures = failed | self.failures
        return found


def choose(
    names: Sequence[str],
    task: Task,
    query: Batch,
    allowed: Bool[Tensor, "clients classes"] | None,
    bases: Sequence[Float32[np.ndarray, "_ outputs"]],
) -> ChosenMetrics | None:
    """The metrics of a query; None where none were chosen.

    Args:
        names, task, query, allowed: as for ``ChosenMetrics``.
        bases: of each client's query, in the order of the stack; none: they are not read.
    """
    base = stack_targets(bases).to(query.mask.device) if bases else None
    return ChosenMetrics(names, task, query, allowed, base) if names else None
