"""The oracle's grad and hvp against central finite differences in float64, for every model."""

from __future__ import annotations

import pytest
import torch

from metapulse.episodes import Batch
from metapulse.models.base import Model
from metapulse.trees import add, norm, pick, scale
from tests.cases import MODELS, batch, flat_clients, near, personal, same

COUNTS = (4, 2, 3)
models = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def repeat(part: Batch, client: int, times: int) -> Batch:
    return Batch(*(t[client].expand(times, *t.shape[1:]) for t in (part.x, part.y, part.mask)))


def difference_gradient(model: Model, params: dict, part: Batch, client: int, width: float = 1e-6) -> torch.Tensor:
    """(L(θ + εe_i) − L(θ − εe_i)) / 2ε for every coordinate i; the coordinates are the clients of one stack."""
    own = pick(params, client)
    size = sum(p.numel() for p in own.values())
    sides = []
    for sign in (1.0, -1.0):
        moved, at = {}, 0
        for name in sorted(own):
            n = own[name].numel()
            steps = torch.zeros(size, n, dtype=torch.float64)
            steps[at : at + n] = sign * width * torch.eye(n, dtype=torch.float64)
            moved[name], at = own[name] + steps.view(size, *own[name].shape), at + n
        sides.append(model.loss(moved, repeat(part, client, size)))
    return (sides[0] - sides[1]) / (2 * width)


@models
def test_gradient_is_the_slope_of_the_loss_in_every_coordinate(model: Model) -> None:
    params, part = personal(model, len(COUNTS), dtype=torch.float64), batch(model.task, COUNTS, dtype=torch.float64)
    loss, grads = model.value_and_grad(params, part)
    torch.testing.assert_close(loss, model.loss(params, part))
    for client in range(len(COUNTS)):
        expected = difference_gradient(model, params, part, client)
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(flat_clients(grads)[client], expected, rtol=1e-6, atol=1e-8)


@models
def test_hvp_is_the_slope_of_the_gradient_along_the_vector(model: Model) -> None:
    params, part = personal(model, len(COUNTS), dtype=torch.float64), batch(model.task, COUNTS, dtype=torch.float64)
    vector = personal(model, len(COUNTS), seed=5, dtype=torch.float64)
    width = 1e-5
    ahead, behind = (model.grad(add(params, vector, sign * width), part) for sign in (1.0, -1.0))
    expected = {name: (ahead[name] - behind[name]) / (2 * width) for name in params}
    assert norm(expected) > 1e-2
    same(model.hvp(params, part, vector), expected, rtol=1e-5, atol=1e-7)


@models
def test_the_hessian_is_symmetric_and_linear(model: Model) -> None:
    params, part = personal(model, len(COUNTS), dtype=torch.float64), batch(model.task, COUNTS, dtype=torch.float64)
    u, v = (personal(model, len(COUNTS), seed=seed, dtype=torch.float64) for seed in (5, 6))
    hu, hv = model.hvp(params, part, u), model.hvp(params, part, v)
    left, right = (flat_clients(a).mul(flat_clients(b)).sum(1) for a, b in ((v, hu), (u, hv)))
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-11)
    same(model.hvp(params, part, add(u, v, 2.5)), add(hu, hv, 2.5), rtol=1e-9, atol=1e-11)
    same(model.hvp(params, part, scale(u, 0.0)), scale(u, 0.0), rtol=0, atol=0)


@models
def test_derivatives_do_not_depend_on_the_callers_grad_mode(model: Model) -> None:
    params, part = personal(model, 2), batch(model.task, (3, 3))
    with torch.no_grad():
        quiet, product = model.grad(params, part), model.hvp(params, part, params)
    near(quiet, model.grad(params, part))
    near(product, model.hvp(params, part, params))
    assert not any(g.requires_grad for g in [*quiet.values(), *product.values()])


def test_a_loss_linear_in_its_parameters_has_no_curvature() -> None:
    class Tilted(type(MODELS["linear"])):  # type: ignore[misc]
        chain = None

        def loss(self, params, part):  # type: ignore[no-untyped-def]
            return params["layer0.weight"].sum((1, 2)) * part.x.mean((1, 2))

    model = Tilted(hidden=(), task=MODELS["linear"].task)
    params, part = personal(model, 2), batch(model.task, (3, 3))
    product = model.hvp(params, part, params)
    assert all(torch.equal(p, torch.zeros_like(p)) for p in product.values())
    assert torch.equal(model.grad(params, part)["layer0.bias"], torch.zeros(2, 3))
