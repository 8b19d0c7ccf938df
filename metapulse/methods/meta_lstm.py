"""Meta-LSTM (Ravi, Larochelle 2017): the optimiser is learned, as the cell of a long short-term memory.

The parameters are the cell's state: a forget gate shrinks them, an input gate is their rate, and both see the gradient,
the loss, the parameter and their own last value, coordinate by coordinate with the same weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.episodes import Batch, Episode
from metapulse.methods.base import Paper, Report
from metapulse.methods.loop import InnerLoop
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.models.layers import linear, lstm_step, uniform_init
from metapulse.rng import Keys
from metapulse.settings import WIDTH, setting
from metapulse.trees import Params, Stacked, flatten, prefixed, stack, subtree, unflatten, without_subtree

OPTIMISER = "optimiser/"
P = 10.0  # logarithms of numbers between e^−p and 1 are read; smaller ones as they are
#: One number per coordinate of every client.
Coordinates = Float[Tensor, "clients coordinates"]


@dataclass(frozen=True)
class OptimiserState:
    """What the optimiser carries from step to step: φ, both gates, and the state of the LSTM before them."""

    phi: Coordinates
    rate: Coordinates
    keep: Coordinates
    hidden: tuple[Float[Tensor, "clients coordinates hidden"], Float[Tensor, "clients coordinates hidden"]]


@dataclass(frozen=True)
class MetaLSTM(InnerLoop):
    """φ_{k+1} = f_k ⊙ φ_k − i_k ⊙ ∇L_support(φ_k), with i and f learned; reports ∇ L_query(φ_K) in θ and in both gates.

    As in the paper the gradients that the optimiser reads are constants of the outer gradient (first order).
    """

    rounds_only: ClassVar[frozenset[str]] = InnerLoop.rounds_only | {"inner_lr", "keep"}
    paper: ClassVar[Paper] = Paper(
        "ravi2017metalstm",
        "Ravi and Larochelle",
        2017,
        "Optimization as a Model for Few-Shot Learning",
        "",
        "Section 3, Algorithm 1",
    )
    beside: ClassVar[str] = OPTIMISER

    inner_lr: float = setting(0.01, "initial input gate: the rate that the optimiser begins with", gt=0, lt=1)
    keep: float = setting(0.9999, "initial forget gate: what a step leaves of a parameter", gt=0, lt=1)
    hidden: int = setting(20, "width of the LSTM that reads gradient and loss", ge=1, le=WIDTH)

    def init(self, model: Model, rng: np.random.Generator) -> dict[str, Tensor]:
        """The model's parameters, and under ``optimiser/`` an LSTM and its two gates."""
        params, h = model.init(rng), self.hidden
        own = {"weight": uniform_init(rng, h, 4 * h, 4 + h), "bias": uniform_init(rng, h, 4 * h)}
        for name, start in (("rate", self.inner_lr), ("keep", self.keep)):
            own[f"{name}.weight"] = 0.01 * uniform_init(rng, h, 1, h + 2)
            own[f"{name}.bias"] = torch.full((1,), start).logit()
        return params | prefixed(own, OPTIMISER)

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        """The learned optimiser's steps; it begins without memory wherever the parameters begin."""
        phi = self.start(meta, len(keys.clients)) if start is None else start
        yield phi
        own = stack(subtree(meta, OPTIMISER), len(keys.clients))
        inner = self._begin(phi)
        for batch in self.batches(support, keys, "adapt"):
            with torch.no_grad():
                inner = self._step(model, own, phi, inner, batch)
            yield _tree(inner.phi, phi)

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """The query gradient at φ_K, taken back through the gates; the weight is the number of query samples."""
        clients = len(keys.clients)
        leaves = {name: p.detach().clone().requires_grad_() for name, p in stack(meta, clients).items()}
        batches = islice(self.batches(episode.support, keys), self.inner_steps)
        with torch.enable_grad():
            theta, own = without_subtree(leaves, OPTIMISER), subtree(leaves, OPTIMISER)
            inner = self._begin(theta)
            for batch in batches:
                inner = self._step(model, own, theta, inner, batch)
        loss, gradient = model.value_and_grad(_tree(inner.phi.detach(), theta), episode.query)
        grads = torch.autograd.grad(
            inner.phi, list(leaves.values()), flatten(gradient), allow_unused=True, materialize_grads=True
        )
        return Report(dict(zip(leaves, grads, strict=True)), episode.query.counts, state, {"loss": loss})

    def _begin(self, phi: Stacked) -> OptimiserState:
        flat = flatten(phi)
        zeros = flat.new_zeros(*flat.shape, self.hidden)
        return OptimiserState(flat, torch.zeros_like(flat), torch.zeros_like(flat), (zeros, zeros))

    def _step(self, model: Model, own: Stacked, like: Stacked, inner: OptimiserState, batch: Batch) -> OptimiserState:
        """One step of every client that has samples; the others stay."""
        loss, gradient = model.value_and_grad(_tree(inner.phi.detach(), like), batch)
        g = flatten(gradient)
        read = torch.cat([_readable(g), _readable(loss.unsqueeze(1)).expand(*g.shape, 2)], 2)
        hidden = lstm_step(read, inner.hidden, own["weight"], own["bias"])
        rate, keep = (
            torch.sigmoid(
                linear(
                    torch.cat([hidden[0], inner.phi.unsqueeze(2), last.unsqueeze(2)], 2),
                    own[f"{name}.weight"],
                    own[f"{name}.bias"],
                )
            ).squeeze(2)
            for name, last in (("rate", inner.rate), ("keep", inner.keep))
        )
        some = (batch.counts > 0).unsqueeze(1)
        return OptimiserState(torch.where(some, keep * inner.phi - rate * g, inner.phi), rate, keep, hidden)


def _readable(x: Coordinates) -> Float[Tensor, "clients coordinates 2"]:
    """(log|x|/p, sign x), or (−1, eᵖ x) where |x| < e^−p (Andrychowicz et al. 2016, arXiv:1606.04474, Appendix A)."""
    large = x.abs() >= float(np.exp(-P))
    magnitude = torch.where(large, x.abs(), 1.0).log() / P
    return torch.stack([torch.where(large, magnitude, -1.0), torch.where(large, x.sign(), float(np.exp(P)) * x)], 2)


def _tree(flat: Coordinates, like: Stacked) -> dict[str, Tensor]:
    """Coordinates as a stack in the shape of another."""
    return unflatten(flat, {name: p.shape[1:] for name, p in like.items()})


METHOD = Method(
    "meta_lstm",
    MetaLSTM,
    Server("fedmaml"),
    sends="∇L_Q(φ_K) in θ and in a learned optimiser, whose gates f and i read [LSTM(∇L, L), φ, last gate]",
    adapts="φ_{k+1} = f_k ⊙ φ_k − i_k ⊙ ∇L_S(φ_k)",
    notes="The gradients that it reads are constants (first order, as in the paper).",
)
