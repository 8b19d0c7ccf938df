"""Partly personal models: some parameters stay on the device, the others are trained as by FedAvg."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from metapulse.episodes import Batch, Episode, PerClient
from metapulse.methods.base import Report
from metapulse.methods.fedavg import LocalSGD
from metapulse.methods.inner import run_inner_loop
from metapulse.models.base import Model
from metapulse.rng import Keys
from metapulse.trees import Params, Stacked, sub, zeros_like


@dataclass(frozen=True)
class PartlyPersonal(LocalSGD):
    """Trains everything together; reports the shared part of θ − φ_K, and zero for what the device keeps.

    θ still has values for the personal names: where a device begins that has kept nothing. They stay as initialised.
    """

    @abstractmethod
    def personal(self, model: Model, meta: Params) -> frozenset[str]:
        """Names of what stays on the device."""

    def initial_state(self, model: Model, meta: Params) -> Params:
        """θ's own values of the personal names."""
        return {name: p for name, p in meta.items() if name in self.personal(model, meta)}

    def downloaded_parameters(self, model: Model, meta: Params) -> frozenset[str]:
        """All that is not personal."""
        return frozenset(meta) - self.personal(model, meta)

    def begin(self, model: Model, meta: Params, state: Stacked, support: Batch) -> dict[str, Tensor]:
        """θ for every client, with what its device kept in the place of θ's values."""
        return {name: state.get(name, p) for name, p in self.start(meta, len(support.mask)).items()}

    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """K minibatch steps on both parts; the weight is the number of samples."""
        theta, samples = self.start(meta, len(keys.clients)), episode.pooled
        phi, loss = self.train(model, self.begin(model, meta, state, samples), samples, keys)
        kept = {name: phi[name] for name in self.initial_state(model, meta)}
        update = {**sub(theta, phi), **zeros_like(kept)}
        return Report(update, samples.counts, kept, {"loss": loss})

    def train(self, model: Model, phi: Stacked, samples: Batch, keys: Keys) -> tuple[Stacked, PerClient]:
        """φ_K and the mean loss on the way."""
        return run_inner_loop(model, phi, self.batches(samples, keys), self.inner_lr, self.optimizer, self.inner_steps)
