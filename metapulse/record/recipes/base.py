"""What a recipe is, and a record's rows as it gets them: one device's, without repeats and doubtful values.

A recipe is a frozen dataclass of settings and a pure function from rows to samples. It sees one person and one device,
and a sample's inputs know nothing that was not known at the sample's own time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float32, Float64, Int64

from metapulse.data import Samples, Task
from metapulse.errors import ConfigError
from metapulse.record.frame import DOUBTFUL, REPEATS, check_pages, undamaged
from metapulse.record.mapped import as_new_device
from metapulse.record.schema import MAPPED, MARKS, check_version
from metapulse.record.store import metadata
from metapulse.registry import RECIPES
from metapulse.settings import setting

if TYPE_CHECKING:
    import polars as pl

#: Marks of rows that no recipe learns from. What is interpolated was made from readings on both sides: of the future.
UNUSED = (*REPEATS, *DOUBTFUL, "interpolated")
#: Parts of a device that tell its model; the first that is known is the client's device.
MODEL = ("model", "hardware", "manufacturer", "app")


@dataclass(frozen=True)
class MetricRows:
    """Rows of one metric of one device, in order of time, as columns.

    Args:
        start, end: µs since 1970 in UTC; the end of an instant is its start.
        offset: µs of the person's clock before UTC; 0 where it is not known.
        value: canonical unit, NaN where there is none.
        code: texts, "" where there is none.
        date_only: whether the file gave a day and no time.
        censored: whether the value is a limit.
    """

    start: np.ndarray
    end: np.ndarray
    offset: np.ndarray
    value: np.ndarray
    code: np.ndarray
    date_only: np.ndarray
    censored: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def where(self, rows: np.ndarray) -> MetricRows:
        """Some of the rows, by mask or index."""
        return MetricRows(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @property
    def begin(self) -> np.ndarray:
        """Start on the person's clock, µs."""
        local: np.ndarray = self.start + self.offset
        return local

    @property
    def until(self) -> np.ndarray:
        """End on the person's clock, µs."""
        local: np.ndarray = self.end + self.offset
        return local


NO_ROWS = MetricRows(*(np.empty(0, np.int64),) * 3, np.empty(0), np.empty(0, object), *(np.empty(0, bool),) * 2)


@dataclass(frozen=True)
class Taken:
    """What a recipe made of one device's rows.

    Args:
        samples: in order of time; None: there are none.
        left_out: how often, by reason; a reason names what was left out.
        lacks: what there is too little of, in words, where there are no samples.
    """

    samples: Samples | None
    left_out: Counter[str] = field(default_factory=Counter)
    lacks: str = ""


