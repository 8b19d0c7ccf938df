"""Small test problems for learners: models, ragged stacks of episodes, garbage in their padding; drawn from a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
import torch
from torch import Tensor, nn

from metapulse.data import Task
from metapulse.episodes import Batch, Episode
from metapulse.methods.base import Learner
from metapulse.methods.loop import Minibatches
from metapulse.models.base import Model
from metapulse.models.cnn1d import CNN1d
from metapulse.models.cnn2d import CNN2d
from metapulse.models.encoder1d import Encoder1d
from metapulse.models.gru import GRU
from metapulse.models.mlp import MLP, SineMLP
from metapulse.models.module import TorchModule
from metapulse.rng import Keys, generator

CLASSES = 3


def classification(*features: int) -> Task:
    """Three classes."""
    return Task("classification", features, CLASSES)


def regression(*features: int) -> Task:
    """Two targets."""
    return Task("regression", features, 2)


def silu_net(inputs: int, width: int, outputs: int) -> nn.Module:
    """One hidden layer, of a kind that has no kernels."""
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, outputs))


def tanh_net(inputs: int, width: int, outputs: int) -> nn.Module:
    """What a user might bring: the same function as ``MLP(hidden=(width,), activation="tanh")``."""
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, outputs))


#: Every built-in model, small, for both kinds of task; "module" is a user's own.
MODELS: dict[str, Model] = {
    "linear": MLP(hidden=(), task=classification(3)),
    "mlp-tanh": MLP(hidden=(4,), activation="tanh", task=classification(3)),
    "mlp-relu-flattens": MLP(hidden=(5, 4), task=classification(2, 3)),
    "mlp-regression": MLP(hidden=(4,), activation="tanh", task=regression(3)),
    "sine": SineMLP(hidden=(5, 5), task=Task("regression", (1,), 1)),
    "cnn1d": CNN1d(channels=(3, 4), kernel=3, task=classification(2, 12)),
    "cnn1d-regression": CNN1d(channels=(3,), kernel=3, task=regression(2, 8)),
    "cnn2d": CNN2d(channels=(3, 4), task=classification(2, 5, 4)),
    "encoder1d": Encoder1d(channels=(3, 4), kernels=(3, 3), embedding=8, task=classification(2, 8)),
    "encoder1d-regression": Encoder1d(channels=(3,), kernels=(5,), embedding=8, task=regression(2, 7)),
    "gru": GRU(hidden=3, task=classification(2, 5)),
    "gru-one-channel": GRU(hidden=3, task=regression(5)),
    "module": TorchModule(
        factory="metapulse.sim.conformance.worlds:silu_net",
        options={"inputs": 3, "width": 4, "outputs": 3},
        task=classification(3),
    ),
}


def keys(clients: Sequence[int], round: int = 1) -> Keys:
    """Addresses of a stack."""
    return Keys(seed=7, round=round, clients=list(clients))


def noisy(params: Mapping[str, Tensor], seed: int, sd: float = 0.3) -> dict[str, Tensor]:
    """Parameters moved off the special points (zero biases) that initialisers start from."""
    rng = generator(seed, "noise")
    return {name: p + torch.from_numpy(sd * rng.standard_normal(tuple(p.shape))).to(p) for name, p in params.items()}


def theta(model: Model, seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """A generic θ of the model alone."""
    return {name: p.to(dtype) for name, p in noisy(model.init(generator(seed, "init")), seed).items()}


def meta(learner: Learner, model: Model, seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """A generic θ of the learner: Meta-SGD's rates stay as drawn, what it has of the model's parameters is noisy."""
    drawn = learner.init(model, generator(seed, "init"))
    shared = noisy({name: drawn[name] for name in model.init(generator(seed, "init")) if name in drawn}, seed)
    return {name: p.to(dtype) for name, p in (drawn | shared).items()}


def batch(
    task: Task, counts: Sequence[int], seed: int = 0, dtype: torch.dtype = torch.float32, longest: int | None = None
) -> Batch:
    """A ragged stack: client i has counts[i] samples, drawn without looking at the others; the padding is zero."""
    longest = max(counts) if longest is None else longest
    x = np.zeros((len(counts), longest, *task.features))
    y = np.zeros((len(counts), longest, task.outputs)[: 3 if task.kind == "regression" else 2])
    mask = np.zeros((len(counts), longest))
    for i, n in enumerate(counts):
        rng = generator(seed, "samples", client=i)
        x[i, :n], mask[i, :n] = rng.standard_normal((n, *task.features)), 1.0
        y[i, :n] = (
            rng.standard_normal((n, task.outputs)) if task.kind == "regression" else rng.integers(CLASSES, size=n)
        )
    target = torch.from_numpy(y).to(dtype if task.kind == "regression" else torch.int64)
    return Batch(torch.from_numpy(x).to(dtype), target, torch.from_numpy(mask).to(dtype))


def episode(
    task: Task, support: Sequence[int], query: Sequence[int], seed: int = 0, dtype: torch.dtype = torch.float32
) -> Episode:
    """A ragged stack of episodes."""
    return Episode(batch(task, support, seed, dtype), batch(task, query, seed + 1000, dtype))


def select_clients(part: Batch, clients: Sequence[int]) -> Batch:
    """Some clients of a stack, in the given order."""
    index = torch.tensor(list(clients))
    return Batch(part.x[index], part.y[index], part.mask[index])


def some(ep: Episode, clients: Sequence[int]) -> Episode:
    """Some clients' episodes."""
    return Episode(select_clients(ep.support, clients), select_clients(ep.query, clients))


