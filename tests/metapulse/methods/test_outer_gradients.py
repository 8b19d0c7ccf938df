"""Second order: MAML, ANIL and Meta-SGD against finite differences, and against textbook autograd.

Published code gets these wrong in two ways, and each has its test here: a MAML that detaches its inner step, whose
gradient is FOMAML's; and a Meta-SGD that hands its rates the parameters' gradient.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from metapulse.episodes import Episode
from metapulse.methods.anil import ANIL
from metapulse.methods.base import Learner
from metapulse.methods.boil import BOIL
from metapulse.methods.fomaml import FOMAML
from metapulse.methods.loop import minibatches
from metapulse.methods.maml import MAML
from metapulse.methods.meta_sgd import MetaSGD
from metapulse.models.base import Model
from metapulse.models.mlp import MLP
from metapulse.trees import norm, pick, prefixed, stack, sub, subtree, without_subtree
from tests.cases import MODELS, classification, episode, flat, keys, meta, near, same, select_clients, some, theta

STEPS = 3
SMOOTH = {name: model for name, model in MODELS.items() if name != "module"}
models = pytest.mark.parametrize("model", SMOOTH.values(), ids=SMOOTH)
F64 = torch.float64
SECOND_ORDER: dict[str, Learner] = {
    "maml": MAML(inner_lr=0.2, inner_steps=STEPS),
    "anil": ANIL(inner_lr=0.2, inner_steps=STEPS),
    "boil": BOIL(inner_lr=0.2, inner_steps=STEPS),
    "meta_sgd": MetaSGD(inner_steps=STEPS, rate_low=0.05, rate_high=0.3),
}


def moved(start: dict[str, Tensor], width: float) -> dict[str, Tensor]:
    """θ + width · e_i for every coordinate i, names in order, as a stack with one entry per coordinate."""
    sizes = {name: start[name].numel() for name in sorted(start)}
    eye = width * torch.eye(sum(sizes.values()), dtype=F64)
    steps = dict(zip(sizes, eye.split(list(sizes.values()), 1), strict=True))
    return {name: p + steps[name].reshape(-1, *p.shape) for name, p in start.items()}


def query_losses(learner: Learner, model: Model, starts: dict[str, Tensor], ep: Episode) -> Tensor:
    """L_query(φ_K(θ)) of one client's episode for a stack of θs (Meta-SGD's with their own rates)."""
    times = len(next(iter(starts.values())))
    support, query = (select_clients(part, [0] * times) for part in (ep.support, ep.query))
    path = learner.adaptation_trajectory(
        model, starts, {}, support, keys([0] * times), start=without_subtree(starts, "rate/")
    )
    return model.loss(next(islice(path, STEPS, None)), query)


def slope(learner: Learner, model: Model, start: dict[str, Tensor], ep: Episode, width: float = 1e-5) -> Tensor:
    """Central differences of the query loss in every coordinate of θ, rates included."""
    ahead, behind = (query_losses(learner, model, moved(start, sign * width), ep) for sign in (1.0, -1.0))
    return (ahead - behind) / (2 * width)


@pytest.mark.parametrize("learner", SECOND_ORDER.values(), ids=SECOND_ORDER)
@models
def test_update_is_the_slope_of_the_query_loss_after_adaptation(learner: Learner, model: Model) -> None:
    ep = episode(model.task, (4,), (5,), dtype=F64)
    start = meta(learner, model, dtype=F64)
    report = learner.update(model, start, {}, ep, keys([0]))
    expected = slope(learner, model, start, ep)
    assert expected.abs().max() > 1e-2
    torch.testing.assert_close(flat(pick(report.update, 0)), expected, rtol=1e-5, atol=1e-8)
    phi = learner.adapt(model, start, {}, ep.support, keys([0]), STEPS)
    torch.testing.assert_close(report.metrics["loss"], model.loss(phi, ep.query), rtol=1e-12, atol=0)


def textbook(
    layers: int, start: dict[str, Tensor], ep: Episode, rates: dict[str, Tensor], steps: int, detach: bool = False
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """dL_query/dθ and dL_query/dα of one client's tanh MLP by backpropagation through the unrolled inner loop.

    Plain torch, nothing of this project but the numbers: Algorithm 1 of Finn et al. 2017 as one would write it.
    """

    def loss(p: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        for i in range(layers):
            x = F.linear(x, p[f"layer{i}.weight"], p[f"layer{i}.bias"])
            x = torch.tanh(x) if i < layers - 1 else x
        return F.cross_entropy(x, y)

    leaves = {name: p.clone().requires_grad_() for name, p in start.items()}
    alpha = {name: r.clone().requires_grad_() for name, r in rates.items()}
    support, query = ((part.x[0, part.mask[0] > 0], part.y[0, part.mask[0] > 0]) for part in (ep.support, ep.query))
    phi: dict[str, Tensor] = dict(leaves)
    for _ in range(steps):
        grads = torch.autograd.grad(loss(phi, *support), list(phi.values()), create_graph=not detach)
        grads = [g.detach() for g in grads] if detach else grads
        phi = {name: p - alpha[name] * g for (name, p), g in zip(phi.items(), grads, strict=True)}
    wanted = [*leaves.values(), *alpha.values()]
    found = iter(torch.autograd.grad(loss(phi, *query), wanted, allow_unused=True, materialize_grads=True))
    return {name: next(found) for name in leaves}, {name: next(found) for name in alpha}


NET = MLP(hidden=(5, 4), activation="tanh", task=classification(3))


def three(dtype: torch.dtype = F64) -> Episode:
    return episode(NET.task, (4, 2, 3), (3, 3, 1), dtype=dtype)


def everywhere(start: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    return {name: torch.full_like(p, alpha) for name, p in start.items()}


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_maml_is_backpropagation_through_the_inner_loop(steps: int) -> None:
    start, ep = theta(NET, dtype=F64), three()
    report = MAML(inner_lr=0.3, inner_steps=steps).update(NET, start, {}, ep, keys(range(3)))
    for client in range(3):
        expected, _ = textbook(3, start, some(ep, [client]), everywhere(start, 0.3), steps)
        same(pick(report.update, client), expected, rtol=1e-10, atol=1e-12)


def test_fomaml_is_maml_with_the_inner_gradients_detached() -> None:
    start, ep = theta(NET, dtype=F64), three()
    report = FOMAML(inner_lr=0.3, inner_steps=3).update(NET, start, {}, ep, keys(range(3)))
    for client in range(3):
        expected, _ = textbook(3, start, some(ep, [client]), everywhere(start, 0.3), 3, detach=True)
        same(pick(report.update, client), expected, rtol=1e-10, atol=1e-12)


def test_anil_is_maml_whose_inner_loop_moves_the_head() -> None:
    start, ep = theta(NET, dtype=F64), three()
    rates = {name: torch.full_like(p, 0.3 if name in NET.head else 0.0) for name, p in start.items()}
    report = ANIL(inner_lr=0.3, inner_steps=3).update(NET, start, {}, ep, keys(range(3)))
    for client in range(3):
        expected, _ = textbook(3, start, some(ep, [client]), rates, 3)
        same(pick(report.update, client), expected, rtol=1e-10, atol=1e-12)
    body = {name: p for name, p in report.update.items() if name not in NET.head}
    assert norm(body) > 1e-2  # the body is meta-learned all the same


def test_boil_is_maml_whose_inner_loop_moves_the_body() -> None:
    start, ep = theta(NET, dtype=F64), three()
    rates = {name: torch.full_like(p, 0.0 if name in NET.head else 0.3) for name, p in start.items()}
    report = BOIL(inner_lr=0.3, inner_steps=3).update(NET, start, {}, ep, keys(range(3)))
    for client in range(3):
        expected, _ = textbook(3, start, some(ep, [client]), rates, 3)
        same(pick(report.update, client), expected, rtol=1e-10, atol=1e-12)
    assert norm({name: report.update[name] for name in NET.head}) > 1e-2  # the head is meta-learned all the same


def test_anil_and_boil_share_mamls_first_step() -> None:
    """Each parameter is moved by one of them, as far as MAML moves it."""
    start, ep = theta(NET, dtype=F64), three()
    maml, anil, boil = (
        learner.adapt(NET, start, {}, ep.support, keys(range(3)), 1) for learner in (MAML(), ANIL(), BOIL())
    )
    for name, p in maml.items():
        moved_by, kept_by = (anil, boil) if name in NET.head else (boil, anil)
        near({name: moved_by[name]}, {name: p})
        assert torch.equal(kept_by[name], stack(start, 3)[name])


@pytest.mark.parametrize("steps", [1, 3])
def test_meta_sgd_hands_its_rates_their_own_gradient(steps: int) -> None:
    learner = MetaSGD(inner_steps=steps, rate_low=0.05, rate_high=0.4)
    start, ep = meta(learner, NET, dtype=F64), three()
    report = learner.update(NET, start, {}, ep, keys(range(3)))
    for client in range(3):
        own = pick(report.update, client)
        params, rates = textbook(3, without_subtree(start, "rate/"), some(ep, [client]), subtree(start, "rate/"), steps)
        same(own, params | prefixed(rates, "rate/"), rtol=1e-10, atol=1e-12)
        # The published mistake would be this difference equal to zero.
        assert norm(sub(subtree(own, "rate/"), without_subtree(own, "rate/"))) > 0.1 * norm(
            without_subtree(own, "rate/")
        )


def test_meta_sgd_with_equal_rates_is_maml() -> None:
    start, ep = theta(NET, dtype=F64), three()
    equal = start | prefixed(everywhere(start, 0.3), "rate/")
    ours = MetaSGD(inner_steps=3).update(NET, equal, {}, ep, keys(range(3))).update
    maml = MAML(inner_lr=0.3, inner_steps=3).update(NET, start, {}, ep, keys(range(3))).update
    same(without_subtree(ours, "rate/"), maml, rtol=1e-12, atol=1e-14)
    # Moving every rate at once is moving α: the rates' gradients sum to dL/dα.
    total = sum(p.sum() for p in subtree(ours, "rate/").values())
    ahead, behind = (
        MAML(inner_lr=0.3 + w, inner_steps=3).update(NET, start, {}, ep, keys(range(3))).metrics["loss"].sum()
        for w in (1e-5, -1e-5)
    )
    torch.testing.assert_close(total, (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-9)


@models
def test_maml_is_not_fomaml_on_a_model_with_curvature(model: Model) -> None:
    """The published mistake: a MAML whose gradient equals FOMAML's to 0.0."""
    start, ep = theta(model), episode(model.task, (4, 5), (5, 4))
    second, first = (
        cls(inner_lr=0.2, inner_steps=STEPS).update(model, start, {}, ep, keys(range(2))) for cls in (MAML, FOMAML)
    )
    torch.testing.assert_close(second.metrics["loss"], first.metrics["loss"])
    assert norm(sub(second.update, first.update)) > 0.02 * norm(first.update)


