"""What learners that descend gradients are put together from: minibatches, a rate, a number of steps, an optimiser.

A learner takes the parts that its paper has; their settings are then its own. What reads its support at once, or
solves for it, takes none of them, and a setting of theirs is an unknown key for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from metapulse.episodes import Batch
from metapulse.methods.base import Learner
from metapulse.methods.inner import descend
from metapulse.minibatches import minibatches
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.settings import setting
from metapulse.trees import Params, Stacked


@dataclass(frozen=True)
class Minibatches(Learner):
    """Reads its samples in minibatches."""

    batch_size: int = setting(0, "samples per inner step (0: all of them)", ge=0)
    order: Literal["shuffled", "sequential"] = setting(
        "shuffled",
        "minibatches from fresh shuffles, or in the samples' own order",
        used_if=("batch_size",),
    )

    @property
    def steps(self) -> int:
        """Minibatches that one round is expected to take; it decides the speed of drawing them, and no number."""
        return self.inner_steps

    def batches(self, samples: Batch, keys: Keys, purpose: str = "minibatches") -> Iterator[Batch]:
        """The minibatches of an inner loop, without end.

        Args:
            samples: of every client.
            purpose: names the stream, so that two streams of one learner differ.
        """
        return minibatches(samples, self.batch_size, keys, purpose, self.order == "shuffled", max(self.steps, 1))


@dataclass(frozen=True)
class Descent(Minibatches):
    """Adapts by gradient steps on minibatches of the support set, with one rate: φ_{k+1} = φ_k − α ∇L_support(φ_k)."""

    inner_lr: float = setting(0.01, "inner learning rate α", gt=0)

    @property
    def optimizer(self) -> str:
        """Plain gradient steps; ``ChosenOptimizer`` makes a setting of it."""
        return "sgd"

    def begin(self, model: Model, meta: Params, state: Stacked, support: Batch) -> Stacked:
        """φ₀ of adaptation: θ, unless the device has its own, or chooses."""
        return self.start(meta, len(support.mask))

    def objective(self, model: Model, meta: Params, clients: int) -> Model:
        """The oracle that adaptation descends: the loss alone, unless something pulls on φ, or some of it is held."""
        return model

    def path(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        """From ``begin``, gradient steps on ``objective``, or the optimiser's along them; see ``Learner.path``."""
        phi = self.begin(model, meta, state, support) if start is None else start
        oracle, batches = self.objective(model, meta, len(keys.clients)), self.batches(support, keys, "adapt")
        return (point.params for point in descend(oracle, phi, batches, self.inner_lr, self.optimizer))


@dataclass(frozen=True)
class InnerLoop(Descent):
    """A round's work is a fixed number of such steps, which is also how many adaptation takes unless it is told."""

    inner_steps: int = setting(5, "gradient steps of one client in one round", ge=0)


@dataclass(frozen=True)
class ChosenOptimizer:
    """The steps may also be Adam's: for learners whose update is wherever the inner loop ends, however it got there.

    Comes first among the bases of a learner: ``class Reptile(ChosenOptimizer, InnerLoop)``.
    """

    optimizer: Literal["sgd", "adam"] = setting("sgd", "inner optimiser")
