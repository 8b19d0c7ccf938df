"""Who is held out: a permutation that needs no list, and exact shares."""

from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.server.split import Permutation, Split


def one_by_one(n, seed, value):
    """The network as it is in the book, for one value."""
    half = max(1, ((n - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = value >> half, value & mask
        for turn in range(4):
            word = int.from_bytes(blake2b(f"{seed}/{turn}/{right}".encode(), digest_size=8).digest(), "little")
            left, right = right, left ^ (word & mask)
        value = (left << half) | right
        if value < n:
            return value


def phases(split, people=None):
    return split.phases(np.arange(split.users) if people is None else np.array(people)).tolist()


@given(n=st.integers(1, 600), seed=st.integers(0, 2**40))
def test_is_a_permutation(n, seed):
    assert sorted(Permutation(n, seed)(np.arange(n)).tolist()) == list(range(n))


@given(n=st.integers(1, 10**9), seed=st.integers(0, 2**40), data=st.data())
def test_many_people_at_once_go_where_each_goes_alone(n, seed, data):
    values = data.draw(st.lists(st.integers(0, n - 1), max_size=12))
    permutation = Permutation(n, seed)
    for part in (values, values[::-1]):  # the second time, every word is known already
        assert permutation(np.array(part, dtype=np.int64)).tolist() == [one_by_one(n, seed, v) for v in part]


def test_ranks_are_uniform_over_seeds():
    """Person 3 of 10 gets each rank a tenth of the time: χ² of 5000 seeds below its 99.9 % quantile, 9 degrees."""
    counts = np.bincount([Permutation(10, seed)(np.array([3]))[0] for seed in range(5000)], minlength=10)
    assert ((counts - 500) ** 2 / 500).sum() < 27.88


@given(users=st.integers(1, 400), test=st.floats(0, 0.6), validation=st.floats(0, 0.39), seed=st.integers(0, 2**31))
def test_shares_are_exact(users, test, validation, seed):
    split = Split(users, validation, test, seed)
    found = phases(split)
    assert found.count("test") == round(test * users)
    assert found.count("validation") == min(round(validation * users), users - found.count("test"))
    assert split.trivial == (found == ["train"] * users)


def test_another_seed_is_another_split():
    assert phases(Split(200, 0.1, 0.2, 0)) != phases(Split(200, 0.1, 0.2, 1))


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.2), (0.0, 0.3), (0.4, 0.0)])
def test_a_million_people_are_split_without_listing_them(validation, test):
    split = Split(1_000_000, validation, test, 3)
    found = phases(split, range(0, 1_000_000, 250))  # 4000 of them: three standard errors are at most .024
    assert found.count("test") / 4000 == pytest.approx(test, abs=0.024)
    assert found.count("validation") / 4000 == pytest.approx(validation, abs=0.024)


def test_named_people_come_before_shares():
    split = Split(10, 0.3, 0.3, 0, validation_users={1}, test_users={2, 3})
    assert phases(split) == ["train", "validation", "test", "test"] + ["train"] * 6
    assert not split.trivial
    found = phases(Split(10, 0.3, 0.3, 0, test_users={2, 3}))
    assert found.count("test") == 2
    assert 2 <= found.count("validation") <= 3  # three ranks; those of them that are named for the test stay there
