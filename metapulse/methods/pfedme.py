"""pFedMe (T. Dinh, Tran, Nguyen 2020): the global model descends the Moreau envelopes of the clients' losses.

The envelope F(w) = min_φ L(φ) + (λ/2)‖φ − w‖² has the gradient λ(w − φ̂(w)), φ̂ being the minimiser: the personal model.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, repeat
from typing import ClassVar

import torch

from metapulse.episodes import Episode
from metapulse.methods.base import Paper, Report
from metapulse.methods.inner import run_inner_loop
from metapulse.methods.loop import ChosenOptimizer, InnerLoop
from metapulse.methods.method import Method, Server
from metapulse.methods.oracles import ProximalLoss
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked, add, flat_stack, sub


@dataclass(frozen=True)
class PFedMe(ChosenOptimizer, InnerLoop):
    """R local steps w ← w − ηλ(w − φ̃), φ̃ after K inner steps on one minibatch; reports θ − w_R.

    φ̃ goes on from where the last minibatch left it, as in the authors' program. The personal model is a function of θ
    and the device's samples, so nothing is kept between rounds.
    """

    rounds_only: ClassVar[frozenset[str]] = InnerLoop.rounds_only | {"local_lr", "local_steps"}
    paper: ClassVar[Paper] = Paper(
        "dinh2020pfedme",
        "T. Dinh, Tran and Nguyen",
        2020,
        "Personalized Federated Learning with Moreau Envelopes",
        "2006.08848",
        "Algorithm 1, equations 2 to 4",
    )
    uses_query_set: ClassVar[bool] = False

    inner_steps: int = setting(5, "gradient steps K on the personal problem of one minibatch", ge=0)
    local_steps: int = setting(10, "local steps R of one client in one round", ge=0)
    local_lr: float = setting(0.01, "local learning rate η", gt=0)
    lam: float = setting(15.0, "λ of the Moreau envelope", ge=0)

    @property
    def steps(self) -> int:
        """One minibatch per local step."""
        return self.local_steps

    def objective(self, model: Model, meta: Params, clients: int) -> ProximalLoss:
        """L(φ) + (λ/2)‖φ − θ‖², whose minimiser is φ̂(θ)."""
        return ProximalLoss(model, self.start(meta, clients), self.lam, task=model.task)

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """R steps on the envelope; the weight is the number of samples."""
        samples = episode.pooled
        theta = self.start(meta, len(keys.clients))
        w, phi = flat_stack(theta), flat_stack(theta)
        total = torch.zeros_like(samples.counts)
        for batch in islice(self.batches(samples, keys), self.local_steps):
            oracle = ProximalLoss(model, w, self.lam, task=model.task)
            phi, loss = run_inner_loop(oracle, phi, repeat(batch), self.inner_lr, self.optimizer, self.inner_steps)
            w = flat_stack(add(w, sub(w, phi), -self.local_lr * self.lam))
            total = total + loss
        return Report(sub(theta, w), samples.counts, state, {"loss": total / max(self.local_steps, 1)})


METHOD = Method(
    "pfedme",
    PFedMe,
    Server("fedavg", {"weighting": "uniform"}),
    sends="θ − w_R after R steps w ← w − ηλ(w − φ̃), φ̃ ≈ argmin L(φ) + (λ/2)‖φ − w‖²",
    adapts="φ ← φ − α(∇L_S(φ) + λ(φ − θ))",
    notes="The paper's server rate β is ``strategy.lr``.",
)
