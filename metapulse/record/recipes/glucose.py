"""Glucose half an hour or an hour ahead, from the two hours before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float64

from metapulse.data import Task
from metapulse.errors import ConfigError
from metapulse.record.clock import MINUTE
from metapulse.record.recipes.base import NO_ROWS, MetricRows, Questions, Recipe, Taken, no_questions
from metapulse.settings import setting
from metapulse.windows import DAY_MIN, Horizon, SeriesScaling, evenly

MG_DL = "mg/dL"
STEP_MIN = 5  # grid of a glucose history: the reporting interval of most sensors
CENTRE_MG_DL, SPREAD_MG_DL = 140.0, 50.0  # fixed units of a glucose input, the same for everyone
MAX_GAP_MIN = 20.0  # one missed reading of a 15-minute sensor breaks a series, three of a 5-minute sensor do not


@dataclass(frozen=True)
class Glucose30(Recipe):
    """Recent glucose → its change ``horizon_min`` from now.

    x = (glucose − 140 mg/dL) / 50 mg/dL every 5 minutes up to now, shape (1, history_min / 5), oldest first;
    y = (glucose in ``horizon_min`` − glucose now) / ``target_scale``, so y = 0 is persistence. Now is always a reading.
    What lies between two readings is interpolated, in x towards the past only. Group = day of the person, and no window
    crosses midnight, a silence of over 20 minutes or a change of the clock. A value that the device gave as a limit
    ("Low") enters as that limit, on both sides. Scans are left out: they stand beside the sensor's own series.
    """

    metrics: ClassVar[tuple[str, ...]] = ("glucose",)
    step_min: ClassVar[float] = float(STEP_MIN)

    history_min: int = setting(120, "minutes of glucose seen, a multiple of 5", ge=10, le=720)
    horizon_min: int = setting(30, "minutes ahead", ge=5, le=240)
    target_scale: float = setting(50.0, "unit of the target, mg/dL (1: plain mg/dL)", gt=0.0, le=1000.0)
    max_windows: int = setting(1000, "windows per device, evenly spaced over all", ge=2)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_history(self.history_min, "recipe.history_min")

    @property
    def task(self) -> Task:
        """One number from one channel over time."""
        return glucose_task(self.history_min, self.target_scale)

    @property
    def horizon(self) -> Horizon:
        """The forecasting question."""
        return Horizon(self.history_min // STEP_MIN, float(STEP_MIN), float(self.horizon_min), MAX_GAP_MIN)

    def take(self, rows: Mapping[str, MetricRows]) -> Taken:
        """Windows, evenly spaced over all there are."""
        left: Counter[str] = Counter()
        given = rows.get("glucose", NO_ROWS)
        readings = given.where((given.code == "") & ~np.isnan(given.value))
        left["rows with a code, such as scans, or without value"] += len(given) - len(readings)
        t, clock, run, value = _series(readings)
        anchor = np.flatnonzero(self.horizon.anchors(clock, run)) if len(t) else np.empty(0, np.int64)
        kept = evenly(anchor, self.max_windows)
        left[f"windows beyond {self.max_windows} a device"] += len(anchor) - len(kept)
        if not len(anchor):
            need = self.history_min - STEP_MIN + self.horizon_min
            return Taken(None, +left, f"{len(t)} readings, never {need} min unbroken within one day")
        scaling = SeriesScaling(CENTRE_MG_DL, SPREAD_MG_DL, self.target_scale)
        return Taken(self.horizon.samples(scaling, t, value, kept, clock, t), +left)

    @property
    def reach_min(self) -> float:
        """The window, the horizon, and a silence that may lie before either."""
        return self.history_min + self.horizon_min + 2.0 * MAX_GAP_MIN

    def questions(self, rows: Mapping[str, MetricRows]) -> Questions:
        """One a reading that has an unbroken history, whichever day it is: what comes may lie in the next."""
        given = rows.get("glucose", NO_ROWS)
        readings = given.where((given.code == "") & ~np.isnan(given.value))
        t, _, _, value = _series(readings)
        broken = np.append(True, np.diff(t) > MAX_GAP_MIN)[: len(t)]
        first = np.maximum.accumulate(np.where(broken, np.arange(len(t)), 0))
        anchor = np.flatnonzero(t - STEP_MIN * (self.horizon.points - 1) >= t[first])
        later = np.searchsorted(t, t[anchor] + self.horizon_min)  # the first reading that settles the outcome
        known = later < len(t)
        settled = np.minimum(later, len(t) - 1)
        known &= first[settled] == first[anchor]
        if not len(anchor):
            return no_questions(self.task, f"{len(t)} readings, never {self.history_min - STEP_MIN} min unbroken")
        history, future = self.horizon.cut(t, value, anchor)
        x = ((history - CENTRE_MG_DL) / SPREAD_MG_DL).astype(np.float32)
        y = np.where(known, (future - value[anchor]) / self.target_scale, np.nan)
        due = np.where(known, t[settled], t[anchor] + self.horizon_min)
        before = np.searchsorted(t, t[anchor] - self.history_min)
        usual = np.maximum(_usual_gap(t)[anchor], STEP_MIN)
        seen = np.minimum((anchor - before + 1) * usual / self.history_min, 1.0)
        now, later = (np.round(one * MINUTE).astype(np.int64) for one in (t[anchor], due))
        return Questions(now, later, x[:, None], y, value[anchor], self.target_scale, seen)


def _usual_gap(t: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Median of the minutes between readings of the day up to each reading, in whole minutes: what comes is not known.

    Args:
        t: minutes, sorted.
    """
    classes = int(MAX_GAP_MIN) + 2  # whole minutes, and whatever breaks a series
    gap = np.minimum(np.rint(np.diff(t)), classes - 1).astype(np.int64)
    told = np.zeros((len(t), classes), np.int32)
    told[np.arange(1, len(t)), gap] = 1
    told = np.cumsum(told, 0, dtype=np.int32)  # gaps of each length, up to each reading
    inside = np.cumsum(told - told[np.searchsorted(t, t - DAY_MIN)], 1)
    usual: np.ndarray = np.argmax(2 * inside >= inside[:, -1:], 1).astype(np.float64)
    return usual


@dataclass(frozen=True)
class Glucose60(Glucose30):
    """The same, an hour ahead."""

    horizon_min: int = setting(60, "minutes ahead", ge=5, le=240)


def check_history(history_min: int, key: str) -> None:
    """Refuse a history that is no multiple of the grid.

    Raises:
        ConfigError: names the setting.
    """
    if history_min % STEP_MIN:
        raise ConfigError(key, history_min, f"must be a multiple of {STEP_MIN}")


def glucose_task(history_min: int, target_scale: float) -> Task:
    """The task of forecasting glucose."""
    unit = MG_DL if target_scale == 1 else f"{target_scale:g} {MG_DL}"
    shape = (1, history_min // STEP_MIN)
    return Task("regression", shape, 1, unit=unit, scale=target_scale, value_unit=MG_DL)


def _series(rows: MetricRows) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Minutes in UTC and on the person's clock, number of the run of equal offsets, and mg/dL, one row a stamp.

    Readings of one stamp are averaged.
    """
    _, first = np.unique(rows.start, return_index=True)
    if not len(first):
        return np.empty(0), np.empty(0), np.empty(0, np.int64), np.empty(0)
    value = np.add.reduceat(rows.value, first) / np.diff(np.append(first, len(rows)))
    run = np.cumsum(np.append(False, np.diff(rows.offset[first]) != 0))
    return rows.start[first] / MINUTE, rows.begin[first] / MINUTE, run, value
