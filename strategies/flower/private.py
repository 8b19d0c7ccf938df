"""FedPrivate: θ under user-level differential privacy, in an app of Flower's own; one node is one person."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Unpack

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result
from torch import Tensor

from metapulse.client.privacy import secret
from metapulse.client.wire import decode
from metapulse.errors import ConfigError
from metapulse.settings import build, setting
from metapulse.strategies.flower.outer import FedOuter
from metapulse.strategies.flower.replies import is_learned, read_theta
from metapulse.strategies.flower.telling import log
from metapulse.strategies.flower.words import OuterWords, errors_under
from metapulse.strategies.presets import FedAvgSettings
from metapulse.strategies.privacy.plan import PrivacyPlan, complete_plan, sentence
from metapulse.strategies.privacy.settings import PrivacySettings
from metapulse.strategies.privacy.strategy import PrivateStrategy
from metapulse.strategies.replies import CheckedReplies

#: Words that would be untrue or without effect here, and why.
REFUSED: Mapping[str, str] = {
    "fraction_evaluate": "must be 0: an evaluation would release scores of people who are trained on",
    "min_evaluate_nodes": "has no effect: there is no federated evaluation",
    "evaluate_metrics_aggr_fn": "has no effect: there is no federated evaluation",
    "train_metrics_aggr_fn": "must be left out: what clients measure is private",
    "min_train_nodes": "must be left out: each node is drawn with probability fraction_train",
    "weighting": "must be uniform: what a person weighs is private",
    "aggregator": "must be mean: one person moves any other by more than C / n",
    "min_replies": "must be 1: how many replied is private",
}
RIGHT = {"fraction_evaluate": 0, "weighting": "uniform", "aggregator": "mean", "min_replies": 1}
FAR = 0.1  # of ``people``, that the connected nodes may be off
#: How many there are is not said: the log may be shown to those who must not learn it.
OFF = (
    "%s.people = %d is more than a tenth off the number of connected nodes: sums of updates are divided by "
    "fraction_train · people, so steps are too short or too long"
)
PLAN = "privacy/plan"  # of the state: σ, n, N


@dataclass(frozen=True)
class PrivateSettings(FedAvgSettings):
    """FedAvg's, with uniform weights."""

    weighting: Literal["uniform"] = setting("uniform", "weight of a client's update")


