"""Who is held out: a permutation that needs no list, and exact shares."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.split import Permutation, Split


@given(n=st.integers(1, 600), seed=st.integers(0, 2**40))
def test_is_a_permutation(n, seed):
    assert sorted(map(Permutation(n, seed), range(n))) == list(range(n))


@given(n=st.integers(1, 10**12), seed=st.integers(0, 2**40), data=st.data())
def test_stays_inside_a_large_population(n, seed, data):
    value = data.draw(st.integers(0, n - 1))
    assert 0 <= Permutation(n, seed)(value) < n


def test_ranks_are_uniform_over_seeds():
    """Person 3 of 10 gets each rank a tenth of the time: χ² of 5000 seeds below its 99.9 % quantile, 9 degrees."""
    counts = np.bincount([Permutation(10, seed)(3) for seed in range(5000)], minlength=10)
    assert ((counts - 500) ** 2 / 500).sum() < 27.88


@given(users=st.integers(1, 400), test=st.floats(0, 0.6), validation=st.floats(0, 0.39), seed=st.integers(0, 2**31))
def test_shares_are_exact(users, test, validation, seed):
    phases = [Split(users, validation, test, seed).phase(u) for u in range(users)]
    assert phases.count("test") == round(test * users)
    assert phases.count("validation") == min(round(validation * users), users - phases.count("test"))


def test_another_seed_is_another_split():
    first, second = ([Split(200, 0.1, 0.2, s).phase(u) for u in range(200)] for s in (0, 1))
    assert first != second


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.2), (0.0, 0.3), (0.4, 0.0)])
def test_a_million_people_are_split_without_listing_them(validation, test):
    split = Split(1_000_000, validation, test, 3)
    phases = [split.phase(u) for u in range(0, 1_000_000, 250)]  # 4000 of them: three standard errors are at most .024
    assert phases.count("test") / 4000 == pytest.approx(test, abs=0.024)
    assert phases.count("validation") / 4000 == pytest.approx(validation, abs=0.024)


def test_named_people_come_before_shares():
    split = Split(10, 0.3, 0.3, 0, validation_users={1}, test_users={2, 3})
    assert [split.phase(u) for u in range(10)] == ["train", "validation", "test", "test"] + ["train"] * 6
    mixed = Split(10, 0.3, 0.3, 0, test_users={2, 3})
    phases = [mixed.phase(u) for u in range(10)]
    assert phases.count("test") == 2
    assert 2 <= phases.count("validation") <= 3  # three ranks; whoever of them is named for the test stays there
