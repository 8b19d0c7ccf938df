"""What a person is doing, from the motion of the wrist: windows of acceleration inside workouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from metapulse.data import Samples, Task
from metapulse.errors import ConfigError
from metapulse.record.clock import MINUTE, US
from metapulse.record.recipes.base import NO_ROWS, MetricRows, Recipe, Taken
from metapulse.settings import setting
from metapulse.windows import evenly

AXES = ("x", "y", "z")
GRAVITY = 9.80665  # m/s²
LONGEST = 24 * 3600  # s, of one workout
#: What vendors call the kinds that the default names: Health Connect and Google Fit say "biking", Fitbit "Run".
KINDS = {"walk": "walking", "run": "running", "jogging": "running", "bike": "cycling", "biking": "cycling"}


@dataclass(frozen=True)
class MotionActivity(Recipe):
    """Acceleration over a few seconds → the kind of workout that the device or the person recorded at that time.

    x = acceleration / g at ``rate_hz``, linear between readings, shape (3, rate_hz · seconds); windows overlap by half,
    lie in one workout, and hold no silence of more than ``max_gap_s``. Group = workout. Time outside workouts has no
    label and is not used; neither is a workout of another kind than ``classes``. Where two workouts overlap, the time
    is of the one that began first.
    """

    metrics: ClassVar[tuple[str, ...]] = ("acceleration", "workout")

    classes: tuple[str, ...] = setting(("walking", "running", "cycling"), "kinds of workout, as the record has them")
    seconds: float = setting(2.56, "length of a window", gt=0.1, le=60.0)
    rate_hz: float = setting(25.0, "readings a second after resampling", ge=1.0, le=200.0)
    max_gap_s: float = setting(0.25, "a longer silence breaks a window", gt=0.0, le=10.0)
    max_windows: int = setting(1000, "windows per device, evenly spaced over all", ge=2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.classes)) < max(2, len(self.classes)):
            raise ConfigError("recipe.classes", list(self.classes), "must be at least two, each once")

    @property
    def points(self) -> int:
        """Readings in a window."""
        return max(2, round(self.seconds * self.rate_hz))

    @property
    def task(self) -> Task:
        """One of the classes, from three axes over time."""
        return Task("classification", (3, self.points), len(self.classes), self.classes, names=AXES)

    def take(self, rows: Mapping[str, MetricRows]) -> Taken:
        """Windows of all workouts."""
        left: Counter[str] = Counter()
        motion = rows.get("acceleration", NO_ROWS)
        axes = [motion.where((motion.code == axis) & ~np.isnan(motion.value)) for axis in AXES]
        workouts = rows.get("workout", NO_ROWS)
        parts: list[tuple[np.ndarray, np.ndarray, int, int]] = []
        reached = 0  # end of the workouts so far
        for number in range(len(workouts)):
            begin, end, kind = int(workouts.start[number]), int(workouts.end[number]), str(workouts.code[number])
            kind = kind if kind in self.classes else KINDS.get(kind.lower(), kind.lower())
            if kind not in self.classes:
                left[f"workouts of another kind: {kind[:40] or 'none told'}"] += 1
            elif not 0 < end - begin <= LONGEST * US:
                left["workouts without an end, or over a day"] += 1
            elif end <= reached:
                left["workouts within the time of another"] += 1
            else:
                at, windows = self._windows(axes, max(begin, reached), end)
                reached = end
                left["workouts without unbroken motion"] += not len(at)
                parts.append((at, windows, self.classes.index(kind), number))
        total = sum(len(part[0]) for part in parts)
        if not total:
            return Taken(None, +left, f"{len(motion)} readings of acceleration, {len(parts)} workouts to learn from")
        time = np.concatenate([at for at, _, _, _ in parts])
        kept = evenly(np.argsort(time, kind="stable"), self.max_windows)
        left[f"windows beyond {self.max_windows} a device"] += total - len(kept)
        x = np.concatenate([windows for _, windows, _, _ in parts])[kept]
        y, group = (np.repeat([part[i] for part in parts], [len(part[0]) for part in parts])[kept] for i in (2, 3))
        held_out = np.zeros(len(kept), bool)
        begin = time[kept] / MINUTE  # as instants: a device's workouts have numbers of its own
        span = np.stack([begin, begin + self.points / self.rate_hz / 60.0], 1)
        samples = Samples(x, y.astype(np.int64), group.astype(np.int64), held_out, None, begin, None, span)
        return Taken(samples, +left)

    def _windows(self, axes: list[MetricRows], begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """Starts in µs, and (n, 3, points) in g, of the windows of one workout."""
        span = round(self.points * US / self.rate_hz)
        start = np.arange(begin, end - span + 1, span // 2)
        grid = start[:, None] + np.arange(self.points) * (US / self.rate_hz)
        whole = np.ones(len(start), bool)
        found = np.empty((len(start), 3, self.points), np.float32)
        for number, axis in enumerate(axes):
            t, first = np.unique(axis.start, return_index=True)
            if len(t) < 2:
                return start[:0], found[:0]
            broken = np.append(0, np.cumsum(np.diff(t) > self.max_gap_s * US))  # breaks before each reading
            before, after = np.searchsorted(t, grid[:, 0], "right") - 1, np.searchsorted(t, grid[:, -1])
            inside = (before >= 0) & (after < len(t))
            whole &= inside & (broken[np.minimum(after, len(t) - 1)] == broken[np.maximum(before, 0)])
            found[:, number] = np.interp(grid, t, axis.value[first]) / GRAVITY
        return start[whole], found[whole]
