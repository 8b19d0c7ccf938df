"""``FedOuter``: a Flower strategy that takes metapulse's outer step along its clients' updates.

Flower's ``FedAvg`` is the front half: it waits for nodes, samples them, writes their messages, and runs the federated
evaluation. The back half is the mathematics that metapulse's own engines use (``OuterStrategy``): one implementation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Unpack

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Result
from torch import Tensor

from metapulse.client.wire import REPORTS, UPDATES, array_record, decode
from metapulse.errors import ConfigError
from metapulse.strategies.base import LAST, OuterSettings, OuterStrategy
from metapulse.strategies.flower.replies import (
    UsableReply,
    alike,
    are_parameters,
    is_learned,
    not_finite,
    read_flower_reply,
    read_theta,
    stack_of,
    statistics,
    stored,
    working,
)
from metapulse.strategies.flower.telling import final_result, log, tell_metrics, tell_replies, too_few
from metapulse.strategies.flower.words import REPORTABLE, OuterWords, flower_words, outer_settings
from metapulse.strategies.presets import FedAvgSettings
from metapulse.strategies.privacy.strategy import CLIP_STATE
from metapulse.strategies.replies import CheckedReplies, Dropped, UpdateStack, sift, sound
from metapulse.trees import Params

ROUNDS = "rounds"  # key of the state: how many rounds have begun
WAIT = 1.0  # seconds between two looks at who is connected, as Flower's own


class FedOuter(FedAvg):
    """θ ← θ − β_t · direction(Δ), where Δ aggregates the clients' updates u_i = θ − φ_i.

    With its defaults (SGD, β = 1, weights by samples) it is FedAvg; its subclasses are methods with defaults of their
    own. All arguments are keywords. Arrays named as batch-norm names its running statistics, and whole numbers, are
    averaged and not learned.

    Args:
        fraction_train, fraction_evaluate, min_train_nodes, min_evaluate_nodes, min_available_nodes, weighted_by_key,
            arrayrecord_key, configrecord_key, train_metrics_aggr_fn, evaluate_metrics_aggr_fn: as in Flower's
            ``FedAvg``. The fraction is of the nodes that are connected once enough of them are.
        reports: "parameters": replies carry φ_i, as ordinary ClientApps send them; "updates": they carry u_i.
        rounds: T of the schedule; 0: as ``start`` is told. To be given where another strategy wraps this one.
        weighting: "samples": w_i is the metric ``weighted_by_key``; "uniform": every client counts the same.
        outer: direction: "sgd", "momentum", "adam", "yogi" or "adagrad".
        lr: β > 0, the outer learning rate of the first round.
        schedule: how β moves: "constant"; "linear", to 0 after T rounds; "cosine".
        beta1, beta2: decays of the first and second moment, in [0, 1).
        tau: τ > 0, adaptivity floor of Adam, Yogi and Adagrad.
        l2: λ ≥ 0 of the regularised outer objective λ‖θ‖².
        min_replies: usable replies below which a round changes nothing, ≥ 1.
        aggregator: what makes Δ of many updates: "mean", or the name of a robust one; or a table with its name and
            settings, {"name": "krum", "attackers": 2}.

    Raises:
        ConfigError: an unknown word, or a value out of range.

    Source:
        Reddi et al. 2021, arXiv:2003.00295, Algorithm 1.
    """

    kind: ClassVar[type[OuterSettings]] = FedAvgSettings
    called: ClassVar[Mapping[str, str]] = {}  # settings under another name

    def __init__(self, **words: Unpack[OuterWords]) -> None:
        name = type(self).__name__
        self.settings = outer_settings(words, self.kind, name, self.called)
        super().__init__(**flower_words(words, name))
        self.reports, self.rounds = words.get("reports", "parameters"), words.get("rounds", 0)
        if self.reports not in REPORTABLE:
            raise ConfigError(f"{name}.reports", self.reports, f"must be one of {', '.join(REPORTABLE)}")
        if type(self.rounds) is not int or self.rounds < 0:
            raise ConfigError(f"{name}.rounds", self.rounds, "must be a whole number ≥ 0")
        self.core = OuterStrategy(self.settings, max(self.rounds, 1), on_drop=self._give_up)
        self._asked: dict[int, int] = {}
        self._theta: dict[str, Tensor] = {}
        self._learned: dict[str, Tensor] = {}  # those of θ that the outer update moves
        self._first, self._begun = 0, 0  # rounds before this start, and all that have begun
        self._planned = False
        self._reasons: list[str] = []  # why rounds of this start were given up
        if self.rounds:
            self._plan(self.rounds)

    def _plan(self, rounds: int) -> None:
        """How many rounds there will be."""
        self.core.rounds, self._planned = rounds, True

    @property
    def _needs_rounds(self) -> str:
        """Why the number of rounds must be known; "" if it need not be."""
        schedule = self.settings.schedule
        return "" if schedule == "constant" else f"the schedule {schedule!r} needs it"

    def summary(self) -> None:
        """Log the outer update, then what Flower's ``FedAvg`` logs."""
        s = self.settings
        log.info("\t├──> Outer update:")
        log.info("\t│\t├──Rate: %s = %g (%s) | direction: %s", self.called.get("lr", "lr"), s.lr, s.schedule, s.outer)
        log.info("\t│\t├──Aggregator: %s | weighting: %s", s.aggregator["name"], s.weighting)
        log.info("\t│\t└──Clients report: %s", self.reports)
        super().summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Flower's instructions, once enough nodes are connected.

        Raises:
            ConfigError: a θ that cannot be learned, a state that is not of this θ, or an unknown number of rounds.
        """
        if self.fraction_train == 0.0:
            return []
        name, round = type(self).__name__, self._first + server_round
        if not self._planned and self._needs_rounds:
            reason = f"{self._needs_rounds}; start(num_rounds=…) tells it, and where another strategy wraps this one"
            raise ConfigError(f"{name}.rounds", self.rounds, f"{reason}, rounds=… must")
        if self.rounds and round > self.rounds:
            raise ConfigError(f"{name}.rounds", self.rounds, f"round {round} is beyond it")
        self._theta = read_theta(arrays, name)
        self._learned = {key: p for key, p in self._theta.items() if is_learned(key, p)}
        learned = {key: working(p) for key, p in self._learned.items()}
        self._check_state(learned)
        self._begun = max(self._begun, round)
        if self.reports == UPDATES:
            config[REPORTS] = UPDATES
        messages = self._instructions(round, arrays, config, grid)
        self._asked = {m.metadata.dst_node_id: m.metadata.dst_node_id for m in messages}
        self.core.expect(learned, self._asked)
        return messages

    def _instructions(self, round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid) -> Sequence[Message]:
        """Who is asked what: Flower's draw, of those who are connected once there are enough of them.

        Clients are told the round of the whole run: what they keep from round to round, and the minibatches that they
        draw, go by it.
        """
        self._wait(grid, max(self.min_available_nodes, self.min_train_nodes))
        return list(super().configure_train(round, arrays, config, grid))

    def _wait(self, grid: Grid, least: int) -> None:
        """Wait for nodes; Flower's own wait comes after it has counted them for its fraction."""
        while (connected := len(list(grid.get_node_ids()))) < least:
            log.info("Waiting for nodes to connect: %d connected (minimum required: %d).", connected, least)
            time.sleep(WAIT)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Check the replies one by one, aggregate those that pass, take the outer step.

        Raises:
            ConfigError: replies were to carry updates, and most of them plainly carry parameters.

        Returns:
            The next θ with the dtypes it had, or None where the round was given up, which is logged with the reason;
            and the metrics of the replies that passed.
        """
        if self.fraction_train == 0.0:
            return None, None
        round = self._first + server_round
        if not self._asked:
            self._give_up(round, [Dropped(-1, "no node was asked: fraction_train of those connected is less than one")])
            return None, None
        answers, stack, refused = self._collected(replies)
        tell_replies("aggregate_train", len(answers), refused)
        moved, _ = self.core.conclude(round, CheckedReplies(stack))
        metrics = self._metrics("aggregate_train", answers, self.train_metrics_aggr_fn)
        if moved is None:
            if len(answers) < self.settings.min_replies:  # all other reasons come from the core
                self._give_up(round, [Dropped(-1, too_few(len(answers), self.settings.min_replies, refused))])
            return None, metrics
        return self._stored(decode(moved), answers), metrics

    def _collected(
        self, replies: Iterable[Message]
    ) -> tuple[dict[int, UsableReply], UpdateStack | None, list[Dropped]]:
        """The replies that count, by node; their updates of what is learned; and why the others do not count."""
        answers, refused = sift(
            replies, self._asked, lambda node, m: read_flower_reply(m, self._theta, self.weighted_by_key)
        )
        if not answers:
            return {}, None, refused
        stack, unsound = sound(stack_of(answers, self._learned, self.reports))  # θ − φ can be out of range
        if self.reports == UPDATES and stack and are_parameters(stack, self._learned):
            allowed = 'but most replies hold parameters, close to θ itself; leave it out, or give "parameters"'
            raise ConfigError(f"{type(self).__name__}.reports", self.reports, allowed)
        return {node: answers[node] for node in (stack.clients if stack else ())}, stack, refused + unsound

    def _stored(self, moved: Params, answers: Mapping[int, UsableReply]) -> ArrayRecord:
        """The next θ as it was sent: what has been learned, and the averages of the rest."""
        after = {name: stored(p, self._theta[name]) for name, p in moved.items()}
        others = {name: p for name, p in self._theta.items() if name not in self._learned}
        if others and answers:
            stack = stack_of(answers, others, self.reports)
            weight = stack.weight if self.settings.weighting == "samples" else torch.ones_like(stack.weight)
            after |= statistics(others, stack, weight if self.core.linear else None)
        return array_record({name: after.get(name, p).numpy() for name, p in self._theta.items()})

    def _give_up(self, round: int, dropped: list[Dropped]) -> None:
        """A round that changes nothing, and why."""
        for one in dropped:
            reason = one.reason.removeprefix("round given up: ")
            self._reasons.append(reason)
            log.warning("aggregate_train: round %d changes nothing: %s", round, reason)

    def _metrics(
        self,
        stage: str,
        accepted: Mapping[int, UsableReply],
        aggregate: Callable[[list[RecordDict], str], MetricRecord],
    ) -> MetricRecord | None:
        """What Flower's or the user's function makes of the replies' metrics."""
        if not accepted:
            return None
        contents, left_out = alike([answer.content for answer in accepted.values()])
        if left_out:
            log.warning("metrics that not all clients report alike are left out: %s", ", ".join(left_out))
        tell_metrics(stage, len(accepted), not_finite(dict(zip(accepted, contents, strict=True))))
        return aggregate(contents, self.weighted_by_key)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Flower's federated evaluation, once enough nodes are connected."""
        if self.fraction_evaluate == 0.0:
            return []
        self._wait(grid, max(self.min_available_nodes, self.min_evaluate_nodes))
        messages = list(super().configure_evaluate(self._first + server_round, arrays, config, grid))
        self._asked = {m.metadata.dst_node_id: m.metadata.dst_node_id for m in messages}
        return messages

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """The metrics of the replies that pass; None, with a logged reason, where none does."""
        if self.fraction_evaluate == 0.0:
            return None
        if not self._asked:
            log.warning("aggregate_evaluate: no node was asked: fraction_evaluate of those connected is less than one")
            return None
        accepted, refused = sift(replies, self._asked, lambda node, m: read_flower_reply(m, None, self.weighted_by_key))
        tell_replies("aggregate_evaluate", len(accepted), refused)
        return self._metrics("aggregate_evaluate", accepted, self.evaluate_metrics_aggr_fn)

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Flower's round loop. A second call, or one after ``load_state_dict``, goes on with moments and schedule.

        Args:
            grid, initial_arrays, num_rounds, timeout, train_config, evaluate_config, evaluate_fn: as Flower's.

        Returns:
            Flower's result; its arrays are θ of the last round that moved it.

        Raises:
            NoResultError: there were rounds, and none of them moved θ; it gives the commonest reason.
            ConfigError: more rounds than ``rounds``, or what ``configure_train`` refuses.
        """
        self._first, self._reasons = self._begun, []
        if self._first:
            log.info("%s goes on after %d rounds", type(self).__name__, self._first)
        if not self.rounds:
            self._plan(self._first + num_rounds)
        elif self._first + num_rounds > self.rounds:
            allowed = f"{self._first} rounds have begun, and {num_rounds} more are beyond it"
            raise ConfigError(f"{type(self).__name__}.rounds", self.rounds, allowed)
        result = super().start(grid, initial_arrays, num_rounds, timeout, train_config, evaluate_config, evaluate_fn)
        return self._judged(result, initial_arrays, num_rounds if self.fraction_train else 0)

    def _judged(self, result: Result, initial: ArrayRecord, rounds: int) -> Result:
        """The result, if θ moved."""
        return final_result(type(self).__name__, result, initial, rounds, self._reasons)

    def state_dict(self) -> dict[str, Tensor]:
        """What the strategy keeps from round to round: moments, and how many rounds have begun."""
        kept = {name: p.clone() for name, p in self.core.state.items()}
        return {ROUNDS: torch.tensor(self._begun, dtype=torch.int64), **kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``; θ itself is given to ``start``.

        Args:
            state: tensors or NumPy arrays by name.

        Raises:
            ConfigError: it is not one of this kind of strategy.
        """
        loaded = {name: torch.as_tensor(value).clone() for name, value in state.items()}
        rounds = loaded.pop(ROUNDS, None)
        if rounds is None or rounds.numel() != 1:
            raise ConfigError(f"{type(self).__name__}: state", sorted(state)[:5], f"must hold the number {ROUNDS!r}")
        self._begun = int(rounds)
        self.core.state = loaded

    def _check_state(self, theta: Params) -> None:
        """Refuse a state of another outer optimiser or of another θ."""
        state = self.core.state
        if not state:
            return
        moments = {name: p.shape for name, p in self.core.update.init(theta).items()}
        known = moments | (
            {LAST + name: p.shape for name, p in theta.items()} if self.core.aggregator.remembers else {}
        )
        odd = {name for name, p in state.items() if name != CLIP_STATE and known.get(name) != p.shape}
        odd |= set(moments) - set(state)
        if odd:
            allowed = f"is not the state of {self.settings.outer!r} over this θ"
            raise ConfigError(f"{type(self).__name__}: state", sorted(odd)[:3], allowed)
