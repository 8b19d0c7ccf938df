"""Features of an old device in the new one's space: shared moments found, maps exact where they should be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.data import Samples
from metapulse.migration.features import map_features, own_map, population_map, shared_moments
from metapulse.rng import generator


def recorded(time: list[float] | None) -> Samples:
    n = 3 if time is None else len(time)
    stamps = None if time is None else np.array(time, np.float64)
    return Samples(
        np.zeros((n, 2), np.float32), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, bool), None, stamps
    )


def test_moments_are_the_nearest_of_each_other_in_any_order() -> None:
    i, j = shared_moments(recorded([10.0, 0.0, 20.0, 20.4]), recorded([20.1, 0.3, 40.0, 9.0]), 0.5)
    assert sorted(zip(i.tolist(), j.tolist(), strict=True)) == [(1, 1), (2, 0)]
    for old, new in ((None, [1.0]), ([1.0], None), ([1.0], [])):
        assert [len(rows) for rows in shared_moments(recorded(old), recorded(new), 0.5)] == [0, 0]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_with_many_pairs_a_person_has_a_map_of_their_own_and_with_one_the_populations(seed: int) -> None:
    rng = generator(seed, "maps")
    crowd, own = rng.standard_normal((2, 4, 4))
    people = [(z, z @ crowd + rng.standard_normal(4)) for z in rng.standard_normal((5, 60, 4))]
    z, shift = rng.standard_normal((4000, 4)), rng.standard_normal(4)
    mapped = map_features(population_map(people, 3.0), z, z @ own + shift, z[:9])
    np.testing.assert_allclose(mapped, z[:9] @ own + shift, atol=0.05)
    one = map_features(population_map(people, 3.0), z[:1], z[:1] @ own + shift, z[1:9])
    np.testing.assert_allclose(one, (z[1:9] - z[:1]) @ crowd + z[:1] @ own + shift, atol=0.2)


def test_without_people_one_pair_is_a_shift() -> None:
    z = generator(3, "z").standard_normal((9, 4))
    moved = map_features(own_map(z, 10.0), z[:1], z[:1] + 5.0, z)
    np.testing.assert_allclose(moved, z + 5.0)


def test_the_populations_map_is_two_sums_over_people() -> None:
    rng = generator(4, "sums")
    people = [(z, g) for z, g in zip(rng.standard_normal((6, 30, 3)), rng.standard_normal((6, 30, 3)), strict=True)]
    centred = [(z - z.mean(0), g - g.mean(0)) for z, g in people]
    gram, moment = sum(h.T @ h for h, _ in centred), sum(h.T @ g for h, g in centred)
    v = np.trace(gram) / (3 * 180)
    found = population_map(people, 7.0)
    np.testing.assert_allclose(found.mean[0].numpy(), np.linalg.solve(gram + v * np.eye(3), moment))
    np.testing.assert_allclose(found.covariance[0].numpy(), np.eye(3) / (7.0 * v))
    assert population_map(people[::-1], 7.0).mean[0].numpy() == pytest.approx(found.mean[0].numpy())
