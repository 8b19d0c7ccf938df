"""A module runs as in plain PyTorch: frozen parts, dropout, attention, shared layers; or it is refused in one line."""

from __future__ import annotations

import copy
import os
import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout

from metapulse.data import Task
from metapulse.episodes import Batch
from metapulse.errors import ConfigError
from metapulse.models.draws import drawing
from metapulse.models.module import TorchModule
from metapulse.rng import Keys, generator
from metapulse.trees import pick, stack
from tests.cases import batch, classification, keys, personal

HERE = "tests.metapulse.models.test_module_as_torch"
TASK = classification(2, 3)  # six numbers, three classes


def model(factory: str, **settings: Any) -> TorchModule:
    return TorchModule(factory=f"{HERE}:{factory}", task=settings.pop("task", TASK), **settings)


def flat(width: int = 8, end: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(6, width), nn.Tanh(), nn.Linear(width, end))


def frozen() -> nn.Module:
    net = flat()
    with torch.no_grad():
        net[1].weight.fill_(0.5)
        net[1].bias.zero_()
    return _freeze(net)


def _freeze(net: nn.Sequential) -> nn.Sequential:
    for p in net[1].parameters():
        p.requires_grad_(False)
    return net


def frozen_at_random() -> nn.Module:
    return _freeze(flat())


class RandomFeatures(nn.Module):
    def __init__(self, seeded: bool) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(7) if seeded else None
        self.register_buffer("basis", torch.randn(6, 16, generator=rng))
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((x.flatten(1) @ self.basis).cos())


class Numpys(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(np.random.randn(3, 6)))  # noqa: NPY002
            self.head.bias.fill_(random.random())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


class Clocked(Numpys):
    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor(list(os.urandom(3))))


class Dropped(nn.Module):
    """Dropout as a layer, or as a function that asks for the mode."""

    def __init__(self, p: float = 0.5, layer: bool = True) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 32), nn.Linear(32, 3)
        self.drop = nn.Dropout(p) if layer else None
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.body(x.flatten(1)))
        return self.head(self.drop(hidden) if self.drop else dropout(hidden, self.p, self.training))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.again = self.body

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.head((self.body(x) + self.again(-x).relu()).relu())


class Attention(nn.Module):
    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.up, self.head = nn.Linear(1, 8), nn.Linear(8, 3)
        self.mix = nn.TransformerEncoderLayer(8, 2, 16, dropout=p, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(self.up(x.flatten(1)[..., None])).mean(1))


class HeadFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head, self.wide, self.deep = nn.Linear(6, 3), nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.deep(self.wide(x.flatten(1)).relu()).relu())


class Scaled(HeadFirst):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.scale[:3]


def alone(net: nn.Module, params: dict[str, Tensor], x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Plain PyTorch: the gradient of one client's loss."""
    own = copy.deepcopy(net)
    own.load_state_dict(params, strict=False)
    learned = {name: p for name, p in own.named_parameters() if p.requires_grad}
    grads = torch.autograd.grad(cross_entropy(own(x), y), list(learned.values()))
    return dict(zip(learned, grads, strict=True))


@pytest.mark.parametrize("factory", ["frozen", "Twice", "Attention"])
def test_gradients_are_those_of_plain_pytorch(factory: str) -> None:
    made, part = model(factory), batch(TASK, (5, 5))
    params = personal(made, 2)
    _, grads = made.value_and_grad(params, part)
    for i in range(2):
        expected = alone(made.module, pick(params, i), part.x[i], part.y[i])
        assert set(expected) == set(grads)
        for name, value in expected.items():
            torch.testing.assert_close(grads[name][i], value, rtol=1e-4, atol=1e-6)


def test_what_is_frozen_is_not_learned_and_stays_as_it_is() -> None:
    made = model("frozen")
    theta = made.init(generator(0, "init"))
    assert set(theta) == {"3.weight", "3.bias"}
    assert made.head == {"3.weight", "3.bias"}
    made.predict(stack(theta, 2), torch.ones(2, 4, 2, 3))
    assert torch.equal(made.module.get_parameter("1.weight"), torch.full((8, 6), 0.5))


@pytest.mark.parametrize("factory", ["Twice", "Attention", "Dropped"])
def test_a_module_can_be_copied_and_kept_after_it_was_called(factory: str) -> None:
    made, part = model(factory), batch(TASK, (4, 4))
    before = {name: p.clone() for name, p in made.module.state_dict().items()}
    made.value_and_grad(personal(made, 2), part)
    made.predict(personal(made, 2), part.x)
    pickle.dumps(made.module)
    assert all(torch.equal(p, before[name]) for name, p in copy.deepcopy(made.module).state_dict().items())


@pytest.mark.parametrize(
    ("factory", "options", "words"),
    [
        ("frozen_at_random", {}, "1.weight is frozen or a buffer, and drawn at random"),
        ("RandomFeatures", {"seeded": False}, "basis is frozen or a buffer"),
        ("Clocked", {}, "is not reproducible: head.bias"),
    ],
)
def test_what_other_processes_could_not_make_again_is_refused(
    factory: str, options: dict[str, Any], words: str
) -> None:
    for use in (lambda m: m.init(generator(0, "init")), lambda m: m.module):
        with pytest.raises(ConfigError, match=rf"model.factory.*{words}"):
            use(model(factory, options=options))


def test_constants_with_a_seed_of_their_own_are_no_part_of_theta() -> None:
    assert set(model("RandomFeatures", options={"seeded": True}).init(generator(0, "init"))) == {
        "head.weight",
        "head.bias",
    }


def test_numpys_and_pythons_generators_are_seeded() -> None:
    state = str(np.random.get_state())  # noqa: NPY002
    first, second, other = (model("Numpys").init(generator(seed, "init")) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])
    assert str(np.random.get_state()) == state  # noqa: NPY002


