"""Small worlds for tests of the learning mathematics: models, learners and ragged episodes, all drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from client.data import Task
from client.episodes import Batch, Episode
from client.learners.anil import ANIL
from client.learners.apfl import APFL
from client.learners.base import Learner
from client.learners.boil import BOIL
from client.learners.ditto import Ditto
from client.learners.fedavg import FedAvg
from client.learners.fedavg_finetune import FedAvgFineTune
from client.learners.fedbabu import FedBABU
from client.learners.feddyn import FedDyn
from client.learners.fednova import FedNova
from client.learners.fedper import FedPer
from client.learners.fedprox import FedProx
from client.learners.fedrep import FedRep
from client.learners.fomaml import FOMAML
from client.learners.ifca import IFCA
from client.learners.imaml import IMAML
from client.learners.lg_fedavg import LGFedAvg
from client.learners.local_norm import LocalNorm
from client.learners.local_only import LocalOnly
from client.learners.maml import MAML
from client.learners.maml_pp import MAMLPlusPlus
from client.learners.meta_curvature import MetaCurvature
from client.learners.meta_sgd import MetaSGD
from client.learners.per_fedavg import PerFedAvg
from client.learners.pfedme import PFedMe
from client.learners.qffl import QFFL
from client.learners.reptile import Reptile
from client.learners.scaffold import Scaffold
from client.models.base import Model
from client.models.cnn1d import CNN1d
from client.models.encoder1d import Encoder1d
from client.models.gru import GRU
from client.models.mlp import MLP, SineMLP
from client.models.module import TorchModule
from client.rng import Keys, generator

CLASSES = 3


def classification(*features: int) -> Task:
    """Three classes."""
    return Task("classification", features, CLASSES)


def regression(*features: int) -> Task:
    """Two targets."""
    return Task("regression", features, 2)


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
    "encoder1d": Encoder1d(channels=(3, 4), kernels=(3, 3), embedding=8, task=classification(2, 8)),
    "encoder1d-regression": Encoder1d(channels=(3,), kernels=(5,), embedding=8, task=regression(2, 7)),
    "gru": GRU(hidden=3, task=classification(2, 5)),
    "gru-one-channel": GRU(hidden=3, task=regression(5)),
    "module": TorchModule(
        factory="tests.cases:tanh_net", options={"inputs": 3, "width": 4, "outputs": 3}, task=classification(3)
    ),
}

#: Learners that descend gradients, and the settings that change their path through the code; others have their files.
LEARNERS: dict[str, Learner] = {
    "local_only": LocalOnly(inner_lr=0.1, inner_steps=3),
    "fedavg": FedAvg(inner_lr=0.1, inner_steps=3),
    "fedavg-minibatch": FedAvg(inner_lr=0.1, inner_steps=4, batch_size=2),
    "fedavg_ft": FedAvgFineTune(inner_lr=0.1, inner_steps=3),
    "reptile": Reptile(inner_lr=0.1, inner_steps=3),
    "reptile-adam-minibatch": Reptile(inner_lr=0.05, inner_steps=4, batch_size=2, optimizer="adam"),
    "fomaml": FOMAML(inner_lr=0.1, inner_steps=2),
    "maml": MAML(inner_lr=0.1, inner_steps=2),
    "maml-minibatch": MAML(inner_lr=0.1, inner_steps=3, batch_size=2),
    "meta_sgd": MetaSGD(inner_steps=2),
    "anil": ANIL(inner_lr=0.1, inner_steps=2),
    "boil": BOIL(inner_lr=0.1, inner_steps=2),
    "maml_pp": MAMLPlusPlus(inner_lr=0.1, inner_steps=2, multi_step_rounds=5),
    "meta_curvature": MetaCurvature(inner_lr=0.1, inner_steps=2),
    "imaml": IMAML(inner_lr=0.05, inner_steps=3, attraction=5.0, cg_steps=2),
    "per_fedavg": PerFedAvg(inner_lr=0.1, local_steps=3, local_lr=0.05),
    "per_fedavg-hf-minibatch": PerFedAvg(
        inner_lr=0.1, local_steps=2, local_lr=0.05, batch_size=2, variant="hessian_free", delta=0.05
    ),
    "fedprox": FedProx(inner_lr=0.1, inner_steps=3, mu=0.5),
    "ditto-minibatch": Ditto(inner_lr=0.1, inner_steps=3, batch_size=2, lam=0.5, personal_steps=2),
    "pfedme": PFedMe(inner_lr=0.05, inner_steps=2, local_steps=3, lam=2.0),
    "apfl": APFL(inner_lr=0.1, inner_steps=3, alpha=0.6),
    "apfl-adaptive-minibatch": APFL(inner_lr=0.1, inner_steps=3, batch_size=2, adaptive=True),
    "fedrep": FedRep(inner_lr=0.1, inner_steps=2, head_steps=3),
    "fedper-adam": FedPer(inner_lr=0.05, inner_steps=3, optimizer="adam"),
    "fedbabu": FedBABU(inner_lr=0.1, inner_steps=3),
    "lg_fedavg": LGFedAvg(inner_lr=0.1, inner_steps=3),
    "scaffold": Scaffold(inner_lr=0.1, inner_steps=3, share=0.5),
    "feddyn": FedDyn(inner_lr=0.1, inner_steps=3, weight=0.5, share=0.5),
    "fednova": FedNova(inner_lr=0.1, epochs=3.0),
    "fednova-minibatch": FedNova(inner_lr=0.1, epochs=2.0, batch_size=2),
    "qffl": QFFL(inner_lr=0.1, inner_steps=3, q=2.0),
    "ifca": IFCA(inner_lr=0.1, inner_steps=3, clusters=3),
    "local_norm": LocalNorm(inner_lr=0.1, inner_steps=3),
}


#: Registered learners whose θ never moves.
STILL = frozenset({"local_only", "majority", "class_mean"})


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


def personal(model: Model, clients: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Other parameters for every client of a stack."""
    each = [theta(model, seed + 100 + i, dtype) for i in range(clients)]
    return {name: torch.stack([own[name] for own in each]) for name in each[0]}


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


