"""Days and nights: the person's own dates, each moment once, unions and not sums."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.record.daily import by_minute, daily_last, daily_totals, daily_totals_by_source
from metapulse.record.nights import nights, nights_by_source
from metapulse.record.overlap import union_minutes, with_source
from metapulse.record.restated import restated
from metapulse.record.schema import Device

Row = tuple[datetime, float, int | None, str, float | None, str | None, str, list[str]]
T = datetime(2024, 4, 3, tzinfo=UTC)


def table(*rows: Row) -> pl.DataFrame:
    """Rows of (start, minutes, offset, metric, value, code, model, marks) as a record has them."""
    made = [
        {
            "start": start,
            "end": start + timedelta(minutes=minutes) if minutes else None,
            "offset_min": offset,
            "metric": metric,
            "value": value,
            "code": code,
            "device": Device(model=model)._asdict() if model else None,
            "source": {"file": "x.csv", "row": i},
            "quality": marks,
        }
        for i, (start, minutes, offset, metric, value, code, model, marks) in enumerate(rows)
    ]
    instant = pl.Datetime("us", "UTC")
    schema = {
        "start": instant, "end": instant, "offset_min": pl.Int16, "metric": pl.String, "value": pl.Float64,
        "code": pl.String, "device": pl.Struct(dict.fromkeys(Device._fields, pl.String)),
        "source": pl.Struct({"file": pl.String, "row": pl.Int64}), "quality": pl.List(pl.String),
    }  # fmt: skip
    return pl.DataFrame(made, schema=schema)


def steps(start: datetime, minutes: float, value: float, model: str = "Watch", offset: int | None = 0) -> Row:
    return (start, minutes, offset, "steps", value, None, model, [])


def at(hour: float, day: int = 3) -> datetime:
    return datetime(2024, 4, day, tzinfo=UTC) + timedelta(hours=hour)


def totals(rows: pl.DataFrame, *prefer: str) -> dict[date, float]:
    found = daily_totals(rows, prefer)
    return dict(zip(found["day"], found["value"], strict=True))


def test_an_amount_across_midnight_is_divided_by_time() -> None:
    rows = table(steps(at(23.5), 60, 600), steps(at(23, 4), 25 * 60, 2500))
    wanted = {date(2024, 4, 3): 300, date(2024, 4, 4): 300 + 100, date(2024, 4, 5): 2400}
    assert totals(rows) == pytest.approx(wanted)


def test_a_day_is_the_persons_across_travel_and_clock_change() -> None:
    """Tokyo in the morning, Los Angeles after: one date twice as long; and 23:30 of summer time is no next day."""
    rows = table(
        steps(at(22, 2), 10, 100, offset=540),  # 07:00 of the 3rd in Tokyo
        steps(at(23), 10, 200, offset=-420),  # 16:00 of the 3rd in Los Angeles
        steps(datetime(2024, 3, 30, 22, 30, tzinfo=UTC), 10, 1, offset=60),
        steps(datetime(2024, 3, 31, 21, 30, tzinfo=UTC), 10, 2, offset=120),
        steps(datetime(2024, 3, 31, 22, 30, tzinfo=UTC), 10, 4, offset=120),
    )
    wanted = {date(2024, 4, 3): 300, date(2024, 3, 30): 1, date(2024, 3, 31): 2, date(2024, 4, 1): 4}
    assert totals(rows) == wanted


def test_a_row_that_is_covered_in_part_counts_in_part() -> None:
    rows = table(steps(at(8), 60, 1000, "SM-G991"), steps(at(8.5), 10, 900))
    assert totals(rows)[date(2024, 4, 3)] == pytest.approx(900 + 1000 * 50 / 60)
    assert totals(rows, "sm-g")[date(2024, 4, 3)] == 1000
    alone = daily_totals_by_source(rows)
    assert dict(zip(alone["by"], alone["value"], strict=True)) == {"SM-G991": 1000, "Watch": 900}


def test_a_device_that_was_not_worn_covers_nothing() -> None:
    rows = table(*(steps(at(8 + i / 60), 1, 0) for i in range(60)), steps(at(8), 60, 500, "iPhone"))
    assert totals(rows) == {date(2024, 4, 3): 500}


def test_a_vendors_total_of_the_day_or_its_parts_but_not_both() -> None:
    day = (at(0), 24 * 60, 0, "distance", 5000.0, "daily", "Watch", [])
    part = (at(8), 60, 0, "distance", 3000.0, None, "Watch", [])
    dated = (at(0), 24 * 60, 0, "distance", 2000.0, None, "Watch", ["date_only"])
    assert totals(table(day, part)) == {date(2024, 4, 3): 5000}
    assert totals(table(part, dated)) == {date(2024, 4, 3): 3000}


def of_files(rows: pl.DataFrame, *names: str) -> pl.DataFrame:
    """The same rows, read from these files."""
    return rows.with_columns(source=pl.struct(file=pl.Series(names), row=pl.int_range(pl.len(), dtype=pl.Int64)))


@pytest.mark.parametrize("code", [None, "daily"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_day_that_was_exported_before_it_was_over_counts_once(code: str | None, order: int) -> None:
    """Of one source's totals of a day in several files those of the fullest count, and all of that file's."""
    marks = ["date_only"] if code is None else []
    given = [
        ((at(0), 24 * 60, 0, "distance", 3500, code, "Band", marks), "march.csv"),
        ((at(0), 24 * 60, 0, "distance", 4000, code, "Band", marks), "april.csv"),
        ((at(0), 24 * 60, 0, "distance", 2500, code, "Band", marks), "april.csv"),
        ((at(0), 24 * 60, 0, "steps_daily", 5000, code, "Band", marks), "march.csv"),
        ((at(0), 24 * 60, 0, "steps_daily", 9000, code, "Band", marks), "april.csv"),
    ][::order]
    rows = of_files(table(*[row for row, _ in given]), *[name for _, name in given])
    assert list(totals(rows).values()) == [6500]
    assert daily_totals_by_source(rows)["value"].to_list() == [6500]
    assert daily_last(rows)["value"].to_list() == [9000]


def test_an_hour_that_was_exported_before_it_was_over_counts_once() -> None:
    """So it is with finer rows; single amounts without an end are not of one hour."""
    rows = of_files(
        table(steps(at(8), 60, 100), steps(at(8), 60, 250), steps(at(9), 60, 30)), "a.csv", "b.csv", "b.csv"
    )
    assert list(totals(rows).values()) == [280]
    doses = table(*[(at(8), 0, 0, "insulin_rapid", dose, None, "Pump", []) for dose in (2, 3)])
    assert list(totals(of_files(doses, "a.csv", "b.csv")).values()) == [5]


def test_an_interval_that_has_grown_in_a_later_export_counts_once() -> None:
    """The hour was not over, and the next one stands beside it in both."""
    early = [(steps(at(8), 30, 500), "1.json"), (steps(at(7), 60, 70), "1.json")]
    late = [(steps(at(8), 60, 1000), "2.json"), (steps(at(9), 60, 30), "2.json")]
    for both in (early + late, late + early):
        rows = of_files(table(*[row for row, _ in both]), *[name for _, name in both])
        assert list(totals(rows).values()) == [1100]


def test_an_amount_that_is_exported_by_minutes_and_by_quarters_counts_once() -> None:
    """In the finer form, where both come to the same: as long as there are no minutes of it, the quarter counts."""
    minutes = [(steps(at(8) + timedelta(minutes=n), 1, 100), "minutes.json") for n in range(3)]
    quarters = [(steps(at(8 + n / 4), 15, value), "quarters.json") for n, value in enumerate((300, 40))]
    rows = of_files(table(*[row for row, _ in minutes + quarters]), *[name for _, name in minutes + quarters])
    assert list(totals(rows).values()) == [340]
    assert restated(with_source(rows)).tolist() == [False, False, False, True, False]


def test_an_amount_that_grew_across_midnight_counts_on_both_days() -> None:
    rows = of_files(table(steps(at(23), 60, 600), steps(at(23), 90, 660)), "x.csv", "y.csv")
    assert totals(rows) == {date(2024, 4, 3): pytest.approx(440), date(2024, 4, 4): pytest.approx(220)}


def test_other_amounts_of_one_source_that_overlap_count_each() -> None:
    """As a bolus while another one runs; also where what both files have is taken for the first one's."""
    for names in (["1.json", "2.json"], ["2.json", "1.json"], ["1.json", "1.json"]):
        assert list(totals(of_files(table(steps(at(10), 120, 3), steps(at(11), 60, 4)), *names)).values()) == [7]
        assert list(totals(of_files(table(steps(at(10), 60, 600), steps(at(10.9), 36, 500)), *names)).values()) == [
            1100
        ]
    hours = table(steps(at(8), 60, 1000), steps(at(8), 30, 400), steps(at(8.5), 30, 600), steps(at(8.5), 1, 7))
    assert list(totals(hours).values()) == [1007]  # the minute is no part of anything that adds up


