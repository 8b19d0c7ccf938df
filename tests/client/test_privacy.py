"""Clipping and noise on a device: norms, bounds, hostile numbers, and the distribution of what is added."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metapulse.client.privacy import Guard, lengths, normal, protect, read_guard, secret, shrinkage
from metapulse.errors import ConfigError
from metapulse.methods.base import Report
from metapulse.rng import generator
from metapulse.trees import per_client

THETA = {"w": torch.zeros(2, 3), "rate": torch.tensor(0.0)}
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)


def stack(*rows: list[float]) -> dict[str, torch.Tensor]:
    """Updates of seven numbers, the last of them a parameter without axes."""
    flat = torch.tensor(rows, dtype=torch.float32)
    return {"w": flat[:, :6].view(-1, 2, 3), "rate": flat[:, 6]}


def report(update: dict[str, torch.Tensor]) -> Report:
    n = len(update["rate"])
    return Report(update, torch.full((n,), 40.0), {}, {"loss": torch.ones(n)})


def test_length_is_that_of_the_whole_update_scalars_included() -> None:
    found = lengths(stack([1, 2, 0, 0, 2, 0, 4], [0] * 7))
    assert found.tolist() == [5.0, 0.0]  # √(1 + 4 + 4 + 16)


@given(rows=st.lists(st.lists(numbers, min_size=7, max_size=7), min_size=1, max_size=4), clip=st.floats(1e-3, 1e3))
def test_no_update_is_longer_than_c_and_short_ones_stay_as_they_are(rows: list[list[float]], clip: float) -> None:
    update = stack(*rows)
    norms = lengths(update)
    clipped = per_client(update, shrinkage(norms, clip))
    assert bool((lengths(clipped) <= clip * (1 + 1e-6)).all())
    for i in torch.nonzero(norms <= clip).flatten().tolist():
        assert all(torch.equal(clipped[name][i], update[name][i].double()) for name in update)


def test_a_zero_update_and_a_huge_one_are_clipped_without_a_division_by_zero_or_an_overflow() -> None:
    update = stack([0] * 7, [3e38] * 7, [0, 0, 0, 0, 0, 0, -1e30])
    clipped = per_client(update, shrinkage(lengths(update), 2.0))
    assert lengths(clipped).tolist() == pytest.approx([0.0, 2.0, 2.0], rel=1e-6)
    assert float(clipped["rate"][2]) == pytest.approx(-2.0, rel=1e-6)


def test_whether_an_update_is_a_number_does_not_show() -> None:
    """What leaves a device that has none is noise, as of one whose update is zero."""
    left = protect(report(stack([1.0] * 7, [math.nan] + [1.0] * 6)), Guard(1.0, 0.5, 3), THETA, 1, [0, 1])
    assert torch.isfinite(left.update["w"][0]).all()
    zero = protect(report(stack([1.0] * 7, [0.0] * 7)), Guard(1.0, 0.5, 3), THETA, 1, [0, 1])
    assert torch.equal(left.update["w"][1], zero.update["w"][1])


def test_only_the_guarded_update_leaves_a_device() -> None:
    left = protect(report(stack([5.0] * 7)), Guard(1.0, 0.0), THETA, 1, [4])
    assert lengths(left.update).item() == pytest.approx(1.0, rel=1e-6)
    assert left.metrics == {}
    assert left.weight.tolist() == [1.0]


def test_noise_is_addressed_by_round_and_client_where_a_seed_is_given() -> None:
    guard, one = Guard(1.0, 0.5, 3), [1.0] * 7
    both = protect(report(stack(one, one)), guard, THETA, 2, [8, 9])
    alone = protect(report(stack(one)), guard, THETA, 2, [9])
    assert torch.equal(both.update["w"][1], alone.update["w"][0])
    assert not torch.equal(both.update["w"][0], both.update["w"][1])
    assert not torch.equal(protect(report(stack(one)), guard, THETA, 3, [9]).update["w"], alone.update["w"])


def test_without_a_seed_nobody_can_draw_the_noise_again() -> None:
    left = [protect(report(stack([1.0] * 7)), Guard(1.0, 0.5), THETA, 2, [9]).update["w"] for _ in range(2)]
    assert not torch.equal(*left)
    assert len({secret() for _ in range(20)}) == 20
    assert max(secret().bit_length() for _ in range(20)) > 240


def test_noise_is_normal_with_the_deviation_asked_for() -> None:
    """Kolmogorov and Smirnov, one seed: p < 0.001 would reject; and of 40 000 draws the deviation errs by 0.35 %."""
    drawn = normal({"a": torch.zeros(100, 200), "b": torch.zeros(20_000)}, 0.3, generator(7, "noise"), 2.0**-24)
    values = np.concatenate([p.numpy().ravel() for p in drawn.values()])
    assert stats.kstest(values / 0.3, "norm").pvalue > 1e-3
    assert values.std() == pytest.approx(0.3, rel=4 * 0.0035)
    assert abs(np.corrcoef(values[:20_000], values[20_000:])[0, 1]) < 5 / math.sqrt(20_000)


def test_a_guard_travels_as_text() -> None:
    config = ConfigRecord({"guard": '{"clip": 2.0, "noise": 0.25, "seed": 5}'})
    assert read_guard(config) == Guard(2.0, 0.25, 5)
    assert read_guard(ConfigRecord({})) is None
    with pytest.raises(ConfigError, match=r"guard\.clip = 0"):
        read_guard(ConfigRecord({"guard": '{"clip": 0}'}))