@dataclass(frozen=True)
class Questions:
    """Forecasts that one device's rows allow, n of them in order of time, whether or not their outcome has come.

    A forecast ŷ is the value ``base`` + ``unit`` · ŷ of the metric.

    Args:
        time: when the forecast is made, µs since 1970 in UTC.
        due: when its outcome is known.
        x: inputs, (n, *features).
        y: outcome in units of the target; NaN: it has not come, or was not measured.
        base: value that ŷ = 0 stands for, in the metric's unit.
        unit: of the target, in the metric's.
        seen: share of the inputs that was measured, 0 to 1.
        lacks: what there is too little of, in words, where n = 0.
    """

    time: Int64[np.ndarray, " n"]
    due: Int64[np.ndarray, " n"]
    x: Float32[np.ndarray, "n *features"]
    y: Float64[np.ndarray, " n"]
    base: Float64[np.ndarray, " n"]
    unit: float
    seen: Float64[np.ndarray, " n"]
    lacks: str = ""

    def __len__(self) -> int:
        return len(self.time)

    def where(self, rows: np.ndarray) -> Questions:
        """Some of them, by mask or index."""
        parts = {name: getattr(self, name)[rows] for name in ("time", "due", "x", "y", "base", "seen")}
        return replace(self, **parts)

    def value(self, y: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """Targets in the metric's unit."""
        return self.base + self.unit * y


def no_questions(task: Task, lacks: str) -> Questions:
    """None, and why."""
    whole, real = np.empty(0, np.int64), np.empty(0)
    return Questions(whole, whole, np.empty((0, *task.features), np.float32), real, real, 1.0, real, lacks)


@dataclass(frozen=True)
class Recipe(ABC):
    """What is learned: window, target, horizon, features, wear."""

    metrics: ClassVar[tuple[str, ...]]
    #: Minutes between two inputs of a window; 0: they are not over time.
    step_min: ClassVar[float] = 0.0

    keep: tuple[str, ...] = setting(
        (), "marks whose rows are learned from all the same: implausible, say, or device_mapped"
    )

    def __post_init__(self) -> None:
        if unknown := [mark for mark in self.keep if mark not in UNUSED]:
            raise ConfigError("recipe.keep", unknown[0], f"must be one of {', '.join(UNUSED)}")

    @property
    @abstractmethod
    def task(self) -> Task:
        """What is predicted from what."""

    @property
    def forecasts(self) -> str:
        """The metric whose value is forecast."""
        return self.metrics[0]

    @abstractmethod
    def take(self, rows: Mapping[str, MetricRows]) -> Taken:
        """Samples of one person with one device.

        Args:
            rows: by metric; a metric without rows is not there.
        """

    def questions(self, rows: Mapping[str, MetricRows]) -> Questions:
        """Every forecast that the rows of one person with one device allow, the last ones still open.

        Args:
            rows: by metric; a metric without rows is not there.

        Raises:
            ConfigError: the recipe forecasts no number.
        """
        raise ConfigError("recipe", type(self).__name__, "forecasts no number")

    @property
    def mapped_metric(self) -> str:
        """The metric by whose map an old device's history is taken along to a new one."""
        return self.metrics[0]

    def series(self, rows: Mapping[str, MetricRows]) -> dict[str, MetricRows]:
        """What maps take from one device to another, by the metric of the map, ``mapped_metric`` first where it is.

        Readings; or of a recipe of days a row for each day of the person that has a value, over the whole day, with
        ``date_only``. No map is learned from a row that is ``censored``.

        Args:
            rows: by metric; a metric without rows is not there.
        """
        given = rows.get(self.mapped_metric, NO_ROWS)
        return {self.mapped_metric: given.where((given.code == "") & ~np.isnan(given.value))}

    def with_series(self, rows: Mapping[str, MetricRows], mapped: Mapping[str, MetricRows]) -> dict[str, MetricRows]:
        """The rows with other values; with those of ``series`` it asks what it asked before.

        Args:
            rows: by metric.
            mapped: some of what ``series`` gave, with other values. What is left out of one has no value.
        """
        return {**rows, **mapped}

    @property
    def reach_min(self) -> float:
        """How far back readings matter to a forecast that is made now, or whose outcome is still to come, in minutes.

        Raises:
            ConfigError: the recipe forecasts days, and not from one reading to the next.
        """
        raise ConfigError("recipe", type(self).__name__, "cannot be followed reading by reading; metapulse predict can")


def make_recipe(given: str | Mapping[str, Any], where: str = "recipe") -> Recipe:
    """The recipe of that name, or of a table with its name and settings.

    Args:
        given: the name or the table.
        where: it stands, for messages.

    Raises:
        ConfigError: there is none, or a setting is wrong.
    """
    made: Recipe = RECIPES.make({"name": given} if isinstance(given, str) else given, where)
    return made


def take_record(path: Path, recipe: Recipe) -> dict[str, Taken]:
    """What a recipe makes of a record, by device model; {}: nothing in it is of the recipe's metrics.

    Args:
        path: "person.parquet".

    Raises:
        DataError: it is no record, or one of another version.
    """
    devices, unused = device_rows(path, recipe)
    taken = {}
    for name, rows in devices.items():
        made = recipe.take(rows)
        taken[name] = Taken(made.samples, unused[name] + made.left_out, made.lacks)
    return taken


def device_rows(path: Path, recipe: Recipe) -> tuple[dict[str, dict[str, MetricRows]], dict[str, Counter[str]]]:
    """A record's rows by device model and metric, and how many were not used, by device and mark.

    Raises:
        DataError: it is no record, or one of another version.
    """
    import polars as pl

    check_version(metadata(path).get("version"), str(path))
    with undamaged(path):
        check_pages(path)
        model = pl.coalesce(*(pl.col("device").struct.field(part) for part in MODEL), pl.lit("unknown"))
        columns = ("start", "end", "offset_min", "metric", "value", "code", "quality", model.alias("model"))
        scan = pl.scan_parquet(path).filter(pl.col("metric").is_in(recipe.metrics))
        if MAPPED in recipe.keep:
            frame = as_new_device(scan.collect()).select(*columns)
        else:
            frame = scan.select(*columns).collect()
        parts = {str(name): part for (name,), part in frame.partition_by("model", as_dict=True).items()}
        found = {name: _used(parts[name], recipe) for name in sorted(parts)}
    return {name: rows for name, (rows, _) in found.items()}, {name: unused for name, (_, unused) in found.items()}


def _used(frame: pl.DataFrame, recipe: Recipe) -> tuple[dict[str, MetricRows], Counter[str]]:
    import polars as pl

    unused: Counter[str] = Counter()
    marked = set(frame["quality"].explode().drop_nulls().unique()) & set(MARKS)
    for mark in UNUSED:
        if mark in marked and mark not in recipe.keep:
            before, frame = frame.height, frame.filter(~pl.col("quality").list.contains(mark))
            unused[f"rows marked {mark}"] += before - frame.height
    parts = frame.partition_by("metric", as_dict=True)
    return {str(metric): _columns(part) for (metric,), part in parts.items()}, +unused


def _columns(frame: pl.DataFrame) -> MetricRows:
    import polars as pl

    start, quality = pl.col("start").cast(pl.Int64), pl.col("quality")
    table = frame.select(
        start=start,
        end=pl.col("end").cast(pl.Int64).fill_null(start),
        offset=pl.col("offset_min").cast(pl.Int64).fill_null(0) * 60_000_000,
        value=pl.col("value").fill_null(float("nan")),
        code=pl.col("code").fill_null(""),
        date_only=quality.list.contains("date_only"),
        censored=quality.list.set_intersection(["censored_low", "censored_high"]).list.len() > 0,
    )
    return MetricRows(*(table[name].to_numpy() for name in table.columns))
