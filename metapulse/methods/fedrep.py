"""FedRep (Collins, Hassani, Mokhtari, Shakkottai 2021): a shared representation under personal heads, in turns.

First the device fits its head to the representation that arrived, then it takes the representation a step towards it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from metapulse.episodes import Batch, PerClient
from metapulse.methods.base import Paper
from metapulse.methods.inner import run_inner_loop
from metapulse.methods.method import Method, Server
from metapulse.methods.oracles import FrozenParameters
from metapulse.methods.partly import PartlyPersonal
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked


@dataclass(frozen=True)
class FedRep(PartlyPersonal):
    """Steps on the head alone, then on the body alone; the body is shared, the head stays. Test time moves the head."""

    rounds_only: ClassVar[frozenset[str]] = PartlyPersonal.rounds_only | {"head_steps"}
    paper: ClassVar[Paper] = Paper(
        "collins2021fedrep",
        "Collins, Hassani, Mokhtari and Shakkottai",
        2021,
        "Exploiting Shared Representations for Personalized Federated Learning",
        "2102.07078",
        "Algorithm 1",
    )

    inner_steps: int = setting(1, "gradient steps on the body in one round", ge=0)
    head_steps: int = setting(10, "gradient steps on the head before them", ge=0)

    def personal(self, model: Model, meta: Params) -> frozenset[str]:
        """The head."""
        return model.head

    def objective(self, model: Model, meta: Params, clients: int) -> FrozenParameters:
        """The loss as a function of the head."""
        return FrozenParameters(model, model.head, task=model.task)

    def train(self, model: Model, phi: Stacked, samples: Batch, keys: Keys) -> tuple[Stacked, PerClient]:
        """φ after both kinds of steps, and the mean loss of those on the body."""
        head = FrozenParameters(model, model.head, task=model.task)
        body = FrozenParameters(model, frozenset(phi) - model.head, task=model.task)
        batches = self.batches(samples, keys, "head")
        phi, _ = run_inner_loop(head, phi, batches, self.inner_lr, self.optimizer, self.head_steps)
        return run_inner_loop(body, phi, self.batches(samples, keys), self.inner_lr, self.optimizer, self.inner_steps)


METHOD = Method(
    "fedrep",
    FedRep,
    Server("fedavg", {"weighting": "uniform"}, fixed=("l2",)),
    sends="the body of θ − φ_K after steps on the head, then K on the body; 0 for the head",
    adapts="φ_{k+1} = φ_k − α ∇L_S(φ_k), of the head alone",
    keeps="its head",
    head=True,
)