class Tilted(MLP):
    """A model whose loss is linear in its parameters, L = Σ_j x̄_j Σ W: the support Hessian is zero everywhere."""

    chain = None

    def loss(self, params, part):  # type: ignore[no-untyped-def]
        weights = params["layer0.weight"].sum(1) + params["layer0.bias"].sum(1, keepdim=True)
        return (weights * part.x.mean(1)).sum(1)


@pytest.mark.parametrize("steps", [1, 4])
def test_maml_is_fomaml_where_the_support_loss_has_no_curvature(steps: int) -> None:
    """Π_k (I − αH_k) = I when every H_k = 0, and only then for every query; cross-entropy and squared error of a
    linear model are convex with H ≠ 0, so even for those the two differ (the test above, "linear")."""
    model = Tilted(hidden=(), task=classification(3))
    start, ep = theta(model), episode(model.task, (4, 5), (5, 4))
    second, first = (
        cls(inner_lr=0.2, inner_steps=steps).update(model, start, {}, ep, keys(range(2))).update
        for cls in (MAML, FOMAML)
    )
    near(second, first)


def test_maml_is_fomaml_without_inner_steps_and_without_support() -> None:
    start = theta(NET)
    for steps, support in ((0, (4, 5)), (3, (0, 0))):
        ep = episode(NET.task, support, (5, 4))
        second, first = (
            cls(inner_lr=0.2, inner_steps=steps).update(NET, start, {}, ep, keys(range(2))).update
            for cls in (MAML, FOMAML)
        )
        near(second, first)
        # One θ behind all clients is one large product, personal parameters are many small ones: equal to rounding.
        same(first, NET.grad(stack(start, 2), ep.query), rtol=1e-4, atol=1e-7)


