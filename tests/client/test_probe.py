"""Before round 1 a module of one's own is called once on real samples: what cannot serve is one line that says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metapulse.client.executor import ClientExecutor
from metapulse.client.probe import probe_module
from metapulse.client.spec import ClientConfig
from metapulse.errors import ConfigError
from metapulse.models.module import TorchModule
from metapulse.rng import generator
from tests.cases import classification

HERE = "tests.client.test_probe"
TASK = classification(2, 3)


def net(forward: Callable[[nn.Module, Tensor], Any], end: int = 3) -> type[nn.Module]:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(1, 8), nn.Linear(8, end)

        def forward(self, x: Tensor) -> Any:
            return forward(self, x)

    return Net


def logits(self: Any, x: Tensor) -> Tensor:
    return self.head(torch.tanh(self.body(x)))


def raising(self: Any, x: Tensor) -> Tensor:
    raise KeyError("width")


class Codes(nn.Module):
    def __init__(self, cast: bool) -> None:
        super().__init__()
        self.table, self.head, self.cast = nn.Embedding(4, 6), nn.Linear(6, 2), cast

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.table(x.long() if self.cast else x).flatten(1))


Fine = net(logits)
Named = net(lambda self, x: {"logits": logits(self, x)})
Pair = net(lambda self, x: (logits(self, x), x))
Wide = net(logits, end=5)
Flat = net(lambda self, x: logits(self, x).sum(-1))
Probable = net(lambda self, x: logits(self, x) if self.training else logits(self, x).softmax(-1))
Writing = net(lambda self, x: logits(self, x.mul_(2)))
Mixing = net(lambda self, x: logits(self, x - x.mean(0)), end=1)
Branching = net(lambda self, x: logits(self, x.clamp(-1, 1) if x.abs().max() > 1 else x))
Raising = net(raising)
Noisy = net(lambda self, x: logits(self, x) + torch.randn(1), end=1)
Random = net(lambda self, x: logits(self, nn.functional.rrelu(x, training=self.training)), end=1)
Detached = net(lambda self, x: self.head(torch.tanh(self.body(x)).detach()), end=1)
Idle = net(lambda self, x: self.head(x.new_zeros(len(x), 8)), end=1)
Half = net(lambda self, x: logits(self, x.half()))


def probed(factory: str, options: dict[str, Any] | None = None, protected: str = "", **changes: Any) -> list[str]:
    section = {"name": "module", "factory": f"{HERE}:{factory}", "options": options or {}}
    table = {"source": {"name": "synthetic"}, "model": section, "learner": {"name": "fedavg"}}
    work = ClientExecutor(ClientConfig(**(table | changes)))
    return probe_module(work, range(3), protected)


SINE = {"source": {"name": "sine"}}


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("Named", "returns dict; needed is a tensor of shape (samples, 1)"),
        ("Pair", "returns tuple; needed is a tensor of shape (samples, 1)"),
        ("Wide", "returns shape (8, 5) for 8 samples; needed is a tensor of shape (samples, 1)"),
        ("Flat", "returns shape (8,) for 8 samples"),
        ("Writing", "writes to its input in place"),
        ("Mixing", "must treat each sample by itself"),
        ("Raising", "cannot be called on float32 inputs of shape (8, 1) (KeyError: 'width')"),
        ("Noisy", "draws random numbers when it is not training too"),
        ("Random", "calls rrelu, which PyTorch cannot compute for a stack of clients"),
        ("Half", "cannot be called on float32 inputs"),
    ],
)
def test_the_probe_refuses_in_one_line(factory: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        probed(factory, **SINE)
    assert str(caught.value).startswith(f"model.factory = '{HERE}:{factory}'")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "file an issue" not in str(caught.value)


def one() -> nn.Module:
    return nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))


BranchingOne = net(lambda self, x: logits(self, x.clamp(-1, 1) if x.abs().max() > 1 else x), end=1)


@pytest.mark.parametrize("factory", ["one", "BranchingOne"])
def test_the_probe_passes_what_serves(factory: str) -> None:
    probed(factory, **SINE)


def probable() -> nn.Module:
    return nn.Sequential(nn.Linear(60, 10), nn.Softmax(-1))


def test_probabilities_are_told_from_logits() -> None:
    with pytest.raises(ConfigError, match="cross-entropy needs logits"):
        probed("probable")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64])
def test_parameters_of_other_types_are_named(dtype: torch.dtype) -> None:
    with pytest.raises(ConfigError, match=rf"0.weight is {dtype}"):
        _ = TorchModule(factory=f"{HERE}:typed", options={"dtype": str(dtype)[6:]}, task=TASK).module


def typed(dtype: str) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 3, dtype=getattr(torch, dtype)))


def lazy() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))


def quitting() -> nn.Module:
    raise SystemExit("no data here")


@pytest.mark.parametrize(("factory", "words"), [("lazy", "is lazy"), ("quitting", "raises SystemExit")])
def test_a_factory_that_makes_nothing_of_use_is_refused(factory: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TorchModule(factory=f"{HERE}:{factory}", task=TASK).init(generator(0, "init"))


class Adapter(nn.Module):
    """Low-rank: up is zero at the start, so that down has no gradient there."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.down, self.up = nn.Linear(1, 1), nn.Linear(1, 2), nn.Linear(2, 1)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


def test_parameters_that_get_no_gradient_are_named_before_round_1() -> None:
    (line,) = probed("Detached", **SINE)
    assert line.startswith("model: body.weight, body.bias get no gradient: ")
    with pytest.raises(
        ConfigError, match=r"body\.weight, body\.bias get no gradient: .*\[privacy\] would add noise"
    ) as said:
        probed("Detached", protected="[privacy]", **SINE)
    assert "requires_grad_(False)" in str(said.value)


def test_a_layer_that_starts_at_zero_hides_no_other() -> None:
    assert probed("Adapter", protected="[privacy]", **SINE) == []
    (line,) = probed("Idle", **SINE)
    assert "body.weight, body.bias, head.weight get no gradient" in line


def test_options_that_a_factory_refuses_are_shown() -> None:
    with pytest.raises(ConfigError, match=r"^model.options = {'wide': 3}: .*refuses them \(.*'wide'"):
        TorchModule(factory=f"{HERE}:Codes", options={"wide": 3}, task=TASK).init(generator(0, "init"))
