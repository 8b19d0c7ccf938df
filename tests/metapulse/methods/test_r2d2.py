"""R2D2: the inner problem against the textbook ridge solution, the outer gradient against finite differences."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from math import sqrt

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from metapulse.data import Task
from metapulse.episodes import Batch, Episode
from metapulse.errors import ConfigError
from metapulse.methods.r2d2 import R2D2, RIDGE
from metapulse.models.base import Model
from metapulse.models.encoder1d import Encoder1d
from metapulse.models.mlp import MLP
from metapulse.models.module import TorchModule
from metapulse.rng import generator
from metapulse.trees import norm, pick, prefixed, stack, subtree, without_subtree
from tests.cases import batch, classification, episode, flat, keys, meta, regression, same

F64 = torch.float64
LEARNER = R2D2(ridge=0.4, scale=2.0, balance=0.7)
MODELS: dict[str, Model] = {
    "linear": MLP(hidden=(), task=classification(3)),
    "mlp": MLP(hidden=(4,), activation="tanh", task=classification(3)),
    "mlp-regression": MLP(hidden=(4,), activation="tanh", task=regression(3)),
    "encoder1d": Encoder1d(channels=(3, 4), kernels=(3, 3), embedding=3, task=classification(2, 8)),
}
models = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def own_samples(part: Batch, client: int) -> tuple[Tensor, Tensor]:
    real = part.mask[client] > 0
    return part.x[client, real], part.y[client, real]


def textbook_head(model: Model, start: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """(AᵀDA + λI)⁻¹ AᵀDY of one client, a row per input and the last for the constant; the primal form, no stack.

    A = [z, 3]/√d on embeddings z of width d; Y = ±1 per class (the targets, in regression); D = diag(n_c^(−κ)).
    """
    z = model.embed(stack(without_subtree(start, RIDGE), 1), x.unsqueeze(0))[0]
    a = torch.cat([z, torch.full((len(z), 1), 3.0, dtype=z.dtype)], 1) / sqrt(z.shape[1])
    ridge = subtree(start, RIDGE)
    if model.task.kind == "classification":
        targets = 2.0 * F.one_hot(y, model.task.outputs).to(z) - 1.0
        d = torch.bincount(y, minlength=model.task.outputs)[y].to(z) ** -ridge["balance"]
    else:
        targets, d = y, torch.ones(len(y), dtype=z.dtype)
    left = a.T @ (d.unsqueeze(1) * a) + ridge["log_lambda"].exp() * torch.eye(a.shape[1], dtype=z.dtype)
    return torch.linalg.solve(left, a.T @ (d.unsqueeze(1) * targets))


def textbook_answers(model: Model, start: dict[str, Tensor], head: Tensor, x: Tensor) -> Tensor:
    """s · [z, 3]/√d W, with s = 1 in regression."""
    z = model.embed(stack(without_subtree(start, RIDGE), 1), x.unsqueeze(0))[0]
    a = torch.cat([z, torch.full((len(z), 1), 3.0, dtype=z.dtype)], 1) / sqrt(z.shape[1])
    scale = subtree(start, RIDGE)["log_scale"].exp() if model.task.kind == "classification" else 1.0
    return scale * (a @ head)


@models
def test_the_adapted_model_is_the_textbook_ridge_regression(model: Model) -> None:
    """Dual on ours, primal here; unequal shots, and a class without any."""
    start, ep = meta(LEARNER, model, dtype=F64), episode(model.task, (7, 2, 1), (4, 3, 5), dtype=F64)
    phi = LEARNER.adapt(model, start, {}, ep.support, keys(range(3)), 1)
    for client in range(3):
        head = textbook_head(model, start, *own_samples(ep.support, client))
        x, _ = own_samples(ep.query, client)
        ours = model.predict({n: p[None] for n, p in pick(phi, client).items()}, x.unsqueeze(0))[0]
        torch.testing.assert_close(ours, textbook_answers(model, start, head, x), rtol=1e-9, atol=1e-10)


def query_loss(model: Model, start: dict[str, Tensor], ep: Episode, client: int) -> Tensor:
    """Mean over the classes with support of each class's mean −log p, or the mean squared error; one client."""
    support, query = own_samples(ep.support, client), own_samples(ep.query, client)
    answers = textbook_answers(model, start, textbook_head(model, start, *support), query[0])
    if model.task.kind == "regression":
        return (answers - query[1]).square().mean()
    known = torch.unique(support[1])
    per_class = []
    for label in known.tolist():
        mine = query[1] == label
        if mine.any():
            logits = answers[mine][:, known]
            per_class.append(F.cross_entropy(logits, (known == label).nonzero()[0].expand(len(logits))))
    return torch.stack(per_class).mean() if per_class else answers.new_zeros(())


