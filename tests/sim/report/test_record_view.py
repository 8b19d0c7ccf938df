"""What a page about a record counts: wear, silences, sleep, courses with seams, marks, the clock."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.record.clock import DAY, HOUR, MINUTE
from metapulse.record.readers.base import Options
from metapulse.record.store import import_files
from metapulse.sim.report.record.courses import POINTS, Seam, seams, stretch
from metapulse.sim.report.record.rows import DEVICES, device_names
from metapulse.sim.report.record.view import RecordView, length_words

HEAD = "time,metric,value,unit,end,code,device\n"
DAWN = datetime(2024, 4, 3, tzinfo=UTC)

View = Callable[[Sequence[str]], RecordView]


def made(folder: Path, lines: Sequence[str]) -> RecordView:
    """A record of some lines of our own CSV, as it is shown."""
    given, out = folder / "mine.csv", folder / "person.parquet"
    given.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    out.unlink(missing_ok=True)
    import_files([given], out, Options())
    return RecordView(out)


@pytest.fixture
def view(tmp_path: Path) -> View:
    return lambda lines: made(tmp_path, lines)


def row(minute: float, metric: str, value: object, end: float | None = None, code: str = "", device: str = "A") -> str:
    """A line at so many minutes after dawn, on a clock of UTC+2 that shows the same."""
    stamps = [
        None if m is None else (DAWN + timedelta(minutes=m)).strftime("%Y-%m-%dT%H:%M:%S+02:00") for m in (minute, end)
    ]
    return f"{stamps[0]},{metric},{value},,{stamps[1] or ''},{code},{device}"


def hours_worn(shown: RecordView) -> dict[tuple[int, int], float]:
    """(column, hour) → share, of those that are not 0."""
    share = shown.wear["Heart, movement and sleep"].share
    return {(day, hour): share[day, hour] for day, hour in zip(*share.nonzero(), strict=True)}


# Wear


def test_an_hour_is_worn_by_the_share_of_its_five_minutes_on_the_persons_clock(view: View) -> None:
    shown = view([row(8 * 60 + m, "heart_rate", 60) for m in range(0, 90, 5)])
    assert hours_worn(shown) == {(0, 8): 1.0, (0, 9): 0.5}


@pytest.mark.parametrize(("every", "share"), [(1, 1.0), (15, 1.0), (20, 0.25)])
def test_readings_a_quarter_of_an_hour_apart_are_one_stretch(view: View, every: int, share: float) -> None:
    shown = view([row(60 + m, "heart_rate", 60) for m in range(0, 121, every)])
    assert hours_worn(shown)[0, 1] == hours_worn(shown)[0, 2] == share


def test_what_says_nothing_of_wear_does_not_count(view: View) -> None:
    lines = [row(0, "steps", 0, 60), row(60, "weight", 70), row(120, "steps", 900, 300), row(300, "heart_rate", 999)]
    assert not view(lines).wear  # none taken; a scale; a total of three hours; a value that cannot be
    assert hours_worn(view([*lines, row(600, "steps", 40, 610)])) == {(0, 10): pytest.approx(2 / 12)}


def test_sleep_is_worn_through_midnight(view: View) -> None:
    shown = view([row(-60, "sleep_stage", "", 120, "asleep")])
    assert hours_worn(shown) == {(0, 23): 1.0, (1, 0): 1.0, (1, 1): 1.0}


def test_a_sensor_of_glucose_has_a_map_of_its_own(view: View) -> None:
    shown = view([row(m, "glucose", 100) for m in range(0, 60, 5)])
    assert list(shown.wear) == ["Glucose sensor"]
    assert shown.wear["Glucose sensor"].worn.tolist() == [1.0]


# Silences


def test_silences_are_those_that_are_unusual_for_a_device(view: View) -> None:
    band = [row(24 * 60 * d + m, "heart_rate", 60) for d in (*range(5), *range(8, 12)) for m in range(0, 1440, 60)]
    scale = [row(24 * 60 * d, "weight", 70, device="Scale") for d in (*range(0, 30, 3), 40)]
    shown = view([*band, *scale])
    assert [(shown.name(one.place), length_words(one.length)) for one in shown.silences] == [
        ("Scale", "12 days 23 h"),
        ("A", "3 days"),
    ]


# Sleep


def test_stages_of_two_sources_are_united_and_the_more_telling_believed(view: View) -> None:
    shown = view(
        [
            row(-60, "sleep_stage", "", 60, "deep", "Ring"),
            row(0, "sleep_stage", "", 5, "awake", "Ring"),  # within the longer stage
            row(-90, "sleep_stage", "", 120, "asleep", "Phone"),
            row(-120, "sleep_stage", "", 130, "in_bed", "Phone"),
        ]
    )
    assert shown.nights is not None
    found = dict(shown.nights.stages.select("stage", "minutes").iter_rows())
    assert found == {"deep": 115, "awake": 5, "asleep": 90, "in_bed": 40}
    assert shown.nights.asleep["minutes"].to_list() == [205]
    assert shown.nights.spells.select("minutes", "nap").rows() == [(210, False)]


def test_short_sleep_by_day_is_a_nap_and_no_night(view: View) -> None:
    night, nap = row(-60, "sleep_stage", "", 360, "asleep"), row(13 * 60, "sleep_stage", "", 13 * 60 + 40, "asleep")
    shown = view([night, nap]).nights
    assert shown is not None
    assert shown.naps == 1
    assert shown.asleep["minutes"].to_list() == [420]
    assert shown.spells["nap"].to_list() == [False, True]


def test_without_stages_totals_of_a_night_are_shown(view: View) -> None:
    lines = [row(24 * 60 * d - 60, f"sleep_{s}", 60 + d, 24 * 60 * d + 300) for d in range(3) for s in ("deep", "rem")]
    shown = view(lines).nights
    assert shown is not None
    assert shown.source == 0
    assert shown.asleep["minutes"].to_list() == [120, 122, 124]


def test_a_night_without_stages_has_the_totals_of_a_device_also_where_others_have_stages(view: View) -> None:
    totals = [row(24 * 60 * d - 60, "sleep_deep", 400 + d, 24 * 60 * d + 340, device="Band") for d in range(3)]
    shown = view([*totals, row(24 * 60 - 30, "sleep_stage", "", 24 * 60 + 60, "light", "Phone")])
    assert shown.nights is not None
    assert shown.nights.asleep["minutes"].to_list() == [400, 90, 402]
    assert shown.nights.source is not None
    assert shown.name(shown.nights.source) == "Band"
    assert len(shown.nights.spells) == 1


SPANS = st.lists(
    st.tuples(
        st.integers(0, 600), st.integers(1, 300), st.sampled_from(("deep", "asleep", "awake")), st.sampled_from("AB")
    ),
    min_size=1,
    max_size=8,
)


@given(SPANS)
@settings(max_examples=15, deadline=None)
def test_no_minute_of_sleep_is_counted_twice_and_none_is_lost(spans: list[tuple[int, int, str, str]]) -> None:
    lines = [row(a - 300, "sleep_stage", "", a - 300 + length, code, who) for a, length, code, who in spans]
    with tempfile.TemporaryDirectory() as folder:
        shown = made(Path(folder), lines).nights
    assert shown is not None
    minutes = {m for a, length, _, _ in spans for m in range(a - 300, a - 300 + length)}
    dawn = int(DAWN.timestamp()) // 60
    naps = [(start // MINUTE - dawn, length) for _, start, nap, length in shown.spells.iter_rows() if nap]
    assert shown.stages["minutes"].sum() == sum(not any(a <= m < a + length for a, length in naps) for m in minutes)


# Courses and seams


@pytest.mark.parametrize("every", [1, 7, 60, 7 * 24 * 60])
def test_thinning_keeps_every_devices_extremes_and_counts(view: View, every: int) -> None:
    values = np.random.default_rng(every).uniform(30, 200, 2000).round(2)
    (course,) = view([row(i * every, "heart_rate", v, device="AB"[i % 2]) for i, v in enumerate(values)]).courses
    assert len(course.points) <= POINTS
    for place, own in enumerate((values[::2], values[1::2])):
        points = course.points.filter(pl.col("place") == place)
        assert (points["low"].min(), points["high"].max()) == (own.min(), own.max())
        assert points["rows"].sum() == len(own)


def test_counts_are_sums_of_a_persons_day(view: View) -> None:
    lines = [row(60 * h, "steps", 10, 60 * h + 60) for h in range(24 * 4)]
    (course,) = view(lines).courses
    assert (course.summed, course.width) == (True, DAY)
    assert course.points["middle"].to_list() == [240.0] * 4


@given(st.integers(0, 10**17), st.integers(1, DEVICES))
def test_a_stretch_is_so_long_that_points_are_few(span: int, devices: int) -> None:
    assert (span // stretch(span, devices) + 1) * devices <= POINTS + devices


@pytest.mark.parametrize(
    ("spans", "found"),
    [
        ([(0, 50, 0, 100), (1, 50, 90, 200)], [Seam(0, 1, 100, 90)]),  # both for a while
        ([(0, 50, 0, 100), (1, 50, 150, 200)], [Seam(0, 1, 100, 150)]),  # a gap
        ([(0, 50, 0, 100), (1, 50, 5, 101)], []),  # side by side
        ([(0, 50, 0, 100), (1, 50, 40, 60)], []),  # the other goes on
        ([(0, 5000, 0, 100), (1, 3, 150, 200)], []),  # a stray one
        ([(0, 9, 0, 10), (1, 9, 11, 20), (2, 9, 21, 30)], [Seam(0, 1, 10, 11), Seam(1, 2, 20, 21)]),
        ([], []),
    ],
)
def test_a_seam_is_where_one_device_ends_and_another_begins(
    spans: list[tuple[int, int, int, int]], found: list[Seam]
) -> None:
    assert list(seams(spans)) == found


def test_a_seam_tells_the_level_before_and_after(view: View) -> None:
    lines = [row(60 * h, "heart_rate", 60, device="Old") for h in range(24 * 20)]
    lines += [row(60 * h, "heart_rate", 66, device="New") for h in range(24 * 19, 24 * 40)]
    (course,) = view(lines).courses
    assert course.levels == ((60.0, 66.0),)
    assert course.seams[0].begins - course.seams[0].ends == -23 * HOUR


# Devices, marks, clock


def test_devices_are_told_apart_by_their_serial_number_and_not_by_firmware() -> None:
    watch = {"manufacturer": "Acme", "model": "Acme W", "unit": None}
    assert device_names([watch | {"firmware": "1"}, watch | {"firmware": "2"}, None]) == [
        *("Acme W", "Acme W"),
        "a device without a name",
    ]
    assert device_names([watch | {"unit": "SN-000001"}, watch | {"unit": "SN-000002"}]) == [
        *("Acme W …000001", "Acme W …000002"),
    ]
    assert device_names([{"app": "a\u202eb\n" + "x" * 200}])[0].startswith("a b xxx")


def test_more_devices_than_colours_are_the_rest(view: View) -> None:
    record = view([row(i, "weight", 70, device=f"D{i:02d}") for i in range(30)]).record
    assert record.different == 30
    assert record.devices[-1] == "19 other devices"
    assert record.contents["rows"].to_list() == [1] * 11 + [19]


def test_every_mark_is_counted_with_examples_that_lead_to_the_files_row(view: View) -> None:
    shown = view([row(0, "heart_rate", 60), row(1, "heart_rate", 999), "2024-04-03 08:00:00,weight,900,kg,,,A"])
    found = {one.mark: one for one in shown.marks}
    assert {name: one.rows for name, one in found.items()} == {"implausible": 2, "zone_assumed": 1}
    assert found["implausible"].metrics == (("heart_rate", 1), ("weight", 1))
    example = found["implausible"].examples[0]
    assert (example["value"], example["source"]) == (999.0, {"file": "mine.csv", "row": 3})


def test_stamps_that_cannot_be_right_are_in_no_figure_unless_there_is_nothing_else(view: View) -> None:
    old = "1961-04-03T08:00:00+02:00,heart_rate,60,,,,A"
    assert view([row(0, "heart_rate", 60), old]).days == 1
    shown = view([old])
    assert (shown.record.timeless, shown.days, len(shown.courses)) == (True, 1, 1)


def test_a_few_rows_a_year_from_all_others_do_not_stretch_the_figures(view: View) -> None:
    lines = [row(m, "heart_rate", 60) for m in range(2000)]
    shown = view([*lines, "2000-01-01T00:00:00+00:00,heart_rate,60,,,,A"])
    assert (shown.days, shown.record.total("late")) == (2, 1)
    shown = view([*lines, *(f"2000-01-{d:02d}T00:00:00+00:00,heart_rate,60,,,,A" for d in range(1, 5))])
    assert (shown.days > 8000, shown.record.total("late")) == (
        True,
        0,
    )  # several days are a life and no clock's mistake


def test_the_clock_is_told_from_day_to_day(view: View) -> None:
    days = [(1, "+01:00"), (2, "+01:00"), (3, "+02:00"), (4, ""), (5, "")]
    shown = view([f"2024-03-0{day}T12:00:00{offset},heart_rate,60,,,,A" for day, offset in days])
    assert [(one.offset_min, one.last - one.first, one.rows) for one in shown.clock] == [
        *((60, 1, 2), (120, 0, 1), (None, 1, 2)),
    ]


@pytest.mark.parametrize(
    ("length", "words"),
    [(35 * MINUTE, "35 min"), (130 * MINUTE, "2 h 10 min"), (DAY, "1 day"), (123 * HOUR, "5 days 3 h")],
)
def test_lengths_in_words(length: int, words: str) -> None:
    assert length_words(length) == words
