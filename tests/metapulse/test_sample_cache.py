"""The cache gives what stacking gives, whatever is on it already and however small it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.episodes import stack_batches
from metapulse.errors import DataError
from metapulse.rng import generator
from metapulse.sample_cache import SampleCache


def part(client: int) -> tuple[np.ndarray, np.ndarray]:
    rng = generator(0, "part", client=client)
    n = int(rng.integers(1, 6))
    return rng.standard_normal((n, 2)).astype(np.float32), rng.integers(3, size=n)


@settings(max_examples=40)
@given(
    rounds=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True), min_size=1, max_size=6),
    budget=st.sampled_from([0, 100, 300, 10_000]),
)
def test_it_is_stacking(rounds: list[list[int]], budget: int) -> None:
    cache = SampleCache(budget)
    for clients in rounds:
        ours, plain = cache.gather(clients, part), stack_batches([part(c) for c in clients])
        assert torch.equal(ours.x, plain.x)
        assert torch.equal(ours.y, plain.y)
        assert torch.equal(ours.mask, plain.mask)


def test_a_client_is_loaded_once_and_never_by_halves() -> None:
    cache, asked = SampleCache(), []

    def load(client: int) -> tuple[np.ndarray, np.ndarray]:
        asked.append(client)
        if client == 3:
            raise DataError("nothing there")
        return part(client)

    cache.gather([1, 2], load)
    with pytest.raises(DataError):
        cache.gather([1, 4, 3], load)
    cache.gather([2, 1, 4], load)
    assert asked == [1, 2, 4, 3, 4]


def test_what_is_there_stays_where_it_is_as_clients_come() -> None:
    """A client alone takes its rows and one of zeros; from the second call on nothing is moved within the budget."""

    def alike(client: int) -> tuple[np.ndarray, np.ndarray]:
        return np.full((4, 2), client, dtype=np.float32), np.full(4, client)

    cache = SampleCache((20 * 4 + 1) * (2 * 4 + 8))
    places = [cache.gather([client], alike).x.untyped_storage() for client in range(20)]
    assert places[0].nbytes() == (4 + 1) * 2 * 4
    assert {place.data_ptr() for place in places[1:]} == {places[1].data_ptr()}
    assert torch.equal(cache.gather(range(20), alike).x[:, 0, 0], torch.arange(20.0))
