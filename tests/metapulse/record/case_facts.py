"""The words of the cases' ``summary`` and ``must_not`` → what they say of a record.

Every word has an entry: a case with a new one fails until it is understood. None is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import polars as pl

from metapulse.record.daily import daily_last, daily_totals
from metapulse.record.frame import without
from metapulse.record.nights import nights, nights_by_source
from metapulse.record.overlap import with_source

Fact = Callable[[pl.DataFrame], Any]
STAGES = ("light", "deep", "rem", "awake", "asleep")


def values(record: pl.DataFrame, metric: str) -> list[float | None]:
    """Of rows that are no repeats."""
    return without(record.filter(pl.col("metric") == metric))["value"].to_list()


def steps(record: pl.DataFrame) -> dict[str, float]:
    """Of each day of the person, over all sources."""
    rows = daily_totals(record).filter(pl.col("metric") == "steps")
    return {str(day): value for day, _, value in rows.rows()}


def watch_only(record: pl.DataFrame) -> dict[str, float]:
    night = nights_by_source(record).filter(pl.col("by").str.contains("Watch")).row(0, named=True)
    return {name: night[f"{name}_min"] for name in STAGES}


def device_parts(rows: pl.DataFrame, part: str) -> list[str]:
    return rows["device"].struct.field(part).drop_nulls().unique().sort().to_list()


def glucose(record: pl.DataFrame) -> pl.DataFrame:
    return without(record.filter(pl.col("metric") == "glucose"))


def night(record: pl.DataFrame, column: str) -> Any:
    return nights(record).filter("main").row(0, named=True)[column]


def alone(record: pl.DataFrame) -> int:
    """Rows that every file gives; -1 if they differ."""
    counts = set(record.group_by(pl.col("source").struct.field("file")).len()["len"])
    return counts.pop() if len(counts) == 1 else -1


def rem_is_absent(record: pl.DataFrame) -> str:
    rows = daily_last(record).filter(pl.col("metric") == "sleep_rem")
    return "scored" if len(rows) or nights(record)["rem_min"].drop_nulls().len() else "not scored, not 0 min"


SUMMARY: dict[str, Fact] = {
    "all_three_imported_together_give": lambda r: len(without(r)),
    "asleep_union_min": lambda r: night(r, "asleep_min"),
    "cgm_series_length": lambda r: int(glucose(r)["code"].is_null().sum()),
    "devices": lambda r: device_parts(without(r), "hardware"),
    "duplicates_dropped": lambda r: len(r) - len(without(r, ("duplicate_of",))),
    "each_file_alone_gives": alone,
    "glucose_count": lambda r: len(glucose(r)),
    "heart_rate_count": lambda r: len(values(r, "heart_rate")),
    "in_bed_min": lambda r: night(r, "in_bed_min"),
    "increments": lambda r: sorted(values(r, "steps"), reverse=True),
    "night": lambda r: str(night(r, "night")),
    "person_offset_min": lambda r: r["offset_min"].drop_nulls().unique().item(),
    "rem": rem_is_absent,
    "resting_heart_rate_count": lambda r: len(values(r, "resting_heart_rate")),
    "steps_local_day": steps,
    "steps_raw_rows": lambda r: int((r["metric"] == "steps").sum()),
    "steps_total": lambda r: sum(steps(r).values()),
    "transmitters": lambda r: device_parts(glucose(r), "unit"),
    "usable_glucose_count": lambda r: glucose(r)["value"].drop_nulls().len(),
    "watch_only": watch_only,
}
#: Told in words: either answer is right.
EITHER = {"steps_merge": (steps, {1733, 1000})}


def near(record: pl.DataFrame, number: float, metric: str = "") -> bool:
    """Whether a value comes out that a misreading would give, to be used."""
    rows = without(record).filter(pl.col("value").is_not_null() & pl.col("metric").str.contains(metric))
    return bool(((rows["value"] - number).abs() <= 2e-3 * abs(number)).any())


def at(record: pl.DataFrame, metric: str, clock: str) -> bool:
    """Whether an instant of this metric stands at this time of the person's day."""
    rows = record.filter((pl.col("metric") == metric) & pl.col("end").is_null())
    times = rows.select("start", pl.col("offset_min").fill_null(0)).rows()
    return clock in {f"{start + timedelta(minutes=offset):%H:%M}" for start, offset in times}


def totals(record: pl.DataFrame) -> set[float]:
    return set(steps(record).values())


def dates(record: pl.DataFrame) -> set[str]:
    return {str(day) for day in with_source(record)["day"]}


MUST_NOT: dict[str, Fact] = {
    "treated as duplicate": lambda r: len(without(r)) < len(r),
    "a path that leaves the archive is opened": lambda r: any(
        ".." in name.split("/") or name.startswith("/") for name in r["source"].struct.field("file")
    ),
    "asleep 850 min": lambda r: 850 in nights(r)["asleep_min"].to_list(),
    **{text: lambda r, n=int(text): n in totals(r) for text in ("2290", "1300", "850", "2934", "1467", "371", "1900")},
    "spo2 0.97": lambda r: near(r, 0.97, "^spo2$"),
    "68 mmol/L": lambda r: near(r, 68 * 18.0156, "glucose"),
    "56 mmol/L": lambda r: near(r, 56 * 18.0156, "glucose"),
    "251": lambda r: near(r, 251) or 251 in totals(r),
    "55": lambda r: near(r, 55),
    "255": lambda r: near(r, 255),
    "300": lambda r: near(r, 300),
    "868": lambda r: near(r, 868) or near(r, 868.7),
    "13": lambda r: near(r, 13),
    "a heart rate at 09:00": lambda r: at(r, "heart_rate", "09:00"),
    "heart rate at 23:00": lambda r: at(r, "heart_rate", "23:00"),
    "a record of 1970": lambda r: bool((r["start"].dt.year() <= 1970).any()),
    "heart rate 65 or 85 from a shifted column": lambda r: any(  # they are the file's minima
        near(r.filter(pl.col("code").is_null()), number, "^heart_rate$") for number in (65, 85)
    ),
    "dates in 2024-03 or 2024-04-04 swapped with 2024-04-03": lambda r: (
        any(day.startswith("2024-03") for day in dates(r)) or steps_of(r, "2024-04-04") != 0
    ),
}
#: "glucose 5.5 mg/dL", "5.6 mg/dL", "glucose 10": a number in the canonical unit.
GLUCOSE = re.compile(r"(?:glucose )?(\d+(?:\.\d+)?)(?: mg/dL)?")


def steps_of(record: pl.DataFrame, day: str) -> float | None:
    rows = with_source(record).filter(
        pl.col("metric").is_in(["steps", "steps_daily"]) & (pl.col("day").cast(str) == day)
    )
    return rows["value"].sum() if len(rows) else None


def must_not(text: str) -> Fact:
    """What would be wrong, as a question to a record."""
    if text in MUST_NOT:
        return MUST_NOT[text]
    found = GLUCOSE.fullmatch(text)
    assert found is not None, f"a word that no test knows: {text!r}"
    number = float(found[1])
    return lambda record: near(record, number, "glucose")


def held(summary: Mapping[str, Any], record: pl.DataFrame) -> list[str]:
    """Words of a summary that do not hold, with what was found."""
    wrong = []
    for name, wanted in summary.items():
        if name in EITHER:
            fact, allowed = EITHER[name]
            found: Any = {round(value) for value in fact(record).values()}
            right = len(found) == 1 and found <= allowed
        else:
            found = SUMMARY[name](record)
            right = found == wanted
        if not right:
            wrong.append(f"{name}: {found}, not {wanted}")
    return wrong
