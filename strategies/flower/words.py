"""The keywords of a strategy's constructor: Flower's own, those of the outer update, and their ranges."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, TypedDict, cast

from flwr.app import MetricRecord, RecordDict

from metapulse.errors import ConfigError
from metapulse.outer import OuterName, Schedule, Weighting
from metapulse.settings import build
from metapulse.strategies.base import OuterSettings

#: From the contents of the replies and the name of their weight to one record.
MetricsFunction: TypeAlias = Callable[[list[RecordDict], str], MetricRecord]


class FlowerWords(TypedDict, total=False):
    """The constructor words of ``flwr.serverapp.strategy.FedAvg``, with Flower's meanings and defaults."""

    fraction_train: float
    fraction_evaluate: float
    min_train_nodes: int
    min_evaluate_nodes: int
    min_available_nodes: int
    weighted_by_key: str
    arrayrecord_key: str
    configrecord_key: str
    train_metrics_aggr_fn: MetricsFunction | None
    evaluate_metrics_aggr_fn: MetricsFunction | None


class OuterWords(FlowerWords, total=False):
    """And those of every outer update (``metapulse.strategies.base.OuterSettings``)."""

    reports: Literal["parameters", "updates"]
    rounds: int
    weighting: Weighting
    outer: OuterName
    lr: float
    schedule: Schedule
    beta1: float
    beta2: float
    tau: float
    l2: float
    min_replies: int
    aggregator: str | Mapping[str, Any]


FLOWER = frozenset(FlowerWords.__annotations__)
FRONT = frozenset({"reports", "rounds"})  # read by the strategy itself
REPORTABLE = ("parameters", "updates")


def flower_words(words: Mapping[str, Any], where: str) -> FlowerWords:
    """Those of some words that are Flower's, each within its range: out of it, Flower would wait for ever.

    Args:
        words: as they were given.
        where: the strategy's name, for messages.

    Raises:
        ConfigError: a fraction outside [0, 1], or a number of nodes below 0 or not whole.
    """
    own = {key: value for key, value in words.items() if key in FLOWER}
    for key, value in own.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if key.startswith("fraction_") and not (number and 0.0 <= value <= 1.0):
            raise ConfigError(f"{where}.{key}", value, "must be a number in [0, 1]")
        if key.startswith("min_") and not (number and isinstance(value, int) and value >= 0):
            raise ConfigError(f"{where}.{key}", value, "must be a whole number ≥ 0")
        if key.endswith("_key") and not (isinstance(value, str) and value):
            raise ConfigError(f"{where}.{key}", value, "must be a name")
        if key.endswith("_fn") and not (value is None or callable(value)):
            raise ConfigError(f"{where}.{key}", value, "must be a function, or None")
    return cast(FlowerWords, own)


def outer_settings(
    words: Mapping[str, Any], kind: type[OuterSettings], where: str, called: Mapping[str, str]
) -> OuterSettings:
    """The settings of the outer update among some words.

    Args:
        words: as they were given; Flower's are passed over.
        kind: the method's settings, with its defaults.
        where: the strategy's name, for messages.
        called: setting → what the strategy calls it (``lr`` is Reptile's ``epsilon``).

    Raises:
        ConfigError: an unknown word, a wrong type, or a value out of range, under the strategy's own names.
    """
    settings = {field.name for field in fields(kind)} - {"cohort"}  # who is asked is Flower's to say
    names = {called.get(name, name): name for name in settings}
    given: dict[str, Any] = {}
    for word, value in words.items():
        if word in FLOWER | FRONT:
            continue
        if word not in names:
            close = (
                [called[word]] if word in called else difflib.get_close_matches(word, FLOWER | FRONT | set(names), 1)
            )
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ConfigError(f"{where}.{word}", value, f"unknown word{hint}")
        given[names[word]] = {"name": value} if word == "aggregator" and isinstance(value, str) else value
    with errors_under(where, "strategy", called):
        return build(kind, {"cohort": 0, **given}, where)


@contextmanager
def errors_under(where: str, section: str, called: Mapping[str, str] = MappingProxyType({})) -> Iterator[None]:
    """Inside, errors of a section of the configuration come under the strategy's name and its words.

    Args:
        where: the strategy's name.
        section: of the configuration, "strategy".
        called: setting → what the strategy calls it.
    """
    try:
        yield
    except ConfigError as error:
        key = f"{where}.{rest}" if (rest := error.key.removeprefix(f"{section}.")) != error.key else error.key
        first, _, setting = key.rpartition(".")
        raise ConfigError(f"{first}.{called.get(setting, setting)}", error.value, error.allowed) from None
