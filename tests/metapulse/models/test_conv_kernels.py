"""Convolution kernels where shapes are odd and neighbours equal, against autograd in float64; composed kernels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from metapulse.data import Task
from metapulse.models import autograd
from metapulse.models.base import Model
from metapulse.models.cnn1d import CNN1d
from metapulse.models.encoder1d import Encoder1d
from metapulse.models.kernels.base import Chain
from metapulse.models.kernels.compose import Parallel, Series
from metapulse.models.kernels.dense import Linear, ReLU
from metapulse.models.kernels.losses import SquaredError
from metapulse.models.kernels.norm import LayerNorm
from metapulse.models.kernels.windows import WindowLayout, WindowMatrices
from metapulse.models.layers import layer_norm, linear
from metapulse.trees import add, stack
from tests.cases import batch, classification, padded, personal, regression, same, theta

WIDE = {"dtype": torch.float64}


def check(model: Model, task: Task, part: object = None, params: object = None) -> None:
    part = padded(batch(task, (3, 1, 2), **WIDE), 2, seed=1) if part is None else part
    params = personal(model, 3, **WIDE) if params is None else params
    vector = personal(model, 3, seed=5, **WIDE)
    ours, reference = model.expand(params, part), autograd.expand_loss(model.loss, params, part)
    assert model.chain is not None
    torch.testing.assert_close(ours.loss, reference.loss, rtol=1e-12, atol=1e-13)
    same(ours.grad, reference.grad, rtol=1e-10, atol=1e-12)
    same(ours.hvp(vector), reference.hvp(vector), rtol=1e-9, atol=1e-10)


def shortest(kernel: int, depth: int) -> int:
    """The shortest window that ``depth`` convolutions with pooling between leave one value of."""
    return kernel if depth == 1 else 2 * shortest(kernel, depth - 1) + kernel - 1


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("extra", [0, 1, 2, 7])
@pytest.mark.parametrize("channels", [(3,), (4, 2), (2, 3, 4)])
def test_cnn_of_any_width_length_and_depth(channels: tuple[int, ...], extra: int, kernel: int) -> None:
    task = classification(2, shortest(kernel, len(channels)) + extra)
    check(CNN1d(channels=channels, kernel=kernel, task=task), task)


@pytest.mark.parametrize("time", [8, 9, 11, 14])
@pytest.mark.parametrize("kernels", [(1,), (7,), (3, 5), (5, 1), (5, 3, 3)])
def test_encoder_of_any_width_length_and_depth(kernels: tuple[int, ...], time: int) -> None:
    task = regression(2, time)
    check(Encoder1d(channels=(3, 4, 2)[: len(kernels)], kernels=kernels, embedding=5, task=task), task)


def models(task: Task) -> list[Model]:
    return [
        CNN1d(channels=(3, 4), kernel=3, task=task),
        Encoder1d(channels=(3, 4, 3), kernels=(5, 3, 3), embedding=6, task=task),
    ]


@pytest.mark.parametrize("model", models(classification(2, 20)), ids=["cnn1d", "encoder1d"])
def test_windows_of_a_sensor_at_rest(model: Model) -> None:
    """All times alike: every maximum is a tie, wherever zeros at the border do not break it."""
    part = batch(model.task, (3, 3, 3), **WIDE)
    rest = type(part)(part.x[..., :1].expand_as(part.x).clone(), part.y, part.mask)
    check(model, model.task, rest)


@pytest.mark.parametrize("model", models(classification(2, 20)), ids=["cnn1d", "encoder1d"])
def test_units_that_are_off_everywhere(model: Model) -> None:
    """Biases far below zero in half of the first layer: its zeros tie, and have no gradient."""
    params = {name: p.clone() for name, p in personal(model, 3, **WIDE).items()}
    params["conv0.bias"][:, ::2] = -100.0
    check(model, model.task, params=params)
    assert not model.grad(params, batch(model.task, (3, 3, 3), **WIDE))["conv0.weight"][:, ::2].any()


@pytest.mark.parametrize("model", models(classification(2, 20)), ids=["cnn1d", "encoder1d"])
def test_no_samples_have_no_gradient(model: Model) -> None:
    params, part = personal(model, 2, **WIDE), batch(model.task, (0, 0), **WIDE)
    at = model.expand(params, part)
    for tree in (at.grad, at.hvp(params)):
        assert all(not p.any() for p in tree.values())


@pytest.mark.parametrize("model", models(classification(2, 20)), ids=["cnn1d", "encoder1d"])
def test_a_client_alone_has_the_gradient_it_has_among_others(model: Model) -> None:
    params, part = personal(model, 3), batch(model.task, (4, 4, 4))
    together = model.grad(params, part)
    for i in range(3):
        alone = model.grad(
            {n: p[i : i + 1] for n, p in params.items()},
            type(part)(part.x[i : i + 1], part.y[i : i + 1], part.mask[i : i + 1]),
        )
        same(alone, {n: p[i : i + 1] for n, p in together.items()}, rtol=1e-5, atol=1e-7)


@given(
    samples=st.integers(0, 4),
    pitch=st.integers(1, 6),
    width=st.integers(1, 6),
    lanes=st.sampled_from([1, 2]),
    clients=st.integers(1, 2),
)
def test_runs_hold_every_window_once(samples: int, pitch: int, width: int, lanes: int, clients: int) -> None:
    pitch, channels = pitch * lanes, 2
    runs = WindowMatrices(samples, pitch, width, lanes)
    rows = samples * pitch
    x = torch.arange(clients * rows * channels, dtype=torch.float64).view(clients, samples, pitch, channels)
    z = runs.room(x, 1).fill_(-1.0)
    for window, product in zip(runs.windows(x), runs.products(z), strict=True):
        assert (product == -1.0).all()  # written here only
        product.copy_(window[..., :1])
        flat = x.flatten(1)
        for client in range(clients):
            for row in window[client]:
                start = int(row[0] - flat[client, 0])
                assert torch.equal(row, flat[client, start : start + width * channels])
    fit = max(rows - width + 1, 0)
    starts = z.transpose(0, 1).flatten(2, 3).squeeze(3).transpose(1, 2).flatten(1)  # lanes back in turn
    assert torch.equal(starts[:, :fit], x[..., 0].flatten(1)[:, :fit])
    assert (starts[:, fit:] == -1.0).all()


@given(length=st.integers(1, 5), lead=st.integers(0, 3), even=st.booleans())
def test_a_place_keeps_values_between_zeros(length: int, lead: int, even: bool) -> None:
    place = WindowLayout.of(length, lead, even)
    x = torch.rand(2, 3, 4, length) + 1.0
    put = place.put(x)
    assert put.shape == (2, 3, place.pitch, 4)
    assert not even or place.pitch % 2 == 0
    assert torch.equal(place.values(put), x.transpose(2, 3))
    assert put.sum() == pytest.approx(float(x.sum()), rel=1e-5)


class Forked(CNN1d):
    """A linear layer; beside one another a linear layer with norm and ReLU, and a linear layer; and a last one."""

    chain = Chain(
        (
            Linear("a", "a0"),
            Parallel(Series((Linear("b", "b0"), LayerNorm("n", "n0"), ReLU())), Linear("c", "c0")),
            Linear("d", "d0"),
        ),
        SquaredError(),
    )

    def init(self, rng: object) -> dict[str, Tensor]:
        shapes = {"a": (5, 4), "b": (6, 5), "c": (3, 5), "d": (2, 9)}
        made = torch.Generator().manual_seed(int(rng.integers(1 << 30)))  # type: ignore[attr-defined]
        weights = {n: 0.7 * torch.randn(s, generator=made) for n, s in shapes.items()}
        biases = {n + "0": torch.randn(s[0], generator=made) for n, s in shapes.items()}
        return weights | biases | {n: 1.0 + torch.rand(6, generator=made) for n in ("n", "n0")}

    def predict(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        x = linear(x.flatten(2), params["a"], params["a0"])
        left = torch.relu(layer_norm(linear(x, params["b"], params["b0"]), params["n"], params["n0"]))
        return linear(torch.cat([left, linear(x, params["c"], params["c0"])], 2), params["d"], params["d0"])


def test_composed_kernels_pass_gradients_on_to_what_comes_before() -> None:
    task = regression(4, 1)
    model = Forked(channels=(1,), kernel=1, task=task)
    part = batch(task, (3, 1, 2), **WIDE)
    check(model, task, type(part)(part.x.flatten(2), part.y, part.mask))


def test_a_step_from_one_start_is_a_step_from_copies_of_it() -> None:
    for model in models(classification(2, 20)):
        start, part = stack(theta(model, **WIDE), 3), batch(model.task, (3, 1, 2), **WIDE)
        copies = {name: p.clone() for name, p in start.items()}
        same(add(start, model.grad(start, part)), add(copies, model.grad(copies, part)), rtol=1e-12, atol=1e-13)
