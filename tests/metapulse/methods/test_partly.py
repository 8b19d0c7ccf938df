"""Partly personal models: FedPer, LG-FedAvg, FedRep, FedBABU and local norms against loops in plain torch."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from metapulse.data import Task
from metapulse.episodes import Batch, Episode
from metapulse.methods.fedavg import FedAvg
from metapulse.methods.fedavg_finetune import FedAvgFineTune
from metapulse.methods.fedbabu import FedBABU
from metapulse.methods.fedper import FedPer
from metapulse.methods.fedrep import FedRep
from metapulse.methods.lg_fedavg import LGFedAvg
from metapulse.methods.local_norm import LocalNorm
from metapulse.methods.partly import PartlyPersonal
from metapulse.models.mlp import MLP
from metapulse.rng import generator
from tests.cases import MODELS, batch, episode, keys, near, same, theta
from tests.federated import CLIENTS, EPISODE, F64, NET, START, Data, Tree, average, combine, data, gradient, rounds

LR = 0.1
WEIGHTS = EPISODE.support.counts.tolist()
HEAD, BODY = NET.head, frozenset(START) - NET.head
TOGETHER = {"fedper": (FedPer, HEAD), "lg_fedavg": (LGFedAvg, BODY)}


def steps(p: Tree, own: Data, count: int, names: frozenset[str]) -> Tree:
    """Gradient steps on some names."""
    for _ in range(count):
        g = gradient(p, own)
        p = {name: q - LR * g[name] if name in names else q for name, q in p.items()}
    return p


def part(p: Tree, names: frozenset[str]) -> Tree:
    return {name: q for name, q in p.items() if name in names}


@pytest.mark.parametrize("name", TOGETHER)
def test_trained_together_one_part_travels_and_the_other_stays(name: str) -> None:
    cls, personal = TOGETHER[name]
    ours = rounds(cls(inner_lr=LR, inner_steps=4))
    shared, kept = START, [part(START, personal)] * CLIENTS
    for _ in range(2):
        ends = [steps({**shared, **own}, d, 4, HEAD | BODY) for own, d in zip(kept, data(), strict=True)]
        kept = [part(end, personal) for end in ends]
        shared = {**average(ends, WEIGHTS), **part(START, personal)}
    same(ours.theta, shared, rtol=1e-9, atol=1e-11)
    for found, own in zip(ours.kept, kept, strict=True):
        same(found, own, rtol=1e-9, atol=1e-11)


def test_fedrep_fits_heads_first_and_then_moves_the_body() -> None:
    ours = rounds(FedRep(inner_lr=LR, inner_steps=2, head_steps=5))
    shared, kept = START, [part(START, HEAD)] * CLIENTS
    for _ in range(2):
        ends = [steps(steps({**shared, **own}, d, 5, HEAD), d, 2, BODY) for own, d in zip(kept, data(), strict=True)]
        kept = [part(end, HEAD) for end in ends]
        shared = {**average(ends, WEIGHTS), **part(START, HEAD)}
    same(ours.theta, shared, rtol=1e-9, atol=1e-11)
    for found, own in zip(ours.kept, kept, strict=True):
        same(found, own, rtol=1e-9, atol=1e-11)


def test_fedbabu_trains_the_body_under_the_first_head() -> None:
    learner = FedBABU(inner_lr=LR, inner_steps=4)
    ours = rounds(learner)
    shared = START
    for _ in range(2):
        shared = average([steps(shared, d, 4, BODY) for d in data()], WEIGHTS)
    same(ours.theta, shared, rtol=1e-9, atol=1e-11)
    assert all(torch.equal(ours.theta[name], START[name]) for name in HEAD)
    assert ours.kept == [{}] * CLIENTS
    tuned = learner.adapt(NET, START, {}, EPISODE.support, keys(range(3)), 3)
    near(tuned, FedAvgFineTune(inner_lr=LR).adapt(NET, START, {}, EPISODE.support, keys(range(3)), 3))


@pytest.mark.parametrize("cls", [FedPer, LGFedAvg, FedRep])
def test_known_devices_begin_with_their_own_part_and_strangers_with_thetas(cls: type[PartlyPersonal]) -> None:
    learner = cls(inner_lr=LR)
    ours = rounds(learner, 1)
    state = {name: torch.stack([own[name] for own in ours.kept]) for name in ours.kept[0]}
    known = list(islice(learner.adaptation_trajectory(NET, ours.theta, state, EPISODE.support, keys(range(3))), 3))
    moving = HEAD if cls is FedRep else HEAD | BODY
    for i, own in enumerate(data()):
        for k, phi in enumerate(known):
            expected = steps({**ours.theta, **ours.kept[i]}, own, k, moving)
            same({name: p[i] for name, p in phi.items()}, expected, rtol=1e-9, atol=1e-11)
    stranger = learner.adapt(NET, ours.theta, {}, EPISODE.support, keys(range(3)), 0)
    assert all(torch.equal(p[i], ours.theta[name]) for name, p in stranger.items() for i in range(3))


def test_fedrep_finds_the_representation_of_the_published_linear_simulation() -> None:
    """y_i = u_iᵀ V* x with one V* of rank 2 for all: the angle between the learned and the true subspace goes to zero
    (Collins et al., Section 6, with fewer clients and dimensions).
    """
    dimension, rank, clients, samples = 6, 2, 10, 20
    rng = generator(0, "fedrep")
    true = torch.linalg.qr(torch.from_numpy(rng.standard_normal((dimension, rank)))).Q
    own = torch.from_numpy(rng.standard_normal((clients, rank)))
    x = torch.from_numpy(rng.standard_normal((clients, samples, dimension)))
    y = torch.einsum("cnd,dr,cr->cn", x, true, own).unsqueeze(2)
    model = TwoLayers(hidden=(rank,), activation="tanh", task=Task("regression", (dimension,), 1))
    ep = Episode(Batch(x, y, torch.ones(clients, samples, dtype=F64)), batch(model.task, (0,) * clients, longest=0))

    def angle(at: Tree) -> float:
        """Sine of the largest angle between the row space of the first layer and the true subspace."""
        found = torch.linalg.qr(at["layer0.weight"].T).Q
        return float(torch.linalg.matrix_norm(found - true @ (true.T @ found), 2))

    start = theta(model, dtype=F64)
    after = rounds(FedRep(inner_lr=0.15, inner_steps=3, head_steps=8), 30, model, ep, start)
    assert angle(start) > 0.5
    assert angle(after.theta) < 0.02


class TwoLayers(MLP):
    """A linear model of two layers without biases: the toy of the FedRep paper."""

    chain = None

    def predict(self, params, x):  # type: ignore[no-untyped-def]
        hidden = x @ params["layer0.weight"].transpose(1, 2)
        return hidden @ params["layer1.weight"].transpose(1, 2)


def test_local_norms_stay_and_everything_else_is_fedavgs() -> None:
    model = MODELS["encoder1d"]
    start = theta(model, dtype=F64)
    ep = Episode(episode(model.task, (5, 2, 3), (2, 4, 1), dtype=F64).pooled, batch(model.task, (0, 0, 0), longest=0))
    ours, fedavg = (rounds(cls(inner_lr=LR, inner_steps=3), 1, model, ep, start) for cls in (LocalNorm, FedAvg))
    names = {"norm.weight", "norm.bias"}
    assert all(set(kept) == names for kept in ours.kept)
    for name, p in start.items():
        torch.testing.assert_close(ours.theta[name], p if name in names else fedavg.theta[name], rtol=1e-12, atol=1e-14)
    for i, kept in enumerate(ours.kept):
        trained = combine(torch.sub, part(start, frozenset(names)), part(fedavg.updates[i], frozenset(names)))
        same(kept, trained, rtol=1e-12, atol=1e-14)


def test_without_a_norm_it_is_fine_tuned_fedavg() -> None:
    settings = {"inner_lr": LR, "inner_steps": 3}
    near(rounds(LocalNorm(**settings)).theta, rounds(FedAvgFineTune(**settings)).theta)
