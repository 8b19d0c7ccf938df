"""All that a stream remembers, of bounded size, and how it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from metapulse.personal.conformal import Conformal
from metapulse.personal.drift import Adwin, PageHinkley
from metapulse.personal.online import OnlineHead

Line = dict[str, Any]  # of the output, before it is JSON


class Reading(NamedTuple):
    """One value of the model's metric, in its canonical unit.

    Args:
        time: µs since 1970 in UTC.
        value: of the metric; may be anything.
        device: model that measured; "": not told.
        firmware: of the device; "": not told.
    """

    time: int
    value: float
    device: str = ""
    firmware: str = ""


class Pending(NamedTuple):
    """A forecast that waits for its outcome."""

    time: int
    gap: int  # since the forecast before
    x: Tensor  # features, (1, width)
    means: tuple[float, float, float]  # of the adapted head, the start, the last good one
    scale: float
    promised: float


class Lately(NamedTuple):
    """Absolute errors of the three heads in units of the target, as sums that fade.

    Args:
        adapted, start, good: Σ of errors.
        over_start, over_good: Σ of squares of how much the adapted one's error was above the other's.
        weight: Σ of what outcomes count for.
    """

    adapted: float = 0.0
    start: float = 0.0
    good: float = 0.0
    over_start: float = 0.0
    over_good: float = 0.0
    weight: float = 0.0


class Block(NamedTuple):
    """The mean of losses over one stretch of time, as it grows."""

    begin: int = 0
    total: float = 0.0
    losses: int = 0


@dataclass(frozen=True)
class StreamState:
    """All that is remembered.

    Args:
        time, value: the readings that a forecast may still rest on.
        pending: in order of time.
        head: the one that learns.
        good: the last one that was good.
        interval: of the person.
        outcomes: how many have come.
        lately: errors of late.
        since: outcomes since ``good`` was taken.
        asked: time of the last forecast.
        held: a reading far ahead of the one before, until the next one confirms its time; None: none is held.
        device, firmware: worn now; "": not told yet.
        short, long: losses of the present horizon and the present day.
        adwin, page: what watches their means.
        counts: readings, forecasts, and what was not used, by reason.
    """

    time: np.ndarray
    value: np.ndarray
    pending: tuple[Pending, ...]
    head: OnlineHead
    good: OnlineHead
    interval: Conformal
    outcomes: int
    lately: Lately
    since: float
    asked: int
    held: Reading | None
    device: str
    firmware: str
    short: Block
    long: Block
    adwin: Adwin
    page: PageHinkley
    counts: Mapping[str, int] = field(default_factory=dict)


def counted(state: StreamState, what: str) -> StreamState:
    """The state with one more of something."""
    return replace(state, counts={**state.counts, what: state.counts.get(what, 0) + 1})


def iso(time: int) -> str:
    """µs since 1970 as text, in UTC."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)
    return moment.isoformat().replace("+00:00", "Z")