def padded(part: Batch, extra: int, seed: int) -> Batch:
    """The same samples with ``extra`` more columns, garbage wherever the mask is zero, and the columns shuffled apart.

    Each client keeps its samples' order; where they stand among the garbage is drawn.
    """
    rng = generator(seed, "garbage")
    clients, n = part.mask.shape
    x = torch.from_numpy(50.0 * rng.standard_normal((clients, n + extra, *part.x.shape[2:]))).to(part.x)
    if part.y.is_floating_point():
        y = torch.from_numpy(50.0 * rng.standard_normal((clients, n + extra, part.y.shape[2]))).to(part.y)
    else:
        y = torch.from_numpy(rng.integers(CLASSES, size=(clients, n + extra)))
    mask = torch.zeros(clients, n + extra).to(part.mask)
    for i in range(clients):
        real = torch.nonzero(part.mask[i]).flatten()
        places = torch.from_numpy(np.sort(rng.permutation(n + extra)[: len(real)]))
        x[i, places], y[i, places], mask[i, places] = part.x[i, real], part.y[i, real], 1.0
    return Batch(x, y, mask)


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor], rtol: float, atol: float) -> None:
    """Equal names, and values to tolerance."""
    assert sorted(a) == sorted(b)
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=rtol, atol=atol, msg=lambda text, n=name: f"{n}: {text}")


def near(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
    """Equal names, and values to rounding: two paths through the code, which sum the same terms in other orders.

    Two orders of a sum of n terms differ by 2 (n − 1) u Σ|x| at most (Higham 2002, (4.4)), and K steps pass on what
    those before made, a factor of 1 + αL each. These worlds have n ≤ 64 terms of the size of one and Σ (1 + αL)^k ≤ 8:
    2 · 63 · 8 u < 2⁹ eps, 1e-13 in float64 and 6e-5 in float32, where the smallest of the steps moves by 1e-3.
    """
    assert sorted(a) == sorted(b)
    for name in a:
        bound = 2.0**9 * torch.finfo(a[name].dtype).eps
        torch.testing.assert_close(a[name], b[name], rtol=bound, atol=bound, msg=lambda text, n=name: f"{n}: {text}")


def in_minibatches(learner: Learner) -> Learner:
    """The learner on minibatches of two, if it reads its samples in such."""
    return replace(learner, batch_size=2) if isinstance(learner, Minibatches) else learner


def with_steps(learner: Learner, steps: int) -> Learner:
    """The learner with another number of training steps, whatever it calls them; as it is, if it takes none."""
    has = {field.name for field in fields(learner)}
    name = next((name for name in ("local_steps", "inner_steps") if name in has), "")
    changed: Learner = replace(learner, **{name: steps}) if name else learner
    return changed
