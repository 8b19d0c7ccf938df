"""SCAFFOLD and FedDyn against the papers' algorithms in plain torch, and the laws of what server and devices hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from metapulse.data import Task
from metapulse.episodes import Batch, Episode
from metapulse.methods.fedavg import FedAvg
from metapulse.methods.feddyn import DUAL, FedDyn
from metapulse.methods.scaffold import CONTROL, Scaffold
from metapulse.models.mlp import MLP
from metapulse.rng import generator
from metapulse.trees import subtree, without_subtree
from tests.cases import batch, keys, near, same, some
from tests.federated import CLIENTS, EPISODE, F64, NET, START, Tree, average, combine, data, gradient, rounds

LR, K, A = 0.1, 4, 0.5
ZERO = combine(torch.zeros_like, START)


def descend(p: Tree, field: Callable[[Tree], Tree]) -> Tree:
    for _ in range(K):
        p = combine(lambda q, g: q - LR * g, p, field(p))
    return p


def test_scaffold_is_algorithm_1() -> None:
    ours = rounds(Scaffold(inner_lr=LR, inner_steps=K), 3, weighting="uniform")
    x, c, own = START, ZERO, [ZERO] * CLIENTS
    for _ in range(3):
        ends = [
            descend(x, lambda y, d=d, i=i: combine(lambda g, ci, s: g - ci + s, gradient(y, d), own[i], c))
            for i, d in enumerate(data())
        ]
        after = [combine(lambda ci, s, a, b: ci - s + (a - b) / (K * LR), own[i], c, x, y) for i, y in enumerate(ends)]
        x = average(ends)
        c = combine(torch.add, c, average([combine(torch.sub, new, old) for new, old in zip(after, own, strict=True)]))
        own = after
    same(without_subtree(ours.theta, CONTROL), x, rtol=1e-9, atol=1e-11)
    same(subtree(ours.theta, CONTROL), c, rtol=1e-8, atol=1e-10)
    for kept, ci in zip(ours.kept, own, strict=True):
        same(subtree(kept, CONTROL), ci, rtol=1e-8, atol=1e-10)


def test_the_servers_control_is_the_mean_of_the_devices_whoever_takes_part() -> None:
    """c ← c + |S|/N · mean_S(c_i⁺ − c_i) with one client in each round, and all of them in the mean at the end."""
    learner = Scaffold(inner_lr=LR, inner_steps=K, share=1 / CLIENTS)
    theta = {name: p.double() for name, p in learner.init(NET, generator(0, "init")).items()}
    state = {f"{CONTROL}{name}": torch.zeros(CLIENTS, *p.shape, dtype=p.dtype) for name, p in START.items()}
    for round, client in enumerate((0, 2, 1, 2, 2, 0), 1):
        own = {name: p[[client]] for name, p in state.items()}
        report = learner.update(NET, theta, own, some(EPISODE, [client]), keys([client], round))
        theta = {name: p - report.update[name][0] for name, p in theta.items()}
        state = {name: torch.cat([p[:client], report.state[name], p[client + 1 :]]) for name, p in state.items()}
        same(subtree(theta, CONTROL), {n: p.mean(0) for n, p in subtree(state, CONTROL).items()}, rtol=1e-8, atol=1e-12)
    assert all(p.abs().max() > 1e-3 for p in subtree(theta, CONTROL).values())


def alike() -> Episode:
    """Three clients with the same samples."""
    part = EPISODE.support
    copies = Batch(*(p[:1].expand(CLIENTS, *p.shape[1:]) for p in (part.x, part.y, part.mask)))
    return Episode(copies, batch(NET.task, (0,) * CLIENTS, longest=0))


@pytest.mark.parametrize("count", [1, 3])
def test_scaffold_with_equal_clients_is_fedavg(count: int) -> None:
    """c = c_i, so nothing is corrected."""
    ours, fedavg = (rounds(cls(inner_lr=LR, inner_steps=K), count, ep=alike()) for cls in (Scaffold, FedAvg))
    same(without_subtree(ours.theta, CONTROL), fedavg.theta, rtol=1e-9, atol=1e-11)


def test_scaffolds_first_round_is_fedavgs() -> None:
    settings = {"inner_lr": LR, "inner_steps": K, "batch_size": 2}
    ours, fedavg = (rounds(cls(**settings), 1, weighting="uniform") for cls in (Scaffold, FedAvg))
    near(without_subtree(ours.theta, CONTROL), fedavg.theta)


@pytest.mark.parametrize(("cls", "settings"), [(Scaffold, {}), (FedDyn, {"weight": 1.0})])
def test_it_comes_to_rest_where_the_mean_loss_does_and_fedavg_does_not(cls: type, settings: dict[str, float]) -> None:
    """Client drift on L_i = s_i² (w − m_i)²: the mean loss is least at Σ s_i² m_i / Σ s_i², and FedAvg with K steps
    rests at Σ (1 − ρ_i^K) m_i / Σ (1 − ρ_i^K) with ρ_i = 1 − 2η s_i².
    """
    model = MLP(hidden=(), task=Task("regression", (1,), 1))
    s, m = torch.tensor([0.5, 1.0, 1.5], dtype=F64), torch.tensor([4.0, 0.0, 0.0], dtype=F64)
    x = s.view(3, 1, 1) * torch.tensor([1.0, -1.0], dtype=F64).view(1, 2, 1)  # ±s, so that the bias stays at zero
    ep = Episode(Batch(x, m.view(3, 1, 1) * x, torch.ones(3, 2, dtype=F64)), batch(model.task, (0, 0, 0), longest=0))
    start = {"layer0.weight": torch.zeros(1, 1, dtype=F64), "layer0.bias": torch.zeros(1, dtype=F64)}
    pull = 1 - (1 - 2 * LR * s**2) ** K
    best, drifted = float((s**2 @ m) / (s**2).sum()), float((pull @ m) / pull.sum())
    assert abs(best - drifted) > 0.1
    ours = rounds(cls(inner_lr=LR, inner_steps=K, **settings), 60, model, ep, start, "uniform")
    fedavg = rounds(FedAvg(inner_lr=LR, inner_steps=K), 30, model, ep, start, "uniform")
    assert float(ours.theta["layer0.weight"]) == pytest.approx(best, abs=1e-4)
    assert float(fedavg.theta["layer0.weight"]) == pytest.approx(drifted, abs=1e-4)


def test_feddyn_is_algorithm_1() -> None:
    ours = rounds(FedDyn(inner_lr=LR, inner_steps=K, weight=A), 3, weighting="uniform")
    theta, h, own = START, ZERO, [ZERO] * CLIENTS
    for _ in range(3):
        ends = [
            descend(
                theta,
                lambda p, d=d, i=i: combine(lambda g, q, o, t: g - o + A * (q - t), gradient(p, d), p, own[i], theta),
            )
            for i, d in enumerate(data())
        ]
        own = [combine(lambda o, q, t: o - A * (q - t), own[i], end, theta) for i, end in enumerate(ends)]
        mean = average(ends)
        h = combine(lambda s, q, t: s - A * (q - t), h, mean, theta)
        theta = combine(lambda q, s: q - s / A, mean, h)
    same(without_subtree(ours.theta, DUAL), theta, rtol=1e-8, atol=1e-10)
    same(subtree(ours.theta, DUAL), h, rtol=1e-8, atol=1e-10)
    for kept, o in zip(ours.kept, own, strict=True):
        same(subtree(kept, DUAL), o, rtol=1e-8, atol=1e-10)


def test_feddyns_server_holds_the_mean_of_what_devices_hold() -> None:
    """h = mean of g_i, since both add −a(φ_i − θ) for the same clients."""
    ours = rounds(FedDyn(inner_lr=LR, inner_steps=K, weight=A), 4, weighting="uniform")
    same(subtree(ours.theta, DUAL), average([subtree(kept, DUAL) for kept in ours.kept]), rtol=1e-8, atol=1e-10)
