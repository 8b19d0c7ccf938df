"""Asleep or awake, minute by minute, from the half hour up to then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from metapulse.data import Samples, Task
from metapulse.record.clock import DAY, MINUTE
from metapulse.record.recipes.base import NO_ROWS, MetricRows, Recipe, Taken
from metapulse.record.recipes.days import ASLEEP, AWAKE, rows_by
from metapulse.settings import setting
from metapulse.windows import evenly

NOON = DAY // 2
NIGHT = 1440  # minutes from noon to noon
PULSE_CENTRE, PULSE_SCALE = 70.0, 20.0  # /min
STEPS_SCALE = 50.0  # steps a minute
AWAKE_LABEL, ASLEEP_LABEL = 0, 1


@dataclass(frozen=True)
class SleepWake(Recipe):
    """Heart rate and steps of the last ``minutes`` → whether the person sleeps in the last of them.

    x: (mean heart rate of the minute − 70) / 20 and steps of the minute / 50, each 0 where there is none, and for each
    1 or 0 for whether there is a value; shape (4, minutes), oldest first. The label is the stage of sleep that the
    device told of that minute; a minute without one, in a night of which the device told at least ``least_asleep``
    minutes, is awake if the device was worn. Group = night, from noon to noon, and no window crosses noon.
    """

    metrics: ClassVar[tuple[str, ...]] = ("heart_rate", "steps", "sleep_stage")

    minutes: int = setting(30, "minutes that are seen, up to the one that is judged", ge=1, le=720)
    least_known: float = setting(0.5, "share of them that must have a heart rate or steps", ge=0.0, le=1.0)
    least_asleep: int = setting(120, "minutes asleep that make a night count", ge=1, le=1440)
    max_windows: int = setting(1000, "windows per device, evenly spaced over all", ge=2)

    @property
    def task(self) -> Task:
        """Awake or asleep, from four channels over time."""
        names = ("heart_rate", "heart_rate_known", "steps", "steps_known")
        return Task("classification", (4, self.minutes), 2, ("awake", "asleep"), names=names)

    def take(self, rows: Mapping[str, MetricRows]) -> Taken:
        """One sample a minute, of nights that the device told of."""
        stage, pulse, steps = (_nights(rows.get(name, NO_ROWS)) for name in ("sleep_stage", "heart_rate", "steps"))
        left = Counter({"nights without a stage of sleep": len((pulse.keys() | steps.keys()) - stage.keys())})
        channels: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        found: list[np.ndarray] = []
        for night in sorted(stage):
            heart = _minutes(pulse.get(night, NO_ROWS), night, mean=True)
            moved = _minutes(steps.get(night, NO_ROWS), night, mean=False)
            label = _labels(stage[night], night)
            if (label == ASLEEP_LABEL).sum() < self.least_asleep:
                left[f"nights with less than {self.least_asleep} min of sleep told"] += 1
                continue
            there = np.stack([~np.isnan(heart), ~np.isnan(moved)])
            label[(label < 0) & (there[0] | (np.nan_to_num(moved) > 0))] = AWAKE_LABEL
            at = np.flatnonzero(label[self.minutes - 1 :] >= 0) + self.minutes - 1
            known = np.append(0, np.cumsum(there.any(0)))
            enough = known[at + 1] - known[at + 1 - self.minutes] >= self.least_known * self.minutes
            left["minutes with too few values before"] += int((~enough).sum())
            scaled = np.stack([(heart - PULSE_CENTRE) / PULSE_SCALE, moved / STEPS_SCALE])
            both = np.stack([np.where(there, scaled, 0.0), there], 1).reshape(4, NIGHT)
            at = at[enough]
            found.append(np.stack([np.full(len(at), night), np.full(len(at), len(channels)), at], 1))
            channels.append(both.astype(np.float32))
            labels.append(label)
        total = sum(map(len, found))
        if not total:
            told = f"{len(channels)} nights with {self.least_asleep} min of sleep told"
            return Taken(None, +left, f"{told}, none with heart rate or steps before")
        night, place, minute = np.concatenate(found)[evenly(np.arange(total), self.max_windows)].T
        left[f"windows beyond {self.max_windows} a device"] += total - len(night)
        window = minute[:, None] + np.arange(1 - self.minutes, 1)
        x = np.stack(channels)[place[:, None], :, window].transpose(0, 2, 1)  # (n, minutes, 4) → (n, 4, minutes)
        y = np.stack(labels)[place, minute]
        time = (night * NIGHT + NIGHT // 2 + minute).astype(np.float64)
        return Taken(Samples(x, y, night, np.zeros(len(y), bool), None, time), +left)


def _nights(rows: MetricRows) -> dict[int, MetricRows]:
    """Rows by the day at whose noon their night begins."""
    return {night: rows.where(part) for night, part in rows_by((rows.begin - NOON) // DAY).items()}


def _minutes(rows: MetricRows, night: int, mean: bool) -> np.ndarray:
    """Value of each minute from noon to noon, NaN where there is none; a longer interval counts at its end.

    Args:
        mean: of the minute's values; otherwise their sum.
    """
    last = np.maximum(rows.until - 1, rows.begin) - night * DAY - NOON
    good = ~np.isnan(rows.value) & (last < DAY)
    minute, value = last[good] // MINUTE, rows.value[good]
    count, total = np.bincount(minute, minlength=NIGHT), np.bincount(minute, value, minlength=NIGHT)
    return np.where(count > 0, total / np.maximum(count, 1) if mean else total, np.nan)


def _labels(stage: MetricRows, night: int) -> np.ndarray:
    """Label of each minute from noon to noon, −1 where no stage tells; where stages overlap the later one holds."""
    label = np.full(NIGHT, -1, np.int64)
    noon = night * DAY + NOON
    for first, last, code in zip(stage.begin, stage.until, stage.code, strict=True):
        if code in ASLEEP or code in AWAKE:
            span = slice(-((noon - first) // MINUTE), (last - noon) // MINUTE)  # whole minutes
            label[span] = ASLEEP_LABEL if code in ASLEEP else AWAKE_LABEL
    return label