def test_maml_approaches_fomaml_as_alpha_times_the_curvature() -> None:
    """∇MAML − ∇FOMAML = −α Σ_k H_k ∇L_query + O(α²): halving α halves the difference, and its limit is known."""
    start, ep = theta(NET, dtype=F64), three()
    at = stack(start, 3)
    limit = NET.hvp(at, ep.support, NET.grad(at, ep.query))
    errors = []
    for alpha in (1e-3, 5e-4):
        second, first = (
            cls(inner_lr=alpha, inner_steps=STEPS).update(NET, start, {}, ep, keys(range(3))).update
            for cls in (MAML, FOMAML)
        )
        scaled = {name: p / (-STEPS * alpha) for name, p in sub(second, first).items()}
        errors.append(float(norm(sub(scaled, limit)) / norm(limit)))
    assert errors[0] < 0.01
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.05)


def test_minibatches_are_differentiated_through_as_drawn() -> None:
    """With minibatches the inner loop is another function of θ at every step; its slope is taken at the same draws."""
    learner = MAML(inner_lr=0.3, inner_steps=4, batch_size=2)
    start, ep = theta(NET, dtype=F64), episode(NET.task, (5, 3), (4, 4), dtype=F64)

    def loss_at(elsewhere: dict[str, Tensor]) -> Tensor:
        phi: dict[str, Tensor] = stack(elsewhere, 2)
        for part in islice(minibatches(ep.support, 2, keys(range(2))), 4):
            phi = {name: p - 0.3 * g for (name, p), g in zip(phi.items(), NET.grad(phi, part).values(), strict=True)}
        return NET.loss(phi, ep.query)

    report = learner.update(NET, start, {}, ep, keys(range(2)))
    direction = theta(NET, seed=9, dtype=F64)
    ahead, behind = (loss_at({n: p + w * direction[n] for n, p in start.items()}) for w in (1e-5, -1e-5))
    along = torch.stack([sum((pick(report.update, i)[n] * direction[n]).sum() for n in start) for i in range(2)])
    torch.testing.assert_close(along, (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-9)
    whole = replace(learner, batch_size=0).update(NET, start, {}, ep, keys(range(2)))
    assert norm(sub(whole.update, report.update)) > 1e-3
