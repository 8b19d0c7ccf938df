"""Updates that compiled code adds up as it makes them, against the sum of those that float64 makes one by one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.data import Task
from metapulse.episodes import Episode
from metapulse.methods.base import Learner, SumSpec, update_shares
from metapulse.methods.maml import MAML
from metapulse.methods.meta_curvature import MetaCurvature
from metapulse.methods.reptile import Reptile
from metapulse.methods.scaffold import Scaffold
from metapulse.models.base import Model
from metapulse.models.cnn1d import CNN1d
from metapulse.models.mlp import MLP
from metapulse.rng import generator
from metapulse.trees import weighted_sum
from tests.cases import batch, keys
from tests.metapulse.models.test_native import STEP, close, needs_compiler, wide

pytestmark = needs_compiler


@settings(max_examples=20)
@given(
    counts=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    weighting=st.sampled_from(["samples", "uniform"]),
)
@pytest.mark.parametrize(
    "model",
    [
        MLP(hidden=(20, 9), task=Task("classification", (7,), 4)),
        MLP(hidden=(20, 9), task=Task("classification", (130,), 4)),
        CNN1d(channels=(5, 18), kernel=3, task=Task("classification", (3, 21), 4)),
    ],
    ids=["mlp", "wide", "cnn1d"],
)
@pytest.mark.parametrize("batch_size", [0, 4])
def test_sums(model: Model, batch_size: int, counts: list[int], weighting: str) -> None:
    """Σ s (θ − φ), added up on the way, is what the updates make in float64."""
    samples = batch(model.task, counts)
    episode = Episode(samples, samples.slice(0, 0))
    exactly = Episode(wide(samples), wide(samples).slice(0, 0))
    learner, theta = Reptile(batch_size=batch_size, inner_lr=0.05), model.init(generator(0, "init"))
    address = keys(range(len(counts)))
    summed = learner.update_sum(model, theta, {}, episode, address, SumSpec(weighting))
    assert summed is not None
    report, total = summed
    exact = learner.update(model, {n: p.double() for n, p in theta.items()}, {}, exactly, address)
    torch.testing.assert_close(report.metrics["loss"].double(), exact.metrics["loss"], rtol=1e-5, atol=1e-6)
    expected = weighted_sum(exact.update, update_shares(exact.weight, weighting))
    close({n: p[None] for n, p in total.items()}, {n: p[None] for n, p in expected.items()}, STEP)


@settings(max_examples=20)
@given(
    queries=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    steps=st.integers(0, 3),
    weighting=st.sampled_from(["samples", "uniform"]),
)
@pytest.mark.parametrize(
    "model",
    [
        MLP(hidden=(40, 40), task=Task("regression", (1,), 1)),
        MLP(hidden=(20, 9), activation="tanh", task=Task("classification", (7,), 6)),
        MLP(hidden=(20,), task=Task("classification", (130,), 4)),
    ],
    ids=["sine", "tanh", "wide"],
)
def test_sums_of_outer_gradients(model: Model, queries: list[int], steps: int, weighting: str) -> None:
    """Σ s dL/dθ of MAML, added up on the way, is what the updates make in float64."""
    support, query = batch(model.task, [6] * len(queries)), batch(model.task, queries, seed=1)
    learner, theta = MAML(inner_steps=steps, inner_lr=0.05), model.init(generator(0, "init"))
    address = keys(range(len(queries)))
    summed = learner.update_sum(model, theta, {}, Episode(support, query), address, SumSpec(weighting))
    assert summed is not None
    report, total = summed
    exactly = Episode(wide(support), wide(query))
    exact = learner.update(model, {n: p.double() for n, p in theta.items()}, {}, exactly, address)
    torch.testing.assert_close(report.metrics["loss"].double(), exact.metrics["loss"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(report.weight, query.counts)
    expected = weighted_sum(exact.update, update_shares(exact.weight, weighting))
    close({n: p[None] for n, p in total.items()}, {n: p[None] for n, p in expected.items()}, STEP)


@pytest.mark.parametrize(
    "learner",
    [Reptile(optimizer="adam"), Reptile(inner_steps=0), Reptile(inner_steps=17), Scaffold(), MetaCurvature()],
    ids=["adam", "no steps", "more than one call takes", "an update of its own", "of its own, from MAML"],
)
def test_without_a_sum(learner: Learner) -> None:
    """What the one call cannot do, or is not what the learner reports."""
    model = MLP(task=Task("classification", (5,), 3))
    samples = batch(model.task, (6, 6))
    episode = Episode(samples, samples.slice(0, 0))
    theta = learner.init(model, generator(0, "init"))
    assert learner.update_sum(model, theta, {}, episode, keys(range(2)), SumSpec("uniform")) is None
