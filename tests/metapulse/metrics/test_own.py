"""Functions of the user's own: what they get, and what is refused of them before anything runs."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch

from metapulse.data import Task
from metapulse.errors import ConfigError
from metapulse.metrics.answers import Answers
from metapulse.metrics.chosen import check_chosen, check_fit, check_metrics
from metapulse.metrics.own import made_up, own_scores
from metapulse.metrics.table import is_share, larger_is_better, may_be_undefined
from metapulse.registry import only

CLASSES = Task("classification", (2,), 3, ("a", "b", "c"))
CURVES = Task("regression", (2,), 1)
GLUCOSE = Task("regression", (2,), 1, (), "50 mg/dL", (), 50.0, "mg/dL")
PLACE = __name__


def right_share(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Accuracy, by hand."""
    assert predictions.dtype == np.float64
    np.testing.assert_allclose(predictions.sum(1), 1.0, atol=1e-6)
    return float((predictions.argmax(1) == targets).mean())


def hypo_found(predictions: np.ndarray, targets: np.ndarray) -> float:
    """Sensitivity to values below 70; not defined where there is none."""
    low = targets < 70
    return float((predictions[low] < 70).mean()) if low.any() else math.nan


def fails(predictions, targets):
    return 1 / 0


def words(predictions, targets):
    return "much"


def several(predictions, targets):
    return targets[:2]


def endless(predictions, targets):
    return np.float32(np.inf)


def nothing(predictions, targets):
    return math.nan


def torch_scalar(predictions, targets):
    return torch.tensor(0.5)


NO_FUNCTION = 3
SHAPES = "on a test value (predictions of shape (25, 3), targets of shape (25,))"
REFUSED = {
    "macro_f2": "must be one of loss, accuracy, balanced_accuracy, macro_f1, auroc, ece, mse",
    "mine:": "expected a dotted reference like package.module:Name",
    "no_such_module_here:f": "cannot be imported (No module named 'no_such_module_here'; it is looked for",
    f"{PLACE}:absent": "cannot be imported (module",
    f"{PLACE}:NO_FUNCTION": "is int; must be a function of (predictions, targets)",
    "metapulse.data:Task": "is a class; must be a function of (predictions, targets)",
    f"{PLACE}:fails": f"raises ZeroDivisionError: division by zero {SHAPES}",
    f"{PLACE}:words": f"returns str, not one number {SHAPES}",
    f"{PLACE}:several": f"returns ndarray of shape (2,), not one number {SHAPES}",
    f"{PLACE}:endless": f"is inf {SHAPES}; must be finite",
    f"{PLACE}:nothing": f"is nan {SHAPES}; must be finite",
    f"{PLACE}:{'f' * 64}": "must have at most 64 characters",
    "mse": "is for regression; the source's task is classification",
    "mard": "is for regression; the source's task is classification",
}


def check(*names: str, task: Task) -> None:
    """As a configuration and then a run do."""
    check_chosen(names)
    check_metrics(names, task)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_metric_is_refused_in_one_line(name):
    with pytest.raises(ConfigError, match=rf"^evaluation.metrics = '{name}': {re.escape(REFUSED[name])}") as caught:
        check(name, task=CLASSES)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["right_share", "torch_scalar"])
def test_a_function_that_gives_one_number_is_a_metric(name):
    check("macro_f1", f"{PLACE}:{name}", task=CLASSES)


def test_a_forecast_metric_is_tried_on_values_from_small_to_large():
    check(f"{PLACE}:hypo_found", task=GLUCOSE)
    predicted, true = made_up(GLUCOSE)
    assert (true.min(), true.max()) == pytest.approx((1.0, 1000.0))
    assert predicted.shape == true.shape == (25,)
    assert made_up(Task("regression", (2,), 3))[0].shape == (25, 3)
    assert set(made_up(CLASSES)[1]) == {0, 1, 2}


