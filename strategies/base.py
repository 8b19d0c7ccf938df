"""The adapter between Flower's strategy interface and a pure outer update.

Everything a method needs beyond its settings happens here once: address the nodes, check the replies, aggregate, take
the outer step, keep its state. A method's own file holds its settings and its paper.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeAlias

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result

from metapulse.client.wire import ARRAYS, CONFIG, ROUND, WORK, Instructions, decode, encode
from metapulse.errors import ConfigError
from metapulse.methods.base import Paper
from metapulse.outer import OuterName, OuterUpdate, Schedule, State, Weighting, outer_rate, reading
from metapulse.rng import generator
from metapulse.settings import default_of, setting
from metapulse.strategies.aggregate import weighted_mean
from metapulse.strategies.aggregators.base import Aggregator
from metapulse.strategies.aggregators.registry import AGGREGATORS, complete
from metapulse.strategies.replies import CheckedReplies, Dropped, UpdateStack, UpdateSum, check_replies
from metapulse.strategies.strategy import RunStrategy
from metapulse.trees import Flat, Params, all_finite, flat, flatten, norm, row_like

#: Told (round, dropped clients) when replies are refused.
OnDrop: TypeAlias = Callable[[int, list[Dropped]], None]
LAST = "last/"  # before the names of the last aggregate, in the state of an aggregator that remembers it


@dataclass(frozen=True)
class StrategySettings(ABC):
    """What a run asks of every strategy's settings; the answers are those of one of which no more is known."""

    paper: ClassVar[Paper]
    #: Whether it asks no more of a round than the weighted mean of its updates, if its aggregator is the mean. Under
    #: privacy and secure aggregation its ``make`` is not asked then.
    only_mean: ClassVar[bool] = False
    #: Whether it takes updates per local step, and how many there were.
    per_step: ClassVar[bool] = False

    cohort: int = setting(10, "clients per round (0: every one)", ge=0)

    def __init_subclass__(cls, **given: Any) -> None:
        """Who makes another strategy asks for more than a mean, unless it says that it does not."""
        super().__init_subclass__(**given)
        if "make" in vars(cls) and "only_mean" not in vars(cls):
            cls.only_mean = False

    @abstractmethod
    def make(
        self, rounds: int, seed: int, on_drop: OnDrop | None = None, note: Callable[[str], None] | None = None
    ) -> RunStrategy:
        """The strategy of these settings; the arguments are those of ``make_strategy``."""

    @property
    def linear(self) -> bool:
        """Whether a mean is made of updates, which a robust aggregator does not."""
        return True

    @property
    def weighting(self) -> Weighting:
        """Weight of a client's update in it."""
        return "samples"

    @property
    def min_replies(self) -> int:
        """Usable replies below which a round changes nothing."""
        return 1