@models
def test_update_is_the_slope_of_the_query_loss_in_the_encoder_and_in_the_ridge(model: Model) -> None:
    """Central differences of an independent query loss, in every coordinate of θ: log λ, log s and κ among them."""
    start, ep = meta(LEARNER, model, dtype=F64), episode(model.task, (7, 4), (5, 6), dtype=F64)
    report = LEARNER.update(model, start, {}, ep, keys(range(2)))
    width = 1e-5
    for client in range(2):
        loss = query_loss(model, start, ep, client)
        torch.testing.assert_close(report.metrics["loss"][client], loss, rtol=1e-9, atol=1e-11)
        slopes = []
        for name in sorted(start):
            for i in range(start[name].numel()):
                step = torch.zeros(start[name].numel(), dtype=F64)
                step[i] = width
                ahead, behind = (
                    query_loss(model, start | {name: start[name] + sign * step.view_as(start[name])}, ep, client)
                    for sign in (1.0, -1.0)
                )
                slopes.append((ahead - behind) / (2 * width))
        expected = torch.stack(slopes)
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(flat(pick(report.update, client)), expected, rtol=1e-5, atol=1e-8)


def test_every_number_of_the_ridge_is_learned_where_it_acts() -> None:
    """Classification: λ, s and κ; regression, which has no logits and no classes: λ alone. The head: never."""
    for name, moving in (("mlp", {"log_lambda", "log_scale", "balance"}), ("mlp-regression", {"log_lambda"})):
        model = MODELS[name]
        ep = episode(model.task, (7, 4), (5, 6), dtype=F64)
        update = LEARNER.update(model, meta(LEARNER, model, dtype=F64), {}, ep, keys(range(2))).update
        assert {key for key, p in subtree(update, RIDGE).items() if p.abs().min() > 1e-6} == moving
        assert not any(update[key].any() for key in model.head)


def test_classes_without_support_are_no_answers_and_their_samples_do_not_count() -> None:
    model = MODELS["mlp"]
    start, ep = meta(LEARNER, model, dtype=F64), episode(model.task, (4,), (6,), dtype=F64)
    two = Batch(ep.support.x, torch.tensor([[0, 1, 1, 0]]), ep.support.mask)
    mixed = Episode(two, Batch(ep.query.x, torch.tensor([[0, 1, 2, 0, 2, 1]]), ep.query.mask))
    kept = torch.tensor([[1.0, 1, 0, 1, 0, 1]], dtype=F64)
    without_2 = Episode(two, Batch(ep.query.x, mixed.query.y, kept))
    a, b = (LEARNER.update(model, start, {}, e, keys([0])) for e in (mixed, without_2))
    same(a.update, b.update, rtol=1e-12, atol=1e-14)
    nothing = Episode(two, Batch(ep.query.x, torch.full((1, 6), 2), ep.query.mask))
    none = LEARNER.update(model, start, {}, nothing, keys([0]))
    assert norm(none.update) == 0
    assert none.metrics["loss"] == 0


@models
def test_a_client_without_support_keeps_the_head_it_came_with(model: Model) -> None:
    start = meta(LEARNER, model)
    at = LEARNER.start(start, 2)
    lonely, empty = batch(model.task, (5, 0)), batch(model.task, (0, 0), longest=0)
    phi = LEARNER.adapt(model, start, {}, lonely, keys(range(2)), 1)
    same(pick(phi, 1), pick(at, 1), rtol=0, atol=0)
    assert any(not torch.equal(phi[name][0], at[name][0]) for name in model.head)
    same(LEARNER.adapt(model, start, {}, empty, keys(range(2)), 3), at, rtol=0, atol=0)
    kept = LEARNER.update(model, start, {}, Episode(lonely, batch(model.task, (3, 3), seed=1)), keys(range(2)))
    assert all(torch.isfinite(p).all() for p in kept.update.values())