def test_repeats_and_doubtful_values_count_in_no_day() -> None:
    marked = [(at(9), 10, 0, "steps", 70.0, None, "Watch", [mark]) for mark in ("duplicate_of", "implausible")]
    assert totals(table(steps(at(8), 10, 50), *marked)) == {date(2024, 4, 3): 50}


def test_workouts_are_minutes_of_the_union() -> None:
    rows = table(*((at(hour), 60, 0, "workout", 60.0, "running", model, []) for hour, model in ((8, "A"), (8.5, "B"))))
    assert totals(rows) == {date(2024, 4, 3): 90}


def test_one_source_a_minute_and_the_newest_of_a_day() -> None:
    def pulse(second: int, value: float, model: str) -> Row:
        return (at(8) + timedelta(seconds=second), 0, 0, "heart_rate", value, None, model, [])

    rows = table(pulse(0, 60, "A"), pulse(30, 62, "A"), pulse(31, 90, "B"), pulse(61, 91, "B"))
    assert by_minute(rows, "heart_rate", ["A"])["value"].to_list() == [61, 91]
    assert by_minute(rows, "heart_rate", ["B"])["value"].to_list() == [90, 91]
    weights = [(at(hour), 0, 0, "weight", value, None, "Scale", []) for hour, value in ((7, 70.0), (21, 71.0))]
    assert daily_last(table(*weights))["value"].to_list() == [71]


