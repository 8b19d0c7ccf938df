"""Reptile on sine waves, by hand: one file, plain torch, nothing of metapulse.

Every client owns one sine wave, y = A sin(x + φ), and sees ten points of it. Reptile looks for a start θ from which a
few steps of gradient descent on those ten points learn the whole wave:

    every client:  φ ← θ, then K minibatch steps of SGD on its own wave
    the server:    θ ← θ + ε · mean(φ − θ), with ε falling to zero

Source: Nichol, Achiam and Schulman 2018, arXiv:1803.02999, Algorithm 2 and its sine-wave case study.
Run it: python examples/01_reptile_by_hand.py
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ROUNDS, COHORT = 1000, 10  # outer updates, clients in each
STEPS, BATCH, INNER_LR = 5, 10, 0.02  # of a client's training
OUTER_LR = 1.0  # ε at the first round
SHOTS, TEST_CLIENTS = 10, 200
REPORTED = (0, 1, 5, 32)  # adaptation steps after which the new clients are judged
X = torch.linspace(-5, 5, 50)

Params = list[Tensor]


def waves(clients: int, rng: torch.Generator) -> Tensor:
    """Y of so many clients on X: amplitude U(.1, 5), phase U(0, 2π); (clients, 50)."""
    amplitude = 0.1 + 4.9 * torch.rand(clients, 1, generator=rng)
    phase = 2 * math.pi * torch.rand(clients, 1, generator=rng)
    return amplitude * torch.sin(X + phase)


def start(rng: torch.Generator) -> Params:
    """θ of a 1-64-64-1 network."""
    params: Params = []
    for inputs, outputs in ((1, 64), (64, 64), (64, 1)):
        bound = 1 / math.sqrt(inputs)
        shapes = (inputs, outputs), (1, outputs)
        params += [bound * (2 * torch.rand(shape, generator=rng) - 1) for shape in shapes]
    return params


def predict(params: Params, x: Tensor) -> Tensor:
    """Every client's own network at its own points: (clients, points) → (clients, points)."""
    h = x.unsqueeze(2)  # (clients, points) -> (clients, points, 1)
    for layer in range(3):
        h = h @ params[2 * layer] + params[2 * layer + 1]
        h = torch.tanh(h) if layer < 2 else h
    return h.squeeze(2)


def sgd_step(params: Params, x: Tensor, y: Tensor) -> Params:
    """φ ← φ − α ∇ mean (ŷ − y)², every client on its own points."""
    params = [p.detach().requires_grad_() for p in params]
    loss = (predict(params, x) - y).square().mean(1).sum()  # clients do not interact: one sum, every gradient
    return [p - INNER_LR * g for p, g in zip(params, torch.autograd.grad(loss, params), strict=True)]


def spread(theta: Params, clients: int) -> Params:
    """θ as seen by every client of a cohort: a leading client axis."""
    return [p.expand(clients, *p.shape) for p in theta]


def train(theta: Params, rng: torch.Generator) -> Params:
    """Reptile."""
    for round_ in range(ROUNDS):
        y = waves(COHORT, rng)
        phi = spread(theta, COHORT)
        order = torch.stack([torch.randperm(len(X), generator=rng) for _ in range(COHORT)])
        for rows in order.split(BATCH, dim=1)[:STEPS]:
            phi = sgd_step(phi, X[rows], y.gather(1, rows))
        epsilon = OUTER_LR * (1 - round_ / ROUNDS)
        theta = [p + epsilon * (q - p).mean(0) for p, q in zip(theta, phi, strict=True)]
    return [p.detach() for p in theta]


def errors(theta: Params) -> dict[int, float]:
    """Mean squared error over whole waves of new clients, after adapting to SHOTS points of each."""
    rng = torch.Generator().manual_seed(1)  # the same new clients for every θ
    y = waves(TEST_CLIENTS, rng)
    rows = torch.stack([torch.randperm(len(X), generator=rng)[:SHOTS] for _ in range(TEST_CLIENTS)])
    phi, found = spread(theta, TEST_CLIENTS), {}
    for step in range(max(REPORTED) + 1):
        if step in REPORTED:
            found[step] = float((predict(phi, X.expand_as(y)) - y).square().mean().detach())
        phi = sgd_step(phi, X[rows], y.gather(1, rows))
    return found


def main() -> None:
    """Train, then compare with where training began."""
    torch.set_num_threads(1)
    rng = torch.Generator().manual_seed(0)
    theta = start(rng)
    print(f"MSE on {TEST_CLIENTS} new clients, {SHOTS} points each, after steps:", *REPORTED)
    for name, found in (("random start", errors(theta)), ("Reptile", errors(train(theta, rng)))):
        print(f"{name:>14}", *(f"{found[step]:7.3f}" for step in REPORTED))


if __name__ == "__main__":
    main()
