"""Uniform numbers for a whole stack are those of each client's own generator."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metapulse import rng
from metapulse.rng import Keys, generator, uniforms


@pytest.fixture(autouse=True, params=["compiled", "numpy"])
def how(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both ways of drawing them."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numpy":
            patch.setattr(rng, "compiled", lambda source: None)
        elif rng.compiled(rng.SOURCE) is None:
            pytest.skip("no C compiler on this machine")
        yield


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**64),
    round=st.integers(0, 2**40),
    clients=st.lists(st.integers(0, 2**63), min_size=1, max_size=4),
    count=st.integers(0, 19),
)
def test_every_row_is_its_clients_generator(seed: int, round: int, clients: list[int], count: int) -> None:
    rows = uniforms(seed, "purpose", round, clients, count)
    for row, client in zip(rows, clients, strict=True):
        np.testing.assert_array_equal(row, generator(seed, "purpose", round, client).random(count))


def test_pages_are_streams_of_their_own_and_may_differ_by_client() -> None:
    pages = [uniforms(1, "p", 2, [3, 4], 8, page) for page in range(3)]
    assert len({row.tobytes() for page in pages for row in page}) == 6
    mixed = uniforms(1, "p", 2, [3, 4], 8, np.array([2, 0]))
    np.testing.assert_array_equal(mixed, np.stack([pages[2][0], pages[0][1]]))


def test_a_stack_draws_rows_at_positions_of_its_own() -> None:
    keys, at, pages = Keys(1, 2, [7, 4, 9]), np.array([2, 0, 2]), np.array([0, 1, 5])
    rows = keys.uniforms("p", 6, pages, at)
    np.testing.assert_array_equal(rows, uniforms(1, "p", 2, [9, 7, 9], 6, pages))
    np.testing.assert_array_equal(keys.uniforms("p", 6), uniforms(1, "p", 2, [7, 4, 9], 6))
