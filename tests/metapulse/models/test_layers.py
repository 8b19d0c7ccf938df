"""Stacked layers against their torch.nn namesakes, forward and backward, and the initialisers' distributions."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from metapulse.models.layers import (
    conv1d,
    conv2d,
    gru,
    image_norm,
    linear,
    max_pool,
    truncated_normal_init,
    uniform_init,
)
from metapulse.rng import generator

CLIENTS = 3
torch_gru = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...], Callable[..., Tensor], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(4, 5), ("weight", "bias"), linear, (4,)),
    "conv1d": (lambda: nn.Conv1d(3, 4, 3), ("weight", "bias"), conv1d, (3, 9)),
    "conv1d as wide as the window": (lambda: nn.Conv1d(2, 3, 5), ("weight", "bias"), conv1d, (2, 5)),
    "conv2d": (
        lambda: nn.Conv2d(3, 4, 3, stride=2, padding=1),
        ("weight", "bias"),
        lambda x, w, b: conv2d(x, w, b, stride=2, padding=1),
        (3, 5, 6),
    ),
    "conv2d as large as the image": (lambda: nn.Conv2d(2, 3, 4), ("weight", "bias"), conv2d, (2, 4, 4)),
    "image_norm": (lambda: nn.GroupNorm(1, 3), ("weight", "bias"), image_norm, (3, 4, 5)),
    "max_pool": (lambda: nn.MaxPool1d(2), (), lambda x: max_pool(x, 2), (3, 8)),
    "max_pool, incomplete last window": (lambda: nn.MaxPool1d(3), (), lambda x: max_pool(x, 3), (3, 8)),
    "gru": (lambda: nn.GRU(3, 4, batch_first=True), torch_gru, gru, (6, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_as_one_torch_module_per_client(name: str) -> None:
    make, names, layer, shape = LAYERS[name]
    torch.manual_seed(3)
    modules = [make().double() for _ in range(CLIENTS)]
    x = torch.randn(CLIENTS, 5, *shape, dtype=torch.float64, requires_grad=True)
    weights = [torch.stack([m.get_parameter(n).detach() for m in modules]).requires_grad_() for n in names]

    own = [m(x[i])[1][0] if isinstance(m, nn.GRU) else m(x[i]) for i, m in enumerate(modules)]
    ours = layer(x, *weights)
    torch.testing.assert_close(ours, torch.stack(own), rtol=1e-12, atol=1e-13)

    pull = torch.randn_like(ours)
    grads = torch.autograd.grad(ours, [x, *weights], pull)
    theirs = [torch.autograd.grad(own[i], [x, *m.parameters()], pull[i]) for i, m in enumerate(modules)]
    torch.testing.assert_close(grads[0], sum(t[0] for t in theirs), rtol=1e-11, atol=1e-12)
    order = [list(dict(modules[0].named_parameters())).index(n) for n in names]
    for mine, k in zip(grads[1:], order, strict=True):
        torch.testing.assert_close(mine, torch.stack([t[1 + k] for t in theirs]), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in LAYERS if n != "max_pool, incomplete last window"])
def test_no_samples_give_no_outputs(name: str) -> None:
    make, names, layer, shape = LAYERS[name]
    module = make()
    weights = [module.get_parameter(n).detach().expand(2, *module.get_parameter(n).shape) for n in names]
    assert layer(torch.zeros(2, 0, *shape), *weights).shape[:2] == (2, 0)


def test_uniform_start_is_uniform_between_its_bounds() -> None:
    drawn = uniform_init(generator(0, "u"), 16, 40, 500)
    assert drawn.shape == (40, 500)
    assert drawn.dtype == torch.float32
    bound = 1 / math.sqrt(16)
    assert stats.kstest(drawn.flatten().numpy(), stats.uniform(-bound, 2 * bound).cdf).pvalue > 0.001


def test_truncated_normal_start_stops_at_two_deviations() -> None:
    drawn = truncated_normal_init(generator(0, "t"), 0.01, 40, 500).numpy().astype(np.float64)
    assert np.abs(drawn).max() <= 0.02 * (1 + 1e-6)
    assert stats.kstest(drawn.ravel(), stats.truncnorm(-2, 2, scale=0.01).cdf).pvalue > 0.001


def test_torch_starts_its_layers_alike() -> None:
    """torch.nn.Linear and GRU draw U(±1/√fan_in) and U(±1/√hidden): same spread, by two-sample Kolmogorov–Smirnov."""
    torch.manual_seed(0)
    for module, fan_in in ((nn.Linear(30, 200), 30), (nn.GRU(8, 40), 40), (nn.Conv1d(6, 100, 5), 30)):
        theirs = torch.cat([p.detach().flatten() for p in module.parameters()]).numpy()
        ours = uniform_init(generator(1, "u"), fan_in, len(theirs)).numpy()
        assert stats.ks_2samp(ours, theirs).pvalue > 0.001
