"""A user's own torch module: the built-in's numbers, whatever torch offers, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from metapulse.errors import ConfigError
from metapulse.models import autograd
from metapulse.models.mlp import MLP
from metapulse.models.module import TorchModule
from metapulse.rng import generator
from metapulse.trees import flat_stack, pick, stack
from tests.cases import LEARNERS, batch, classification, episode, keys, personal, same

MLP_NAMES = {"1.weight": "layer0.weight", "1.bias": "layer0.bias", "3.weight": "layer1.weight", "3.bias": "layer1.bias"}
HERE = "tests.metapulse.models.test_module"


class Recurrent(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.body = getattr(nn, kind)(2, 4, batch_first=True)
        self.top = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.top(self.body(x.transpose(1, 2))[0][:, -1])


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 3),
        nn.GroupNorm(2, 4),
        nn.GELU(),
        nn.MaxPool1d(2),
        nn.Flatten(),
        nn.Linear(20, 3),
    )


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.there = nn.Linear(24, 24, bias=False)
        self.back = nn.Linear(24, 24, bias=False)
        self.back.weight = self.there.weight
        self.top = nn.Linear(24, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.top(torch.tanh(self.back(torch.tanh(self.there(x.flatten(1))))))


def batch_norm(track: bool) -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4, track_running_stats=track), nn.Flatten(), nn.Linear(40, 3)
    )


def instance_norm() -> nn.Module:
    return nn.Sequential(nn.InstanceNorm1d(2, track_running_stats=True), nn.Flatten(), nn.Linear(24, 3))


OWN = {
    "convolutional": TorchModule(factory=f"{HERE}:convolutional", task=classification(2, 12)),
    "tied weights": TorchModule(factory=f"{HERE}:Tied", task=classification(2, 12)),
    "torch.nn.GRU": TorchModule(factory=f"{HERE}:Recurrent", options={"kind": "GRU"}, task=classification(2, 12)),
    "torch.nn.LSTM": TorchModule(factory=f"{HERE}:Recurrent", options={"kind": "LSTM"}, task=classification(2, 12)),
}


def twins() -> tuple[TorchModule, MLP]:
    options = {"inputs": 3, "width": 4, "outputs": 3}
    task = classification(3)
    return TorchModule(factory="tests.cases:tanh_net", options=options, task=task), MLP(
        hidden=(4,), activation="tanh", task=task
    )


@pytest.mark.parametrize("name", LEARNERS)
def test_a_module_equal_to_the_mlp_gives_its_numbers(name: str) -> None:
    learner = LEARNERS[name]
    module, mlp = twins()
    theta = {key: p.double() for key, p in learner.init(module, generator(0, "init")).items()}
    # A learner's own numbers have the parameter's name in theirs: "rate/1.weight", "curvature/1.weight/0".
    names = {key: key.replace(a, b) for key in theta for a, b in MLP_NAMES.items() if a in key}
    ep = episode(mlp.task, (4, 2, 3), (3, 3, 1), dtype=torch.float64)
    ours = learner.update(mlp, {names[key]: p for key, p in theta.items()}, {}, ep, keys(range(3)))
    own = learner.update(module, theta, {}, ep, keys(range(3)))
    same({names[key]: p for key, p in own.update.items()}, ours.update, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(own.metrics["loss"], ours.metrics["loss"], rtol=1e-10, atol=1e-12)
    assert {MLP_NAMES[key] for key in module.head} == mlp.head


@pytest.mark.parametrize("model", OWN.values(), ids=OWN)
def test_predicts_as_the_module_itself_under_each_clients_parameters(model: TorchModule) -> None:
    params, x = personal(model, 2), batch(model.task, (3, 3)).x
    expected = [torch.func.functional_call(model.module, pick(params, i), (x[i],)) for i in range(2)]
    torch.testing.assert_close(model.predict(params, x), torch.stack(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", OWN.values(), ids=OWN)
def test_second_derivatives_of_a_module(model: TorchModule) -> None:
    params, part = personal(model, 2, dtype=torch.float64), batch(model.task, (3, 2), dtype=torch.float64)
    model.module.double()
    vector = personal(model, 2, seed=3, dtype=torch.float64)
    ahead, behind = (
        model.grad({n: p + sign * 1e-5 * vector[n] for n, p in params.items()}, part) for sign in (1.0, -1.0)
    )
    expected = {name: (ahead[name] - behind[name]) / 2e-5 for name in params}
    assert max(e.abs().max() for e in expected.values()) > 1e-2
    same(model.hvp(params, part, vector), expected, rtol=1e-5, atol=1e-7)
    model.module.float()


@pytest.mark.parametrize("model", OWN.values(), ids=OWN)
def test_gradients_are_those_of_the_models_loss(model: TorchModule) -> None:
    params, part = flat_stack(personal(model, 3)), batch(model.task, (3, 1, 2))
    loss, expected = autograd.value_and_grad(model.loss, params, part)
    into = params.blank()
    for given, gradient in (
        (None, model.value_and_grad(params, part)),
        (into, model.value_and_grad(params, part, into)),
    ):
        torch.testing.assert_close(gradient[0], loss, rtol=1e-5, atol=1e-6)
        same(gradient[1], expected, rtol=1e-4, atol=1e-6)
        assert given is None or gradient[1] is given


def test_predicts_before_anything_else_has_been_asked_of_it() -> None:
    fresh = TorchModule(
        factory="torch.nn:Linear", options={"in_features": 3, "out_features": 3}, task=classification(3)
    )
    params = stack(fresh.init(generator(0, "init")), 2)
    again = TorchModule(
        factory="torch.nn:Linear", options={"in_features": 3, "out_features": 3}, task=classification(3)
    )
    assert again.predict(params, torch.ones(2, 4, 3)).shape == (2, 4, 3)


def test_making_a_module_leaves_torchs_own_generator_alone() -> None:
    before = torch.random.get_rng_state()
    twins()[0].init(generator(0, "init"))
    twins()[0].module
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("factory", "options", "words"),
    [
        (f"{HERE}:batch_norm", {"track": True}, "group norm"),
        (f"{HERE}:batch_norm", {"track": False}, "group norm"),
        (f"{HERE}:instance_norm", {}, "group norm"),
        ("torch.nn:Tanh", {}, "no parameters"),
        ("torch:zeros", {"size": [3]}, "torch.nn.Module"),
        ("torch.nn:Linear", {"in_features": 3}, "out_features"),
        ("torch.nn:Linaer", {}, "cannot be imported"),
        ("no_such_package.nets:Net", {}, "cannot be imported"),
        ("torch.nn.Linear", {}, "package.module:Name"),
    ],
)
def test_refuses(factory: str, options: dict[str, object], words: str) -> None:
    for use in (lambda m: m.init(generator(0, "init")), lambda m: m.module):
        with pytest.raises(ConfigError) as caught:
            use(TorchModule(factory=factory, options=options, task=classification(2, 12)))
        assert words in str(caught.value)


def test_head_by_name() -> None:
    module = twins()[0]
    named = TorchModule(factory=module.factory, options=module.options, head_names=("1.weight",), task=module.task)
    assert named.head == {"1.weight"}
    wrong = TorchModule(factory=module.factory, options=module.options, head_names=("top",), task=module.task)
    with pytest.raises(ConfigError, match=r"not in the module .*1\.weight"):
        _ = wrong.head
