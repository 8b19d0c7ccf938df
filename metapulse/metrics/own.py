"""A metric of the user's own: a function (predictions, targets) → one number a person, of which more is better."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import PerClient
from metapulse.errors import ConfigError, DataError
from metapulse.metrics.answers import Answers
from metapulse.metrics.table import KEY
from metapulse.registry import resolve

#: Probabilities (n, classes) and labels (n,); or predicted and true values, (n,) or (n, outputs). Arrays of NumPy.
OwnMetric: TypeAlias = Callable[[np.ndarray, np.ndarray], Any]

TRIED = 25  # predictions of the test value


def own_metric(name: str) -> OwnMetric:
    """The function of that name, where it may be imported.

    Raises:
        ConfigError: it cannot be imported, may not be, or is no function.
    """
    found = resolve(name, KEY)
    if isinstance(found, type) or not callable(found):  # a class that may be imported for another purpose is not called
        what = "a class" if isinstance(found, type) else type(found).__name__
        raise ConfigError(KEY, name, f"is {what}; must be a function of (predictions, targets)")
    function: OwnMetric = found
    return function


def check_own(name: str, task: Task) -> None:
    """Call a function with a test value: every class, or values from small to large, some answered wrong.

    Raises:
        ConfigError: it raises, or returns something else than one finite number.
    """
    given = f"on a test value ({_shown(*made_up(task))})"
    try:
        value = _number(own_metric(name), *made_up(task))
    except DataError as error:
        raise ConfigError(KEY, name, f"{error} {given}") from None
    if not np.isfinite(value):
        raise ConfigError(KEY, name, f"is {value} {given}; must be finite")


def made_up(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and targets of nobody, as a function of the user's gets them."""
    turn = np.arange(max(TRIED, 4 * task.outputs))
    if task.kind == "classification":
        labels = turn % task.outputs
        guesses = np.where(turn % 4 == 3, (labels + 1) % task.outputs, labels)
        return 0.7 * np.eye(task.outputs)[guesses] + 0.3 / task.outputs, labels
    side = np.where(turn % 2 == 0, -1.0, 1.0)
    if task.value_unit:
        true = np.geomspace(1.0, 1000.0, len(turn))
        predicted = true * (1.0 + 0.25 * side)
    else:
        true = np.linspace(-3.0, 3.0, len(turn))
        predicted = true + 0.5 * side
    columns = np.ones(task.outputs)
    return _plain(np.outer(predicted, columns)), _plain(np.outer(true, columns))


def own_scores(name: str, function: OwnMetric, answers: Answers) -> tuple[PerClient, dict[int, str]]:
    """A function's number for each client of a stack, NaN where it failed; and the places where it failed, and why.

    NaN is for a person for whom the metric is not defined.
    """
    found, failures = [], {}
    for place, real in enumerate(answers.mask > 0):
        try:
            found.append(_number(function, *_arrays(answers, place, real)))
        except DataError as error:
            found.append(float("nan"))
            failures[place] = f"{KEY} = {name!r}: {error}"
    return answers.mask.new_tensor(found), failures


def _arrays(answers: Answers, place: int, real: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """One client's real samples."""
    if answers.task.kind == "classification":
        return _array(answers.probabilities[place][real]), answers.labels[place][real].cpu().numpy()
    return _plain(_array(answers.predicted[place][real])), _plain(_array(answers.true[place][real]))


def _array(values: Tensor) -> np.ndarray:
    found: np.ndarray = values.detach().double().cpu().numpy()
    return found


def _plain(values: np.ndarray) -> np.ndarray:
    """(n,) where there is one output."""
    return values[:, 0] if values.shape[1] == 1 else values


def _number(function: OwnMetric, predictions: np.ndarray, targets: np.ndarray) -> float:
    """What a function returns, as a number.

    Raises:
        DataError: it raises, or returns no number.
    """
    try:
        value = function(predictions, targets)
    except Exception as error:
        raise DataError(f"raises {type(error).__name__}: {' '.join(str(error).split())[:200]}") from None
    if isinstance(value, (np.ndarray, Tensor)) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, Real):
        shape = f" of shape {tuple(value.shape)}" if isinstance(value, (np.ndarray, Tensor)) else ""
        raise DataError(f"returns {type(value).__name__}{shape}, not one number")
    return float(value)


def _shown(predictions: np.ndarray, targets: np.ndarray) -> str:
    return f"predictions of shape {predictions.shape}, targets of shape {targets.shape}"
