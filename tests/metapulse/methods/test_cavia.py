"""CAVIA: the context's own steps and the outer gradient through them, by differences and by hand on a linear model."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch, Episode
from metapulse.errors import ConfigError
from metapulse.methods.cavia import CAVIA, CONTEXT
from metapulse.models.base import Model
from metapulse.models.cnn1d import CNN1d
from metapulse.models.encoder1d import Encoder1d
from metapulse.models.gru import GRU
from metapulse.models.mlp import MLP
from metapulse.models.module import TorchModule
from metapulse.trees import norm, pick
from tests.cases import batch, classification, episode, flat, keys, meta, regression, same, slopes

F64 = torch.float64
LEARNER = CAVIA(inner_lr=0.5, inner_steps=2, context=2)
MODELS: dict[str, Model] = {
    "mlp": MLP(hidden=(3,), activation="tanh", task=classification(3)),
    "regression": MLP(hidden=(3,), activation="tanh", task=regression(2)),
    "cnn1d": CNN1d(channels=(2,), kernel=2, task=classification(1, 5)),
    "gru": GRU(hidden=2, task=classification(1, 3)),
}
NET = MODELS["mlp"]


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_update_is_the_slope_of_the_query_loss_after_the_contexts_steps(model: Model) -> None:
    start, ep = meta(LEARNER, model, dtype=F64), episode(model.task, (4,), (5,), dtype=F64)

    def objective(at: dict[str, Tensor]) -> Tensor:
        phi = LEARNER.adapt(model, at, {}, ep.support, keys([0]))
        return loss(model, phi, ep.query)[0]

    report = LEARNER.update(model, start, {}, ep, keys([0]))
    expected = slopes(objective, start)
    assert expected.abs().max() > 1e-2
    torch.testing.assert_close(flat(pick(report.update, 0)), expected, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(report.metrics["loss"][0], objective(start), rtol=1e-12, atol=0)


def loss(model: Model, phi: dict[str, Tensor], part: Batch) -> Tensor:
    """Of each client, from the answers alone."""
    answers = LEARNER.predict(model, phi, part.x)
    if model.task.kind == "regression":
        each = (answers - part.y).square().mean(2)
    else:
        each = -answers.log_softmax(2).gather(2, part.y.unsqueeze(2))[..., 0]
    return (each * part.mask).sum(1) / part.mask.sum(1)


def test_second_order_is_more_than_the_gradient_at_the_adapted_context() -> None:
    """What detaching the inner step would report differs."""
    start, ep = meta(LEARNER, NET, dtype=F64), episode(NET.task, (4,), (5,), dtype=F64)
    phi = LEARNER.adapt(NET, start, {}, ep.support, keys([0]))
    fixed = slopes(lambda at: loss(NET, {**phi, **{n: p.unsqueeze(0) for n, p in at.items()}}, ep.query)[0], start)
    report = LEARNER.update(NET, start, {}, ep, keys([0]))
    assert (flat(pick(report.update, 0)) - fixed).norm() > 1e-3


def test_on_a_linear_model_the_context_is_a_shift_of_the_output() -> None:
    """y = wx + uc + b: ∇_c L = 2u · mean(wx + uc + b − y), so c₁ = −2αu · mean(wx + b − y)."""
    line, learner = MLP(hidden=(), task=Task("regression", (1,), 1)), CAVIA(inner_lr=0.3, context=1)
    start, part = meta(learner, line, dtype=F64), batch(line.task, (5, 3), dtype=F64)
    w, u = start["layer0.weight"][0]
    phi = learner.adapt(line, start, {}, part, keys(range(2)), 1)
    for client, n in enumerate((5, 3)):
        residual = w * part.x[client, :n, 0] + start["layer0.bias"] - part.y[client, :n, 0]
        torch.testing.assert_close(phi[CONTEXT][client], (-0.6 * u * residual.mean()).view(1), rtol=1e-12, atol=0)
    shifted = learner.predict(line, phi, part.x) - learner.predict(line, learner.start(start, 2), part.x)
    torch.testing.assert_close(shifted, (u * phi[CONTEXT]).view(2, 1, 1).expand(2, 5, 1), rtol=1e-10, atol=1e-14)


def test_nothing_but_the_context_moves_and_it_starts_at_zero() -> None:
    start, part = meta(LEARNER, NET), batch(NET.task, (4, 0))
    points = list(islice(LEARNER.adaptation_trajectory(NET, start, {}, part, keys(range(2))), 4))
    assert norm({CONTEXT: points[0][CONTEXT]}) == 0
    for phi in points[1:]:
        same({n: phi[n] for n in start}, {n: points[0][n] for n in start}, rtol=0, atol=0)
        assert phi[CONTEXT][0].abs().min() > 0
        assert not phi[CONTEXT][1].any()  # no support, no step
    assert len({tuple(phi[CONTEXT][0].tolist()) for phi in points}) == 4


def test_a_context_of_zeros_is_the_model_without_it() -> None:
    start, part = meta(LEARNER, NET, dtype=F64), batch(NET.task, (4,), dtype=F64)
    phi = LEARNER.start(start, 1)
    narrow = {n: p[..., :3] if n == "layer0.weight" else p for n, p in phi.items() if n != CONTEXT}
    torch.testing.assert_close(LEARNER.predict(NET, phi, part.x), NET.predict(narrow, part.x), rtol=1e-12, atol=1e-13)


def test_without_support_an_update_is_finite() -> None:
    nothing = Episode(batch(NET.task, (0, 0), longest=0), batch(NET.task, (3, 3), seed=1))
    report = LEARNER.update(NET, meta(LEARNER, NET), {}, nothing, keys(range(2)))
    assert all(torch.isfinite(p).all() for p in report.update.values())


def test_what_cannot_read_a_context_is_refused_in_one_line() -> None:
    options = {"inputs": 3, "width": 4, "outputs": 3}
    module = TorchModule(factory="tests.cases:tanh_net", options=options, task=classification(3))
    encoder = Encoder1d(channels=(2,), kernels=(3,), embedding=3, task=classification(1, 4))
    for model, reason in ((module, "fixed inputs"), (encoder, "no slope")):
        with pytest.raises(ConfigError, match=reason) as caught:
            meta(LEARNER, model)
        assert "\n" not in str(caught.value)
