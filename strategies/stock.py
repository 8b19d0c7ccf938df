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
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.exception import AggregationError, InconsistentMessageReplies
from flwr.serverapp.strategy import Strategy

from client.errors import ConfigError
from client.learners.base import Paper
from client.registry import resolve
from client.settings import setting
from client.trees import Params
from client.wire import REPLY, decode
from strategies.replies import MAX_METRIC, Dropped, Stack, check, contents


@dataclass(frozen=True)
class Stock:
    """A strategy of Flower's own."""

    paper: ClassVar[Paper] = Paper(
        "beutel2020flower",
        "Beutel et al.",
        2020,
        "Flower: A Friendly Federated Learning Framework",
        "2007.14390",
        "serverapp.strategy",
    )

    cohort: int = setting(10, "clients per round (0: every one)", ge=0)
    reference: str = setting("flwr.serverapp.strategy:FedAvg", "dotted name of the strategy's class")
    options: Mapping[str, Any] = setting({}, "keyword arguments for its constructor")


class StockStrategy(Strategy):
    """Delegates to a stock strategy; checks replies first, and what it makes of them after.

    Args:
        settings: which one.
        on_drop: told (round, dropped clients) when replies are refused.
    """

    def __init__(self, settings: Stock, on_drop: Callable[[int, list[Dropped]], None] | None = None) -> None:
        made = resolve(settings.reference, "strategy.reference")
        # The grid it is shown is the cohort already, and the meta-test is the server's.
        own = {"fraction_train": 1.0, "fraction_evaluate": 0.0, "min_train_nodes": 1, "min_available_nodes": 1}
        try:
            with _hushed():
                self.inner: Strategy = made(**own, **settings.options)
        except TypeError as error:
            raise ConfigError("strategy.options", dict(settings.options), str(error)) from None
        if not isinstance(self.inner, Strategy):
            raise ConfigError("strategy.reference", settings.reference, "is no Flower strategy")
        self._on_drop = on_drop or (lambda round, dropped: None)
        self._asked: dict[int, int] = {}
        self._arrays = ArrayRecord()
        self._sent: dict[int, Message] = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The inner strategy's instructions, asking for weights."""
        config[REPLY] = "weights"
        client_of = getattr(grid, "client_of", lambda node: node)
        self._arrays = arrays
        with _hushed():
            messages = list(self.inner.configure_train(server_round, arrays, config, grid))
        nodes = [message.metadata.dst_node_id for message in messages]
        self._asked = {node: client_of(node) for node in nodes}
        self._sent = {self._asked[message.metadata.dst_node_id]: message for message in messages}
        return [self._sent[client] for client in sorted(self._sent)]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The inner strategy's aggregate over the replies that pass, in order of partition id."""
        theta = decode(self._arrays)
        checked = check(replies, theta, self._asked)
        if checked.dropped:
            self._on_drop(server_round, checked.dropped)
        if not isinstance(checked.stack, Stack):
            return None, MetricRecord({"clients": 0, "dropped": len(checked.dropped)})
        kept = copy.deepcopy(vars(self.inner))
        try:
            # overflow is looked for in what comes out
            with _hushed(), _no_collector(), np.errstate(over="ignore", invalid="ignore"):
                arrays, metrics = self.inner.aggregate_train(server_round, self._alike(checked.stack))
            moved = None if arrays is None else _like(arrays, theta)
            if not all(np.isfinite(value).all() for value in self.state().values()):
                raise ArithmeticError("its state leaves the range of numbers")
        except (AggregationError, InconsistentMessageReplies, ArithmeticError, ValueError) as error:
            # Krum with too few replies, an overflow, and the like: the round changes nothing, and says so.
            vars(self.inner).update(kept)
            self._on_drop(server_round, [Dropped(-1, f"round given up by the strategy: {error}")])
            moved, metrics = None, None
        numbers = {"clients": len(checked.stack.clients), "dropped": len(checked.dropped)}
        return moved, MetricRecord({**dict(metrics or {}), **numbers})

    def _alike(self, stack: Stack) -> list[Message]:
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

    def state(self) -> dict[str, np.ndarray]:
        """What the inner strategy carries from round to round: its numbers and arrays, by attribute, kind and key."""
        return dict(_walk(vars(self.inner)))

    def load_state(self, saved: Mapping[str, np.ndarray]) -> None:
        """Put back what ``state`` gave."""
        found: dict[tuple[str, str], dict[str, np.ndarray]] = {}
        for path, value in saved.items():
            name, kind, key = path.split("/", 2)
            found.setdefault((name, kind), {})[key] = value
        for (name, kind), parts in found.items():
            setattr(self.inner, name, KINDS[kind](parts))


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
def _hushed() -> Iterator[None]:
    """Flower's strategies log every step; what is worth knowing stands in the run folder."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


ARRAY = (np.ndarray, np.generic)  # arithmetic turns an array without axes into a scalar


def _walk(attributes: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """State by path: attribute/kind/position/key; a checkpoint does not keep the order, and some strategies need it."""
    for name, value in attributes.items():
        if isinstance(value, (bool, int, float)):
            yield f"{name}/number/", np.asarray(value)
        elif isinstance(value, ARRAY):
            yield f"{name}/array/", np.asarray(value)
        elif isinstance(value, ArrayRecord):
            yield from ((f"{name}/record/{i:06d}/{k}", a.numpy()) for i, (k, a) in enumerate(value.items()))
        elif isinstance(value, dict) and all(isinstance(v, ARRAY) for v in value.values()):
            yield from ((f"{name}/dict/{i:06d}/{k}", np.asarray(a)) for i, (k, a) in enumerate(value.items()))
        elif isinstance(value, list) and all(isinstance(v, ARRAY) for v in value):
            yield from ((f"{name}/list/{i:06d}", np.asarray(array)) for i, array in enumerate(value))


def _in_order(parts: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    return ((path.split("/", 1)[1], parts[path].copy()) for path in sorted(parts))


KINDS: Mapping[str, Callable[[dict[str, np.ndarray]], Any]] = {
    "array": lambda parts: parts[""].copy(),
    "number": lambda parts: parts[""].item(),
    "record": lambda parts: ArrayRecord({key: Array(value) for key, value in _in_order(parts)}),
    "dict": lambda parts: dict(_in_order(parts)),
    "list": lambda parts: [parts[key].copy() for key in sorted(parts)],
}
