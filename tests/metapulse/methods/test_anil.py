"""ANIL beside its gradients: adaptation moves the head and nothing else."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from metapulse.methods.anil import ANIL
from metapulse.methods.maml import MAML
from metapulse.models.base import Model
from metapulse.trees import stack
from tests.cases import MODELS, batch, keys, near, personal, theta


@pytest.mark.parametrize("size", [0, 2])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_body_keeps_its_bits_and_the_head_moves(model: Model, size: int) -> None:
    support, start = batch(model.task, (4, 3)), theta(model)
    for begin in (None, personal(model, 2)):
        points = list(
            islice(ANIL(batch_size=size).adaptation_trajectory(model, start, {}, support, keys(range(2)), begin), 6)
        )
        first = stack(start, 2) if begin is None else begin
        for name, p in first.items():
            for phi in points[1:]:
                assert torch.equal(phi[name], p) is (name not in model.head)


def test_on_a_model_that_is_all_head_it_is_maml() -> None:
    model = MODELS["linear"]
    support, start = batch(model.task, (4, 3)), theta(model)
    ours, maml = (cls(inner_lr=0.1).adapt(model, start, {}, support, keys(range(2)), 5) for cls in (ANIL, MAML))
    near(ours, maml)
