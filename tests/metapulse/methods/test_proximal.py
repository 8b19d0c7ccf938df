"""FedProx, Ditto and pFedMe: against loops in plain torch, and at the points where theory says what they are."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch, Episode
from metapulse.errors import ConfigError
from metapulse.methods.ditto import Ditto
from metapulse.methods.fedavg import FedAvg
from metapulse.methods.fedavg_finetune import FedAvgFineTune
from metapulse.methods.fedprox import FedProx
from metapulse.methods.pfedme import PFedMe
from metapulse.models.mlp import MLP
from metapulse.registry import LEARNERS
from metapulse.rng import generator
from metapulse.trees import pick, stack
from tests.cases import batch, keys, near, same
from tests.federated import CLIENTS, EPISODE, F64, NET, START, Tree, average, combine, data, gradient, rounds

LR, MU = 0.1, 0.7
WEIGHTS = EPISODE.support.counts.tolist()
POINT = MLP(hidden=(), task=Task("regression", (1,), 1))  # with x = 0 the loss is (b − y)²: an estimate of a point


def prox_steps(v: Tree, anchor: Tree, own: object, steps: int, lam: float, lr: float = LR) -> Tree:
    for _ in range(steps):
        v = combine(lambda p, g, a: p - lr * (g + lam * (p - a)), v, gradient(v, own), anchor)
    return v


def points(y: list[list[float]]) -> Episode:
    """Clients with these observations of their own point."""
    part = batch(POINT.task, [len(own) for own in y], dtype=F64)
    target = torch.zeros_like(part.y)
    for i, own in enumerate(y):
        target[i, : len(own), 0] = torch.tensor(own, dtype=F64)
    support = Batch(torch.zeros_like(part.x), target, part.mask)
    return Episode(support, batch(POINT.task, (0,) * len(y), longest=0))


def at(bias: float) -> Tree:
    return {"layer0.weight": torch.zeros(1, 1, dtype=F64), "layer0.bias": torch.full((1,), bias, dtype=F64)}


def test_fedprox_is_the_loop_in_plain_torch() -> None:
    ours = rounds(FedProx(inner_lr=LR, inner_steps=4, mu=MU))
    theta = START
    for _ in range(2):
        theta = average([prox_steps(theta, theta, own, 4, MU) for own in data()], WEIGHTS)
    same(ours.theta, theta, rtol=1e-9, atol=1e-11)
    assert ours.kept == [{}] * CLIENTS


@pytest.mark.parametrize("size", [0, 2])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_fedprox_without_its_term_is_fedavg(size: int, optimizer: str) -> None:
    settings = {"inner_lr": LR, "inner_steps": 4, "batch_size": size, "optimizer": optimizer}
    near(rounds(FedProx(mu=0.0, **settings)).theta, rounds(FedAvg(**settings)).theta)


def test_fedprox_clients_do_their_epochs_of_their_own_samples() -> None:
    """K = e ⌈n/B⌉ with n = 7, 6, 4 and B = 2; a client walks as one does that counts its steps, whichever go on."""
    report = FedProx(inner_lr=LR, inner_steps=100, mu=MU, batch_size=2, epochs=3).update(
        NET, START, {}, EPISODE, keys(range(3))
    )
    for i, steps in enumerate((12, 9, 6)):
        alone = FedProx(inner_lr=LR, inner_steps=steps, mu=MU, batch_size=2).update(
            NET, START, {}, EPISODE, keys(range(3))
        )
        same(pick(report.update, i), pick(alone.update, i), rtol=1e-9, atol=1e-11)


def test_stragglers_do_one_to_all_of_their_epochs() -> None:
    """Of 4000 clients half straggle, each number of epochs alike: four standard errors of a share are under .032."""
    learner, counts = FedProx(inner_steps=1000, batch_size=10, epochs=20, stragglers=0.5), torch.full((4000,), 95.0)
    steps = learner.work(counts, keys(range(4000), round=3))
    passes = (steps / 10).numpy()
    assert set(passes) == set(range(1, 21))
    shares = np.bincount(passes.astype(int), minlength=21)[1:] / 4000
    assert shares[-1] == pytest.approx(0.5 + 0.5 / 20, abs=0.032)
    assert shares[:-1] == pytest.approx(np.full(19, 0.5 / 20), abs=0.01)
    assert torch.equal(steps[[7]], learner.work(counts[:1], keys([7], round=3)))  # whichever others are asked
    assert not torch.equal(steps, learner.work(counts, keys(range(4000), round=4)))
    assert learner.work(torch.tensor([1e6]), keys([0])).tolist() == [1000]  # inner_steps at most


@pytest.mark.parametrize("mistake", [{"stragglers": 0.5}, {"epochs": 2, "optimizer": "adam"}])
def test_fedprox_epochs_that_cannot_be_are_refused(mistake: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"learner.{list(mistake)[-1]}"):
        LEARNERS.make({"name": "fedprox", **mistake})


def test_a_larger_mu_keeps_clients_nearer() -> None:
    moved = []
    for mu in (0.0, 1.0, 4.0):
        update = rounds(FedProx(inner_lr=LR, inner_steps=40, mu=mu), 1).updates
        moved.append(torch.stack([torch.cat([p.flatten() for p in own.values()]).norm() for own in update]))
    assert (moved[0] > moved[1]).all()
    assert (moved[1] > moved[2]).all()


def test_ditto_is_the_loop_in_plain_torch() -> None:
    ours = rounds(Ditto(inner_lr=LR, inner_steps=4, lam=MU, personal_steps=3))
    theta, own = START, [START] * CLIENTS
    for _ in range(2):
        own = [prox_steps(v, theta, d, 3, MU) for v, d in zip(own, data(), strict=True)]
        theta = average([prox_steps(theta, theta, d, 4, 0.0) for d in data()], WEIGHTS)
    same(ours.theta, theta, rtol=1e-9, atol=1e-11)
    for kept, v in zip(ours.kept, own, strict=True):
        same(kept, v, rtol=1e-9, atol=1e-11)


def test_dittos_global_model_is_fedavgs_whatever_lambda_is() -> None:
    settings = {"inner_lr": LR, "inner_steps": 4, "batch_size": 2}
    expected = rounds(FedAvg(**settings)).theta
    for lam in (0.0, 3.0):
        near(rounds(Ditto(lam=lam, **settings)).theta, expected)


def test_ditto_with_an_endless_pull_is_the_global_model_and_with_none_is_local_training() -> None:
    """v − θ = O(1/λ) at the minimum of L(v) + (λ/2)‖v − θ‖²; with λ = 0 nothing of θ is left but its start."""
    lam = 1e6
    far = rounds(Ditto(inner_lr=1.0 / lam, inner_steps=0, lam=lam, personal_steps=20))
    for kept in far.kept:
        same(kept, far.theta, rtol=0, atol=1e-5)
    alone = rounds(Ditto(inner_lr=LR, inner_steps=4, lam=0.0, personal_steps=3))
    for kept, own in zip(alone.kept, data(), strict=True):
        same(kept, prox_steps(START, START, own, 6, 0.0), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("lam", [0.5, 2.1333, 8.0])
def test_ditto_reaches_the_published_closed_form(lam: float) -> None:
    """Point estimation: L_k = ½(v − ŵ_k)², so v_k = (ŵ_k + λ w)/(1 + λ) with w = mean of ŵ (the paper's Theorem 10).

    The loss here is the squared error, twice that: λ is doubled with it.
    """
    y = [generator(4, "points", client=k).normal(0.3 * k, 0.8, 30).tolist() for k in range(5)]
    means = [float(np.mean(own)) for own in y]
    learner = Ditto(
        inner_lr=0.9 / (2 + 2 * lam), inner_steps=0, lam=2 * lam, personal_steps=12
    )  # errs 10⁻¹² of the way
    ours = rounds(learner, 1, POINT, points(y), at(float(np.mean(means))))
    for kept, own in zip(ours.kept, means, strict=True):
        assert float(kept["layer0.bias"]) == pytest.approx((own + lam * np.mean(means)) / (1 + lam), abs=1e-9)


def test_dittos_devices_answer_with_their_own_and_strangers_with_theta() -> None:
    learner = Ditto(inner_lr=LR, inner_steps=4, lam=MU)
    ours = rounds(learner, 1)
    state = {name: torch.stack([own[name] for own in ours.kept]) for name in START}
    support = EPISODE.support
    known, stranger = (
        next(iter(learner.adaptation_trajectory(NET, START, s, support, keys(range(3))))) for s in (state, {})
    )
    same(known, state, rtol=0, atol=0)
    same(stranger, stack(START, 3), rtol=0, atol=0)
    path = list(islice(learner.adaptation_trajectory(NET, START, state, support, keys(range(3))), 4))
    for i, own in enumerate(data()):
        same({n: p[i] for n, p in path[3].items()}, prox_steps(ours.kept[i], START, own, 3, MU), rtol=1e-9, atol=1e-11)


def test_pfedme_is_the_loop_in_plain_torch() -> None:
    lam, eta, beta = 3.0, 0.05, 1.5
    ours = rounds(PFedMe(inner_lr=LR, inner_steps=3, local_steps=4, local_lr=eta, lam=lam), lr=beta)
    theta = START
    for _ in range(2):
        ends = []
        for own in data():
            w = v = theta
            for _ in range(4):
                v = prox_steps(v, w, own, 3, lam)
                w = combine(lambda p, q: p - eta * lam * (p - q), w, v)
            ends.append(w)
        mean = average(ends, WEIGHTS)
        theta = combine(lambda p, q: (1 - beta) * p + beta * q, theta, mean)
    same(ours.theta, theta, rtol=1e-9, atol=1e-11)


def test_pfedme_descends_the_moreau_envelope_of_a_quadratic() -> None:
    """L = (b − m)²: φ̂(w) = (2m + λw)/(2 + λ), ∇F(w) = λ(w − φ̂) = 2λ/(2 + λ) · (w − m), whose zero is m."""
    lam, eta, w0 = 3.0, 0.1, 5.0
    means = [1.0, -2.0, 0.5]
    ep = points([[m - 0.3, m + 0.3] for m in means])
    learner = PFedMe(inner_lr=0.15, inner_steps=20, local_steps=1, local_lr=eta, lam=lam)
    ours = rounds(learner, 1, POINT, ep, at(w0), "uniform")
    for update, m in zip(ours.updates, means, strict=True):
        assert float(update["layer0.bias"]) == pytest.approx(eta * 2 * lam / (2 + lam) * (w0 - m), abs=1e-9)
    phi = learner.adapt(POINT, at(w0), {}, ep.support, keys(range(3)), 20)
    expected = torch.tensor([(2 * m + lam * w0) / (2 + lam) for m in means], dtype=F64)
    torch.testing.assert_close(phi["layer0.bias"][:, 0], expected, rtol=0, atol=1e-9)
    settled = rounds(replace(learner, local_steps=4, local_lr=0.5), 5, POINT, ep, at(w0), "uniform")
    assert float(settled.theta["layer0.bias"]) == pytest.approx(np.mean(means), abs=1e-6)


def test_pfedme_without_a_pull_does_not_move_theta_and_adapts_as_fine_tuning_does() -> None:
    learner = PFedMe(inner_lr=LR, lam=0.0)
    assert not any(p.any() for own in rounds(learner, 1).updates for p in own.values())
    phi, psi = (
        one.adapt(NET, START, {}, EPISODE.support, keys(range(3)), 4) for one in (learner, FedAvgFineTune(inner_lr=LR))
    )
    near(phi, psi)


def test_one_minibatch_serves_a_whole_personal_problem() -> None:
    """R local steps draw R minibatches, whatever K is."""
    drawn: list[Tensor] = []

    class Watched(MLP):
        chain = None

        def value_and_grad(self, params, part, into=None):  # type: ignore[no-untyped-def]
            drawn.append(part.x)
            return super().value_and_grad(params, part, into)

    model = Watched(hidden=(4,), activation="tanh", task=NET.task)
    learner = PFedMe(inner_lr=LR, inner_steps=3, local_steps=4, batch_size=2)
    learner.update(model, START, {}, EPISODE, keys(range(3)))
    assert len(drawn) == 12
    assert all(torch.equal(drawn[3 * r], drawn[3 * r + k]) for r in range(4) for k in range(3))
    assert not torch.equal(drawn[0], drawn[3])
