"""Minibatches: whole epochs of every client's own samples, whatever else is in the stack and however it is padded."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.episodes import Batch
from metapulse.methods.loop import minibatches
from tests.cases import batch, classification, keys, padded, select_clients

TASK = classification(1)


def numbered(counts: list[int]) -> Batch:
    """Client i's samples carry 100 i, 100 i + 1, …"""
    part = batch(TASK, counts)
    n = part.mask.shape[1]
    return Batch((100.0 * torch.arange(len(counts)).unsqueeze(1) + torch.arange(n)).unsqueeze(2), part.y, part.mask)


def drawn(part: Batch, client: int) -> list[int]:
    return part.x[client, part.mask[client] > 0, 0].int().tolist()


@settings(max_examples=30)
@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=4), size=st.integers(1, 10))
def test_each_epoch_visits_every_sample_once(counts: list[int], size: int) -> None:
    stream = list(islice(minibatches(numbered(counts), size, keys(range(len(counts)))), 20))
    for i, n in enumerate(counts):
        everyone = set(range(100 * i, 100 * i + n))
        seen = [drawn(part, i) for part in stream]
        if n <= size:
            assert all(sorted(s) == sorted(everyone) for s in seen)
            continue
        assert {len(s) for s in seen} == {size}
        walk = [row for s in seen for row in s]
        epochs = [walk[k : k + n] for k in range(0, len(walk) - n + 1, n)]
        assert all(set(epoch) == everyone for epoch in epochs)


@settings(max_examples=20)
@given(
    counts=st.lists(st.integers(1, 7), min_size=2, max_size=4),
    size=st.integers(1, 4),
    extra=st.integers(0, 3),
    seed=st.integers(0, 999),
)
def test_a_client_draws_as_if_it_were_alone(counts: list[int], size: int, extra: int, seed: int) -> None:
    part, ids = batch(TASK, counts, seed), [17 * i + 3 for i in range(len(counts))]
    crowd = list(islice(minibatches(padded(part, extra, seed), size, keys(ids)), 8))
    for i, address in enumerate(ids):
        single = islice(minibatches(select_clients(part, [i]), size, keys([address])), 8)
        for many, one in zip(crowd, single, strict=True):
            assert torch.equal(many.x[i, many.mask[i] > 0], one.x[0, one.mask[0] > 0])
            assert torch.equal(many.y[i, many.mask[i] > 0], one.y[0, one.mask[0] > 0])


@pytest.mark.parametrize("size", [0, 5, 50])
def test_all_samples_when_they_fit(size: int) -> None:
    part = numbered([5, 3])
    assert all(one is part for one in islice(minibatches(part, size, keys(range(2))), 4))


@pytest.mark.parametrize("shuffle", [True, False])
def test_how_much_is_drawn_at_once_changes_nothing(shuffle: bool) -> None:
    part, ids = numbered([9, 2, 4]), keys([5, 8, 2**41])
    streams = [islice(minibatches(part, 3, ids, shuffle=shuffle, ahead=ahead), 11) for ahead in (1, 4, 11)]
    for first, *others in zip(*streams, strict=True):
        assert all(torch.equal(first.x * first.mask[..., None], o.x * o.mask[..., None]) for o in others)


def test_without_shuffling_samples_come_in_their_own_order() -> None:
    for counts in ([6, 6], [7, 5]):
        stream = list(islice(minibatches(numbered(counts), 3, keys(range(2)), shuffle=False), 5))
        for i, n in enumerate(counts):
            assert [row for one in stream for row in drawn(one, i)] == [100 * i + k % n for k in range(15)]


def test_addresses_and_purposes_are_different_walks() -> None:
    part = numbered([9])
    streams = [
        minibatches(part, 3, keys([0])),
        minibatches(part, 3, keys([1])),
        minibatches(part, 3, keys([0], round=2)),
        minibatches(part, 3, keys([0]), "other"),
    ]
    walks = [tuple(row for one in islice(s, 6) for row in drawn(one, 0)) for s in streams]
    assert len(set(walks)) == 4
    again = tuple(row for one in islice(minibatches(part, 3, keys([0])), 6) for row in drawn(one, 0))
    assert again == walks[0]


def test_every_sample_comes_equally_often_in_every_place() -> None:
    """First draw of 3 000 addresses over 6 samples: 500 each, standard deviation √(3000·5/36) ≈ 20; six of them off."""
    part = select_clients(numbered([6]), [0] * 3000)
    first = next(minibatches(part, 1, keys(range(3000))))
    counts = Counter(first.x.flatten().int().tolist())
    assert set(counts) == set(range(6))
    assert max(abs(n - 500) for n in counts.values()) < 6 * 20.4
