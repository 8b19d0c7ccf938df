"""FedEM (Marfoq, Neglia, Bellet, Kameni, Vidal 2021): each client's data is a mixture of the same few distributions.

A device shares in training all component models, each on the samples it answers for, and keeps how its own samples
are mixed. A new client only estimates its mixture.
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

from metapulse.episodes import Batch, Episode, Inputs, Outputs
from metapulse.losses import task_loss
from metapulse.methods.base import Paper, Report
from metapulse.methods.loop import InnerLoop
from metapulse.methods.method import Method, Server
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, per_client, stack, sub, without_subtree

MIXTURE = "mixture"


@dataclass(frozen=True)
class FedEM(InnerLoop):
    """q_j(m) ∝ π_m exp(−ℓ(h_m(x_j), y_j)); π_m ← mean_j q_j(m); K steps of every h_m on mean_j q_j(m) ℓ(h_m(x_j), y_j).

    θ holds the components along the first axis of every tensor; reports θ − φ_K, keeps log π. Answers with
    log Σ_m π_m softmax(h_m(x)) (regression: Σ_m π_m h_m(x)). At test time θ stays and only π moves.
    """

    rounds_only: ClassVar[frozenset[str]] = InnerLoop.rounds_only | {"inner_lr"}
    paper: ClassVar[Paper] = Paper(
        "marfoq2021fedem",
        "Marfoq, Neglia, Bellet, Kameni and Vidal",
        2021,
        "Federated Multi-Task Learning under a Mixture of Distributions",
        "2108.10252",
        "Algorithm 1, equations 8 to 10",
    )
    uses_query_set: ClassVar[bool] = False

    components: int = setting(3, "number M of component models", ge=1, le=1000)

    def init(self, model: Model, rng: np.random.Generator) -> dict[str, Tensor]:
        """As many draws of the model's parameters as there are components, stacked."""
        drawn = [model.init(rng) for _ in range(self.components)]
        return {name: torch.stack([own[name] for own in drawn]) for name in drawn[0]}

    def initial_state(self, model: Model, meta: Params) -> Params:
        """Equal shares."""
        return {MIXTURE: next(iter(meta.values())).new_zeros(self.components)}

    def start(self, meta: Params, clients: int) -> Stacked:
        """The components in equal shares."""
        first = next(iter(meta.values()))
        return {**stack(meta, clients), MIXTURE: first.new_zeros(clients, self.components)}

    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        """EM on π alone, from the device's own or from equal shares."""
        phi = {**self.start(meta, len(keys.clients)), **state} if start is None else start
        yield phi
        for batch in self.batches(support, keys, "adapt"):
            phi = {**phi, MIXTURE: mixture_weights(phi, batch, self.responsibilities(model, phi, batch))}
            yield phi

    def predict(self, model: Model, phi: Stacked, x: Inputs) -> Outputs:
        """The mixture of the components' answers."""
        weight = phi[MIXTURE].log_softmax(1)[:, :, None, None]
        answers = self._answers(model, phi, x)
        if model.task.kind == "regression":
            return (weight.exp() * answers).sum(1)
        return (weight + answers.log_softmax(3)).logsumexp(1)

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """One E-step and K weighted steps of all components; the weight is the number of samples."""
        samples, clients = episode.pooled, len(keys.clients)
        begun = {**self.start(meta, clients), **state}
        theta = {
            name: p.flatten(0, 1) for name, p in without_subtree(begun, MIXTURE).items()
        }  # a stack of all components
        phi, total = theta, torch.zeros_like(samples.counts)
        for batch in islice(self.batches(samples, keys), self.inner_steps):
            q = self.responsibilities(model, begun, batch).exp() * batch.mask[:, None]
            x, y = (p.repeat_interleave(self.components, 0) for p in (batch.x, batch.y))
            wide = Batch(x, y, q.flatten(0, 1))
            loss, grads = model.value_and_grad(phi, wide)
            # The oracle's mean is over the sum of q; the paper's over the samples.
            share = wide.counts.clamp(min=1.0) / batch.counts.clamp(min=1.0).repeat_interleave(self.components)
            phi = dict(sub(phi, per_client(grads, self.inner_lr * share)))
            total = total + (loss * share).view(clients, -1).sum(1)
        kept = {MIXTURE: mixture_weights(begun, samples, self.responsibilities(model, begun, samples))}
        update = {name: p.view(clients, self.components, *p.shape[1:]) for name, p in sub(theta, phi).items()}
        return Report(update, samples.counts, kept, {"loss": total / max(self.inner_steps, 1)})

    def responsibilities(self, model: Model, phi: Stacked, batch: Batch) -> Float[Tensor, "clients components samples"]:
        """log q: how far each component answers for each sample."""
        with torch.no_grad():
            answers = self._answers(model, phi, batch.x)
            each = answers.flatten(0, 2).unsqueeze(1)  # every sample a client of its own: its loss is no mean
            y = batch.y.repeat_interleave(self.components, 0).flatten(0, 1).unsqueeze(1)
            loss = task_loss(model.task, each, y, answers.new_ones(len(each), 1)).view(answers.shape[:3])
            return (phi[MIXTURE].log_softmax(1).unsqueeze(2) - loss).log_softmax(1)

    def _answers(self, model: Model, phi: Stacked, x: Inputs) -> Float[Tensor, "clients components samples outputs"]:
        """What every component predicts."""
        every = {name: p.flatten(0, 1) for name, p in without_subtree(phi, MIXTURE).items()}
        answers = model.predict(every, x.repeat_interleave(self.components, 0))
        return answers.view(len(x), self.components, *answers.shape[1:])


def mixture_weights(
    phi: Stacked, batch: Batch, log_q: Float[Tensor, "clients components samples"]
) -> Float[Tensor, "clients components"]:
    """log π_m = log mean_j q_j(m) over a client's samples; as it was for a client without any."""
    total = log_q.masked_fill(batch.mask[:, None] == 0, -torch.inf).logsumexp(2)
    counts = batch.counts.unsqueeze(1)
    return torch.where(counts > 0, total - counts.log(), phi[MIXTURE])


METHOD = Method(
    "fedem",
    FedEM,
    Server("fedavg"),
    sends="θ − φ_K of M components: steps on mean_j q_j(m) ℓ(h_m(x_j), y_j), q_j(m) ∝ π_m exp(−ℓ(h_m(x_j), y_j))",
    adapts="π ← mean_j q_j alone; answers with Σ_m π_m p_m, of a regression Σ_m π_m h_m",
    keeps="log π, π_m = mean_j q_j(m)",
)
