"""One mechanism for every learner: clip each person's whole update, add up, add noise, divide by a fixed number, step.

The outer step comes last: whatever it is, it only processes what is private already.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from jaxtyping import Bool, Float64
from torch import Tensor

from metapulse.client.privacy import DIGITS, Guard, clipped_sum, lengths, normal, step_of
from metapulse.client.wire import CLIP, GUARD
from metapulse.methods.base import NORM
from metapulse.rng import generator
from metapulse.settings import plain
from metapulse.strategies.base import OuterSettings, OuterStrategy
from metapulse.strategies.privacy.adaptive import next_clip
from metapulse.strategies.privacy.plan import PrivacyPlan
from metapulse.strategies.replies import CheckedReplies, Dropped, Replies, UpdateStack, UpdateSum
from metapulse.trees import Params, norm

CLIP_STATE = "privacy/clip"  # name of adaptive clipping's C in the strategy's state
STEPS = 2**20  # to one, of the noise on a count: see metapulse.client.privacy on noise in steps
DOUBT = 6.0  # a Gaussian's length is this far from √d with probability 1e-7 at most


class PrivateStrategy(OuterStrategy):
    """``OuterStrategy`` with noise between the sum and the outer step.

    It tells nothing but what is private: neither how many replied nor who was refused nor what clients measured.

    Args:
        settings: of the method; weights are uniform, the aggregator is the mean.
        rounds: how many rounds there will be, for the schedule.
        seed: of the run; nothing private is drawn by it.
        on_drop: told (round, dropped) when a round is given up.
        plan: C, σ, the denominator.
        secret: addresses the noise.
    """

    def __init__(
        self,
        settings: OuterSettings,
        rounds: int,
        seed: int,
        on_drop: Callable[[int, list[Dropped]], None] | None,
        plan: PrivacyPlan,
        secret: int,
    ) -> None:
        super().__init__(settings, rounds, seed, on_drop)
        self.plan, self._secret = plan, secret

    def renew(self, secret: int) -> None:
        """Draw noise at other addresses from here on."""
        self._secret = secret

    @property
    def clip(self) -> float:
        """C of the next round."""
        return float(self.state.get(CLIP_STATE, self.plan.settings.clip))

    @property
    def guard(self) -> Guard | None:
        """What devices do to their own updates; None under central privacy.

        Of n devices that each add N(0, σ²C²/n), the sum carries N(0, σ²C²). Under local privacy each adds all of it.
        """
        s = self.plan.settings
        if s.mechanism == "central":
            return None
        share = math.sqrt(self.plan.release.cohort) if s.mechanism == "client" else 1.0
        return Guard(s.clip, self.plan.release.sigma * s.clip / share, s.noise_seed)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The instruction, with what is to happen to updates on the way."""
        if self.guard is None:
            config[CLIP] = self.clip
        else:
            config[GUARD] = json.dumps(plain(self.guard), sort_keys=True)
        return super().configure_train(server_round, arrays, config, grid)

    def _chosen(self, server_round: int, nodes: list[int]) -> list[int]:
        """All clients that the grid shows: the draw that is accounted for was made before, and a cohort is a mean.

        Cutting a larger round would make one person's arrival push another out, which moves the sum by 2C.
        """
        return nodes

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """``conclude`` what passes the checks; a round that secure aggregation gave up changes nothing."""
        if isinstance(replies, Replies) and replies.given_up:
            self._on_drop(server_round, [Dropped(-1, replies.given_up)])
            return None, MetricRecord({"clients": 0, "clip": self.clip, "update-norm": 0.0})
        return super().aggregate_train(server_round, replies)

    def conclude(self, server_round: int, checked: CheckedReplies) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Add up what passed the checks, also if that is nothing; add noise; take the outer step."""
        stack = checked.stack
        total, norms = self._sum(stack) if stack else (_zeros(self._theta), torch.zeros(0, dtype=torch.float64))
        rng = generator(self._secret, "privacy/sum", server_round)
        aggregate = noised_mean(total, self._deviation(len(norms)), self.plan.release.cohort, rng, self._step_size)
        aggregate = {name: p.to(self._theta[name].dtype) for name, p in aggregate.items()}
        clip = self.clip
        arrays = self._step(server_round, aggregate)
        if self.plan.settings.adaptive and arrays is not None:
            self.state |= {CLIP_STATE: torch.tensor(self._next_clip(clip, norms, rng), dtype=torch.float64)}
        return arrays, MetricRecord({"clip": clip, "update-norm": float(norm(aggregate))})

    def _sum(self, stack: UpdateStack | UpdateSum) -> tuple[Params, Float64[Tensor, " clients"]]:
        """Σ u_i, clipped by the server where no device has done it, and how long the updates were."""
        if isinstance(stack, UpdateSum):
            return stack.total, stack.metrics.get(NORM, torch.ones_like(stack.weight)).double()
        if self.guard is None:
            return clipped_sum(stack.update, self.clip)
        norms = lengths(stack.update)
        shares = plausible(norms, self.guard, sum(p.numel() for p in self._theta.values())).double()
        wide = {name: u.double().reshape(len(u), -1) for name, u in stack.update.items()}
        total = {name: (shares @ wide[name]).view(p.shape) for name, p in self._theta.items()}
        return total, norms[shares > 0]

    @property
    def _step_size(self) -> float:
        """g of the sum: of the server's own clipping, or of the devices'."""
        guard = self.guard
        return step_of(self.clip) if guard is None else step_of(guard.clip, guard.noise, DIGITS)

    def _deviation(self, replied: int) -> float:
        """What the server adds to the sum: all the noise, or under distributed noise what devices that are lost owe."""
        mechanism, n = self.plan.settings.mechanism, self.plan.release.cohort
        owed = {"central": 1.0, "client": max(0.0, 1.0 - replied / n), "local": 0.0}[mechanism]
        return self.plan.multiplier * self.clip * math.sqrt(owed)

    def _next_clip(self, clip: float, norms: Float64[Tensor, " clients"], rng: np.random.Generator) -> float:
        s = self.plan.settings
        noise = round(self.plan.count_noise * float(rng.standard_normal()) * STEPS) / STEPS
        within = float((norms <= clip).double().sub(0.5).sum()) + noise
        return next_clip(clip, within, self.plan.release.cohort, s.quantile, s.clip_rate)


def noised_mean(
    total: Params, deviation: float, cohort: float, rng: np.random.Generator, step: float
) -> dict[str, Tensor]:
    """(Σ_i u_i + N(0, s² I)) / n, in float64, sum and noise in whole steps (``metapulse.client.privacy``).

    Args:
        total: Σ_i u_i over those who replied, each no longer than C, in whole steps; zero where none did.
        deviation: s, σC of the central mechanism.
        cohort: n > 0, fixed beforehand: how many replied is private.
        step: g > 0.

    Source:
        McMahan, Ramage, Talwar and Zhang 2018, arXiv:1710.06963, Algorithm 1, estimator f̃_f.
    """
    noise = normal(total, deviation, rng, step)
    return {name: (p.double() + noise[name]) / cohort for name, p in total.items()}


def plausible(norms: Float64[Tensor, " clients"], guard: Guard, parameters: int) -> Bool[Tensor, " clients"]:
    """Which updates can have come through a guard: neither longer than clipped and noised ones are, nor without noise.

    s(√d − 6) − C ≤ ‖u_i‖ ≤ s(√d + 6) + C; an honest update is outside with probability 1e-7 at most.

    Args:
        norms: ‖u_i‖ as received.
        guard: C and s.
        parameters: d.

    Source:
        Boucheron, Lugosi and Massart 2013, "Concentration Inequalities", Theorem 5.6 (of a length, which is Lipschitz).
    """
    middle, s = math.sqrt(parameters), guard.noise
    return (norms >= s * (middle - DOUBT) - guard.clip) & (norms <= s * (middle + DOUBT) + guard.clip)


def _zeros(theta: Params) -> dict[str, Any]:
    return {name: torch.zeros_like(p, dtype=torch.float64) for name, p in theta.items()}
