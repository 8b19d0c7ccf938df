"""Clipped updates and noise as whole steps: sensitivity without error, and low bits that do not depend on data."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats

from metapulse.client.privacy import (
    DIGITS,
    Guard,
    clipped_sum,
    lengths,
    normal,
    protect,
    shrunk,
    step_of,
    whole,
)
from metapulse.methods.base import Report
from metapulse.rng import generator
from metapulse.trees import flatten

CLIP = 0.7


def updates(count: int, size: int, seed: int, scale: float = 1.0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {"w": scale * torch.randn(count, size, 3, generator=draw), "b": scale * torch.randn(count, generator=draw)}


def square(update: dict[str, torch.Tensor], row: int) -> Fraction:
    return sum((Fraction(x) ** 2 for u in update.values() for x in u[row].flatten().tolist()), Fraction(0))


@pytest.mark.parametrize("scale", [1e-30, 0.05, 1.0, 1e30])
@pytest.mark.parametrize("size", [1, 40, 700])
def test_no_update_counts_more_than_c_in_exact_arithmetic(size: int, scale: float) -> None:
    update = updates(5, size, size, scale)
    step = step_of(CLIP)
    counted = {"all": whole(flatten(update, torch.float64), lengths(update), CLIP, step) * step}
    for row in range(5):
        assert square(counted, row) <= Fraction(CLIP) ** 2


def test_one_person_moves_the_sum_by_what_he_counts_and_nothing_else_in_any_order() -> None:
    """Float32 sums of forty updates err in the sixth digit; these do not err at all."""
    update = updates(40, 100, 3, 10.0)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    of_all, norms = clipped_sum(update, CLIP)
    shuffled, _ = clipped_sum({n: u[order] for n, u in update.items()}, CLIP)
    fewer, _ = clipped_sum({n: u[1:] for n, u in update.items()}, CLIP)
    alone, _ = clipped_sum({n: u[:1] for n, u in update.items()}, CLIP)
    torch.testing.assert_close(norms, lengths(update), rtol=1e-14, atol=0)
    for name in of_all:
        assert torch.equal(of_all[name], shuffled[name])
        assert torch.equal(of_all[name] - fewer[name], alone[name])


def test_some_clients_at_a_time_are_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    update = updates(7, 100, 3, 10.0)
    at_once, norms = clipped_sum(update, CLIP)
    monkeypatch.setattr("metapulse.client.privacy.CACHED", 250)
    for name, p in clipped_sum(update, CLIP)[0].items():
        assert torch.equal(p, at_once[name])
    assert torch.equal(clipped_sum(update, CLIP)[1], norms)


def test_norms_of_long_updates_are_right() -> None:
    """4 · 10⁶ times 0.1: float32 alone would be 1e-4 and more too small."""
    size = 4_000_000
    found = lengths({"w": torch.full((1, size), 0.1)})
    assert float(found) == pytest.approx(float(np.float32(0.1)) * math.sqrt(size), rel=1e-10)


def test_what_rounding_costs() -> None:
    """C' is 2.4e-6 below C for 6 438 numbers, 1.9e-4 for 4 · 10⁷."""
    for size, cost in ((6438, 2.4e-6 * 2), (40_000_000, 1.9e-4 * 2)):
        assert 1 - cost <= shrunk(1.0, size, step_of(1.0)) < 1


@pytest.mark.parametrize("deviation", [0.01, 3.0, 1e6])
def test_sum_and_noise_are_whole_steps(deviation: float) -> None:
    """So the low bits of what is released are those of any other data."""
    step = step_of(CLIP)
    noise = normal({"w": torch.zeros(3, 1000)}, deviation, generator(1, "test"), step)["w"].double()
    assert torch.equal((noise / step).round(), noise / step)
    assert float((noise / step).abs().max()) < 2**52
    assert stats.kstest(noise.flatten().numpy() / deviation, "norm").pvalue > 1e-3  # one seed


@pytest.mark.parametrize("noise", [0.0, 0.5, 40.0])
def test_what_devices_send_is_carried_by_float32_without_error(noise: float) -> None:
    update = updates(3, 50, 9, 5.0)
    theta = {name: u[0] for name, u in update.items()}
    guard = Guard(CLIP, noise, 5)
    sent = protect(Report(update, torch.ones(3), {}, {}), guard, theta, 1, [0, 1, 2]).update
    step = step_of(CLIP, noise, DIGITS)
    for u in sent.values():
        assert u.dtype == torch.float32
        assert torch.equal((u.double() / step).round(), u.double() / step)


def test_an_update_that_is_no_number_is_noise_like_a_zero() -> None:
    guard = Guard(CLIP, 0.5, 5)
    theta = {"w": torch.zeros(40)}

    def sent(value: float) -> torch.Tensor:
        report = Report({"w": torch.full((1, 40), value)}, torch.ones(1), {}, {})
        return protect(report, guard, theta, 1, [3]).update["w"]

    assert torch.equal(sent(math.nan), sent(0.0))
    assert torch.equal(sent(math.inf), sent(0.0))
