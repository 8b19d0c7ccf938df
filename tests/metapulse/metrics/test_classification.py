"""Metrics of classifiers against counting by hand, pair by pair and bin by bin."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from metapulse.data import Task
from metapulse.metrics.answers import Answers
from metapulse.metrics.classification import BINS, auroc, calibration_error, macro_f1
from metapulse.rng import generator

COUNTS = (30, 7, 1)


def answers(logits: Tensor, labels: Tensor, counts: tuple[int, ...] = (), allowed: Tensor | None = None) -> Answers:
    """Of a stack whose clients have so many samples, all where nothing is said."""
    clients, samples, classes = logits.shape
    real = torch.tensor(counts or [samples] * clients)
    mask = (torch.arange(samples) < real.unsqueeze(1)).to(logits)
    return Answers(Task("classification", (1,), classes), logits, labels, mask, allowed)


def drawn(classes: int, seed: int, allowed: Tensor | None = None) -> Answers:
    rng = generator(seed, "answers")
    logits = torch.from_numpy(rng.normal(size=(3, 30, classes)).round(1)).float()  # ties are common
    labels = torch.from_numpy(rng.integers(classes, size=(3, 30)))
    return answers(logits, labels, COUNTS, allowed)


def clients(stack: Answers) -> list[tuple[np.ndarray, np.ndarray]]:
    """Probabilities and labels of the real samples, client by client."""
    probabilities = stack.probabilities.double()  # in the stack's precision: else other answers would tie
    return [
        (p[m > 0].numpy(), y[m > 0].numpy()) for p, y, m in zip(probabilities, stack.labels, stack.mask, strict=True)
    ]


def f1_by_counting(p: np.ndarray, y: np.ndarray) -> float:
    guess, found = p.argmax(1), []
    for k in sorted(set(y) | set(guess)):
        right = ((guess == k) & (y == k)).sum()
        precision = right / max((guess == k).sum(), 1)
        recall = right / max((y == k).sum(), 1)
        found.append(2 * precision * recall / (precision + recall) if right else 0.0)
    return float(np.mean(found))


def area_by_pairs(p: np.ndarray, y: np.ndarray) -> float:
    areas = []
    for k in set(y):
        pairs = list(itertools.product(p[y == k, k], p[y != k, k]))
        if pairs:
            areas.append(np.mean([float(a > b) + 0.5 * float(a == b) for a, b in pairs]))
    return float(np.mean(areas)) if areas else math.nan


def error_by_bins(p: np.ndarray, y: np.ndarray) -> float:
    confidence, right, total = p.max(1), p.argmax(1) == y, 0.0
    for b in range(BINS):
        inside = (confidence > b / BINS) & (confidence <= (b + 1) / BINS)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.parametrize(
    ("metric", "reference"), [(macro_f1, f1_by_counting), (auroc, area_by_pairs), (calibration_error, error_by_bins)]
)
@given(classes=st.integers(2, 5), seed=st.integers(0, 10_000), fewer=st.booleans())
def test_a_stack_gives_what_counting_gives_for_each_client(metric, reference, classes, seed, fewer):
    allowed = torch.arange(classes).expand(3, -1) >= torch.tensor([[0], [1], [0]]) if fewer else None
    stack = drawn(classes, seed, allowed)
    expected = [reference(p, y) for p, y in clients(stack)]
    np.testing.assert_allclose(metric(stack).numpy(), expected, atol=2e-6)


def test_of_two_classes_the_area_is_the_ordinary_one():
    """Hanley and McNeil's: scores .9 .8 .4 of the ill and .7 .4 .2 of the well have 7.5 of 9 pairs in order."""
    scores = torch.tensor([0.9, 0.8, 0.4, 0.7, 0.4, 0.2], dtype=torch.float64)
    logits = torch.stack([(1 - scores).log(), scores.log()], 1).unsqueeze(0)
    found = auroc(answers(logits, torch.tensor([[1, 1, 1, 0, 0, 0]])))
    assert found.item() == pytest.approx(7.5 / 9)


def test_of_one_class_there_is_no_area_neither_one_nor_a_half():
    logits = torch.tensor([[[3.0, 0.0], [2.0, 0.0], [0.0, 1.0]]]).expand(3, 3, 2)
    labels = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 1, 1]])
    found = auroc(answers(logits, labels, (3, 3, 1)))
    assert found.isnan().tolist() == [True, False, True]  # the other class of the third is masked
    assert auroc(answers(logits, labels, (0, 0, 0))).isnan().all()


def test_a_class_that_is_only_answered_counts_as_zero_in_the_mean_of_f1():
    """Labels 0 0 1, answers 0 2 1: F1 is 2/3, 1, 0."""
    logits = 5.0 * torch.nn.functional.one_hot(torch.tensor([[0, 2, 1]]), 4).float()
    assert macro_f1(answers(logits, torch.tensor([[0, 0, 1]]))).item() == pytest.approx(5 / 9)
    assert macro_f1(answers(logits, torch.tensor([[0, 0, 1]]), (0,))).item() == 0.0


def test_who_is_right_as_often_as_sure_is_calibrated():
    """Four answers of confidence 3/4, three of them right: no error; all of them right: a quarter."""
    logits = torch.tensor([[math.log(3.0), 0.0]]).expand(2, 4, 2)
    labels = torch.tensor([[0, 0, 0, 1], [0, 0, 0, 0]])
    torch.testing.assert_close(calibration_error(answers(logits, labels)), torch.tensor([0.0, 0.25]))


def test_an_answer_is_among_the_classes_that_are_offered():
    """The best logit is of a class without support: it is neither answered nor part of the confidence."""
    logits = torch.tensor([[[9.0, 1.0, 0.0], [9.0, 0.0, 1.0]]])
    offered = answers(logits, torch.tensor([[1, 2]]), (), torch.tensor([[False, True, True]]))
    assert macro_f1(offered).item() == auroc(offered).item() == 1.0
    assert offered.probabilities[0, 0].tolist() == pytest.approx([0.0, 1 / (1 + math.exp(-1)), 1 / (1 + math.e)])
