"""Kernels against their plain references: the model's own ``predict`` under autograd, in float64."""

from __future__ import annotations

import pytest
import torch

from metapulse.models import autograd
from metapulse.models.base import Model
from metapulse.trees import stack
from tests.cases import MODELS, batch, padded, personal, same, theta

COUNTS = (4, 1, 3)
CHAINED = {name: model for name, model in MODELS.items() if model.chain is not None}
models = pytest.mark.parametrize("model", CHAINED.values(), ids=CHAINED)


def test_every_built_in_model_of_windows_has_kernels() -> None:
    assert set(MODELS) - set(CHAINED) == {"module", "cnn2d"}  # torch convolves images faster than products of ours


@models
@pytest.mark.parametrize("one_theta", [False, True], ids=["own parameters", "one θ"])
@pytest.mark.parametrize("garbage", [0, 3])
def test_loss_gradient_and_curvature_are_autograds(model: Model, one_theta: bool, garbage: int) -> None:
    wide = {"dtype": torch.float64}
    clients = len(COUNTS)
    params = stack(theta(model, **wide), clients) if one_theta else personal(model, clients, **wide)
    part = padded(batch(model.task, COUNTS, **wide), garbage, seed=1)
    vector = personal(model, clients, seed=5, **wide)
    ours, reference = model.expand(params, part), autograd.expand_loss(model.loss, params, part)
    torch.testing.assert_close(ours.loss, reference.loss, rtol=1e-12, atol=1e-13)
    same(ours.grad, reference.grad, rtol=1e-10, atol=1e-12)
    same(ours.hvp(vector), reference.hvp(vector), rtol=1e-10, atol=1e-11)


@models
def test_single_precision_is_as_good_as_autograds(model: Model) -> None:
    params, part = personal(model, 3), batch(model.task, COUNTS)
    ours, reference = model.expand(params, part), autograd.expand_loss(model.loss, params, part)
    same(ours.grad, reference.grad, rtol=1e-4, atol=2e-6)


@models
def test_nothing_that_comes_in_is_changed(model: Model) -> None:
    params, part, vector = personal(model, 3), batch(model.task, COUNTS), personal(model, 3, seed=5)
    before = [t.clone() for t in (*params.values(), *vector.values(), part.x)]
    at = model.expand(params, part)
    first, again = at.hvp(vector), at.hvp(vector)
    same(first, again, rtol=0, atol=0)
    assert all(torch.equal(a, b) for a, b in zip(before, (*params.values(), *vector.values(), part.x), strict=True))
