"""Learners with a Gaussian head: rounds against closed forms on all samples, gradients against finite differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from metapulse.empirical_bayes import for_each, scaled_m_step, scaled_moments
from metapulse.episodes import Batch, Episode
from metapulse.gaussian_head import GaussianHead
from metapulse.methods.alpaca import ALPaCA
from metapulse.methods.base import Learner, Report
from metapulse.methods.gaussian import BELIEF, PRIOR
from metapulse.methods.pooled_ridge import PooledRidge
from metapulse.methods.r2d2 import R2D2
from metapulse.methods.random_effects import RandomEffects
from metapulse.models.mlp import MLP
from metapulse.rng import generator
from metapulse.trees import add, pick, stack, weighted_sum
from tests.cases import batch, classification, episode, keys, regression

COUNTS = (9, 4, 6, 7)
LINEAR = MLP(hidden=(), task=regression(3))
NET = MLP(hidden=(4,), activation="tanh", task=regression(3))


def everyone(seed: int = 0) -> Batch:
    return batch(LINEAR.task, COUNTS, seed, torch.float64)


def started(learner: Learner, model: MLP = LINEAR) -> dict[str, Tensor]:
    return {name: p.double() for name, p in learner.init(model, generator(0, "init")).items()}


def round_of(learner: Learner, meta: dict[str, Tensor], samples: Batch, clients: list[int]) -> Report:
    rows = torch.tensor(clients)
    part = Batch(samples.x[rows], samples.y[rows], samples.mask[rows])
    return learner.update(LINEAR, meta, {}, Episode(part, part.slice(0, 0)), keys(clients))


def stepped(meta: dict[str, Tensor], report: Report, by_samples: bool) -> dict[str, Tensor]:
    shares = report.weight if by_samples else torch.ones_like(report.weight)
    return dict(add(meta, weighted_sum(report.update, shares / shares.sum()), -1.0))


def with_one(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones_like(x[..., :1])], -1)


def test_one_round_with_everyone_is_the_ridge_of_all_samples() -> None:
    learner, samples = PooledRidge(ridge=0.1), everyone()
    meta = stepped(started(learner), round_of(learner, started(learner), samples, [0, 1, 2, 3]), by_samples=True)
    x, y = with_one(samples.x[samples.mask > 0]), samples.y[samples.mask > 0]
    exact = torch.linalg.solve(x.T @ x / len(x) + 0.1 * torch.eye(4).double(), x.T @ y / len(x))
    prior = learner.prior(meta)
    torch.testing.assert_close(prior.mean[0], exact)
    torch.testing.assert_close(prior.noise[0], (y - x @ exact).square().mean(0))


def test_two_rounds_with_half_of_the_people_each_are_one_with_all() -> None:
    """Where they have equally many samples; a mean over cohorts in rounds of different size is a mean over cohorts."""
    learner = PooledRidge()
    samples = batch(LINEAR.task, (5, 5, 5, 5), 0, torch.float64)
    half = started(learner)
    for clients in ([0, 1], [2, 3]):
        half = stepped(half, round_of(learner, half, samples, clients), by_samples=True)
    whole = stepped(started(learner), round_of(learner, started(learner), samples, [0, 1, 2, 3]), by_samples=True)
    torch.testing.assert_close(learner.prior(half).mean, learner.prior(whole).mean)


def test_a_person_is_pulled_towards_the_population() -> None:
    """argmin ‖y − Xw‖² + λ‖w − w̄‖², and w̄ itself without samples."""
    learner, samples = PooledRidge(pull=2.0), everyone()
    meta = stepped(started(learner), round_of(learner, started(learner), samples, [0, 1, 2, 3]), by_samples=True)
    own = batch(LINEAR.task, (5, 0), 3, torch.float64)
    phi = learner.adapt(LINEAR, meta, {}, own, keys([0, 1]))
    x, centre = with_one(own.x[0]), learner.prior(meta).mean[0]
    exact = centre + torch.linalg.solve(x.T @ x + 2.0 * torch.eye(4).double(), x.T @ (own.y[0] - x @ centre))
    torch.testing.assert_close(phi[BELIEF + "mean"][0], exact)
    torch.testing.assert_close(phi[BELIEF + "mean"][1], centre)


@pytest.mark.parametrize("centre", ["heads", "answers"])
def test_a_round_with_everyone_is_an_iteration_of_em(centre: str) -> None:
    learner = RandomEffects(centre=centre, ridge=2.0, strength=3.0, people=4.0, worth=0.5, freedom=6.0)
    samples, meta = everyone(), started(RandomEffects(centre=centre, ridge=2.0))
    x, target = with_one(samples.x), torch.eye(4).double() / 2.0
    prior = learner.prior(meta)
    for _ in range(4):
        meta = stepped(meta, round_of(learner, meta, samples, [0, 1, 2, 3]), by_samples=False)
        told = scaled_moments(for_each(prior, 4), x, samples.y, 0.5 * samples.mask, 6.0).average()
        prior = scaled_m_step(told, target, 3.0 / 4.0)
        if centre == "answers":
            gram = torch.stack([x[c, :n].T @ x[c, :n] / n for c, n in enumerate(COUNTS)]).mean(0)
            moment = torch.stack([x[c, :n].T @ samples.y[c, :n] / n for c, n in enumerate(COUNTS)]).mean(0)
            best = torch.linalg.solve(gram + 1e-4 * torch.eye(4).double(), moment)
            prior = replace(prior, mean=best.unsqueeze(0))
        for ours, exact in zip(vars(learner.prior(meta)).values(), vars(prior).values(), strict=True):
            torch.testing.assert_close(ours, exact)


def test_alpaca_descends_the_predictive_likelihood() -> None:
    """Against finite differences of −log p(query | support), in every number that θ has."""
    learner = ALPaCA(inputs=False, worth=0.7)
    ep = episode(NET.task, (5,), (4,), dtype=torch.float64)
    meta = started(learner, NET)
    report = learner.update(NET, meta, {}, ep, keys([0]))

    def loss(theta: dict[str, Tensor]) -> float:
        return float(learner.update(NET, theta, {}, ep, keys([0])).metrics["loss"][0])

    for name, p in meta.items():
        for place in range(min(p.numel(), 3)):
            step = torch.zeros(p.numel()).double()
            step[place] = 1e-5
            moved = step.view(p.shape)
            slope = (loss({**meta, name: p + moved}) - loss({**meta, name: p - moved})) / 2e-5
            assert float(report.update[name][0].flatten()[place]) == pytest.approx(slope, abs=1e-6)


def test_from_another_start_the_belief_goes_on() -> None:
    """Two devices one after the other teach a head what both would together; of noise each has its own estimate."""
    learner = PooledRidge()
    first, second = batch(LINEAR.task, (4,), 1, torch.float64), batch(LINEAR.task, (6,), 2, torch.float64)
    meta = started(learner)
    old = learner.adapt(LINEAR, meta, {}, first, keys([0]))
    path = learner.adaptation_trajectory(LINEAR, meta, {}, second, keys([0]), old)
    next(path)
    both = learner.adapt(LINEAR, meta, {}, first.join(second), keys([0]))
    torch.testing.assert_close(next(path)[BELIEF + "mean"], both[BELIEF + "mean"])


@pytest.mark.parametrize("task", [regression(3), classification(3)])
def test_r2d2_is_drawn_to_its_head(task) -> None:  # type: ignore[no-untyped-def]
    """A strong ridge leaves the head of θ as it is, where the other kind goes to zero; a weak one forgets both."""
    model = MLP(hidden=(4,), activation="tanh", task=task)
    support = batch(task, (12,), 0, torch.float64)
    found = {}
    for towards in ("zero", "head"):
        for factor in (1e-9, 1e9):
            learner = R2D2(towards=towards, ridge_factor=factor)
            meta = {name: p.double() for name, p in learner.init(model, generator(0, "init")).items()}
            found[towards, factor] = pick(learner.adapt(model, meta, {}, support, keys([0])), 0)[model.head_pair()[0]]
    torch.testing.assert_close(found["head", 1e9], meta[model.head_pair()[0]], rtol=1e-4, atol=1e-6)
    assert float(found["zero", 1e9].abs().max()) < 1e-6
    torch.testing.assert_close(found["head", 1e-9], found["zero", 1e-9], rtol=1e-4, atol=1e-5)


def test_the_prior_is_of_theta_alone() -> None:
    """What a coordinator reads off θ: a stack of one, whose start every client has."""
    learner = RandomEffects()
    meta = started(learner)
    prior: GaussianHead = learner.prior(meta)
    phi = learner.start(meta, 3)
    assert len(prior.mean) == 1
    for name, p in vars(prior).items():
        torch.testing.assert_close(phi[BELIEF + name], p.expand(3, *p.shape[1:]))
    assert not any(name.startswith(PRIOR) for name in phi)
    assert set(stack(meta, 1)) >= {PRIOR + "spread"}
