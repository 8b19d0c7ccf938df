"""Stacked layers: each client's samples through that client's own weights, in one call.

Same formulas as their ``torch.nn`` namesakes, with a leading client axis on every tensor. Initialisers draw from a
numpy generator, so that a model's start has an address like every other draw.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.errors import ConfigError

LARGEST = 2**27  # numbers of one layer


def linear(
    x: Float[Tensor, "clients n inputs"],
    weight: Float[Tensor, "clients outputs inputs"],
    bias: Float[Tensor, "clients outputs"],
) -> Float[Tensor, "clients n outputs"]:
    """x Wᵀ + b."""
    return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))


def conv1d(
    x: Float[Tensor, "clients n channels time"],
    weight: Float[Tensor, "clients outputs channels kernel"],
    bias: Float[Tensor, "clients outputs"],
    padding: int = 0,
) -> Float[Tensor, "clients n outputs after"]:
    """Cross-correlation, stride 1, zeros on both sides: after = time + 2 · padding − kernel + 1."""
    clients, n, channels, time = x.shape
    outputs, kernel = weight.shape[1], weight.shape[3]
    # One group per client: (n, clients·channels, time) against (clients·outputs, channels, kernel).
    y = torch.nn.functional.conv1d(
        x.transpose(0, 1).reshape(n, clients * channels, time),
        weight.reshape(clients * outputs, channels, kernel),
        bias.reshape(clients * outputs),
        padding=padding,
        groups=clients,
    )
    return y.view(n, clients, outputs, time + 2 * padding - kernel + 1).transpose(0, 1)  # (n, c·o, t) -> (c, n, o, t)


def conv2d(
    x: Float[Tensor, "clients n channels height width"],
    weight: Float[Tensor, "clients outputs channels kernel kernel"],
    bias: Float[Tensor, "clients outputs"],
    stride: int = 1,
    padding: int = 0,
) -> Float[Tensor, "clients n outputs above across"]:
    """Cross-correlation of images, zeros around: a side becomes ⌊(side + 2 · padding − kernel) / stride⌋ + 1."""
    clients, n, channels = x.shape[:3]
    outputs, kernel = weight.shape[1], weight.shape[3]
    if n == 0:  # torch's grouped convolution takes no empty batch
        above, across = (1 + (side + 2 * padding - kernel) // stride for side in x.shape[3:])
        return x.new_zeros(clients, 0, outputs, above, across)
    y = torch.nn.functional.conv2d(  # one group per client, as in one dimension
        x.transpose(0, 1).reshape(n, clients * channels, *x.shape[3:]),
        weight.reshape(clients * outputs, channels, kernel, kernel),
        bias.reshape(clients * outputs),
        stride=stride,
        padding=padding,
        groups=clients,
    )
    return y.view(n, clients, outputs, *y.shape[2:]).transpose(0, 1)


def max_pool(x: Float[Tensor, "clients n channels time"], width: int) -> Float[Tensor, "clients n channels after"]:
    """Largest of every ``width`` neighbours; an incomplete last window is dropped."""
    after = x.shape[3] // width
    return x[..., : after * width].reshape(*x.shape[:3], after, width).amax(4)


def layer_norm(
    x: Float[Tensor, "clients n width"], weight: Float[Tensor, "clients width"], bias: Float[Tensor, "clients width"]
) -> Float[Tensor, "clients n width"]:
    """(x − mean) / √(var + 1e-5) over the last axis, times weight, plus bias (Ba et al. 2016, arXiv:1607.06450)."""
    normal = torch.nn.functional.layer_norm(x, x.shape[2:])
    return normal * weight.unsqueeze(1) + bias.unsqueeze(1)


def image_norm(
    x: Float[Tensor, "clients n channels height width"],
    weight: Float[Tensor, "clients channels"],
    bias: Float[Tensor, "clients channels"],
) -> Float[Tensor, "clients n channels height width"]:
    """(x − mean) / √(var + 1e-5) over all numbers of an image, times weight, plus bias of each channel.

    Group norm of one group (Wu and He 2018, arXiv:1803.08494).
    """
    normal = torch.nn.functional.layer_norm(x, x.shape[2:])
    return normal * weight[:, None, :, None, None] + bias[:, None, :, None, None]


def gru(
    x: Float[Tensor, "clients n time channels"],
    weight_ih: Float[Tensor, "clients gates channels"],
    weight_hh: Float[Tensor, "clients gates hidden"],
    bias_ih: Float[Tensor, "clients gates"],
    bias_hh: Float[Tensor, "clients gates"],
) -> Float[Tensor, "clients n hidden"]:
    """Last hidden state of a gated recurrent unit, gates in torch's order (reset, update, new).

    r = σ(W_ir x + b_ir + W_hr h + b_hr); z likewise; ñ = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn));
    h ← (1 − z) ⊙ ñ + z ⊙ h.

    Source: Cho et al. 2014, arXiv:1406.1078, in the variant of torch.nn.GRU.
    """
    clients, n, time, _ = x.shape
    h = x.new_zeros(clients, n, weight_hh.shape[2])
    inputs = linear(x.flatten(1, 2), weight_ih, bias_ih).view(clients, n, time, weight_ih.shape[1])
    for t in range(time):
        ir, iz, inew = inputs[:, :, t].chunk(3, dim=2)
        hr, hz, hnew = linear(h, weight_hh, bias_hh).chunk(3, dim=2)
        r, z = torch.sigmoid(ir + hr), torch.sigmoid(iz + hz)
        h = torch.lerp(torch.tanh(inew + r * hnew), h, z)
    return h


def lstm_step(
    x: Float[Tensor, "clients n inputs"],
    state: tuple[Float[Tensor, "clients n hidden"], Float[Tensor, "clients n hidden"]],
    weight: Float[Tensor, "clients gates both"],
    bias: Float[Tensor, "clients gates"],
) -> tuple[Float[Tensor, "clients n hidden"], Float[Tensor, "clients n hidden"]]:
    """One step of a long short-term memory, gates in torch's order (input, forget, cell, output).

    i, f, o = σ(·), g = tanh(·) of W [x, h] + b; c ← f ⊙ c + i ⊙ g; h ← o ⊙ tanh(c).

    Args:
        x: what is read.
        state: h and c.
        weight: W, over inputs and hidden state.
        bias: b.

    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    """
    h, c = state
    i, f, g, o = linear(torch.cat([x, h], 2), weight, bias).chunk(4, dim=2)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def uniform_init(rng: np.random.Generator, fan_in: int, *shape: int) -> Tensor:
    """U(−1/√fan_in, 1/√fan_in), what ``torch.nn`` layers start from.

    Raises:
        ConfigError: a layer of more than 2²⁷ numbers, which no cohort of clients could hold.
    """
    if math.prod(shape) > LARGEST:
        raise ConfigError("model", list(shape), f"a layer of this shape has more than {LARGEST} numbers")
    bound = 1.0 / math.sqrt(fan_in)
    return torch.from_numpy(rng.uniform(-bound, bound, shape).astype(np.float32))


def truncated_normal_init(rng: np.random.Generator, sd: float, *shape: int) -> Tensor:
    """N(0, sd²) with draws beyond two sd drawn again, what TensorFlow calls truncated normal."""
    if math.prod(shape) > LARGEST:
        raise ConfigError("model", list(shape), f"a layer of this shape has more than {LARGEST} numbers")
    values = rng.standard_normal(shape)
    while (far := np.abs(values) > 2.0).any():
        values[far] = rng.standard_normal(int(far.sum()))
    return torch.from_numpy((sd * values).astype(np.float32))
