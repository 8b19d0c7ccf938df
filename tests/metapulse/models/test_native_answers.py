"""What compiled code answers on the way of SGD: what the path's points predict in float64."""

from __future__ import annotations

from itertools import islice
from typing import Literal

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from metapulse.data import Task
from metapulse.methods.fedavg_finetune import FedAvgFineTune
from metapulse.models.loops import AT_ONCE
from metapulse.models.mlp import MLP
from tests.cases import batch, keys, padded, personal
from tests.metapulse.models.test_native import Kind, needs_compiler, tasks, wide

pytestmark = needs_compiler


@settings(max_examples=60)
@given(
    kind=tasks,
    inputs=st.sampled_from([1, 7, 64, 97, 200]),
    hidden=st.lists(st.sampled_from([7, 16, 33]), max_size=2),
    outputs=st.sampled_from([1, 3, 4, 6]),
    activation=st.sampled_from(["relu", "tanh"]),
    counts=st.lists(st.integers(0, 20), min_size=1, max_size=4).filter(any),
    asked=st.integers(1, 9),
    steps=st.lists(st.integers(0, 20), min_size=1, max_size=4, unique=True).map(sorted),
    size=st.sampled_from([0, 5]),
    shared=st.booleans(),
)
def test_answers_are_those_of_the_points(
    kind: Kind,
    inputs: int,
    hidden: list[int],
    outputs: int,
    activation: Literal["relu", "tanh"],
    counts: list[int],
    asked: int,
    steps: list[int],
    size: int,
    shared: bool,
) -> None:
    """From one θ or from personal ones, with all samples or minibatches, within the span of few samples or not."""
    assume(kind == "regression" or outputs > 1)
    model = MLP(hidden=tuple(hidden), activation=activation, task=Task(kind, (inputs,), outputs))
    learner, address = FedAvgFineTune(inner_lr=0.03, batch_size=size), keys(range(len(counts)))
    support, x = padded(batch(model.task, counts), 2, seed=1), batch(model.task, [asked] * len(counts), seed=5).x
    stack = personal(model, len(counts))
    meta = {name: p[0] for name, p in stack.items()}
    start = None if shared else stack
    answers = list(learner.answers_at(model, meta, {}, support, address, steps, x, start))
    exact_meta = {name: p.double() for name, p in meta.items()}
    exact_start = None if shared else {name: p.double() for name, p in stack.items()}
    path = learner.adaptation_trajectory(model, exact_meta, {}, wide(support), address, exact_start)
    points = list(islice(path, steps[-1] + 1))
    for k, said in zip(steps, answers, strict=True):
        exact = model.predict(points[k], x.double())
        assert said.shape == exact.shape
        error = (said.double() - exact).norm() / (exact.norm() + 1)
        assert error < 2e-5, f"{error} at {k}"


def asked_for(learner: FedAvgFineTune, model: MLP, count: int, steps: list[int]) -> bool:
    """Whether compiled code answered, rather than the points of the path."""
    part = batch(model.task, (count, count))
    looked: list[int] = []

    class Watched(MLP):
        def predict(self, params: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
            looked.append(1)
            return super().predict(params, x)

    watched = Watched(hidden=model.hidden, task=model.task)
    meta = personal(model, 2)
    one = {name: p[0] for name, p in meta.items()}
    answers = list(learner.answers_at(watched, one, {}, part, keys(range(2)), steps, part.x))
    assert len(answers) == len(steps)
    return not looked


@pytest.mark.parametrize(
    ("learner", "steps", "compiled"),
    [
        (FedAvgFineTune(), [0, 1, 50], True),
        (FedAvgFineTune(batch_size=4), [0, AT_ONCE], True),
        (FedAvgFineTune(batch_size=4), [0, AT_ONCE + 1], False),
        (FedAvgFineTune(batch_size=8), [0, AT_ONCE + 1], True),
        (FedAvgFineTune(optimizer="adam"), [0, 1], False),
    ],
    ids=["all samples", "few minibatches", "many minibatches", "minibatches that are all samples", "adam"],
)
def test_which_paths_are_one_call(learner: FedAvgFineTune, steps: list[int], compiled: bool) -> None:
    """Minibatches of more steps than are kept in memory, and what is not plain SGD, go point by point."""
    model = MLP(hidden=(8,), task=Task("classification", (7,), 4))
    assert asked_for(learner, model, 8, steps) is compiled
