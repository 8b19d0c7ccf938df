"""Losses and metrics against torch and against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from metapulse.data import Task
from metapulse.losses import balanced_accuracy, cross_entropy, masked_mean, squared_error, task_loss, task_metrics
from metapulse.rng import generator
from tests.cases import batch, classification, regression

COUNTS = (5, 1, 3)


def logits(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(generator(3, "logits").standard_normal(shape))


def test_cross_entropy_is_torchs_over_the_real_samples() -> None:
    part, z = batch(classification(2), COUNTS, dtype=torch.float64), logits((3, 5, 3))
    expected = [F.cross_entropy(z[i, :n], part.y[i, :n]) for i, n in enumerate(COUNTS)]
    torch.testing.assert_close(cross_entropy(z, part.y, part.mask), torch.stack(expected))
    assert torch.equal(task_loss(classification(2), z, part.y, part.mask), cross_entropy(z, part.y, part.mask))


def test_squared_error_is_torchs_over_the_real_samples() -> None:
    part, guess = batch(regression(2), COUNTS, dtype=torch.float64), logits((3, 5, 2))
    expected = [F.mse_loss(guess[i, :n], part.y[i, :n]) for i, n in enumerate(COUNTS)]
    torch.testing.assert_close(squared_error(guess, part.y, part.mask), torch.stack(expected))
    assert torch.equal(task_loss(regression(2), guess, part.y, part.mask), squared_error(guess, part.y, part.mask))
    metrics = task_metrics(regression(2), guess, part.y, part.mask)
    assert set(metrics) == {"mse", "mae"}
    mae = [F.l1_loss(guess[i, :n], part.y[i, :n]) for i, n in enumerate(COUNTS)]
    torch.testing.assert_close(metrics["mae"], torch.stack(mae))
    torch.testing.assert_close(metrics["mse"], torch.stack(expected))


def test_huge_logits_stay_finite() -> None:
    z = torch.tensor([[[1e4, -1e4, 0.0]]])
    loss = cross_entropy(z, torch.tensor([[1]]), torch.ones(1, 1))
    assert loss.item() == pytest.approx(2e4)


def test_a_client_without_samples_has_mean_zero() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert masked_mean(values, torch.tensor([[0.0, 0.0], [1.0, 0.0]])).tolist() == [0.0, 3.0]
    assert masked_mean(torch.zeros(2, 0), torch.zeros(2, 0)).tolist() == [0.0, 0.0]


def recall_by_counting(guesses: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([(guesses[labels == c] == c).mean() for c in np.unique(labels)]))


def test_accuracies_are_those_one_counts() -> None:
    part = batch(classification(2), (40, 7, 1), dtype=torch.float64)
    z = logits((3, 40, 3))
    metrics = task_metrics(classification(2), z, part.y, part.mask)
    for i, n in enumerate((40, 7, 1)):
        guesses, labels = z[i, :n].argmax(1).numpy(), part.y[i, :n].numpy()
        assert metrics["accuracy"][i].item() == pytest.approx((guesses == labels).mean())
        assert metrics["balanced_accuracy"][i].item() == pytest.approx(recall_by_counting(guesses, labels))
    torch.testing.assert_close(metrics["loss"], cross_entropy(z, part.y, part.mask))


def test_balanced_accuracy_of_a_constant_guess_is_one_over_the_classes_present() -> None:
    labels = torch.tensor([[0, 0, 0, 0, 0, 0, 0, 0, 1, 2], [0, 0, 0, 0, 0, 1, 1, 1, 1, 1], [2] * 10])
    guesses = torch.zeros(3, 10, dtype=torch.int64)
    found = balanced_accuracy(guesses, labels, torch.ones(3, 10), 5)
    assert found.tolist() == pytest.approx([1 / 3, 1 / 2, 0.0])
    assert balanced_accuracy(guesses, labels, torch.zeros(3, 10), 5).tolist() == [0.0, 0.0, 0.0]


def test_answers_are_restricted_to_a_clients_own_classes() -> None:
    """The best logit is class 0 everywhere; the second client may only say 1 or 2 and then answers 2."""
    z = torch.tensor([3.0, 1.0, 2.0]).expand(2, 4, 3)
    labels = torch.tensor([[0, 0, 0, 0], [2, 2, 2, 1]])
    allowed = torch.tensor([[True, True, True], [False, True, True]])
    metrics = task_metrics(classification(2), z, labels, torch.ones(2, 4), allowed)
    assert metrics["accuracy"].tolist() == [1.0, 0.75]
    assert metrics["balanced_accuracy"].tolist() == [1.0, 0.5]
    free = task_metrics(classification(2), z, labels, torch.ones(2, 4))
    assert free["accuracy"].tolist() == [1.0, 0.0]
    assert torch.equal(free["loss"], metrics["loss"])  # the loss is of the model's own distribution


def test_a_shape_that_is_not_a_stack_is_refused() -> None:
    """Targets (clients, samples) against predictions (clients, samples, 1) would broadcast to a square silently."""
    task = Task("regression", (1,), 1)
    with pytest.raises(TypeError, match="squared_error"):
        task_loss(task, torch.zeros(2, 3, 1), torch.zeros(2, 3), torch.ones(2, 3))