@dataclass(frozen=True)
class OuterSettings(StrategySettings):
    """Settings common to all our strategies; each method's file sets its own defaults."""

    only_mean: ClassVar[bool] = True

    weighting: Weighting = setting("samples", "weight of a client's update")
    outer: OuterName = setting("sgd", "outer optimiser")
    lr: float = setting(1.0, "outer learning rate β (ε for Reptile)", gt=0)
    schedule: Schedule = setting("constant", "how the outer rate moves over the rounds")
    beta1: float = setting(0.9, "decay of the first moment", ge=0, lt=1, used_if=("outer", *reading("beta1")))
    beta2: float = setting(0.999, "decay of the second moment", ge=0, lt=1, used_if=("outer", *reading("beta2")))
    tau: float = setting(1e-8, "adaptivity floor of Adam, Yogi and Adagrad", gt=0, used_if=("outer", *reading("tau")))
    l2: float = setting(0.0, "λ of the regularised outer objective λ‖θ‖²", ge=0)
    min_replies: int = setting(1, "usable replies below which a round changes nothing", ge=1)
    aggregator: Mapping[str, Any] = setting({"name": "mean"}, "what makes one update of many: name and settings")

    def __post_init__(self) -> None:
        usual = {field.name: default_of(field) for field in fields(self)}
        given = self.aggregator if "name" in self.aggregator else {**usual["aggregator"], **self.aggregator}
        object.__setattr__(self, "aggregator", complete(given, "strategy.aggregator"))
        if self.cohort and (reason := self.make_aggregator().shortfall(self.cohort)):
            raise ConfigError("strategy.cohort", self.cohort, f"{self.aggregator['name']}: {reason}")
        if self.weighting != usual["weighting"] and not self.linear:
            why = f"has no effect: {self.aggregator['name']} weighs no update by its samples"
            raise ConfigError("strategy.weighting", self.weighting, why)

    def make(
        self, rounds: int, seed: int, on_drop: OnDrop | None = None, note: Callable[[str], None] | None = None
    ) -> RunStrategy:
        """The strategy of these settings; the arguments are those of ``make_strategy``."""
        return OuterStrategy(self, rounds, seed, on_drop)

    @property
    def linear(self) -> bool:
        """As the aggregator is."""
        return self.make_aggregator().linear

    def make_aggregator(self) -> Aggregator:
        """What ``aggregator`` describes."""
        made: Aggregator = AGGREGATORS.make(self.aggregator)
        return made