@pytest.mark.parametrize(
    ("name", "task", "words"),
    [
        ("auroc", CURVES, "is for classification; the source's task is regression"),
        ("mard", CURVES, "needs the values that targets stand for, with their unit; this source has none"),
        ("clarke_a", CURVES, "needs the values that targets stand for, with their unit; this source has none"),
        (
            "parkes_ab",
            Task("regression", (2,), 1, value_unit="/min"),
            "is for glucose in mg/dL or mmol/L; the source's values are '/min'",
        ),
    ],
)
def test_a_metric_is_for_a_kind_of_task(name, task, words):
    for refuse in (check_metrics, check_fit):
        with pytest.raises(ConfigError) as caught:
            refuse([name], task)
        assert str(caught.value) == f"evaluation.metrics = {name!r}: {words}"


def test_where_it_may_not_be_imported_a_function_is_refused_and_not_called():
    name = f"{PLACE}:right_share"
    with only(()), pytest.raises(ConfigError, match=r"this device's own configuration does not allow it \(key allow\)"):
        check_fit([name], CLASSES)
    with only((name,)):
        check_fit([name, "macro_f1"], CLASSES)


def test_a_function_gets_each_clients_real_samples_as_probabilities_and_labels():
    logits = torch.tensor([[[2.0, 1.0, 0.0], [0.0, 3.0, 1.0]], [[0.0, 0.0, 1.0], [9.0, 9.0, 9.0]]])
    labels, mask = torch.tensor([[0, 2], [2, 0]]), torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    found, failures = own_scores("right", right_share, Answers(CLASSES, logits, labels, mask))
    assert found.tolist() == [0.5, 1.0]
    assert failures == {}


def test_a_forecast_metric_gets_values_and_without_them_targets():
    y = torch.tensor([[[0.0], [1.0]], [[-1.0], [0.0]]])
    base, mask = torch.full_like(y, 100.0), torch.ones(2, 2)
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def keeps(predictions: np.ndarray, targets: np.ndarray) -> float:
        seen.append((predictions, targets))
        return hypo_found(predictions, targets)

    found, _ = own_scores("mine:keeps", keeps, Answers(GLUCOSE, y - 0.5, y, mask, None, base))
    assert [t.tolist() for _, t in seen] == [[100.0, 150.0], [50.0, 100.0]]
    assert [p.tolist() for p, _ in seen] == [[75.0, 125.0], [25.0, 75.0]]
    assert (found[0].isnan().item(), found[1].item()) == (True, 1.0)  # not defined where no value is low
    seen.clear()
    own_scores("mine:keeps", keeps, Answers(CURVES, y - 0.5, y, mask))
    assert [t.tolist() for _, t in seen] == [[0.0, 1.0], [-1.0, 0.0]]


def test_on_whom_a_function_fails_is_told_with_the_reason():
    def picky(predictions: np.ndarray, targets: np.ndarray) -> float:
        if len(targets) < 2:
            raise ValueError("too\nfew")
        return 1.0

    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    found, failures = own_scores("mine:picky", picky, Answers(CURVES, torch.zeros(2, 2, 1), torch.zeros(2, 2, 1), mask))
    assert (found[0].item(), found[1].isnan().item()) == (1.0, True)
    assert failures == {1: "evaluation.metrics = 'mine:picky': raises ValueError: too few"}


def test_which_way_is_better_is_known_by_the_name():
    better = ["accuracy", "balanced_accuracy", "macro_f1", "auroc", "clarke_a", "clarke_ab", "parkes_a", "parkes_ab"]
    worse = ["loss", "ece", "mse", "mae", "rmse", "mard", "offered", "backdoor success"]
    assert [larger_is_better(name) for name in (*better, *worse)] == [True] * len(better) + [False] * len(worse)
    assert [is_share(name) for name in better] == [True] * len(better)
    assert (larger_is_better("mine:f"), is_share("mine:f"), may_be_undefined("mine:f")) == (True, False, True)
    assert [name for name in (*better, *worse) if may_be_undefined(name)] == ["auroc", "mard"]
