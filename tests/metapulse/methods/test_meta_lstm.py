"""Meta-LSTM: its steps and its gradients against one client in plain torch, coordinate by coordinate."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from metapulse.methods.meta_lstm import OPTIMISER, MetaLSTM
from metapulse.models.base import Model
from metapulse.models.cnn1d import CNN1d
from metapulse.models.mlp import MLP
from metapulse.trees import norm, pick, stack, subtree, without_subtree
from tests.cases import batch, classification, episode, keys, meta, own_samples, regression, same, some

F64 = torch.float64
LEARNER = MetaLSTM(inner_lr=0.2, keep=0.9, inner_steps=3, hidden=3)
NET = MLP(hidden=(2,), activation="tanh", task=classification(2))
MODELS: dict[str, Model] = {
    "mlp": NET,
    "regression": MLP(hidden=(2,), activation="tanh", task=regression(2)),
    "cnn1d": CNN1d(channels=(2,), kernel=2, task=classification(1, 4)),
}


def lively(model: Model) -> dict[str, Tensor]:
    """θ whose gates see what they are shown: their initial weights are a hundredth."""
    start = meta(LEARNER, model, dtype=F64)
    gates = {f"{OPTIMISER}{gate}.weight" for gate in ("rate", "keep")}
    return {name: 100.0 * p if name in gates else p for name, p in start.items()}


def readable(x: float) -> list[float]:
    """Preprocessing of Andrychowicz et al. 2016, Appendix A, with p = 10."""
    if abs(x) >= math.exp(-10):
        return [math.log(abs(x)) / 10, math.copysign(1.0, x)]
    return [-1.0, math.exp(10) * x]


def textbook(model: Model, start: dict[str, Tensor], x: Tensor, y: Tensor, steps: int) -> dict[str, Tensor]:
    """The gates of the paper for one client, a loop over coordinates, torch's LSTM cell; differentiable."""
    own = subtree(start, OPTIMISER)
    cell = torch.nn.LSTMCell(4, 3).double()
    named = {"weight_ih": own["weight"][:, :4], "weight_hh": own["weight"][:, 4:]}
    named |= {"bias_ih": own["bias"], "bias_hh": torch.zeros_like(own["bias"])}
    phi = {name: list(p.flatten()) for name, p in without_subtree(start, OPTIMISER).items()}
    gates = {name: [(torch.zeros((), dtype=F64), torch.zeros((), dtype=F64))] * len(c) for name, c in phi.items()}
    states = {name: [(torch.zeros(3, dtype=F64), torch.zeros(3, dtype=F64))] * len(c) for name, c in phi.items()}
    for _ in range(steps):
        whole = {n: torch.stack(c).view(start[n].shape).detach().requires_grad_() for n, c in phi.items()}
        answers = model.predict({n: p.unsqueeze(0) for n, p in whole.items()}, x.unsqueeze(0))[0]
        loss = (answers - y).square().mean() if y.is_floating_point() else F.cross_entropy(answers, y)
        grads = dict(zip(whole, torch.autograd.grad(loss, list(whole.values())), strict=True))
        for name, coordinates in phi.items():
            for j, g in enumerate(grads[name].flatten()):
                read = torch.tensor(readable(float(g)) + readable(float(loss.detach())), dtype=F64)
                h, c = torch.func.functional_call(cell, named, (read, states[name][j]))
                seen = (
                    torch.stack([coordinates[j], gates[name][j][0]]),
                    torch.stack([coordinates[j], gates[name][j][1]]),
                )
                i, f = (
                    torch.sigmoid(own[f"{gate}.weight"] @ torch.cat([h, s]) + own[f"{gate}.bias"])[0]
                    for gate, s in zip(("rate", "keep"), seen, strict=True)
                )
                coordinates[j] = f * coordinates[j] - i * g
                gates[name][j], states[name][j] = (i, f), (h, c)
    return {name: torch.stack(c).view(start[name].shape) for name, c in phi.items()}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_steps_and_gradients_are_the_papers(model: Model) -> None:
    """Gradients that the optimiser reads are constants; everything else is differentiated, gates and all."""
    start, ep = lively(model), episode(model.task, (4, 2), (3, 5), dtype=F64)
    report = LEARNER.update(model, start, {}, ep, keys(range(2)))
    phi = LEARNER.adapt(model, start, {}, ep.support, keys(range(2)))
    for client in range(2):
        leaves = {name: p.clone().requires_grad_() for name, p in start.items()}
        end = textbook(model, leaves, *own_samples(ep.support, client), steps=3)
        same(pick(phi, client), {name: p.detach() for name, p in end.items()}, rtol=1e-9, atol=1e-11)
        query = some(ep, [client]).query
        loss = model.loss({name: p.unsqueeze(0) for name, p in end.items()}, query)[0]
        grads = torch.autograd.grad(loss, list(leaves.values()))
        same(pick(report.update, client), dict(zip(leaves, grads, strict=True)), rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(report.metrics["loss"][client], loss.detach(), rtol=1e-9, atol=0)
    assert all(p.abs().max() > 1e-8 for p in subtree(report.update, OPTIMISER).values())


def test_with_deaf_gates_it_is_gradient_descent_with_decay() -> None:
    """Gate weights of zero: φ ← f φ − i ∇L with the initial f and i, whatever the LSTM says."""
    start, part = meta(LEARNER, NET, dtype=F64), batch(NET.task, (4, 2), dtype=F64)
    deaf = {
        n: torch.zeros_like(p) if n in {f"{OPTIMISER}{g}.weight" for g in ("rate", "keep")} else p
        for n, p in start.items()
    }
    expected = stack(without_subtree(start, OPTIMISER), 2)
    for phi in islice(LEARNER.adaptation_trajectory(NET, deaf, {}, part, keys(range(2))), 5):
        same(phi, expected, rtol=1e-6, atol=1e-8)  # the gates' biases are float32 numbers
        grads = NET.grad(expected, part)
        expected = {name: 0.9 * p - 0.2 * grads[name] for name, p in expected.items()}


def test_a_client_without_samples_is_not_even_decayed() -> None:
    start, part = meta(LEARNER, NET), batch(NET.task, (4, 0))
    phi = LEARNER.adapt(NET, start, {}, part, keys(range(2)), 5)
    same(pick(phi, 1), without_subtree(start, OPTIMISER), rtol=0, atol=0)
    assert norm({n: phi[n][0] - start[n] for n in phi}) > 1e-2


def test_minibatches_of_a_cohort_are_each_clients_own() -> None:
    learner, ep = replace(LEARNER, batch_size=2), episode(NET.task, (5, 1, 3), (3, 2, 4), dtype=F64)
    start = lively(NET)
    many = learner.update(NET, start, {}, ep, keys(range(3)))
    for client in range(3):
        one = learner.update(NET, start, {}, some(ep, [client]), keys([client]))
        same(pick(one.update, 0), pick(many.update, client), rtol=1e-9, atol=1e-12)
