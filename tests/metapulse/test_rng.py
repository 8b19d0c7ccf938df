"""Randomness by address: the same address the same numbers, any other address others, in whatever order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metapulse.rng import Keys, generator

addresses = st.tuples(
    st.integers(0, 2**64),
    st.sampled_from(["init", "episode", "minibatches", ""]),
    st.integers(0, 2**40),
    st.integers(0, 2**60),
)


def first(address: tuple[int, str, int, int], n: int = 4) -> tuple[int, ...]:
    return tuple(generator(*address).integers(2**63, size=n).tolist())


@given(a=addresses, b=addresses)
def test_one_address_one_stream(a: tuple[int, str, int, int], b: tuple[int, str, int, int]) -> None:
    assert first(a) == first(a)
    assert (first(a) == first(b)) is (a == b)


def test_neighbouring_addresses_differ_in_every_place() -> None:
    base = (1, "episode", 1, 1)
    others = [(2, "episode", 1, 1), (1, "episodes", 1, 1), (1, "episode", 2, 1), (1, "episode", 1, 2)]
    assert len({first(a) for a in [base, *others, (11, "/episode", 1, 1), (1, "1/episode", 1, 1)]}) == 7


def test_the_order_of_asking_does_not_matter() -> None:
    asked = [(0, "a", r, c) for r in range(5) for c in range(5)]
    forward = {a: first(a) for a in asked}
    streams = {a: generator(*a) for a in reversed(asked)}
    interleaved: dict[tuple[int, str, int, int], list[int]] = {a: [] for a in asked}
    for _ in range(4):
        for a in asked:
            interleaved[a].append(int(streams[a].integers(2**63)))
    assert {a: tuple(v) for a, v in interleaved.items()} == forward


def test_clients_of_a_million_draw_different_numbers() -> None:
    """Every fifth of 10⁶ clients: the chance of one accidental pair of 64-bit draws is (2·10⁵)² / 2⁶⁵ ≈ 1e-9."""
    clients = range(0, 1_000_000, 5)
    drawn = np.fromiter((generator(3, "sweep", 1, c).bit_generator.random_raw() for c in clients), np.uint64)
    assert len(np.unique(drawn)) == 200_000
    uniform = drawn[::10].astype(np.float64) / 2.0**64
    assert stats.kstest(uniform, "uniform").pvalue > 0.001


def test_long_streams_of_neighbours_never_meet() -> None:
    streams = [generator(0, "long", 0, c).bit_generator.random_raw(20_000) for c in range(5)]
    streams += [generator(0, "long", r, 0).bit_generator.random_raw(20_000) for r in range(1, 5)]
    assert len(np.unique(np.concatenate(streams))) == 9 * 20_000


def test_keys_are_the_addresses_of_a_stack() -> None:
    keys = Keys(5, 2, (9, 4, 9))
    assert [g.integers(2**63) for g in keys.generators("p")] == [
        generator(5, "p", 2, c).integers(2**63) for c in (9, 4, 9)
    ]


def test_repeated_clients_stand_together_and_draw_apart() -> None:
    wide = Keys(5, 2, (9, 4)).repeat(3)
    assert [c % 2**40 for c in wide.clients] == [9, 9, 9, 4, 4, 4]
    draws = [int(g.integers(2**63)) for g in wide.generators("p")]
    assert len(set(draws)) == 6
    assert draws[0] == generator(5, "p", 2, 9).integers(2**63)