class FedPrivate(FedOuter):
    """θ ← θ − β_t · direction((Σ_i clip_C(u_i) + N(0, σ²C² I)) / n), n = fraction_train · people.

    Each connected node is drawn with probability q = n / people by the operating system's randomness, the server clips
    the whole update of each, and noise comes before the outer step. ε is of central privacy, for all who see θ and
    not the server, with neighbours that differ by one person. It needs the extra ``metapulse[privacy]``.

    Args:
        people: N, how many may be drawn; a number that may be published, ≥ 1.
        clip: C > 0, the longest update that counts in full.
        noise_multiplier: σ ≥ 0, noise over C; 0: the smallest that keeps ``epsilon`` over all rounds.
        epsilon: ε that all rounds may spend; 0: no limit.
        delta: δ of every ε, well below 1 / people.
        adaptive: whether C follows the quantile ``quantile`` of the updates' norms, log C by at most about
            ``clip_rate`` a round.
        quantile, clip_rate: of adaptive clipping; 0.5 and 0.2.
        accountant: "pld" or "rdp".
        fraction_train: q, in (0, 1].
        words: as for ``FedOuter``, without those that would make ε untrue.

    Raises:
        ConfigError: an unknown word, one that would make ε untrue, a value out of range, or rounds that would spend
            more than ``epsilon``.

    Source:
        McMahan, Ramage, Talwar and Zhang 2018, arXiv:1710.06963, Algorithm 1.
    """

    kind: ClassVar[type[FedAvgSettings]] = PrivateSettings

    def __init__(
        self,
        *,
        people: int,
        clip: float = 1.0,
        noise_multiplier: float = 0.0,
        epsilon: float = 0.0,
        delta: float = 1e-6,
        adaptive: bool = False,
        quantile: float | None = None,
        clip_rate: float | None = None,
        accountant: Literal["pld", "rdp"] = "pld",
        fraction_train: float = 1.0,
        **words: Unpack[OuterWords],
    ) -> None:
        name, given = type(self).__name__, dict(words)
        for word, reason in REFUSED.items():
            if word in given and (word not in RIGHT or given[word] != RIGHT[word]):
                raise ConfigError(f"{name}.{word}", given[word], reason)
        if type(people) is not int or people < 1:
            raise ConfigError(f"{name}.people", people, "must be a whole number ≥ 1")
        moving = {"quantile": quantile, "clip_rate": clip_rate}
        table = {"mechanism": "central", "clip": clip, "noise_multiplier": noise_multiplier, "epsilon": epsilon}
        table |= {"delta": delta, "adaptive": adaptive, "accountant": accountant}
        table |= {word: value for word, value in moving.items() if value is not None}
        with errors_under(name, "privacy"):
            self.privacy = build(PrivacySettings, table, name)
        self.people, self.cohort = people, _cohort(fraction_train, people, name)
        self.plan: PrivacyPlan | None = None
        self._sigma, self._heard = noise_multiplier, 0
        self._again = 0  # rounds that began and were gone back on: their releases stay what they are
        super().__init__(**{**words, "fraction_train": fraction_train, "fraction_evaluate": 0.0})

    def _plan(self, rounds: int) -> None:
        """Settle noise and budget of all rounds, those before this start included; σ stays what it was."""
        settings = replace(self.privacy, noise_multiplier=self._sigma)
        with errors_under(type(self).__name__, "privacy"):
            self.plan = complete_plan(settings, self.cohort, self.people, rounds + self._again)
        self._sigma, state = self.plan.release.sigma, self.core.state
        self.core = PrivateStrategy(self.settings, rounds, 0, self._give_up, self.plan, secret())
        self.core.state = state
        super()._plan(rounds)

    @property
    def _needs_rounds(self) -> str:
        return "noise and budget need it"

    @property
    def spent(self) -> dict[str, Any]:
        """ε at δ of the rounds that have begun, and what a reader must be told beside it; {} before the first start."""
        return {} if self.plan is None else self.plan.stated(self._begun + self._again)

    def summary(self) -> None:
        """Log the mechanism, then what ``FedOuter`` logs."""
        if self.plan is not None:
            told = self.plan.release.sigma, self.privacy.clip, self.plan.release.rate
            log.info("\t├──> Privacy: noise multiplier %.4g | clip %g | each node drawn with probability %.4g", *told)
        super().summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The instructions of a round that the budget allows; it counts from here on.

        Raises:
            ConfigError: the budget is spent, the round has begun before, or θ holds what cannot be noised.
        """
        name, round = type(self).__name__, self._first + server_round
        allowed = self.plan.allowed if self.plan else None
        if allowed is not None and round + self._again > allowed:
            raise ConfigError(f"{name}.epsilon", self.privacy.epsilon, f"is spent by {allowed} rounds")
        if round <= self._begun:
            raise ConfigError(f"{name}: round", round, f"has begun before; {self._begun} rounds have")
        if other := [key for key, p in read_theta(arrays, name).items() if not is_learned(key, p)]:
            allowed_arrays = "must be floating-point parameters: statistics of people's data and counts are not noised"
            raise ConfigError(f"{name}: initial_arrays", other[:3], allowed_arrays)
        return super().configure_train(server_round, arrays, config, grid)

    def _instructions(self, round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Sequence[Message]:
        """Each node that is connected, with probability q, once there are ``min_available_nodes``."""
        self._wait(grid, self.min_available_nodes)
        draw, rate = secrets.SystemRandom(), self.cohort / self.people
        connected = sorted(grid.get_node_ids())
        if round == self._first + 1 and abs(len(connected) - self.people) > FAR * self.people:
            log.warning(OFF, type(self).__name__, self.people)
        nodes = [node for node in connected if draw.random() < rate]
        config["server-round"] = round
        content = RecordDict({self.arrayrecord_key: arrays, self.configrecord_key: config})
        return [Message(content, node, MessageType.TRAIN) for node in nodes]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Clip, add up, add noise, take the outer step, however many replied; what they measured is not told."""
        answers, stack, _ = self._collected(replies)
        self._heard += len(answers)
        if isinstance(self.core, PrivateStrategy):
            self.core.renew(secret())  # a round that is taken again, by this object or a copy, has noise of its own
        moved, numbers = self.core.conclude(self._first + server_round, CheckedReplies(stack))
        return None if moved is None else self._stored(decode(moved), {}), numbers

    def _judged(self, result: Result, initial: ArrayRecord, rounds: int) -> Result:
        """The result, and what it cost."""
        if rounds and not self._heard:
            log.warning("no reply of any round was usable: θ has moved by noise alone")
        judged = super()._judged(result, initial, rounds)
        log.info(sentence(self.spent))
        return judged

    def state_dict(self) -> dict[str, Tensor]:
        """``FedOuter``'s, and which noise has been spent so far.

        Rounds that begin after it are not counted in it: who loads it into another object has to add them.
        """
        plan = torch.tensor([self._sigma, self.cohort, self.people, self._again], dtype=torch.float64)
        return super().state_dict() | {PLAN: plan}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``, its rounds spent, and those that this object has begun since.

        Raises:
            ConfigError: it is not one of this strategy, or rounds have begun under other noise or among others.
        """
        name, own = type(self).__name__, dict(state)
        told = torch.as_tensor(own.pop(PLAN, torch.zeros(4))).tolist()
        sigma, *drawn, again = told if len(told) == 4 else [*told, 0.0]
        if drawn != [self.cohort, self.people] or (self._sigma and self._sigma != sigma):
            found = {"noise_multiplier": sigma, "cohort": int(drawn[0]), "people": int(drawn[1])}
            raise ConfigError(f"{name}: state", found, "its rounds have begun under other noise, or among others")
        released = self._begun + self._again
        super().load_state_dict(own)
        self._sigma, self._again = sigma, max(int(again), released - self._begun)


def _cohort(fraction: float, people: int, name: str) -> int:
    """n = q N.

    Raises:
        ConfigError: it is no whole number ≥ 1.
    """
    if not isinstance(fraction, (int, float)) or not 0.0 < fraction <= 1.0:
        raise ConfigError(f"{name}.fraction_train", fraction, "must be a number in (0, 1]")
    cohort = max(round(fraction * people), 1)
    if abs(cohort - fraction * people) > 1e-6 * people:
        allowed = f"times people = {people} must be a whole number ≥ 1, as of {cohort / people:.9g}"
        raise ConfigError(f"{name}.fraction_train", fraction, allowed)
    return cohort
