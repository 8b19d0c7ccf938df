"""Steps of compiled perceptrons within the span of few samples: what they are in float64, step by step."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.data import Task
from metapulse.methods.anil import ANIL
from metapulse.methods.base import Learner
from metapulse.methods.fedavg import FedAvg
from metapulse.methods.fomaml import FOMAML
from metapulse.methods.maml import MAML
from metapulse.methods.meta_sgd import MetaSGD
from metapulse.models.mlp import MLP
from metapulse.trees import flat_stack
from tests.cases import batch, personal, same
from tests.metapulse.models.test_native import Kind, check_learner, needs_compiler, tasks

pytestmark = needs_compiler

FULL_BATCH: list[Learner] = [
    FedAvg(inner_lr=0.05, inner_steps=7),
    FedAvg(inner_lr=0.05, inner_steps=40),
    FOMAML(inner_steps=6, inner_lr=0.05),
    MAML(inner_steps=1, inner_lr=0.05),
    MAML(inner_steps=4, inner_lr=0.05),
    ANIL(inner_steps=4, inner_lr=0.05),
    MetaSGD(inner_steps=3),
]


@pytest.mark.parametrize("learner", FULL_BATCH, ids=lambda learner: f"{type(learner).__name__}-{learner.inner_steps}")
@settings(max_examples=12)
@given(
    kind=tasks,
    inputs=st.sampled_from([60, 64, 97, 200]),
    hidden=st.lists(st.sampled_from([7, 16, 33]), max_size=2),
    activation=st.sampled_from(["relu", "tanh"]),
    counts=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_steps_within_the_span_of_few_samples(
    learner: Learner,
    kind: Kind,
    inputs: int,
    hidden: list[int],
    activation: Literal["relu", "tanh"],
    counts: tuple[int, int],
) -> None:
    """Many inputs and the same few samples in every step: no weight of the first layer is formed on the way."""
    task = Task(kind, (inputs,), 4)
    check_learner(MLP(hidden=tuple(hidden), activation=activation, task=task), learner, counts)


@pytest.mark.parametrize("steps", [1, 2, 5, 16])
def test_one_step_after_the_other(steps: int) -> None:
    """What steps on the same samples add up to is what they are one call at a time, within the span or not."""
    model = MLP(hidden=(24,), task=Task("classification", (120,), 4))
    code, part, phi = model.compiled, batch(model.task, (9, 4)), flat_stack(personal(model, 2))
    assert code is not None
    loss, end = code.descend(phi, [part] * steps, 0.1)
    total = torch.zeros(2)
    for _ in range(steps):
        one, phi = code.descend(phi, [part], 0.1)
        total += one
    same(dict(end), dict(phi), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(loss, total, rtol=1e-5, atol=1e-6)
