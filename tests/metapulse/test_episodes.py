"""Episodes: what is in support, what is in query, and what never is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metapulse.data import Samples, Task
from metapulse.episodes import SPLITS, Batch, Cut, Episode, EpisodePlan, equal_batch, stack_batches
from metapulse.errors import DataError
from metapulse.rng import generator
from metapulse.settings import build
from tests.cases import batch, classification, regression

LABELLED, MEASURED = classification(2), regression(2)


def person(seed: int, n: int = 60, classes: int = 3, groups: int = 6, kind: str = "classification") -> Samples:
    """Samples whose first feature is their row number, with every third one held out."""
    rng = generator(seed, "person")
    x = np.stack([np.arange(n), rng.standard_normal(n)], 1).astype(np.float32)
    labelled = kind == "classification"
    y = rng.integers(classes, size=n) if labelled else rng.standard_normal((n, 2)).astype(np.float32)
    return Samples(x, y, rng.integers(groups, size=n), np.arange(n) % 3 == 0)


def rng(seed: int = 0) -> np.random.Generator:
    return generator(seed, "episode")


def shots_per_class(samples: Samples, rows: np.ndarray) -> dict[int, int]:
    labels, counts = np.unique(samples.y[rows], return_counts=True)
    return dict(zip(labels.tolist(), counts.tolist(), strict=True))


plans = st.builds(
    EpisodePlan,
    split=st.sampled_from(SPLITS),
    shots=st.integers(0, 6),
    query=st.integers(0, 12),
)


@given(plan=plans, seed=st.integers(0, 10_000), kind=st.sampled_from(["classification", "regression"]))
def test_support_and_query_are_apart_and_within_bounds(plan: EpisodePlan, seed: int, kind: str) -> None:
    samples, task = person(seed, kind=kind), LABELLED if kind == "classification" else MEASURED
    trained, tested = plan.training(samples, task, rng(seed)), plan.testing(samples, task, rng(seed))
    for cut in (trained, tested):
        assert len(np.unique(cut.support)) == len(cut.support) > 0
        assert len(np.unique(cut.query)) == len(cut.query) > 0
        assert not np.intersect1d(cut.support, cut.query).size
        assert np.isin(cut.support, cut.pool).all()
        assert not np.intersect1d(cut.pool, cut.query).size  # nothing of the query is normalised on
        if plan.split == "groups":
            assert not np.intersect1d(samples.group[cut.pool], samples.group[cut.query]).size
        if plan.query:
            assert len(cut.query) <= plan.query
        if plan.shots and kind == "regression":
            assert len(cut.support) <= plan.shots
        if plan.shots and kind == "classification":
            assert max(shots_per_class(samples, cut.support).values()) <= plan.shots
            assert set(samples.y[trained.query]) == set(samples.y[trained.support]) or plan.query
            assert set(samples.y[tested.support]) == set(samples.y[tested.pool])


@given(plan=plans, seed=st.integers(0, 10_000))
def test_held_out_samples_are_the_query_of_the_test_and_nothing_else(plan: EpisodePlan, seed: int) -> None:
    samples, plan = person(seed), EpisodePlan("held_out", plan.shots, plan.query)
    trained, tested = (cut(samples, LABELLED, rng(seed)) for cut in (plan.training, plan.testing))
    everything = plan.everything(samples)
    for rows in (trained.support, trained.query, trained.pool, tested.support, tested.pool, everything.support):
        assert not samples.held_out[rows].any()
    assert samples.held_out[tested.query].all()
    assert len(everything.support) == (~samples.held_out).sum()


def test_local_training_takes_every_sample_once() -> None:
    cut = EpisodePlan("groups").everything(person(0))
    assert cut.support.tolist() == list(range(60))
    assert len(cut.query) == 0


@pytest.mark.parametrize("split", SPLITS)
def test_one_shot_is_the_first_of_three(split: str) -> None:
    """Same generator, fewer shots: the support shrinks to a part of itself and the query does not change."""
    for seed in range(20):
        samples = person(seed)
        few, many = (EpisodePlan(split, k, 10).testing(samples, LABELLED, rng(seed)) for k in (1, 3))
        assert np.isin(few.support, many.support).all()
        assert max(shots_per_class(samples, few.support).values()) == 1
        assert sorted(few.query) == sorted(many.query)


def test_up_to_k_takes_what_there_is() -> None:
    """Class 0 has 10 samples a side, class 1 two, class 2 only stands on one side and is left out altogether."""
    labels = np.array([0] * 10 + [1] * 2 + [2] * 3 + [0] * 10 + [1] * 2)
    group = np.array([0] * 15 + [1] * 12)
    samples = Samples(np.zeros((27, 2), np.float32), labels, group, np.zeros(27, bool))
    for seed in range(5):
        cut = EpisodePlan("groups", 5).training(samples, LABELLED, rng(seed))
        assert shots_per_class(samples, cut.support) == {0: 5, 1: 2}
        assert shots_per_class(samples, cut.query) == {0: 10, 1: 2}


def test_forward_is_the_first_half_of_each_class_in_recorded_order_against_the_second() -> None:
    labels = np.array([0, 1, 0, 0, 2, 1, 0, 0, 1])  # class 0 at rows 0 2 3 6 7, class 1 at 1 5 8, class 2 once
    samples = Samples(np.zeros((9, 2), np.float32), labels, np.zeros(9, np.int64), np.zeros(9, bool))
    for seed in range(3):  # one group is enough, and nothing is drawn
        for cut in (EpisodePlan("forward", 0).training, EpisodePlan("forward", 5).testing):
            found = cut(samples, LABELLED, rng(seed))
            assert sorted(found.pool) == [0, 1, 2]
            assert sorted(found.support) == [0, 1, 2]
            assert sorted(set(found.query) - {4}) == [3, 5, 6, 7, 8]
    one = EpisodePlan("forward", 1).testing(samples, LABELLED, rng())
    assert sorted(one.support) == [0, 1]  # the first shot of each class is its first sample
    assert 4 in one.query  # a class that occurs once has no support, and is asked about all the same
    assert 4 not in EpisodePlan("forward", 1).training(samples, LABELLED, rng()).query


@given(seed=st.integers(0, 10_000), shots=st.integers(0, 6), kind=st.sampled_from(["classification", "regression"]))
def test_forward_never_asks_about_the_past(seed: int, shots: int, kind: str) -> None:
    """Of each class (of all, in regression), every support sample was recorded before every query sample."""
    samples, task = person(seed, kind=kind), LABELLED if kind == "classification" else MEASURED
    cut = EpisodePlan("forward", shots).training(samples, task, rng(seed))
    labels = samples.y if kind == "classification" else np.zeros(len(samples), np.int64)
    for label in np.intersect1d(labels[cut.support], labels[cut.query]):
        past, future = (rows[labels[rows] == label] for rows in (cut.support, cut.query))
        assert past.max() < future.min()
        if shots and kind == "classification":
            assert past.tolist() == np.flatnonzero(labels == label)[: len(past)].tolist()


def test_forward_needs_a_class_twice() -> None:
    with pytest.raises(DataError, match="0 support"):
        EpisodePlan("forward", 1).training(alone(y=np.arange(6)), Task("classification", (2,), 6), rng())
    with pytest.raises(DataError, match="0 support"):
        EpisodePlan("forward", 0).training(person(0, n=1, kind="regression"), MEASURED, rng())


@pytest.mark.parametrize("split", ["groups", "samples", "held_out"])
def test_vary_draws_the_shots_of_training_evenly_and_of_tests_never(split: str) -> None:
    samples, plan = person(0, n=120, groups=12), EpisodePlan(split, 4, vary=True)
    drawn = [
        max(shots_per_class(samples, plan.training(samples, LABELLED, rng(s)).support).values()) for s in range(80)
    ]
    counts = np.bincount(drawn, minlength=5)
    assert counts[0] == 0
    assert len(counts) == 5
    assert ((counts[1:] - 20) ** 2 / 20).sum() < 16.3  # χ², three degrees of freedom, one in a thousand
    for s in range(10):
        cut, fixed = plan.testing(samples, LABELLED, rng(s)), EpisodePlan(split, 4).testing(samples, LABELLED, rng(s))
        assert max(shots_per_class(samples, cut.support).values()) == 4
        assert cut.support.tolist() == fixed.support.tolist()


def test_vary_leaves_all_samples_all_samples() -> None:
    samples = person(0)
    a, b = (EpisodePlan("groups", 0, vary=v).training(samples, LABELLED, rng(3)) for v in (True, False))
    assert a.support.tolist() == b.support.tolist()


def test_every_group_gets_its_turn_on_each_side() -> None:
    samples = person(0)
    sides = [set(samples.group[EpisodePlan("groups", 0).training(samples, LABELLED, rng(s)).pool]) for s in range(60)]
    assert set.union(*sides) == set(range(6))
    assert set.intersection(*sides) == set()
    assert {len(side) for side in sides} == {3}


def test_zero_shots_and_zero_query_mean_all() -> None:
    samples = person(0, kind="regression")
    cut = EpisodePlan("samples", 0, 0).training(samples, MEASURED, rng())
    assert sorted([*cut.support, *cut.query]) == list(range(60))
    assert len(cut.support) == 30
    few = EpisodePlan("samples", 5, 0).training(samples, MEASURED, rng())
    assert (len(few.support), len(few.query)) == (5, 55)


def alone(**changes: object) -> Samples:
    parts = {
        "x": np.zeros((6, 2), np.float32),
        "y": np.arange(6) % 3,
        "group": np.arange(6),
        "held_out": np.zeros(6, bool),
    }
    return Samples(**(parts | changes))


@pytest.mark.parametrize(
    ("plan", "samples", "words"),
    [
        (EpisodePlan("groups"), alone(group=np.zeros(6, np.int64)), "one group"),
        (EpisodePlan("samples"), alone().take(np.array([0])), "0 query"),
        (EpisodePlan("held_out"), alone(held_out=np.ones(6, bool)), "no samples to train on"),
        (EpisodePlan("groups"), alone(y=np.arange(6)), "0 support and 0 query"),
        (EpisodePlan("samples"), alone().take(np.zeros(0, np.int64)), "no samples"),
    ],
)
def test_what_cannot_be_cut_is_said_in_one_line(plan: EpisodePlan, samples: Samples, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        plan.training(samples, Task("classification", (2,), 6), rng())
    assert "\n" not in str(caught.value)


def test_a_test_without_held_out_samples_is_an_error() -> None:
    with pytest.raises(DataError, match="0 query"):
        EpisodePlan("held_out").testing(alone(), LABELLED, rng())


def test_a_plan_is_settings() -> None:
    plan = build(EpisodePlan, {"split": "samples", "shots": 3, "query": 15})
    assert plan == EpisodePlan("samples", 3, 15)


def test_stacking_pads_with_masked_zeros() -> None:
    parts = [(np.full((n, 2), i + 1.0, np.float32), np.full(n, i, np.int64)) for i, n in enumerate((2, 0, 3))]
    stacked = stack_batches(parts)
    assert stacked.x.shape == (3, 3, 2)
    assert stacked.mask.tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]
    assert stacked.counts.tolist() == [2, 0, 3]
    assert stacked.x.sum((1, 2)).tolist() == [4.0, 0.0, 18.0]
    assert stacked.y.tolist() == [[0, 0, 0], [0, 0, 0], [2, 2, 2]]
    targets = stack_batches([(x, np.ones((len(x), 2), np.float32)) for x, _ in parts])
    assert targets.y.shape == (3, 3, 2)
    assert targets.y.sum().item() == 10


def test_pooled_is_support_and_query_together() -> None:
    support, query = batch(LABELLED, (2, 3)), batch(LABELLED, (4, 1), seed=9)
    both = Episode(support, query).pooled
    assert both.counts.tolist() == [6, 4]
    for i in range(2):
        own = both.x[i, both.mask[i] > 0]
        assert torch.equal(own, torch.cat([part.x[i, part.mask[i] > 0] for part in (support, query)]))
    nothing = batch(LABELLED, (0, 0), longest=0)
    assert Episode(support, nothing).pooled is support


def test_a_cut_draws_only_from_its_own_generator() -> None:
    samples = person(0)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    cuts: list[Cut] = [EpisodePlan("groups", 3, 7).training(samples, LABELLED, rng(5)) for _ in range(2)]
    assert cuts[0].support.tolist() == cuts[1].support.tolist()
    assert cuts[0].query.tolist() == cuts[1].query.tolist()
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_what_is_known_of_equal_clients_is_what_is_counted() -> None:
    """And is forgotten where something else is made of such a batch."""
    x, y = torch.randn(3, 7, 2), torch.randn(3, 7, 1)
    for known in (equal_batch(x, y), equal_batch(x, y).slice(2, 5), equal_batch(x, y).slice(0, 0)):
        counted = Batch(known.x, known.y, known.mask)
        assert known.equal
        assert torch.equal(known.counts, counted.counts)
        assert torch.equal(known.weights, counted.weights)
    mask = equal_batch(x, y).mask.clone()
    mask[1, 4:] = 0
    fewer = replace(equal_batch(x, y), mask=mask)
    assert not fewer.equal
    assert fewer.counts.tolist() == [7, 4, 7]
