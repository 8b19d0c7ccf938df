"""FedEM: its two steps against loops over samples, what it becomes with one component, and a mixture found again."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from metapulse.episodes import Batch, Episode, stack_batches
from metapulse.methods.fedavg import FedAvg
from metapulse.methods.fedem import MIXTURE, FedEM
from metapulse.models.mlp import MLP
from metapulse.rng import generator
from metapulse.sim.sources.mixture import Mixture
from metapulse.trees import pick
from tests.cases import MODELS, batch, keys, meta, noisy, own_samples, same

LINEAR = MODELS["linear"]


def everything(task, counts) -> Episode:
    return Episode(batch(task, counts), batch(task, [0] * len(counts), longest=0))


def test_one_component_is_fedavg():
    ep = everything(LINEAR.task, (5, 2, 3))
    settings = {"inner_lr": 0.1, "inner_steps": 4, "batch_size": 2}
    theta = meta(FedAvg(**settings), LINEAR)
    plain = FedAvg(**settings).update(LINEAR, theta, {}, ep, keys(range(3)))
    one = FedEM(components=1, **settings).update(
        LINEAR, {name: p.unsqueeze(0) for name, p in theta.items()}, {}, ep, keys(range(3))
    )
    same({name: p.squeeze(1) for name, p in one.update.items()}, plain.update, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(one.weight, plain.weight)
    torch.testing.assert_close(one.metrics["loss"], plain.metrics["loss"])


@pytest.mark.parametrize("kind", ["mlp-tanh", "mlp-regression"])
def test_one_round_is_the_papers_two_steps(kind):
    """q_j(m) ∝ π_m exp(−ℓ), π_m = mean q, θ_m − φ_m = α ∇ mean_j q_j(m) ℓ: a loop over samples in float64."""
    model, learner = MODELS[kind], FedEM(inner_lr=0.2, inner_steps=1)
    ep = everything(model.task, (4, 6))
    ep = Episode(*(Batch(p.x.double(), p.y.double() if p.y.is_floating_point() else p.y, p.mask.double())
                   for p in (ep.support, ep.query)))  # fmt: skip
    theta = meta(learner, model, dtype=torch.float64)
    log_pi = noisy({MIXTURE: torch.zeros(2, 3, dtype=torch.float64)}, 4, sd=1.0)
    report = learner.update(model, theta, log_pi, ep, keys(range(2)))
    for client in range(2):
        x, y = own_samples(ep.support, client)
        leaves = {name: p.clone().requires_grad_() for name, p in theta.items()}
        losses = torch.stack(
            [
                torch.stack([model.loss({name: p[[m]] for name, p in leaves.items()}, stacked(x[j], y[j]))[0]
                             for m in range(3)])
                for j in range(len(x))
            ]
        )  # fmt: skip
        q = (log_pi[MIXTURE][client].log_softmax(0) - losses.detach()).softmax(1)
        (q * losses).sum(1).mean().backward()
        torch.testing.assert_close(report.state[MIXTURE][client].exp(), q.mean(0))
        same(pick(report.update, client), {name: 0.2 * p.grad for name, p in leaves.items()}, rtol=1e-9, atol=1e-12)


def stacked(x, y) -> Batch:
    return Batch(x[None, None], y[None, None], torch.ones(1, 1, dtype=torch.float64))


def test_a_new_clients_mixture_is_found_with_the_components_known():
    """Fifty EM steps on 1000 samples; the likelihood rises at each, and π comes within four standard errors.

    A component is told apart by its label only, so a share rests on the samples on which two components differ, a half
    of them: 4 √(π (1 − π) / 500) ≤ .09.
    """
    source = Mixture(test=1000)
    samples = source.samples(6)
    rows = np.flatnonzero(samples.held_out)
    population = source.population
    model = MLP(hidden=(), task=source.task)
    scale = 10.0 / 1.7  # the logistic curve that is nearest to the normal noise of .1
    weight = torch.from_numpy(scale * population.components).float()
    theta = {
        "layer0.weight": torch.stack([torch.zeros_like(weight), weight], 1),
        "layer0.bias": torch.zeros(3, 2),
    }
    learner, support = FedEM(), stack_batches([(samples.x[rows], samples.y[rows])])
    path = learner.adaptation_trajectory(model, theta, {}, support, keys([0]))
    points = [next(path) for _ in range(51)]
    losses = [float(-learner.predict(model, phi, support.x).gather(2, support.y.unsqueeze(2)).mean()) for phi in points]
    assert all(after <= before + 1e-6 for before, after in pairwise(losses))
    found = points[-1][MIXTURE].softmax(1)[0].numpy()
    assert np.abs(found - population.shares[6]).max() < 0.09
    assert np.abs(1 / 3 - population.shares[6]).max() > 0.2  # and it was not there at the start


def test_components_differ_at_the_start():
    theta = FedEM(components=2).init(LINEAR, generator(0, "init"))
    assert all(len(p) == 2 for p in theta.values())
    assert not torch.equal(theta["layer0.weight"][0], theta["layer0.weight"][1])