class OuterStrategy(RunStrategy):
    """A genuine Flower strategy around an ``OuterUpdate``.

    Args:
        settings: of the method.
        rounds: how many rounds there will be, for the schedule.
        seed: addresses the sampling of nodes where the grid shows more than a cohort.
        on_drop: told (round, dropped clients) when replies are refused.
    """

    #: Whether the weighted mean of the updates is all that is used of them.
    linear: bool = False

    def __init__(
        self,
        settings: OuterSettings,
        rounds: int = 1,
        seed: int = 0,
        on_drop: OnDrop | None = None,
    ) -> None:
        self.settings, self.rounds, self.seed = settings, rounds, seed
        self.aggregator = settings.make_aggregator()
        self.update = OuterUpdate(settings.outer, settings.beta1, settings.beta2, settings.tau, settings.l2)
        self.state: State = {}
        self.linear = self.aggregator.linear
        self.sums = settings.weighting if self.linear else ""
        self.draws = not self.linear  # an aggregator from a user's file may
        self._on_drop = on_drop or (lambda round, dropped: None)
        self._asked: dict[int, int] = {}
        self._told: dict[str, Any] = {}
        self._theta: Params = {}
        self._made: ArrayRecord | None = None  # what the last step was encoded as, and
        self._next: Params = {}  # what it was

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One instruction for each node of the cohort, all sharing one content."""
        nodes = self._chosen(server_round, sorted(grid.get_node_ids()))
        # A grid that knows partition ids says so; otherwise the node id is the best name there is.
        client_of = getattr(grid, "client_of", lambda node: node)
        config[ROUND] = server_round
        theta = self._next if arrays is self._made else decode(arrays)
        self.expect(theta, {node: client_of(node) for node in nodes}, config)
        content = RecordDict({ARRAYS: arrays, CONFIG: config})
        return Instructions(content, nodes, MessageType.TRAIN, theta)

    def expect(self, theta: Params, asked: Mapping[int, int], told: Mapping[str, Any] | None = None) -> None:
        """Begin a round: the replies to come answer this θ.

        Args:
            theta: θ, floating-point.
            asked: node id → client id of those who were asked.
            told: the instruction, of which each reply must repeat some (``metapulse.client.wire.reply_stamp``).
        """
        self._theta, self._asked, self._told = theta, dict(asked), dict(told or {})

    def _chosen(self, server_round: int, nodes: list[int]) -> list[int]:
        """Who of the nodes that the grid shows is asked, ascending."""
        size = self.settings.cohort
        if not 0 < size < len(nodes):
            return nodes
        rng = generator(self.seed, "cohort", server_round)
        return sorted(nodes[i] for i in rng.choice(len(nodes), size, replace=False))

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Check, average, take the outer step."""
        return self.conclude(server_round, check_replies(replies, self._theta, self._asked, self._told))

    def conclude(self, server_round: int, checked: CheckedReplies) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """``aggregate_train`` of replies that have been checked."""
        if checked.dropped:
            self._on_drop(server_round, checked.dropped)
        if checked.stack is None or len(checked.stack.clients) < self.settings.min_replies:
            return None, self._metrics(checked, 0.0)
        if not self.linear and (reason := self.aggregator.shortfall(len(checked.stack.clients))):
            self._on_drop(server_round, [Dropped(-1, f"round given up: {self.settings.aggregator['name']}: {reason}")])
            return None, self._metrics(checked, 0.0)
        aggregate = self._aggregate(checked.stack)
        return self._step(server_round, aggregate), self._metrics(checked, float(norm(aggregate)))

    def _step(self, server_round: int, aggregate: Params) -> ArrayRecord | None:
        """θ after the outer step along an aggregate; None, and nothing has changed, where it cannot be taken."""
        if not self.state:
            self.state = self.update.init(self._theta)
        lr = outer_rate(self.settings.lr, self.settings.schedule, server_round, self.rounds)
        before = flat(self._theta) if isinstance(aggregate, Flat) else self._theta
        theta, state = self.update.apply(self.state, before, aggregate, lr)
        if not all_finite(theta, state):  # finite updates can be large enough for that: 1e30 squared
            self._on_drop(server_round, [Dropped(-1, "the outer step leaves the range of numbers: round given up")])
            return None
        if not self.linear and self.aggregator.remembers:
            state = state | {LAST + name: p for name, p in aggregate.items()}
        self.state, self._next, self._made = state, theta, encode(theta)
        return self._made

    def _aggregate(self, stack: UpdateStack | UpdateSum) -> Params:
        """One update of many: the mean, weighted as the settings say, or what the aggregator makes of them."""
        if isinstance(stack, UpdateSum):
            return stack.mean(self._theta)
        if self.linear:
            weight = stack.weight if self.settings.weighting == "samples" else torch.ones_like(stack.weight)
            return weighted_mean(stack.update, weight)
        kept = [self.state[LAST + name].reshape(-1) for name in self._theta if LAST + name in self.state]
        last = torch.cat(kept) if kept else None
        return row_like(self.aggregator.aggregate(flatten(stack.update), last), self._theta)

    def _metrics(self, checked: CheckedReplies, update_norm: float) -> MetricRecord:
        stack = checked.stack
        record = MetricRecord({"clients": len(stack.clients) if stack else 0, "dropped": len(checked.dropped)})
        record["update-norm"] = update_norm
        for name, values in (stack.metrics if stack else {}).items():
            record[name] = float(values.double().nanmean())
        return record

    def check_cohort(self, clients: int) -> None:
        """Refuse fewer clients than the aggregator takes."""
        if why := self.aggregator.shortfall(clients):
            raise ConfigError("strategy.aggregator", self.settings.aggregator["name"], why)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nothing: the meta-test on held-out people is the server's (``metapulse.server.metatest``)."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Nothing to aggregate."""
        return None

    def summary(self) -> None:
        """Nothing is logged: the run folder holds the resolved configuration."""

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
        """Flower's round loop over metapulse's own clients, which are told their work and answer with updates.

        Raises:
            ConfigError: ``train_config`` tells no work: ordinary ClientApps would answer with parameters.
        """
        if WORK not in (train_config or {}):
            allowed = "is for metapulse's own clients; for ordinary ClientApps, start one of metapulse.strategies"
            raise ConfigError("strategy", type(self).__name__, allowed)
        return super().start(grid, initial_arrays, num_rounds, timeout, train_config, evaluate_config, evaluate_fn)
