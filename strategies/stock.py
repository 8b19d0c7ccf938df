"""Any stock Flower strategy by its dotted name, for example ``flwr.serverapp.strategy:FedTrimmedAvg``.

Stock strategies average weights, so clients are asked for θ − update instead of the update, and every reply is checked
by us before the strategy sees it: one wrong-shaped reply would kill most of them, and a NaN would pass through.
"""

from __future__ import annotations

import copy
import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.exception import AggregationError, InconsistentMessageReplies
from flwr.serverapp.strategy import Strategy

from metapulse.client.wire import REPLY, ROUND, decode, reply_stamp
from metapulse.errors import ConfigError
from metapulse.methods.base import Paper
from metapulse.registry import resolve
from metapulse.settings import setting
from metapulse.strategies.base import StrategySettings
from metapulse.strategies.replies import MAX_METRIC, Dropped, UpdateStack, check_replies, contents
from metapulse.strategies.stock_state import arrays_of, pack_attributes, unpack_attributes
from metapulse.strategies.strategy import RunStrategy
from metapulse.trees import Params

#: Options of Flower's strategies that decide nothing here, and what does.
ELSEWHERE = {
    "fraction_train": "the cohort is drawn by strategy.cohort",
    "min_train_nodes": "the cohort is drawn by strategy.cohort",
    "min_available_nodes": "the cohort is drawn by strategy.cohort",
    "fraction_evaluate": "the meta-test asks whom evaluation.clients says",
    "min_evaluate_nodes": "the meta-test asks whom evaluation.clients says",
    "evaluate_metrics_aggr_fn": "the meta-test keeps every person's score",
    "eta_l": "Flower keeps it and never uses it; the devices' rate is learner.inner_lr",
    "proximal_mu": "no device reads it; use learner.name = 'fedprox' with learner.mu",
}
FIXED = {"arrayrecord_key": "arrays", "configrecord_key": "config"}