# Dropout


@pytest.mark.parametrize(
    ("factory", "options"), [("Dropped", {}), ("Dropped", {"layer": False}), ("Attention", {"p": 0.5})]
)
def test_dropout_is_on_in_training_and_off_in_judging(factory: str, options: dict[str, Any]) -> None:
    made, part = model(factory, options=options), batch(TASK, (6, 6))
    params = personal(made, 2)
    assert torch.equal(made.predict(params, part.x), made.predict(params, part.x))
    with drawing(keys(range(2))):
        first, second = (made.value_and_grad(params, part)[0] for _ in range(2))
    plain = made.loss(params, part)
    assert not torch.allclose(first, second, atol=1e-4)
    assert not torch.allclose(first, plain, atol=1e-4)


def test_without_dropout_training_mode_makes_no_difference() -> None:
    made, part = model("Dropped", options={"p": 0.0}), batch(TASK, (6, 6))
    params = personal(made, 2)
    torch.testing.assert_close(made.value_and_grad(params, part)[0], made.loss(params, part))


def test_dropout_draws_for_a_client_whoever_else_is_there_and_however_it_is_padded() -> None:
    made, part = model("Dropped"), batch(TASK, (6, 3, 5))
    params = personal(made, 3)

    def calls(who: list[int], longest: int) -> list[Tensor]:
        own = {name: p[who] for name, p in params.items()}
        cut = Batch(part.x[who, :longest], part.y[who, :longest], part.mask[who, :longest])
        with drawing(Keys(3, 4, [10 + i for i in who])):
            return [made.value_and_grad(own, cut)[1]["body.weight"] for _ in range(3)]

    together, apart = calls([0, 1, 2], 6), calls([1], 3)
    for a, b in zip(together, apart, strict=True):
        torch.testing.assert_close(a[1], b[0], rtol=1e-5, atol=1e-7)


def test_the_mean_over_dropouts_draws_is_the_gradient_of_the_mean() -> None:
    """Of a linear layer under dropout with a squared error the expected gradient is known.

    E[(w·(m∘x) − y)²] has the gradient 2 (w·x − y) x + 2 p/(1−p) w x²; 1 000 draws, five standard errors.
    """
    task = Task("regression", (2,), 1)
    made = TorchModule(factory=f"{HERE}:dropped_line", task=task)
    w, x, y, p = torch.tensor([[0.5, -1.0]]), torch.tensor([1.0, 2.0]), 0.25, 0.5
    part = Batch(x.view(1, 1, 2), torch.tensor([[[y]]]), torch.ones(1, 1))
    with drawing(keys([0])):
        grads = torch.stack(
            [made.value_and_grad({"1.weight": w[None]}, part)[1]["1.weight"][0, 0] for _ in range(1000)]
        )
    expected = 2 * (w[0] @ x - y) * x + 2 * p / (1 - p) * w[0] * x**2
    assert ((grads.mean(0) - expected).abs() < 5 * grads.std(0) / 1000**0.5).all()


def dropped_line() -> nn.Module:
    return nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 1, bias=False))


# The head


def test_the_head_is_the_layer_that_is_called_last() -> None:
    assert model("HeadFirst").head == {"head.weight", "head.bias"}
    assert model("HeadFirst", head_names=("deep.bias",)).head == {"deep.bias"}
    assert model("Attention").head == {"head.weight", "head.bias"}
    with pytest.raises(ConfigError, match=r"model.head_names.*must name the last layer"):
        _ = model("Scaled").head
