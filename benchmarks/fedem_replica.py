"""FedEM's mixture drawn and trained as in its authors' program, in plain loops: does their own table come out?

    python benchmarks/fedem_replica.py [--seeds 0 1] [--momentum 0.9]

The whole data set comes from one legacy stream, samples included. Every client makes one pass in minibatches of 128 in
each of 200 rounds; SGD with weight decay 5e-4 and a rate of .1, a tenth of it from round 100 and a hundredth from round
150. The program's "sgd" has a momentum of .9, its "prox_sgd" has none.

Source: Marfoq et al. 2021, arXiv:2108.10252, and the generator and optimisers published with it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CLIENTS, TRAINING, DIMENSION, COMPONENTS, TEST = 300, 240, 150, 3, 5000
ROUNDS, BATCH, RATE, DECAY = 200, 128, 0.1, 5e-4


@dataclass(frozen=True)
class Client:
    """Samples to train on and to test on; a column of ones stands for the bias."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor


def population(clients: int = TRAINING, test: int = TEST) -> list[Client]:
    """The published clients, in their order of draws.

    Args:
        clients: the first so many.
        test: samples to test on.
    """
    stream = np.random.RandomState(12345)
    sizes = np.minimum(stream.lognormal(4, 2, CLIENTS).astype(np.int64) + 50, 1000)
    shares = [stream.dirichlet(np.full(COMPONENTS, 0.4)) for _ in range(CLIENTS)]
    theta = stream.uniform(-1, 1, (COMPONENTS, DIMENSION))

    def draw(share: np.ndarray, n: int) -> tuple[Tensor, Tensor]:
        chosen = np.repeat(np.arange(COMPONENTS), stream.multinomial(n, share))
        x = stream.uniform(-1, 1, (n, DIMENSION))
        noise = np.concatenate([stream.normal(0, 0.1, count) for count in np.bincount(chosen, minlength=COMPONENTS)])
        y = (np.einsum("nd,nd->n", x, theta[chosen]) + noise > 0).astype(np.float32)
        order = np.arange(n)
        stream.shuffle(order)
        with_bias = np.hstack([x, np.ones((n, 1))]).astype(np.float32)
        return torch.from_numpy(with_bias[order]), torch.from_numpy(y[order])

    return [Client(*draw(shares[i], int(sizes[i])), *draw(shares[i], test)) for i in range(clients)]


@dataclass
class Training:
    """SGD of linear classifiers, one pass at a time; a client's momentum stays with it."""

    momentum: float

    def rate(self, round: int) -> float:
        """Of a round, from 0."""
        return RATE * (0.1 if round >= ROUNDS // 2 else 1.0) * (0.1 if round >= 3 * (ROUNDS // 4) else 1.0)

    def one_pass(self, w: Tensor, velocity: Tensor, client: Client, weights: Tensor, rate: float) -> Tensor:
        """Weights after every sample was seen once; ``velocity`` is changed in place."""
        for rows in torch.randperm(len(client.y)).split(BATCH):
            x = client.x[rows]
            error = (torch.sigmoid(x @ w) - client.y[rows]) * weights[rows]
            velocity.mul_(self.momentum).add_(x.T @ error / len(rows) + DECAY * w)
            w = w - rate * velocity
        return w


def start(seed: int, components: int) -> Tensor:
    """What the layers of torch start from."""
    torch.manual_seed(seed)
    return (2 * torch.rand(components, DIMENSION + 1) - 1) / DIMENSION**0.5


def responsibilities(w: Tensor, share: Tensor, client: Client) -> Tensor:
    """How far each component answers for each sample."""
    targets = client.y.expand(len(w), -1)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(w @ client.x.T, targets, reduction="none")
    return torch.softmax(share.log().unsqueeze(1) - loss, 0)


def federated(clients: list[Client], training: Training, seed: int, components: int) -> float:
    """Accuracy of FedEM, and of FedAvg with one component: mean over clients."""
    w, share = start(seed, components), torch.full((len(clients), components), 1 / components)
    velocity = torch.zeros(len(clients), *w.shape)
    weight = torch.tensor([float(len(c.y)) for c in clients])
    weight = weight / weight.sum()
    for round in range(ROUNDS):
        new = torch.zeros_like(w)
        for i, client in enumerate(clients):
            q = responsibilities(w, share[i], client)
            share[i] = q.mean(1)
            for m in range(components):
                own = training.one_pass(w[m], velocity[i, m], client, q[m], training.rate(round))
                new[m] += weight[i] * own
        w = new
    found = []
    for i, client in enumerate(clients):
        mixture = responsibilities(w, share[i], client).mean(1) @ torch.sigmoid(w @ client.test_x.T)
        found.append(float(((mixture > 0.5) == (client.test_y > 0.5)).float().mean()))
    return float(np.mean(found))


def main() -> None:
    """Print both accuracies, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--momentum", type=float, default=0.9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    clients, training = population(), Training(args.momentum)
    for name, components in (("FedAvg", 1), ("FedEM", COMPONENTS)):
        for seed in args.seeds:
            print(f"{name}, seed {seed}: {100 * federated(clients, training, seed, components):.2f} %", flush=True)


if __name__ == "__main__":
    main()
