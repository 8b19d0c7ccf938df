"""Every metric by name: what it is for, whether more of it is better, and whether some people have none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from metapulse.data import Task
from metapulse.episodes import PerClient
from metapulse.errors import ConfigError
from metapulse.metrics.answers import Answers
from metapulse.metrics.classification import auroc, calibration_error, macro_f1
from metapulse.metrics.forecasts import mean_absolute_relative_difference, root_mean_squared_error
from metapulse.metrics.grids import clarke_zones, mg_dl, parkes_zones, share_within

KEY = "evaluation.metrics"
#: What a metric needs to know: nothing more than targets, what values they stand for, or these in a unit of glucose.
Needs: TypeAlias = Literal["", "values", "glucose"]


@dataclass(frozen=True)
class Metric:
    """One of our metrics.

    Args:
        kind: of tasks that it is for.
        of: computes it; None: every run reports it (``metapulse.losses.task_metrics``).
        direction: "share", a number in [0, 1] of which more is better; or "error", ≥ 0, of which less is better.
        needs: what it has to know of the targets.
        undefined: whether it is not defined (NaN) for some clients.
    """

    kind: Literal["classification", "regression"]
    of: Callable[[Answers], PerClient] | None
    direction: Literal["share", "error"]
    needs: Needs = ""
    undefined: bool = False


METRICS: dict[str, Metric] = {
    "loss": Metric("classification", None, "error"),
    "accuracy": Metric("classification", None, "share"),
    "balanced_accuracy": Metric("classification", None, "share"),
    "macro_f1": Metric("classification", macro_f1, "share"),
    "auroc": Metric("classification", auroc, "share", undefined=True),
    "ece": Metric("classification", calibration_error, "error"),
    "mse": Metric("regression", None, "error"),
    "mae": Metric("regression", None, "error"),
    "rmse": Metric("regression", root_mean_squared_error, "error"),
    "mard": Metric("regression", mean_absolute_relative_difference, "error", "values", True),
    "clarke_a": Metric("regression", share_within(clarke_zones, 0), "share", "glucose"),
    "clarke_ab": Metric("regression", share_within(clarke_zones, 1), "share", "glucose"),
    "parkes_a": Metric("regression", share_within(parkes_zones, 0), "share", "glucose"),
    "parkes_ab": Metric("regression", share_within(parkes_zones, 1), "share", "glucose"),
}


def is_own(metric: str) -> bool:
    """Whether a metric is a function of the user's, named as package.module:function."""
    return ":" in metric


def is_share(metric: str) -> bool:
    """Whether a metric lies in [0, 1] and more of it is better."""
    return metric in METRICS and METRICS[metric].direction == "share"


def larger_is_better(metric: str) -> bool:
    """Whether more of a metric is better: of shares, and of every function of the user's; less of all else."""
    return is_share(metric) or is_own(metric)


def may_be_undefined(metric: str) -> bool:
    """Whether NaN says that a metric is not defined for a client, and not that its numbers overflowed."""
    return is_own(metric) or (metric in METRICS and METRICS[metric].undefined)


def check_task(name: str, task: Task) -> None:
    """Refuse one of our metrics that is not for a task.

    Raises:
        ConfigError: it is for another kind of task, or needs to know what values the targets stand for.
    """
    metric = METRICS[name]
    if metric.kind != task.kind:
        raise ConfigError(KEY, name, f"is for {metric.kind}; the source's task is {task.kind}")
    if metric.needs and not task.value_unit:
        raise ConfigError(KEY, name, "needs the values that targets stand for, with their unit; this source has none")
    if metric.needs == "glucose" and not mg_dl(task.value_unit):
        raise ConfigError(KEY, name, f"is for glucose in mg/dL or mmol/L; the source's values are {task.value_unit!r}")
