"""Faults of devices: away, failing, slow, stopping half-way, answering twice.

Traits of the population, not of an engine: every draw has its address, so that the same devices fail in the same rounds
whatever calls them. Purposes: "fault/phase", "fault/charging", "fault/wifi" and "fault/outage", "fault/speed",
"fault/partial", "fault/share", "fault/samples", "fault/duplicate".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from metapulse.data import Client
from metapulse.episodes import Batch
from metapulse.rng import Keys, generator, uniforms
from metapulse.server.simulated import FaultSettings

DAY_H = 24.0


@dataclass(frozen=True)
class Faults(FaultSettings):
    """What the section [faults] brings about."""

    def away(self, seed: int, round: int, clients: Sequence[Client]) -> dict[int, str]:
        """Who cannot be reached in a round, by partition id, and why.

        A device takes part that is on its charger and on Wi-Fi, which depends on the hour of its wearer,
        (round · hours_per_round + phase) mod 24, and that has not dropped out in the last ``outage_rounds`` rounds.

        Args:
            round: federated round, ≥ 1.
            clients: who is asked.
        """
        indices = [client.index for client in clients]
        reasons: dict[int, str] = {}
        if self.hours_per_round:
            users = [client.user for client in clients]
            phase = self.time_zones * DAY_H * uniforms(seed, "fault/phase", 0, users, 1)[:, 0]
            hour = (round * self.hours_per_round + phase) % DAY_H
            night = hour < self.night_h
            wifi = self._drawn(seed, "fault/wifi", round, indices) < np.where(night, self.wifi_night, self.wifi_day)
            charging = self._drawn(seed, "fault/charging", round, indices) < np.where(
                night, self.charging_night, self.charging_day
            )
            reasons = {c: "no Wi-Fi" for c, there in zip(indices, wifi, strict=True) if not there}
            reasons |= {c: "not on its charger" for c, there in zip(indices, charging, strict=True) if not there}
        if self.outage:
            for since in range(max(1, round - self.outage_rounds + 1), round + 1):
                gone = self._drawn(seed, "fault/outage", since, indices) < self.outage
                back = since + self.outage_rounds
                said = f"dropped out in round {since}, back in round {back}"
                reasons |= {c: said for c, out in zip(indices, gone, strict=True) if out}
        return reasons

    def late(
        self, seed: int, round: int, clients: Sequence[Client], samples: Float64[np.ndarray, " clients"]
    ) -> dict[int, str]:
        """Whose reply comes after the deadline, by partition id, and why.

        t = n / (samples_per_s · speed[device]) · exp(jitter · z), z ~ N(0, 1).

        Args:
            round: federated round, ≥ 1.
            clients: who has trained.
            samples: n, what each has trained on.
        """
        if not self.deadline_s:
            return {}
        reasons = {}
        for client, n in zip(clients, samples.tolist(), strict=True):
            rate = self.samples_per_s * self.speed.get(client.device, 1.0)
            z = generator(seed, "fault/speed", round, client.index).standard_normal()
            seconds = n / rate * math.exp(self.jitter * z)
            if seconds > self.deadline_s:
                reasons[client.index] = f"late: {seconds:.1f} s, the deadline is {self.deadline_s:g} s"
        return reasons

    def shortened(self, batch: Batch, keys: Keys, side: str) -> Batch:
        """One side of the episodes as far as the devices get: of some a random share of the samples, one at least.

        Args:
            batch: not changed.
            side: "support" or "query", part of the address of which samples are used.
        """
        if not self.partial or not batch.mask.shape[1]:
            return batch
        chosen = keys.uniforms("fault/partial", 1)[:, 0] < self.partial
        share = self.partial_least + (1 - self.partial_least) * keys.uniforms("fault/share", 1)[:, 0]
        used = torch.from_numpy(np.where(chosen, share, 1.0)).to(batch.mask.device)
        u = torch.from_numpy(keys.uniforms(f"fault/samples/{side}", batch.mask.shape[1])).to(batch.mask.device)
        return first_of(batch, (used * batch.counts).ceil().long(), u)

    def twice(self, seed: int, round: int, clients: Sequence[int]) -> list[int]:
        """Whose reply comes a second time."""
        again = self._drawn(seed, "fault/duplicate", round, clients) < self.duplicate
        return [c for c, yes in zip(clients, again, strict=True) if yes]

    def _drawn(self, seed: int, purpose: str, round: int, clients: Sequence[int]) -> Float64[np.ndarray, " clients"]:
        drawn: Float64[np.ndarray, " clients"] = uniforms(seed, purpose, round, clients, 1)[:, 0]
        return drawn


def first_of(batch: Batch, count: Tensor, u: Tensor) -> Batch:
    """Of each client's samples the ``count`` with the smallest ``u``, in the order in which they were.

    Args:
        batch: not changed.
        count: samples to keep, (clients,), ≤ those that are there.
        u: a number in [0, 1) per sample, (clients, samples).
    """
    rank = u.masked_fill(batch.mask == 0, 2.0).argsort(1).argsort(1)
    keep: Bool[Tensor, "clients samples"] = rank < count.unsqueeze(1)
    order = (~keep).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(count.max())]
    rows = torch.arange(len(order), device=order.device).unsqueeze(1)
    return Batch(batch.x[rows, order], batch.y[rows, order], keep.to(batch.mask.dtype)[rows, order])