def test_the_ridge_shrinks_the_head_and_the_factor_is_on_lambda() -> None:
    model, part = MODELS["mlp"], batch(classification(3), (6,), dtype=F64)
    start = meta(LEARNER, model, dtype=F64)

    def head(learner: R2D2, log_lambda: float) -> float:
        ridge = {f"{RIDGE}log_lambda": torch.tensor(log_lambda, dtype=F64)}
        phi = learner.adapt(model, start | ridge, {}, part, keys([0]), 1)
        return float(norm({name: phi[name] for name in model.head}))

    lengths = [head(LEARNER, value) for value in (-4.0, -1.0, 2.0, 5.0)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[3] < 0.1 * lengths[0]
    double = replace(LEARNER, ridge_factor=2.0)
    assert head(double, 1.0) == pytest.approx(head(LEARNER, 1.0 + torch.tensor(2.0, dtype=F64).log().item()), rel=1e-12)


def test_balance_makes_a_rare_class_count_as_much_as_a_frequent_one() -> None:
    """κ = 1: repeating a class's samples changes nothing; κ = 0: repeating is weight, as in plain ridge regression."""
    model, task = MODELS["mlp"], classification(3)
    part = batch(task, (4,), dtype=F64)
    part = Batch(part.x, torch.tensor([[0, 0, 1, 2]]), part.mask)
    often = Batch(*(torch.cat([t, t[:, :2], t[:, :2]], 1) for t in (part.x, part.y, part.mask)))
    start = meta(LEARNER, model, dtype=F64)
    for balance, alike in ((1.0, True), (0.0, False)):
        at = start | {f"{RIDGE}balance": torch.tensor(balance, dtype=F64)}
        once, thrice = (LEARNER.adapt(model, at, {}, p, keys([0]), 1)["layer1.weight"] for p in (part, often))
        assert torch.allclose(once, thrice, rtol=1e-10, atol=1e-12) is alike


def test_the_path_is_the_start_then_the_solution_for_ever() -> None:
    model = MODELS["mlp"]
    start, part = meta(LEARNER, model), batch(model.task, (5, 3))
    zero, one, two = islice(LEARNER.adaptation_trajectory(model, start, {}, part, keys(range(2))), 3)
    same(zero, LEARNER.start(start, 2), rtol=0, atol=0)
    same(one, two, rtol=0, atol=0)
    assert all(torch.equal(one[name], zero[name]) for name in zero if name not in model.head)


def test_theta_carries_the_ridge_at_its_initial_numbers() -> None:
    start = R2D2(ridge=2.0, scale=3.0, balance=0.25).init(MODELS["mlp"], generator(0, "init"))
    own = {name: float(p) for name, p in subtree(start, RIDGE).items()}
    assert own == pytest.approx({"log_lambda": 0.6931472, "log_scale": 1.0986123, "balance": 0.25})
    assert sorted(prefixed(subtree(start, RIDGE), RIDGE)) == sorted(n for n in start if n.startswith(RIDGE))


@pytest.mark.parametrize("head", [(), ("1.weight",)])
def test_a_module_of_ones_own_is_refused_in_one_line(head: tuple[str, ...]) -> None:
    task = Task("classification", (3,), 3)
    options = {"inputs": 3, "width": 4, "outputs": 3}
    model = TorchModule(factory="tests.cases:tanh_net", options=options, head_names=head, task=task)
    with pytest.raises(ConfigError, match="no embedding") as caught:
        LEARNER.adapt(model, meta(LEARNER, model), {}, batch(task, (4,)), keys([0]), 1)
    assert "\n" not in str(caught.value)
    if head:
        with pytest.raises(ConfigError, match="weight and bias"):
            model.head_pair()
