"""Any stock Flower strategy by its dotted name, for example ``flwr.serverapp.strategy:FedTrimmedAvg``.

Stock strategies average weights, so clients are asked for θ − update instead of the update, and every reply is checked
by us before the strategy sees it: one wrong-shaped reply would kill most of them, and a NaN would pass through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.exception import AggregationError, InconsistentMessageReplies
from flwr.serverapp.strategy import Strategy

from client.errors import ConfigError, ReplyError
from client.learners.base import Paper
from client.registry import resolve
from client.settings import setting
from client.wire import REPLY, decode
from strategies.replies import Dropped, read_reply


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
    """Delegates to a stock strategy; checks replies first.

    Args:
        settings: which one.
        on_drop: told (round, dropped clients) when replies are refused.
    """

    def __init__(self, settings: Stock, on_drop: Callable[[int, list[Dropped]], None] | None = None) -> None:
        made = resolve(settings.reference, "strategy.reference")
        # The grid it is shown is the cohort already, and the meta-test is the server's.
        own = {"fraction_train": 1.0, "fraction_evaluate": 0.0, "min_train_nodes": 1, "min_available_nodes": 1}
        try:
            self.inner: Strategy = made(**own, **settings.options)
        except TypeError as error:
            raise ConfigError("strategy.options", dict(settings.options), str(error)) from None
        self._on_drop = on_drop or (lambda round, dropped: None)
        self._asked: dict[int, int] = {}
        self._arrays = ArrayRecord()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The inner strategy's instructions, asking for weights."""
        config[REPLY] = "weights"
        client_of = getattr(grid, "client_of", lambda node: node)
        self._asked = {node: client_of(node) for node in grid.get_node_ids()}
        self._arrays = arrays
        messages = list(self.inner.configure_train(server_round, arrays, config, grid))
        return sorted(messages, key=lambda m: self._asked[m.metadata.dst_node_id])

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The inner strategy's aggregate over the replies that pass, in order of partition id."""
        theta = decode(self._arrays)
        good: dict[int, Message] = {}
        dropped: list[Dropped] = []
        for reply in replies:
            client = self._asked.get(reply.metadata.src_node_id, -1)
            try:
                if client < 0 or client in good:
                    raise ReplyError("not asked, or a second reply")
                read_reply(reply, theta)
                good[client] = reply
            except ReplyError as error:
                dropped.append(Dropped(client, str(error)))
        if dropped:
            self._on_drop(server_round, dropped)
        if not good:
            return None, None
        try:
            return self.inner.aggregate_train(server_round, [good[c] for c in sorted(good)])
        except (AggregationError, InconsistentMessageReplies) as error:
            # Krum with too few replies, and the like: the round changes nothing, and says so.
            self._on_drop(server_round, [Dropped(-1, f"round given up by the strategy: {error}")])
            return None, None

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
        """What the inner strategy carries from round to round: its array and number attributes, by path."""
        return dict(_walk("", vars(self.inner)))

    def load_state(self, saved: Mapping[str, np.ndarray]) -> None:
        """Put back what ``state`` gave."""
        for path, value in saved.items():
            name, _, key = path.partition("/")
            if key:
                held = getattr(self.inner, name, None)
                held = dict(held) if held else {}
                held[key] = value.copy()
                setattr(self.inner, name, held)
            else:
                setattr(self.inner, name, value.item() if value.ndim == 0 else value.copy())


def _walk(prefix: str, attributes: Mapping[str, Any]) -> Iterable[tuple[str, np.ndarray]]:
    for name, value in attributes.items():
        if isinstance(value, np.ndarray):
            yield f"{prefix}{name}", value
        elif isinstance(value, (bool, int, float)) and not prefix:
            yield name, np.asarray(value)
        elif isinstance(value, dict) and value and all(isinstance(v, np.ndarray) for v in value.values()):
            yield from _walk(f"{prefix}{name}/", value)
