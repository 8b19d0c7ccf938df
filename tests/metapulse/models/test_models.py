"""Models against plain torch networks, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from metapulse.data import Task
from metapulse.errors import ConfigError
from metapulse.models.base import Model
from metapulse.models.cnn1d import CNN1d
from metapulse.models.cnn2d import CNN2d
from metapulse.models.encoder1d import Encoder1d
from metapulse.models.gru import GRU
from metapulse.models.mlp import MLP, SineMLP
from metapulse.registry import MODELS as REGISTERED
from metapulse.rng import generator
from metapulse.trees import stack
from tests.cases import MODELS, batch, classification, personal, regression


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_predicts_one_output_row_per_sample_and_starts_float32(model: Model) -> None:
    params = model.init(generator(0, "init"))
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in params.values())
    part = batch(model.task, (4, 2))
    assert model.predict(stack(params, 2), part.x).shape == (2, 4, model.task.outputs)
    assert model.loss(stack(params, 2), part).shape == (2,)
    assert model.head
    assert model.head < set(params) or len(model.head) == len(params) == 2  # a linear model is all head


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_clients_without_samples_have_no_loss_and_no_slope(model: Model) -> None:
    """People who never wore the old device are a batch of nothing when history is adapted on."""
    for part in (batch(model.task, (0, 0), longest=0), batch(model.task, (0, 0), longest=2)):
        params = personal(model, 2)
        loss, grads = model.value_and_grad(params, part)
        assert torch.equal(loss, torch.zeros(2))
        assert not any(g.any() for g in [*grads.values(), *model.hvp(params, part, params).values()])


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_start_has_an_address(model: Model) -> None:
    a, b, c = (model.init(generator(seed, "init")) for seed in (1, 1, 2))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_head_is_the_last_linear_map(model: Model) -> None:
    """Predictions are affine in the head: f(h) − f(0) is linear in h."""
    params = personal(model, 2, dtype=torch.float64)
    x = batch(model.task, (3, 3), dtype=torch.float64).x

    def at(factor: float) -> torch.Tensor:
        moved = {name: p * factor if name in model.head else p for name, p in params.items()}
        return model.predict(moved, x) - model.predict({n: p * (n not in model.head) for n, p in params.items()}, x)

    assert at(1.0).abs().max() > 0.01
    torch.testing.assert_close(at(3.0), 3 * at(1.0), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_mlp_is_linear_layers_with_the_nonlinearity_between(activation: str) -> None:
    model = MLP(hidden=(5, 4), activation=activation, task=classification(2, 3))
    params = personal(model, 3, dtype=torch.float64)
    x = batch(model.task, (4, 4, 4), dtype=torch.float64).x
    for i in range(3):
        h = x[i].flatten(1)
        for layer in range(3):
            h = F.linear(h, params[f"layer{layer}.weight"][i], params[f"layer{layer}.bias"][i])
            h = getattr(torch, activation)(h) if layer < 2 else h
        torch.testing.assert_close(model.predict(params, x)[i], h, rtol=1e-12, atol=1e-13)


def test_cnn1d_is_conv_relu_pool_blocks_mean_and_linear() -> None:
    model = CNN1d(channels=(3, 4, 5), kernel=3, task=classification(2, 30))
    params = personal(model, 3, dtype=torch.float64)
    x = batch(model.task, (4, 4, 4), dtype=torch.float64).x
    for i in range(3):
        h = x[i]
        for layer in range(3):
            h = F.relu(F.conv1d(h, params[f"conv{layer}.weight"][i], params[f"conv{layer}.bias"][i]))
            h = F.max_pool1d(h, 2) if layer < 2 else h
        expected = F.linear(h.mean(2), params["head.weight"][i], params["head.bias"][i])
        torch.testing.assert_close(model.predict(params, x)[i], expected, rtol=1e-12, atol=1e-13)


def test_encoder1d_is_the_plain_torch_network_of_its_description() -> None:
    """Same-size convolutions, pooling between, mean and maximum over time, a normalised embedding beside statistics."""
    model = Encoder1d(channels=(3, 4, 5), kernels=(5, 3, 3), embedding=6, task=classification(2, 21))
    params = personal(model, 3, dtype=torch.float64)
    x = 3.0 * batch(model.task, (4, 4, 4), dtype=torch.float64).x + 6.0  # so that some means lie beyond the cut
    for i in range(3):
        own = {name: p[i] for name, p in params.items()}
        h = x[i]
        for layer, kernel in enumerate(model.kernels):
            conv = nn.Conv1d(h.shape[1], model.channels[layer], kernel, padding="same").double()
            conv.load_state_dict({part: own[f"conv{layer}.{part}"] for part in ("weight", "bias")})
            h = F.relu(conv(F.max_pool1d(h, 2) if layer else h))
        norm = nn.LayerNorm(6).double()
        norm.load_state_dict({part: own[f"norm.{part}"] for part in ("weight", "bias")})
        pooled = torch.cat([F.adaptive_avg_pool1d(h, 1), F.adaptive_max_pool1d(h, 1)], 1).flatten(1)
        embedding = norm(F.linear(pooled, own["embed.weight"], own["embed.bias"]))
        statistics = torch.stack([x[i].mean(2), x[i].var(2).sqrt()], 1).flatten(1).clamp(-5, 5)
        assert (statistics.abs() == 5).any()
        z = torch.cat([embedding, statistics * own["statistics.log_gain"].exp()], 1)
        assert z.shape[1] == model.width
        torch.testing.assert_close(model.embed(params, x)[i], z, rtol=1e-11, atol=1e-12)
        expected = F.linear(z, own["head.weight"], own["head.bias"])
        torch.testing.assert_close(model.predict(params, x)[i], expected, rtol=1e-11, atol=1e-12)


def test_cnn2d_is_the_plain_torch_network_of_its_description() -> None:
    """MAML's blocks of stride 2, with a group norm of one group where it has a batch norm; four halve 28 to 2."""
    model = CNN2d(channels=(3, 4, 5, 6), task=classification(2, 28, 20))
    params = personal(model, 3, dtype=torch.float64)
    x = batch(model.task, (4, 4, 4), dtype=torch.float64).x
    for i in range(3):
        own = {name: p[i] for name, p in params.items()}
        h = x[i]
        for layer in range(4):
            h = F.conv2d(h, own[f"conv{layer}.weight"], own[f"conv{layer}.bias"], stride=2, padding=1)
            h = F.relu(F.group_norm(h, 1, own[f"norm{layer}.weight"], own[f"norm{layer}.bias"]))
        assert h.shape[1:] == (6, 2, 2)
        assert model.width == 24
        expected = F.linear(h.flatten(1), own["head.weight"], own["head.bias"])
        torch.testing.assert_close(model.predict(params, x)[i], expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("features", [(2, 6), (6,)])
def test_gru_model_is_torch_gru_and_a_linear_head(features: tuple[int, ...]) -> None:
    model = GRU(hidden=4, task=regression(*features))
    params = personal(model, 2, dtype=torch.float64)
    x = batch(model.task, (3, 3), dtype=torch.float64).x
    for i in range(2):
        net = nn.GRU(features[0] if len(features) == 2 else 1, 4, batch_first=True).double()
        names = {
            "weight_ih_l0": "weight_ih",
            "weight_hh_l0": "weight_hh",
            "bias_ih_l0": "bias_ih",
            "bias_hh_l0": "bias_hh",
        }
        net.load_state_dict({theirs: params[f"gru.{ours}"][i] for theirs, ours in names.items()})
        series = x[i].transpose(1, 2) if len(features) == 2 else x[i].unsqueeze(2)
        expected = F.linear(net(series)[1][0], params["head.weight"][i], params["head.bias"][i])
        torch.testing.assert_close(model.predict(params, x)[i], expected, rtol=1e-12, atol=1e-13)


def test_the_sine_network_is_finns() -> None:
    """1-40-40-1, ReLU: 40·1+40 + 40·40+40 + 40+1 = 1761 parameters, weights truncated N(0, .01²), biases zero."""
    model = SineMLP(task=Task("regression", (1,), 1))
    params = model.init(generator(0, "init"))
    assert model.activation == "relu"
    assert sum(p.numel() for p in params.values()) == 1761
    assert all(not p.any() for name, p in params.items() if name.endswith("bias"))
    assert max(p.abs().max() for p in params.values()) <= 0.02 + 1e-8


def test_zero_start() -> None:
    params = MLP(start="zeros", task=classification(3)).init(generator(0, "init"))
    assert all(not p.any() for p in params.values())


@pytest.mark.parametrize(
    ("section", "task", "words"),
    [
        ({"name": "cnn1d"}, classification(8), "channels × time"),
        ({"name": "cnn1d", "kernel": 9}, classification(2, 20), "too wide"),
        ({"name": "cnn1d", "channels": []}, classification(2, 20), "too wide"),
        ({"name": "cnn2d"}, classification(28, 28), "channels × height × width"),
        ({"name": "cnn2d", "channels": []}, classification(1, 28, 28), "at least one"),
        ({"name": "encoder1d"}, classification(8), "channels × time"),
        ({"name": "encoder1d", "kernels": [5, 4, 3]}, classification(2, 20), "odd"),
        ({"name": "encoder1d", "kernels": [5]}, classification(2, 20), "one odd width for each"),
        ({"name": "encoder1d"}, classification(2, 3), "too deep"),
        ({"name": "encoder1d", "channels": [4], "kernels": [3]}, classification(2, 1), "at least 2"),
        ({"name": "gru"}, classification(2, 3, 4), "[channels ×] time"),
        ({"name": "mlp", "hidden": [4, 0]}, classification(3), "≥ 1"),
        ({"name": "mlp", "activation": "gelu"}, classification(3), "relu, tanh"),
        ({"name": "transformer"}, classification(3), "must be one of cnn1d, "),
    ],
)
def test_refuses(section: dict[str, object], task: Task, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        REGISTERED.make(section, task=task)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_narrowest_window_a_cnn_takes() -> None:
    """Two blocks of kernel 3: t → t − 2 → ⌊·/2⌋ → · − 2 ≥ 1 needs t = 8; 7 is refused."""
    model = CNN1d(channels=(2, 2), kernel=3, task=classification(1, 8))
    params = stack(model.init(generator(0, "init")), 1)
    assert model.predict(params, torch.zeros(1, 1, 1, 8)).shape == (1, 1, 3)
    with pytest.raises(ConfigError, match="too wide"):
        CNN1d(channels=(2, 2), kernel=3, task=classification(1, 7))