def sleep(start: float, end: float, code: str, model: str, day: int = 3) -> Row:
    return (at(start, day), (end - start) * 60, 120, "sleep_stage", None, code, model, [])


def test_a_night_is_a_union_and_its_stages_are_one_sources() -> None:
    rows = table(
        sleep(-2, 6, "in_bed", "Phone"),
        sleep(-1, 3, "light", "Watch"),
        sleep(3, 5, "deep", "Watch"),
        sleep(-1.5, 2, "asleep", "App"),
        sleep(2, 4, "rem", "Ring"),
        sleep(13, 14, "asleep", "App"),
    )
    night, nap = nights(rows).rows(named=True)
    assert (night["night"], nap["night"], night["main"], nap["main"]) == (
        date(2024, 4, 3),
        date(2024, 4, 3),
        True,
        False,
    )
    names = ("in_bed_min", "asleep_min", "light_min", "deep_min", "rem_min")
    assert [night[name] for name in names] == [480, 6.5 * 60, 240, 120, 0]
    assert [nights(rows, ["Ring"]).row(0, named=True)[name] for name in names[2:]] == [0, 0, 120]
    assert nights_by_source(rows).filter(pl.col("by") == "Watch")["asleep_min"].to_list() == [360]


def test_a_night_without_intervals_of_sleep_has_its_own_total() -> None:
    row = (at(-2), 480, 0, "sleep_duration", 430.0, None, "Band", [])
    assert nights(table(row)).select("in_bed_min", "asleep_min", "rem_min").rows() == [(480, 430, None)]


INTERVALS = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 90), st.sampled_from("AB")), min_size=1, max_size=12)


@settings(max_examples=40)
@given(INTERVALS)
def test_the_union_of_sleep_is_at_least_each_and_at_most_the_sum(intervals: list) -> None:
    rows = table(*(sleep(m / 60, (m + n) / 60, "asleep", name) for m, n, name in intervals))
    each = nights_by_source(rows).group_by("by").agg(pl.col("asleep_min").sum())["asleep_min"]
    together = nights(rows)["asleep_min"].sum()
    assert each.max() - 1e-6 <= together <= each.sum() + 1e-6
    assert together == pytest.approx(len({t for m, n, _ in intervals for t in range(m, m + n)}))
    assert union_minutes(rows) == pytest.approx(together)
