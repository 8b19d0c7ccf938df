"""Every metric's course by device, thinned to a bounded number of points that keep each stretch's ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from metapulse.record.clock import DAY, HOUR, MINUTE, US
from metapulse.record.metrics import metrics
from metapulse.sim.report.record.rows import RecordRows, collected, extent

POINTS, ALL_POINTS = 900, 60_000  # of a figure, over its devices; and of all figures
#: Stretches that points stand for, µs; longer ones are whole days.
WIDTHS = (10 * US, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY)
#: Codes of values that are an end of a range, and no sample.
ENDS = ("minimum", "maximum")
LEVEL = 14 * DAY  # before and after a seam, over which levels are compared
STRAY = 0.005  # a device with a smaller share of a metric's values takes over nothing


@dataclass(frozen=True)
class Seam:
    """Where one device's readings end and another's begin.

    Args:
        before: place of the one that ends.
        after: place of the one that begins.
        ends: last reading of the one, µs on the person's clock.
        begins: first reading of the other; before ``ends`` where both were worn for a while.
    """

    before: int
    after: int
    ends: int
    begins: int


@dataclass(frozen=True)
class Course:
    """A metric's course.

    Args:
        metric: its name.
        part: "daily", "x", …; "" for the metric itself.
        values: how many there are.
        width: of the stretch that a point stands for, µs; 1: points are values.
        summed: whether a point is a sum over its stretch, or over a day where that is longer.
        points: place, local (µs), rows, middle (null where only ends of ranges are known), low, high.
        seams: from device to device.
        levels: mean of the two weeks before and after each seam; None where there is none.
    """

    metric: str
    part: str
    values: int
    width: int
    summed: bool
    points: pl.DataFrame
    seams: tuple[Seam, ...]
    levels: tuple[tuple[float | None, float | None], ...]

    @property
    def title(self) -> str:
        """The metric in words."""
        known = metrics().get(self.metric)
        return (known.title if known else self.metric) + (f" ({self.part})" if self.part else "")

    @property
    def unit(self) -> str:
        """Its unit, for people."""
        known = metrics().get(self.metric)
        return UNITS.get(known.unit, known.unit) if known else ""


#: UCUM as people write it.
UNITS = {"1": "", "Cel": "°C", "mm[Hg]": "mmHg", "uV": "µV", "uS": "µS", "m/s2": "m/s²", "kg/m2": "kg/m²", "count": ""}
UNITS |= {"/min": "per min"}


@dataclass(frozen=True)
class _Plan:
    """How a metric's points are to be made: its span in µs, and the most points it may have; else as in ``Course``."""

    metric: str
    part: str
    values: int
    width: int
    summed: bool
    span: int
    most: int


def every_course(record: RecordRows) -> list[Course]:
    """The courses of all metrics that have values, those with most values first."""
    contents = record.contents.filter((pl.col("values") > 0) & (pl.col("metric") != "sleep_stage"))
    groups = [group for _, group in contents.group_by("metric", "part", maintain_order=True)]
    if not groups:
        return []
    most = min(POINTS, ALL_POINTS // len(groups))
    plans = [_plan(group, most) for group in groups]
    points = _points(record, plans)
    made = [_course(plan, contents.filter(record.single), points) for plan in plans]
    return sorted(made, key=lambda one: (-one.values, one.metric, one.part))


def _plan(group: pl.DataFrame, most: int) -> _Plan:
    """As fine as the number of points allows."""
    name, part, values = group["metric"][0], group["part"][0], int(group["values"].sum())
    first, last = extent(group["first"], group["last"]) or (0, 0)
    known = metrics().get(name)
    summed = known is not None and known.merge == "sum" and part != "daily"
    if summed:
        width = HOUR if last - first <= 2 * DAY else DAY
    else:
        width = 1 if values <= most else stretch(last - first, len(group), most)
    return _Plan(name, part, values, width, summed, last - first, most)


def stretch(span: int, devices: int, most: int = POINTS) -> int:
    """The shortest stretch, µs, in which so many µs of so many devices make at most ``most`` points."""
    fits = (width for width in WIDTHS if (span // width + 1) * devices <= most)
    return next(fits, (span * devices // most // DAY + 1) * DAY)


def _points(record: RecordRows, plans: Sequence[_Plan]) -> pl.DataFrame:
    wanted = pl.LazyFrame(plans).select("metric", "part", "width", "summed")
    sample = pl.col("value").filter(~pl.col("code").is_in(ENDS) | pl.col("code").is_null())
    rows = record.used.filter(pl.col("value").is_not_null() & ~pl.col("doubtful"))
    return collected(
        rows.join(wanted, on=["metric", "part"])
        .with_columns(local=pl.col("local") // pl.col("width") * pl.col("width"))
        .group_by("metric", "part", "place", "local", "summed")
        .agg(
            rows=pl.len(),
            mean=sample.mean(),
            total=sample.sum(),
            low=pl.col("value").min(),
            high=pl.col("value").max(),
        )
    ).with_columns(
        middle=pl.when("summed").then("total").otherwise("mean"),
        low=pl.when("summed").then("total").otherwise("low"),
        high=pl.when("summed").then("total").otherwise("high"),
    )


def _course(plan: _Plan, contents: pl.DataFrame, points: pl.DataFrame) -> Course:
    here = (pl.col("metric") == plan.metric) & (pl.col("part") == plan.part)
    own = points.filter(here).sort("place", "local").select("place", "local", "rows", "middle", "low", "high")
    found = tuple(seams(contents.filter(here).select("place", "values", "first", "last").rows()))
    levels = tuple(
        (
            _level(own, seam.before, seam.ends - LEVEL, seam.ends),
            _level(own, seam.after, seam.begins, seam.begins + LEVEL),
        )
        for seam in found
    )
    width = plan.width
    if plan.summed and len(own) > plan.most:  # too many days: of several the mean, the least and the greatest
        width = stretch(plan.span, own["place"].n_unique(), plan.most)
        own = own.group_by("place", pl.col("local") // width * width).agg(
            pl.col("rows").sum(), pl.col("middle").mean(), pl.col("low").min(), pl.col("high").max()
        )
        own = own.sort("place", "local")
    return Course(plan.metric, plan.part, plan.values, width, plan.summed, own, found, levels)


def _level(points: pl.DataFrame, place: int, since: int, until: int) -> float | None:
    here = (pl.col("place") == place) & pl.col("local").is_between(since - DAY, until)
    middle = points.filter(here)["middle"].drop_nulls().to_numpy()
    return float(middle.mean()) if len(middle) else None


def seams(spans: Sequence[tuple[int, int, int, int]]) -> Iterator[Seam]:
    """Where one device takes over from another.

    A device takes over from the one whose last reading is nearest to its own first, if it began later and lasted
    longer, and if they have less than half of the shorter one's time in common: devices worn side by side have no seam.

    Args:
        spans: (place, values, first, last) of every device.
    """
    least = STRAY * sum(values for _, values, _, _ in spans)
    real = sorted((first, last, place) for place, values, first, last in spans if values >= max(least, 2))
    for first, last, place in real:
        earlier = [
            (abs(first - ended), other, ended)
            for began, ended, other in real
            if began < first and ended < last and ended - first < min(ended - began, last - first) / 2
        ]
        if earlier:
            _, other, ended = min(earlier)
            yield Seam(other, place, ended, first)