@dataclass(frozen=True)
class Stock(StrategySettings):
    """A strategy of Flower's own."""

    paper: ClassVar[Paper] = Paper(
        "beutel2020flower",
        "Beutel et al.",
        2020,
        "Flower: A Friendly Federated Learning Framework",
        "2007.14390",
        "serverapp.strategy",
    )

    reference: str = setting("flwr.serverapp.strategy:FedAvg", "dotted name of the strategy's class")
    options: Mapping[str, Any] = setting({}, "keyword arguments for its constructor")

    def make(
        self,
        rounds: int,
        seed: int,
        on_drop: Callable[[int, list[Dropped]], None] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> RunStrategy:
        """The strategy of these settings."""
        return StockStrategy(self, on_drop, note)


class StockStrategy(RunStrategy):
    """Delegates to a stock strategy; checks replies first, and what it makes of them after.

    Args:
        on_drop: told (round, dropped clients) when replies are refused.
        note: told what people have to know, once.
    """

    def __init__(
        self,
        settings: Stock,
        on_drop: Callable[[int, list[Dropped]], None] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self.draws = True
        self._reference, self.inner = settings.reference, _made(settings)
        self._on_drop = on_drop or (lambda round, dropped: None)
        self._note = note or (lambda text: None)
        self._unread: set[str] = set()
        self._asked: dict[int, int] = {}
        self._told: dict[str, Any] = {}
        self._arrays = ArrayRecord()
        self._sent: dict[int, Message] = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The inner strategy's instructions, asking for weights."""
        config[REPLY] = "weights"
        client_of = getattr(grid, "client_of", lambda node: node)
        self._arrays = arrays
        ours = set(config)
        with _hushed():
            messages = list(self.inner.configure_train(server_round, arrays, config, grid))
        self._tell_unread(messages, ours)
        self._told = reply_stamp(config)
        nodes = [message.metadata.dst_node_id for message in messages]
        self._asked = {node: client_of(node) for node in nodes}
        self._sent = {self._asked[message.metadata.dst_node_id]: message for message in messages}
        return [self._sent[client] for client in sorted(self._sent)]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The inner strategy's aggregate over the replies that pass, in order of partition id."""
        theta = decode(self._arrays)
        checked = check_replies(replies, theta, self._asked, self._told)
        if checked.dropped:
            self._on_drop(server_round, checked.dropped)
        if not isinstance(checked.stack, UpdateStack):
            return None, MetricRecord({"clients": 0, "dropped": len(checked.dropped)})
        kept = copy.deepcopy(vars(self.inner))
        try:
            # overflow is looked for in what comes out
            with _hushed() as said, _no_collector(), np.errstate(over="ignore", invalid="ignore"):
                arrays, metrics = self.inner.aggregate_train(server_round, self._alike(checked.stack))
            moved = None if arrays is None else _like(arrays, theta)
            if not all(np.isfinite(array).all() for array in arrays_of(vars(self.inner))):
                raise ArithmeticError("its state leaves the range of numbers")
            if moved is None:
                raise ValueError("; ".join(said) or "it returned nothing")
        except (AggregationError, InconsistentMessageReplies, ArithmeticError, ValueError) as error:
            # Krum with too few replies, an overflow, and the like: the round changes nothing, and says so.
            vars(self.inner).update(kept)
            self._on_drop(server_round, [Dropped(-1, f"round given up by the strategy: {error}")])
            moved, metrics = None, None
        numbers = {"clients": len(checked.stack.clients), "dropped": len(checked.dropped)}
        return moved, MetricRecord({**dict(metrics or {}), **numbers})

    def _alike(self, stack: UpdateStack) -> list[Message]:
        """The accepted replies made anew of what passed, with the metrics they share.

        One that differs in anything (names of metrics, order or kind of arrays) would make Flower give up the round.
        """
        shared = {name: m for name, m in sorted(stack.metrics.items()) if bool((m.abs() < MAX_METRIC).all())}
        content = contents(replace(stack, metrics=shared))
        return [Message(content(i), reply_to=self._sent[client]) for i, client in enumerate(stack.clients)]

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nothing: the meta-test is the server's."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Nothing to aggregate."""
        return None

    def summary(self) -> None:
        """What the inner strategy says."""
        self.inner.summary()

    def _tell_unread(self, messages: Iterable[Message], ours: set[str]) -> None:
        """Say, once, which instructions no client reads."""
        told = {key for m in messages for record in m.content.config_records.values() for key in record}
        if new := sorted(told - ours - self._unread - {ROUND}):
            self._unread.update(new)
            self._note(f"{self._reference} tells clients {', '.join(new)}, which no client reads")

    @property
    def state(self) -> Params:
        """What the inner strategy carries from round to round: its attributes, or what its ``state_dict`` says.

        Raises:
            ConfigError: names an attribute that no checkpoint can hold.
        """
        own = getattr(self.inner, "state_dict", None)
        packed = pack_attributes(own() if callable(own) else vars(self.inner), self._reference)
        return {name: torch.from_numpy(np.array(value)) for name, value in packed.items()}

    @state.setter
    def state(self, saved: Params) -> None:
        own, values = (
            getattr(self.inner, "load_state_dict", None),
            unpack_attributes({k: v.numpy() for k, v in saved.items()}),
        )
        if callable(own):
            own(values)
        else:
            vars(self.inner).update(values)


def _made(settings: Stock) -> Strategy:
    """The inner strategy.

    Raises:
        ConfigError: an option that has no effect here, or that its constructor refuses; no strategy at all.
    """
    options = dict(settings.options)
    for name, value in options.items():
        if name in ELSEWHERE and not (name == "proximal_mu" and value == 0):
            raise ConfigError(f"strategy.options.{name}", value, f"has no effect: {ELSEWHERE[name]}")
        if name in FIXED and value != FIXED[name]:
            raise ConfigError(f"strategy.options.{name}", value, f"must be {FIXED[name]!r}, as our clients send it")
        if isinstance(value, str) and ":" in value:
            options[name] = resolve(value, f"strategy.options.{name}")
        elif name.endswith("_fn") and not callable(value):
            raise ConfigError(f"strategy.options.{name}", value, "must be a dotted reference to a function")
    made = resolve(settings.reference, "strategy.reference")
    # The grid it is shown is the cohort already, and the meta-test is the server's.
    own = {"fraction_train": 1.0, "fraction_evaluate": 0.0, "min_train_nodes": 1, "min_available_nodes": 1}
    try:
        with _hushed():
            inner = made(**own, **options)
    except Exception as error:  # raised by a third party's constructor
        given = ", ".join(f"{name} = {value!r}" for name, value in settings.options.items()) or "none"
        reason = f"{settings.reference} refuses them ({type(error).__name__}: {error})"
        raise ConfigError("strategy.options", given, reason) from None
    if not isinstance(inner, Strategy):
        raise ConfigError("strategy.reference", settings.reference, "is no Flower strategy")
    return inner


def _like(arrays: ArrayRecord, theta: Params) -> ArrayRecord:
    """The aggregate with θ's names and dtypes: Flower's adaptive strategies return float64.

    Raises:
        ValueError: it does not fit θ, or is not finite.
    """
    if set(arrays) != set(theta):
        raise ValueError("the aggregate has other arrays than θ")
    record = ArrayRecord()
    for name, p in theta.items():
        with np.errstate(over="ignore"):
            value = arrays[name].numpy().astype(p.numpy().dtype)
        if value.shape != p.shape or not np.isfinite(value).all():
            raise ValueError(f"the aggregate of {name!r} has another shape than θ, or leaves the range of numbers")
        record[name] = Array(value)
    return record


@contextmanager
def _no_collector() -> Iterator[None]:
    """Thousands of messages that live for one round wake the collector of reference cycles, which finds none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _hushed() -> Iterator[list[str]]:
    """Flower's strategies log every step; their warnings are kept, and the rest stands in the run folder anyway."""
    logger, said = logging.getLogger("flwr"), list[str]()
    keeper = logging.Handler(logging.WARNING)
    keeper.emit = lambda record: said.append(" ".join(record.getMessage().split()))  # type: ignore[method-assign]
    kept = logger.handlers[:], logger.propagate
    logger.handlers, logger.propagate = [keeper], False
    try:
        yield said
    finally:
        logger.handlers, logger.propagate = kept
