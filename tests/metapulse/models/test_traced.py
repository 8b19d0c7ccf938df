"""A module that is nothing but linear layers is computed as ``mlp`` is, with its own numbers; no other module is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from metapulse.models import module as module_file
from metapulse.models.module import TorchModule
from tests.cases import LEARNERS, batch, classification, episode, keys, meta, personal, same

HERE = "tests.metapulse.models.test_traced"


class Written(nn.Module):
    """Two layers, and between them whatever ``forward`` of a subclass writes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(24, 5), nn.Linear(5, 3)


class Usual(Written):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(functional.relu(self.first(x.view(x.size(0), -1)), inplace=True))


class Shaped(Written):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x.reshape(x.shape[0], -1)).tanh())


class Flattened(Written):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(torch.flatten(x, 1))))


def sequence(*between: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(24, 5), *between, nn.Linear(5, 3))


def tanh_twice() -> nn.Module:
    return nn.Sequential(
        nn.Identity(), nn.Flatten(), nn.Linear(24, 7), nn.Tanh(), sequence_of(7, 5), nn.Tanh(), nn.Linear(5, 3)
    )


def sequence_of(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, outputs))


def plain() -> nn.Module:
    return sequence(nn.ReLU())


def mixed() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(24, 7), nn.Tanh(), nn.Linear(7, 5), nn.ReLU(), nn.Dropout(0.0), nn.Linear(5, 3)
    )


def both_kinds() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(24, 7), nn.Tanh(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))


def linear_alone() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(24, 3))


def made(factory: Callable[..., nn.Module]) -> TorchModule:
    return TorchModule(factory=f"{HERE}:{factory.__name__}", task=classification(2, 12))


CHAINS = [Usual, Shaped, Flattened, tanh_twice, plain, both_kinds, linear_alone]


@pytest.mark.parametrize("factory", CHAINS)
def test_a_chain_has_the_derivatives_of_the_module(factory, monkeypatch) -> None:
    chain = made(factory)
    assert chain.chain is not None
    monkeypatch.setattr(module_file, "linear_chain", lambda *_: None)
    plain = made(factory)
    assert plain.chain is None
    params, samples = personal(chain, 3), batch(chain.task, (4, 1, 3))
    (loss, grad), (wanted, its) = chain.value_and_grad(params, samples), plain.value_and_grad(params, samples)
    same({"loss": loss, **grad}, {"loss": wanted, **its}, 1e-5, 1e-6)
    vector = personal(chain, 3, seed=1)
    same(chain.hvp(params, samples, vector), plain.hvp(params, samples, vector), 1e-4, 1e-5)


@pytest.mark.parametrize("name", ["fedavg", "maml", "reptile"])
def test_a_client_reports_what_it_reports_of_the_module(name, monkeypatch) -> None:
    reports = []
    for chained in (True, False):
        if not chained:
            monkeypatch.setattr(module_file, "linear_chain", lambda *_: None)
        model, learner = made(Usual), LEARNERS[name]
        assert (model.chain is not None) is chained
        ep = episode(model.task, (4, 2, 3), (3, 3, 1))
        reports.append(learner.update(model, meta(learner, model), {}, ep, keys(range(3))).update)
    same(reports[0], reports[1], 1e-4, 1e-6)


# What is no chain


class Residual(Written):
    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.flatten(1))
        return self.second(x + torch.relu(x))


class Scaled(Written):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x.flatten(1)) * 2))


class Branching(Written):
    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x.flatten(1))
        return self.second(torch.relu(h) if bool(h.sum() > 0) else torch.tanh(h))


class Activated(Written):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(x.flatten(1)))))


class Skipping(Written):
    def __init__(self) -> None:
        super().__init__()
        self.third = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x.flatten(1))))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.same, self.top = nn.Linear(24, 24), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.top(torch.relu(self.same(torch.relu(self.same(x.flatten(1))))))


class Counting(Written):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x.flatten(1))) / x.size(0))


class OtherAxis(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x))).mean(1)


def hooked() -> nn.Module:
    module = plain()
    module.register_forward_hook(lambda module, inputs, output: 2 * output)
    return module


def hooked_within() -> nn.Module:
    module = plain()
    assert isinstance(module, nn.Sequential)
    module[1].register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],))
    return module


def frozen() -> nn.Module:
    module = plain()
    assert isinstance(module, nn.Sequential)
    for p in module[1].parameters():
        p.requires_grad_(False).fill_(0.1)
    return module


def normed() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(24, 5)), nn.ReLU(), nn.Linear(5, 3)
    )


def without_bias() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(24, 5, bias=False), nn.ReLU(), nn.Linear(5, 3))


def smooth() -> nn.Module:
    return sequence(nn.GELU())


def dropping() -> nn.Module:
    return sequence(nn.ReLU(), nn.Dropout(0.5))


def levelled() -> nn.Module:
    return sequence(nn.LayerNorm(5), nn.ReLU())


def nothing_between() -> nn.Module:
    return sequence()


OTHERS = [
    *(Residual, Scaled, Branching, Activated, Skipping, Twice, Counting, OtherAxis, hooked, hooked_within, frozen),
    *(normed, without_bias, smooth, dropping, levelled, nothing_between, mixed),
]


@pytest.mark.parametrize("factory", OTHERS)
def test_whatever_else_a_module_does_it_stays_a_module(factory) -> None:
    assert made(factory).chain is None
