"""Small worlds for tests of the learning mathematics: models, learners and ragged episodes, all drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from metapulse.episodes import Batch
from metapulse.methods.anil import ANIL
from metapulse.methods.apfl import APFL
from metapulse.methods.base import Learner
from metapulse.methods.boil import BOIL
from metapulse.methods.ditto import Ditto
from metapulse.methods.fedavg import FedAvg
from metapulse.methods.fedavg_finetune import FedAvgFineTune
from metapulse.methods.fedbabu import FedBABU
from metapulse.methods.feddyn import FedDyn
from metapulse.methods.fednova import FedNova
from metapulse.methods.fedper import FedPer
from metapulse.methods.fedprox import FedProx
from metapulse.methods.fedrep import FedRep
from metapulse.methods.fomaml import FOMAML
from metapulse.methods.ifca import IFCA
from metapulse.methods.imaml import IMAML
from metapulse.methods.lg_fedavg import LGFedAvg
from metapulse.methods.local_norm import LocalNorm
from metapulse.methods.local_only import LocalOnly
from metapulse.methods.maml import MAML
from metapulse.methods.maml_pp import MAMLPlusPlus
from metapulse.methods.meta_curvature import MetaCurvature
from metapulse.methods.meta_sgd import MetaSGD
from metapulse.methods.per_fedavg import PerFedAvg
from metapulse.methods.pfedme import PFedMe
from metapulse.methods.qffl import QFFL
from metapulse.methods.reptile import Reptile
from metapulse.methods.scaffold import Scaffold
from metapulse.models.base import Model
from metapulse.sim.conformance.worlds import (
    MODELS,
    batch,
    classification,
    episode,
    keys,
    meta,
    near,
    noisy,
    padded,
    regression,
    same,
    select_clients,
    some,
    tanh_net,
    theta,
    with_steps,
)

__all__ = [
    "LEARNERS",
    "MODELS",
    "STILL",
    "batch",
    "classification",
    "episode",
    "flat",
    "flat_clients",
    "keys",
    "meta",
    "near",
    "noisy",
    "own_samples",
    "padded",
    "personal",
    "regression",
    "same",
    "select_clients",
    "slopes",
    "some",
    "tanh_net",
    "theta",
    "with_steps",
]

#: Learners that descend gradients, and the settings that change their path through the code; others have their files.
LEARNERS: dict[str, Learner] = {
    "local_only": LocalOnly(inner_lr=0.1),
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
STILL = frozenset({"local_only", "majority", "class_mean", "persistence"})


def personal(model: Model, clients: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Other parameters for every client of a stack."""
    each = [theta(model, seed + 100 + i, dtype) for i in range(clients)]
    return {name: torch.stack([own[name] for own in each]) for name in each[0]}


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
