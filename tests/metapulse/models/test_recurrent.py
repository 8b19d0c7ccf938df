"""The recurrent kernel beyond what every chain is tested for: its inputs' derivatives, long series, large stacks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metapulse.episodes import Batch
from metapulse.models import autograd, gru
from metapulse.models.gru import GRU
from metapulse.models.kernels.recurrent import Gated
from metapulse.models.layers import gru as reference
from tests.cases import batch, classification, personal, same

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
CLIENTS, N, CHANNELS, TIME, HIDDEN = 3, 4, 2, 5, 3


def weights(seed: int) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    shapes = {"weight_ih": (9, CHANNELS), "weight_hh": (9, HIDDEN), "bias_ih": (9,), "bias_hh": (9,)}
    return {
        f"body.{name}": torch.randn(CLIENTS, *shape, generator=rng, dtype=torch.float64)
        for name, shape in shapes.items()
    }


def read(w: dict[str, Tensor], x: Tensor) -> Tensor:
    return reference(x.transpose(2, 3), *(w[f"body.{part}"] for part in PARTS))


def test_a_gru_behind_another_layer_hands_its_derivatives_on() -> None:
    """Gradient of ⟨g, y⟩ in weights and inputs, and how it moves along (v, ẋ, ġ): autograd's, twice differentiated."""
    w, v = weights(1), weights(2)
    rng = torch.Generator().manual_seed(3)
    x, dx = (torch.randn(CLIENTS, N, CHANNELS, TIME, generator=rng, dtype=torch.float64) for _ in range(2))
    g, dg = (torch.randn(CLIENTS, N, HIDDEN, generator=rng, dtype=torch.float64) for _ in range(2))

    def pullback(*at: Tensor) -> tuple[Tensor, ...]:
        leaves = [a.detach().requires_grad_() if not a.requires_grad else a for a in at[:-1]]
        y = read(dict(zip(w, leaves[:-1], strict=True)), leaves[-1])
        return torch.autograd.grad((y * at[-1]).sum(), leaves, create_graph=True)

    point, direction = (*w.values(), x, g), (*v.values(), dx, dg)
    expected, moves = torch.autograd.functional.jvp(pullback, point, direction)
    y, dy = torch.autograd.functional.jvp(
        lambda *a: read(dict(zip(w, a[:-1], strict=True)), a[-1]), point[:-1], direction[:-1]
    )

    kernel = Gated("body")
    out, moved_out = ({name: torch.empty_like(p) for name, p in w.items()} for _ in range(2))
    ours, saved = kernel.forward(w, x)
    back = kernel.backward(w, saved, g, out, True)
    ours_moves, moved = kernel.tangent(w, v, saved, dx)
    back_moves = kernel.backward_tangent(w, v, saved, moved, g, dg, moved_out, True)
    assert back is not None
    assert back_moves is not None
    for ours_, theirs in zip(
        (ours, ours_moves, *out.values(), back, *moved_out.values(), back_moves),
        (y, dy, *expected, *moves),
        strict=True,
    ):
        torch.testing.assert_close(ours_, theirs, rtol=1e-10, atol=1e-12)


def test_a_long_series_in_single_precision_is_as_exact_as_autograd() -> None:
    """32 samples of 128 steps: 4096 terms in every number of the gradient and of the curvature."""
    model = GRU(hidden=32, task=classification(6, 128))
    params, part, vector = personal(model, 2), batch(model.task, (32, 32)), personal(model, 2, seed=5)
    wide_params, wide_vector = ({name: p.double() for name, p in tree.items()} for tree in (params, vector))
    wide = Batch(part.x.double(), part.y, part.mask.double())
    exact, ours = model.expand(wide_params, wide), model.expand(params, part)
    plain = autograd.expand_loss(model.loss, params, part)
    for name in params:
        for true, own, theirs in (
            (exact.grad[name], ours.grad[name], plain.grad[name]),
            (exact.hvp(wide_vector)[name], ours.hvp(vector)[name], plain.hvp(vector)[name]),
        ):
            scale = true.abs().max()
            error, reference_error = ((a.double() - true).abs().max() / scale for a in (own, theirs))
            assert error < max(1e-6, 2 * reference_error), name


@pytest.mark.parametrize("clients", [2, 5, 6])
def test_blocks_of_clients_give_what_the_stack_gives(clients: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = GRU(hidden=3, task=classification(2, 7))
    params, part = personal(model, clients, dtype=torch.float64), batch(model.task, (3,) * clients, dtype=torch.float64)
    whole = model.expand(params, part)
    monkeypatch.setattr(gru, "PATH_BYTES", 2 * 3 * 7 * (15 + 3) * 8)  # two clients of three samples
    loss, gradient = model.value_and_grad(params, part)
    torch.testing.assert_close(loss, whole.loss, rtol=1e-14, atol=0)
    same(gradient, whole.grad, rtol=1e-13, atol=1e-15)
