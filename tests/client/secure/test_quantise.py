"""Whole numbers for a sum: unbiased, bounded, never overflowing, the same for a stack and for one device."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metapulse.client.privacy import Guard
from metapulse.client.secure.quantise import (
    HEAD,
    SumTerms,
    dropout_stages,
    levels,
    quantise,
    room,
    unwrap,
    weighted_total,
    wrap,
)
from metapulse.discrete import discrete_gaussian
from metapulse.errors import ConfigError
from metapulse.methods.base import Report
from metapulse.rng import generator

N, SHAPES = 5, {"w": (3, 4), "b": (2,), "s": ()}
THETA = {name: torch.zeros(shape) for name, shape in SHAPES.items()}


def report(clients: int = N, scale: float = 1.0, seed: int = 0) -> Report:
    draw = torch.Generator().manual_seed(seed)
    update = {name: scale * torch.randn(clients, *shape, generator=draw) for name, shape in SHAPES.items()}
    return Report(update, 1.0 + torch.arange(clients), {}, {"loss": torch.ones(clients)})


def terms(clients: int = N, bits: int = 32, **others) -> SumTerms:
    given = {"weighting": "samples", "max_weight": 10.0, "range": 2.0, "bits": bits, "levels": levels(clients, bits)}
    return SumTerms(**given | others)


def flat(update) -> torch.Tensor:
    return torch.cat([u.reshape(len(u), -1).double() for u in update.values()], 1)


@given(st.integers(1, 32_700), st.sampled_from([16, 32]), st.floats(0, 0.02))
def test_the_sum_of_the_largest_entries_and_ten_deviations_of_noise_does_not_wrap(n, bits, noise) -> None:
    """As many clients as 16 bits have room for: 32 700 + 10 √32 700 · 0.02 < 2¹⁵ − 1."""
    found = levels(n, bits, noise)
    largest = found * (n + 10 * math.sqrt(n) * noise)  # noise is s/R, so s is noise · L steps
    assert found >= 1
    assert largest <= 2 ** (bits - 1) - 1
    for sign in (1, -1):
        assert int(unwrap(wrap(np.array([sign * int(largest)]), bits))[0]) == sign * int(largest)


def test_more_clients_than_the_modulus_has_room_for() -> None:
    assert levels(2**15 - 1, 16) == 1
    with pytest.raises(ConfigError, match=r"secure_aggregation\.bits = 16: has no room for the sum of 32768 clients"):
        levels(2**15, 16)


@pytest.mark.parametrize("bits", [16, 32])
@pytest.mark.parametrize("weighting", ["samples", "uniform"])
def test_the_mean_errs_by_less_than_stated(bits: int, weighting: str) -> None:
    """|error| < m R / Σ n_i, and its deviation is at most √m R / (2 Σ n_i) (the docstring of ``weighted_total``)."""
    held = report()
    t = terms(bits=bits, weighting=weighting, max_weight=10.0 if weighting == "samples" else 1.0)
    errors = []
    for round in range(1, 201):
        entries = quantise(held, replace(t, round=round), range(N)).sum(0)
        total, shares = weighted_total(entries, t, THETA)
        got = torch.cat([p.reshape(-1) for p in total.values()]) / shares
        weight = torch.from_numpy(quantise(held, t, range(N))[:, 0]).double()  # as rounded, the same in every round
        errors.append(got - (weight / weight.sum()) @ flat(held.update).clamp(-2, 2))
    error, steps = torch.stack(errors), float(entries[0])
    assert float(error.abs().max()) < N * t.range / steps
    assert 0 < float(error.std()) <= math.sqrt(N) * t.range / (2 * steps)
    assert float(error.mean().abs()) <= 5 * float(error.std()) / math.sqrt(error.numel())  # unbiased


def test_weights_are_kept_to_half_a_level() -> None:
    held, t = report(), terms(max_weight=3.0)
    _, shares = weighted_total(quantise(held, t, range(N)).sum(0), t, THETA)
    assert shares == pytest.approx(1 + 2 + 3 + 3 + 3, abs=N * 3.0 / (2 * t.levels))  # of 1, 2, 3, 4, 5 samples


@given(st.floats(1e-3, 1e6), st.integers(0, 100))
def test_no_entry_is_larger_than_its_weight(scale: float, seed: int) -> None:
    held = report(scale=scale, seed=seed)
    entries = quantise(held, terms(), range(N))
    np.testing.assert_array_equal(entries[:, 1], (flat(held.update).abs() > 2.0).any(1))
    assert (abs(entries[:, 1:]) <= entries[:, :1]).all()
    assert (entries[:, 0] <= terms().levels).all()


def test_what_was_clipped_and_what_was_rounded_away_is_counted() -> None:
    """By weight, in whole steps; a number that was zero before has lost nothing."""
    held, t = report(), terms(levels=1000)
    held.update["w"][:, 0, 0], held.update["w"][:, 0, 1] = 5.0, 0.0
    held.update["b"][:] = 1e-9  # two of fifteen numbers, below any step
    entries = quantise(held, t, range(N))
    u, q = flat(held.update), entries[:, HEAD:]
    np.testing.assert_array_equal(entries[:, 1], (u.abs() > 2.0).any(1))
    for place, share in ((2, (u.abs() > 2.0).numpy().mean(1)), (3, ((q == 0) & (u.numpy() != 0)).mean(1))):
        np.testing.assert_array_equal(entries[:, place], np.round(share * entries[:, 0]))
        assert (entries[:, place] > 0).all()


def test_a_stack_is_its_clients_one_by_one() -> None:
    held, clients = report(), [9, 2, 31, 4, 5]
    whole = quantise(held, terms(), clients)
    for i, client in enumerate(clients):
        own = Report({name: u[i : i + 1] for name, u in held.update.items()}, held.weight[i : i + 1], {}, {})
        np.testing.assert_array_equal(quantise(own, terms(), [client])[0], whole[i])
    assert (quantise(held, terms(round=2), clients) != whole).any()
    assert (quantise(held, terms(seed=1), clients) != whole).any()


def test_drop_outs_come_at_the_stage_and_as_often_as_they_should() -> None:
    """P(at s) = p_s Π_{r<s} (1 − p_r); 40 000 clients, so that five deviations are 0.0125."""
    chances = (0.1, 0.2, 0.3, 0.4)
    at = dropout_stages(terms(dropout=chances), range(40_000))
    before = 1.0
    for stage, p in enumerate(chances):
        assert np.mean(at == stage) == pytest.approx(before * p, abs=0.0125)
        before *= 1 - p
    assert (dropout_stages(terms(), range(1000)) == 4).all()


GUARD = Guard(clip=0.5, noise=0.1, seed=7)


@pytest.mark.parametrize("scale", [0.01, 1.0, 1e6])
def test_under_a_guard_rounding_makes_no_update_longer_than_c(scale: float) -> None:
    """Coarse on purpose: steps of a hundredth of C. The noise is drawn again by its address and taken away."""
    t = terms(weighting="uniform", max_weight=1.0, levels=400)
    for round in range(1, 30):
        held, now = report(scale=scale, seed=round), replace(t, round=round)
        entries = quantise(held, now, range(N), GUARD)
        assert (entries[:, 0] == t.levels).all()
        assert not entries[:, 1:HEAD].any()  # who would have been clipped is private
        for client in range(N):
            address = int(generator(GUARD.seed, "privacy/device", round, client).integers(2**63))
            size = Fraction(math.ceil(GUARD.noise / t.step)) ** 2
            noise = discrete_gaussian(size, entries.shape[1] - HEAD, Random(address).randrange)
            length = np.linalg.norm((entries[client, HEAD:] - noise) * t.step)
            assert length <= GUARD.clip
            if scale >= 1.0:  # and hardly any is given away
                assert length >= GUARD.clip - 2 * math.sqrt(len(noise)) * t.step


def test_noise_without_a_seed_is_never_the_same() -> None:
    t = terms(weighting="uniform", max_weight=1.0)
    one, other = (quantise(report(), t, range(N), Guard(0.5, 0.1)) for _ in range(2))
    assert (one[:, HEAD:] != other[:, HEAD:]).mean() > 0.9


def test_steps_too_coarse_for_a_claim_are_refused() -> None:
    coarse = terms(weighting="uniform", max_weight=1.0, levels=8)
    with pytest.raises(ConfigError, match=r"too coarse for a clip of 0\.5 with noise 0\.1"):
        quantise(report(), coarse, range(N), GUARD)
    assert room(GUARD, terms(levels=400), 16) == pytest.approx(0.5 - 4 * 2 / 400)
