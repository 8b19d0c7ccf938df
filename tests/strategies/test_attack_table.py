"""Attacks and malformed replies × every aggregator: no crash, no NaN in θ, the offender named where one can tell."""

from __future__ import annotations

import math

import pytest

from metapulse.strategies.aggregators.registry import AGGREGATORS as REGISTERED
from metapulse.strategies.replies import SECOND
from tests.offences import AGGREGATORS, CLIENTS, HONEST, OFFENCES, one_round

SEEDS = range(2)
HOSTILE = set(range(HONEST, CLIENTS))
#: Those that assume two attackers; Bulyan needs eleven replies against them, and gives a round up when two are dropped.
ROBUST = [name for name in AGGREGATORS if name not in ("mean", "clipping", "norm filter")]


def test_every_aggregator_is_in_the_table() -> None:
    assert {section["name"] for section in AGGREGATORS.values()} == set(REGISTERED)


@pytest.mark.parametrize("aggregator", AGGREGATORS)
@pytest.mark.parametrize("offence", OFFENCES)
def test_no_crash_no_nan_and_the_offender_named(aggregator: str, offence: str) -> None:
    for seed in SEEDS:
        found = one_round(AGGREGATORS[aggregator], OFFENCES[offence], seed)
        assert found.theta.isfinite().all()
        assert found.named == (HOSTILE if OFFENCES[offence].refused else set())
        given_up = [one.reason for one in found.dropped if one.client == -1]
        if aggregator == "Bulyan" and OFFENCES[offence].refused and offence != "duplicate":
            assert len(given_up) == 1
            assert "replies are too few" in given_up[0]
            assert not found.theta.any()
        else:
            assert given_up == []
            assert not math.isnan(found.error)


@pytest.mark.parametrize("aggregator", ROBUST)
@pytest.mark.parametrize("offence", OFFENCES)
def test_what_assumes_two_attackers_withstands_two(aggregator: str, offence: str) -> None:
    """Independent honest updates: the error stays that of the aggregator's own noise.

    Krum's is that of one update, 0.3 √50 / √50 √(1 + 1/9) = 0.32 in the mean; no other has more.
    """
    for seed in SEEDS:
        error = one_round(AGGREGATORS[aggregator], OFFENCES[offence], seed).error
        assert math.isnan(error) or error < 0.45


def test_the_mean_follows_who_shouts() -> None:
    """(9 − 2 · 10) / 11 = −1: sign flip × 10 turns the mean of independent updates round, an error of 2."""
    for seed in SEEDS:
        assert one_round(AGGREGATORS["mean"], OFFENCES["sign flip × 10"], seed).error == pytest.approx(2.0, abs=0.15)
        assert one_round(AGGREGATORS["mean"], OFFENCES["IPM, ε = 0.5"], seed).error == pytest.approx(3 / 11, abs=1e-5)


def test_a_duplicate_counts_once() -> None:
    for aggregator in AGGREGATORS.values():
        once, twice = (one_round(aggregator, OFFENCES[name], 0) for name in ("none", "duplicate"))
        assert once.theta.equal(twice.theta)
        assert {one.reason for one in twice.dropped} == {SECOND}