def rows(part: Batch, clients: Sequence[int]) -> Batch:
    """Some clients of a stack, in the given order."""
    index = torch.tensor(list(clients))
    return Batch(part.x[index], part.y[index], part.mask[index])


def some(ep: Episode, clients: Sequence[int]) -> Episode:
    """Some clients' episodes."""
    return Episode(rows(ep.support, clients), rows(ep.query, clients))


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
        at = torch.from_numpy(np.sort(rng.permutation(n + extra)[: len(real)]))
        x[i, at], y[i, at], mask[i, at] = part.x[i, real], part.y[i, real], 1.0
    return Batch(x, y, mask)


def flat(tree: Mapping[str, Tensor]) -> Tensor:
    """A tree as one vector, names in order."""
    return torch.cat([tree[name].flatten() for name in sorted(tree)])


def flat_clients(tree: Mapping[str, Tensor]) -> Tensor:
    """A stacked tree as (clients, parameters), names in order."""
    return torch.cat([tree[name].flatten(1) for name in sorted(tree)], 1)


def slopes(loss: Callable[[dict[str, Tensor]], Tensor], at: Mapping[str, Tensor], width: float = 1e-5) -> Tensor:
    """Central differences of a scalar in every number of a float64 tree, names in order."""
    found = []
    for name in sorted(at):
        for i in range(at[name].numel()):
            step = torch.zeros_like(at[name]).flatten()
            step[i] = width
            ahead, behind = (loss({**at, name: at[name] + sign * step.view_as(at[name])}) for sign in (1.0, -1.0))
            found.append((ahead - behind) / (2 * width))
    return torch.stack(found).detach()


def own_samples(part: Batch, client: int) -> tuple[Tensor, Tensor]:
    """One client's real inputs and labels, without client axis."""
    real = part.mask[client] > 0
    return part.x[client, real], part.y[client, real]


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor], rtol: float, atol: float) -> None:
    """Equal names, and values to tolerance."""
    assert sorted(a) == sorted(b)
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=rtol, atol=atol, msg=lambda text, n=name: f"{n}: {text}")


def with_steps(learner: Learner, steps: int) -> Learner:
    """The learner with another number of training steps, whatever it calls them."""
    name = "local_steps" if hasattr(learner, "local_steps") else "inner_steps"
    return replace(learner, **{name: steps})
