"""A head kept as sums is the belief of gaussian_head.py, for singular priors and after thousands of steps."""

from __future__ import annotations

import pytest
import torch

from metapulse.gaussian_head import GaussianHead, condition, forget, observe, predictive
from metapulse.personal.online import absorb, as_belief, ask, coordinates, loosen, of_belief, unseen


def prior(clients=2, width=6, outputs=2, rank=6, seed=0):
    draw = torch.Generator().manual_seed(seed)
    root = torch.randn(clients, width, rank, generator=draw, dtype=torch.float64)
    mean = torch.randn(clients, width, outputs, generator=draw, dtype=torch.float64)
    return GaussianHead(mean, root @ root.transpose(1, 2), torch.full((clients, outputs), 0.3, dtype=torch.float64))


def samples(n, like, seed=1):
    clients, width, outputs = like.mean.shape
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, clients, width, generator=draw, dtype=torch.float64)
    return x, torch.randn(n, clients, outputs, generator=draw, dtype=torch.float64)


def same(one, other, tolerance):
    torch.testing.assert_close(one.mean, other.mean, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(one.covariance, other.covariance, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rank", [6, 3])
def test_a_step_is_observe_and_a_question_is_predictive(rank):
    belief = start = prior(rank=rank)
    at = coordinates(start)
    head = unseen(at)
    assert head.precision.shape[1] == rank
    same(as_belief(at, head), start, 1e-9)
    for x, y in zip(*samples(40, start), strict=True):
        mean, variance = ask(at, head, x)
        expected = predictive(belief, x[:, None])
        torch.testing.assert_close((mean, variance), (expected[0][:, 0], expected[1][:, 0]), rtol=1e-8, atol=1e-8)
        head, belief = absorb(at, head, x, y), observe(belief, x, y)
    same(as_belief(at, head), belief, 1e-8)
    again = of_belief(at, belief)
    torch.testing.assert_close(again.precision, head.precision, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(again.moment, head.moment, rtol=1e-6, atol=1e-6)


def test_loosening_is_forgetting_and_a_weight_is_a_mask():
    start = prior()
    at, head, belief = coordinates(start), unseen(coordinates(start)), start
    for x, y in zip(*samples(30, start), strict=True):
        head = absorb(at, loosen(head, 0.9), x, y, 0.25)
        mask = torch.full((2, 1), 0.25, dtype=torch.float64)
        belief = condition(forget(belief, start, 0.9), x[:, None], y[:, None], mask)
    same(as_belief(at, head), belief, 1e-8)
    same(as_belief(at, loosen(head, 0.0)), start, 1e-9)


@pytest.mark.parametrize("kept", [1.0, 0.999])
def test_after_five_thousand_steps_the_numbers_are_those_of_all_samples_at_once(kept):
    start = prior(clients=1, width=8, outputs=1, rank=8)
    at, steps = coordinates(start), 5_000
    x, y = samples(steps, start)
    x = x * torch.logspace(-1, 1, 8, dtype=torch.float64)  # features of different size
    head = unseen(at)
    for each, target in zip(x, y, strict=True):
        head = absorb(at, loosen(head, kept), each, target, 0.2)
        assert torch.equal(head.precision, head.precision.transpose(1, 2))
    weights = 0.2 * kept ** torch.arange(steps - 1, -1, -1, dtype=torch.float64)
    z = x[:, 0] @ at.root[0]
    surprise = y[:, 0] - x[:, 0] @ start.mean[0]
    precision = (z * weights[:, None]).T @ z + torch.eye(8, dtype=torch.float64)
    torch.testing.assert_close(head.precision[0], precision, rtol=1e-10, atol=1e-10 * float(precision.max()))
    expected = torch.linalg.solve(precision, (z * weights[:, None]).T @ surprise)
    solved = torch.linalg.solve(head.precision[0], head.moment[0])
    torch.testing.assert_close(solved, expected, rtol=1e-6, atol=1e-9)
    assert float(torch.linalg.eigvalsh(head.precision)[0, 0]) >= 1.0 - 1e-9
