"""A week's targets for activity and sleep, from a person's own weeks and published ranges: a plan, not a diagnosis.

A target is a small step from the person's own median towards a range that is published for adults, never beyond it and
never below what the person does already. How sure the median is comes from resampling the person's own weeks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from metapulse.rng import generator

if TYPE_CHECKING:
    import polars as pl

NO_ADVICE = (
    "This is no medical advice. It knows nothing of illness, pregnancy, injury, medicines or age. In any doubt, ask a"
    " doctor before changing activity or sleep."
)
WEEKS, DAYS_A_WEEK = 4, 4  # least weeks, and least days of a week that were recorded
RECENT = 12  # weeks that count, the last ones
DRAWS = 2000  # of the bootstrap
LEVEL = 0.9  # of its interval
STEP = 0.1  # of the own median: the largest step that is asked for in a week


@dataclass(frozen=True)
class Guideline:
    """A published range for adults.

    Args:
        name: of the target.
        metrics: of the record, the first that has enough weeks is taken: name → codes ("": no code) that count.
        unit: of the weekly number.
        low, high: the range; ``high`` is no limit where ``open``.
        step: least sensible step, in the unit.
        a_day: whether the number is the mean of a week's days, in place of their sum.
        source: where it is published.
    """

    name: str
    metrics: Mapping[str, tuple[str, ...]]
    unit: str
    low: float
    high: float
    step: float
    a_day: bool
    source: str


GUIDELINES = (
    Guideline(
        "moderate or vigorous activity",
        {"exercise_minutes": ("",), "active_minutes": ("", "fairly", "very", "moderate", "vigorous")},
        "min a week",
        150.0,
        300.0,
        10.0,
        False,
        "WHO guidelines on physical activity 2020 (Bull et al. 2020, Br J Sports Med 54:1451): 150-300 min moderate"
        " a week, or half of it vigorous",
    ),
    Guideline(
        "steps",
        {"steps": ("",), "steps_daily": ("",)},
        "steps a day",
        8000.0,
        10000.0,
        250.0,
        True,
        "Paluch et al. 2022, Lancet Public Health 7:e219: under 60 years mortality falls up to 8000-10000 steps a day",
    ),
    Guideline(
        "sleep",
        {"sleep": ("",)},
        "h a night",
        7.0,
        9.0,
        0.25,
        True,
        "AASM and SRS consensus (Watson et al. 2015, Sleep 38:843): adults 7 h or more; 9 h is the range's usual end",
    ),
)


@dataclass(frozen=True)
class Target:
    """What next week might hold.

    Args:
        name, unit: of the number.
        weeks: own weeks that it rests on.
        median: of them; None: too few.
        low, high: 90 % interval of the median, by resampling weeks.
        target: for the next week; None where there are too few weeks.
        why: in words.
        changed_by: what would change it, in words.
        source: of the range.
    """

    name: str
    unit: str
    weeks: int
    median: float | None
    low: float | None
    high: float | None
    target: float | None
    why: str
    changed_by: str
    source: str


@dataclass(frozen=True)
class WeeklyPlan:
    """Targets, and what they are not."""

    targets: tuple[Target, ...]
    notice: str = NO_ADVICE

    def facts(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self) | {"targets": [asdict(target) for target in self.targets]}

    def lines(self) -> list[str]:
        """As words."""
        said = []
        for one in self.targets:
            goal, own = "no target", ""
            if one.target is not None:
                goal, median = f"{one.target:.4g} {one.unit}", f"own median of {one.weeks} weeks {one.median:.4g}"
                own = f" ({median}, 90 % interval {one.low:.4g} to {one.high:.4g})"
            said += [f"{one.name}: {goal}{own}: {one.why}", f"  changed by: {one.changed_by}", f"  range: {one.source}"]
        return [*said, self.notice]


def weekly_plan(record: str | Path, seed: int = 0) -> WeeklyPlan:
    """Targets for the week after a record's last.

    Args:
        record: "person.parquet".
        seed: of the resampling.

    Raises:
        DataError: it is no record.
    """
    from metapulse.record.frame import load_record

    rows = load_record(Path(record))
    return WeeklyPlan(tuple(target_of(one, _weeks(rows, one), seed) for one in GUIDELINES))


def target_of(guideline: Guideline, weeks: Float64[np.ndarray, " n"], seed: int = 0) -> Target:
    """One target from a person's own weeks.

    The step is a tenth of the median or the guideline's least step, the larger; it ends at the range's lower end, and
    who is in the range stays where they are. Who sleeps over the range's upper end is asked for nothing.

    Args:
        guideline: the range.
        weeks: a number for each week, the last ones last.
        seed: of the resampling.
    """
    last, unit = weeks[-RECENT:], guideline.unit
    if len(last) < WEEKS:
        why = f"too little data: {len(last)} weeks with {DAYS_A_WEEK} days or more, {WEEKS} are needed"
        more = f"{WEEKS - len(last)} weeks more of wear"
        return Target(guideline.name, unit, len(last), None, None, None, None, why, more, guideline.source)
    draws = generator(seed, f"plan/{guideline.name}").choice(last, (DRAWS, len(last)))
    tail = 0.5 * (1.0 - LEVEL)
    low, high = np.quantile(np.median(draws, 1), (tail, 1.0 - tail)).tolist()
    median = float(np.median(last))
    if median >= guideline.low:
        target = min(median, guideline.high)
        above = " (more than that is not asked for)" if median > guideline.high else ""
        why = f"already within or above {guideline.low:g}-{guideline.high:g} {unit}; keep it{above}"
    else:
        step = max(STEP * median, guideline.step)
        target = min(median + step, guideline.low)
        why = f"a step of {target - median:.3g} from the own median towards {guideline.low:g}-{guideline.high:g} {unit}"
    target = guideline.step * math.floor(target / guideline.step + 0.5) if target < guideline.low else target
    more = f"weeks whose median leaves {low:.4g} to {high:.4g}; it is set anew each week, from the last {RECENT} weeks"
    return Target(guideline.name, unit, len(last), median, low, high, float(target), why, more, guideline.source)


def _weeks(rows: pl.DataFrame, guideline: Guideline) -> Float64[np.ndarray, " n"]:
    """A number for each week (from Monday) with enough recorded days, of the metric with most such weeks."""
    best = np.empty(0)
    for metric, codes in guideline.metrics.items():
        found = _by_week(_by_day(rows, metric, codes), guideline.a_day)
        best = found if len(found) > len(best) else best
    return best


def _by_day(rows: pl.DataFrame, metric: str, codes: tuple[str, ...]) -> pl.DataFrame:
    """(day, value) of one metric: each moment counted once over all sources, or the vendor's own total."""
    import polars as pl

    from metapulse.record.daily import daily_last, daily_totals
    from metapulse.record.nights import nights

    if metric == "sleep":
        table = nights(rows).filter(pl.col("main") & (pl.col("asleep_min") > 0))
        return table.select(day=pl.col("night"), value=pl.col("asleep_min") / 60.0)
    own = rows.filter(pl.col("metric") == metric)
    daily = daily_last if metric.endswith("_daily") else daily_totals
    parts = [daily(own.filter(pl.col("code").fill_null("") == code)).select("day", "value") for code in codes]
    total = pl.concat(parts).group_by("day").agg(pl.col("value").sum())
    if metric in ("steps", "steps_daily"):
        return total.filter(pl.col("value") > 0)  # without a step, the device was not worn
    worn = [_by_day(rows, name, ("",)) for name in ("steps", "steps_daily")]
    days = pl.concat([total, *worn]).select("day").unique() if len(total) else total.select("day")
    return days.join(total, on="day", how="left").with_columns(pl.col("value").fill_null(0.0))


def _by_week(days: pl.DataFrame, a_day: bool) -> Float64[np.ndarray, " n"]:
    """Mean of the recorded days of each week, or that mean times seven."""
    import polars as pl

    weeks = days.group_by(pl.col("day").dt.truncate("1w").alias("week")).agg(pl.col("value").mean(), pl.len())
    value = weeks.filter(pl.col("len") >= DAYS_A_WEEK).sort("week")["value"].to_numpy().astype(np.float64)
    return value if a_day else 7.0 * value
