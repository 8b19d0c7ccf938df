"""Stamps: every form, days of the person, nights when clocks change; day and month from the whole column."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.errors import ConfigError
from metapulse.record.clock import HOUR, US, Clock, Stamp, date_order, epoch, offset_minutes, zone
from metapulse.record.readers.base import Context
from tests.metapulse.record.test_readers import memory_file

BERLIN = Clock(zone("Europe/Berlin"), "dmy")
EIGHT = datetime(2024, 4, 3, 6, tzinfo=UTC)  # 08:00 in Berlin


def micros(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    "text",
    [
        "2024-04-03T08:00:00+02:00",
        "2024-04-03 08:00:00 +0200",
        "2024-04-03T08:00:00.000+02",
        "2024-04-03T06:00:00Z",
        "2024-04-03 06:00:00 UTC",
        "2024-04-03T02:00:00-04:00",
        "2024-04-03T08:00:00",
        "2024-04-03 8:00:00",
        "2024/04/03 08:00:00",
        "03-04-2024 08:00",
        "03.04.2024 08:00:00",
        "3/4/24 8:00 AM",
        "03-04-2024 8:00 a. m.",
        "03.04.2024 08:00 vorm.",
        "3/4/2024 8:00:00 午前",
        "202404030800+0200",
        "20240403080000",
        "20240403T060000Z",
        "2024-04-03T08:00",
    ],
)
def test_one_instant_in_many_forms(text: str) -> None:
    assert BERLIN.read(text) == Stamp(micros(EIGHT), BERLIN.read(text).offset_min)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    ["", "x", "2024-13-01", "2024-02-30 10:00", "31-02-2024", "2024-04-03 25:00", "2024-04-03 10:60", "13:00 PM 2024",
     "03-04-2024 13:00 PM", "2024-04-03T08:00:00+99:00", "0000-00-00 00:00:00", "99999999999",
     "2024-04-03 08:²0:00 +0200", "2024-04-03 08:60:00 +0200", "2024-04-03 08.00.00 +9900",
     "2024-04-03 08:00:0 +02000"],
)  # fmt: skip
def test_what_is_no_time_is_none(text: str) -> None:
    assert BERLIN.read(text) is None


@given(st.datetimes(datetime(1995, 1, 1), datetime(2100, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_what_is_written_is_read(moment: datetime, offset: int) -> None:
    written = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    for text in (written.isoformat(), written.strftime("%Y-%m-%dT%H:%M:%S.%f%z")):
        assert BERLIN.read(text) == Stamp(micros(written), offset)
    whole = written.replace(microsecond=0)
    assert BERLIN.read(whole.strftime("%Y-%m-%d %H:%M:%S %z")) == Stamp(micros(whole), offset)


@given(st.datetimes(datetime(1995, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_a_local_time_is_read_back_but_in_the_hour_that_exists_twice(moment: datetime) -> None:
    local = moment.astimezone(zone("Europe/Berlin"))
    stamp = BERLIN.read(local.replace(tzinfo=None).isoformat())
    assert stamp is not None
    if "clock_ambiguous" not in stamp.marks:
        assert stamp == Stamp(micros(moment), round(local.utcoffset().total_seconds() / 60))  # type: ignore[union-attr]
    else:
        assert stamp.start in (micros(moment), micros(moment) - HOUR)


def test_the_hour_that_exists_twice_is_told_by_what_came_before() -> None:
    first = BERLIN.read("2024-10-27 02:55")
    assert first is not None
    assert (first.offset_min, first.marks) == (120, ("clock_ambiguous",))
    second = BERLIN.read("2024-10-27 02:00", after=first.start)
    assert second == Stamp(first.start + 5 * 60 * US, 60)


def test_what_came_long_before_does_not_tell_the_hour() -> None:
    first = BERLIN.read("2024-10-27 02:30")
    assert first is not None
    assert BERLIN.read("2024-10-27 02:30", after=first.start - HOUR) == first
    assert BERLIN.read("2024-10-27 02:30", after=first.start) == first._replace(marks=())


def test_the_hour_that_does_not_exist_is_marked() -> None:
    stamp = BERLIN.read("2024-03-31 02:30")
    assert stamp == Stamp(micros(datetime(2024, 3, 31, 1, 30, tzinfo=UTC)), 60, ("clock_missing",))


def test_a_day_is_a_day_of_the_person() -> None:
    stamp = BERLIN.read("31-03-2024")
    assert stamp is not None
    assert stamp.end is not None
    assert stamp.end - stamp.start == 23 * HOUR
    assert stamp.marks == ("date_only",)
    assert Clock().read("2024-03-31") == Stamp(
        micros(datetime(2024, 3, 31, tzinfo=UTC)), None, ("date_only",), stamp.end + 2 * HOUR
    )


def test_a_local_time_without_a_zone_is_marked() -> None:
    assert Clock().read("2024-04-03T06:00:00") == Stamp(micros(EIGHT), None, ("zone_assumed",))


def test_the_order_of_a_column_and_what_it_is_worth() -> None:
    assert date_order(["03/04/2024", "13/04/2024"]) == "dmy"
    assert date_order(["03/04/2024", "04/13/2024"]) == "mdy"
    assert date_order(["2024-03-04"]) == "ymd"
    assert date_order(["2024-03-04", "13/04/2024"]) == "dmy"  # a stamp that begins with its year needs no order
    assert date_order(["03/04/2024", "05/04/2024"]) == date_order(["13/04/2024", "04/13/2024"]) == date_order([]) == ""
    assert Clock(None, "mdy", ("date_order_assumed",)).read("04/03/2024 06:00") == Stamp(
        micros(EIGHT), None, ("date_order_assumed", "zone_assumed")
    )


def test_a_year_of_two_digits_is_found_in_the_column_and_has_one_century() -> None:
    month = [f"{day:02}/04/24" for day in range(10, 31)]
    assert date_order(month) == "dmy"
    assert date_order("/".join(reversed(text.split("/"))) for text in month) == "ymd"
    assert date_order(["24/04/03", "25/05/09"]) == date_order(["13/04/24"]) == ""  # of 2024, or of 2003
    assert (date_order(["24/04/32"]), date_order(["32/04/24"]), date_order(["04/13/24"])) == ("dmy", "ymd", "mdy")
    context = Context(memory_file(b""))
    assert context.date_order(["27/05/15"], "mdy") == "dmy"  # the year is where this vendor has it
    assert (stamp := context.clock.read("27/05/15"))
    assert stamp.marks == ("date_order_assumed", "date_only")
    for order, text in (("dmy", "03/04/{}"), ("mdy", "04/03/{}"), ("ymd", "{}/04/03")):
        read = Clock(order=order).read
        assert read(text.format("24")) == Clock().read("2024-04-03")
        assert read(text.format("70")) is read(text.format("95")) is read(text.format("123")) is None


@pytest.mark.parametrize(
    ("column", "order"),
    [
        (["05/06/24", "05/07/24", "05/08/24", "04/13/24", "94/15/24"], "mdy"),
        (["05/06/24", "05/07/24", "13/04/24", "94/05/24"], ""),  # may be 2005 and 2013
        ([f"24/04/{day:02}" for day in range(1, 31)] + ["24/04/93"], "ymd"),
        (["03/04/2024", "05/04/2024", "06/47/2024"], ""),
        (["2024-04-03", "03/04/2024"], ""),
        (["04/13/2024", "45/06/2024"], "mdy"),
        ([f"{day}/04/2024" for day in range(13, 24)] + ["04/13/2024"], "dmy"),
        ([f"{day}/04/2024" for day in range(13, 17)] + ["04/13/2024"], ""),  # four against one may be two files
    ],
)
def test_a_damaged_stamp_does_not_date_the_others(column: list[str], order: str) -> None:
    """What is no date in any order tells none, and what few stamps say alone does not count."""
    assert date_order(column) == order


@pytest.mark.parametrize(
    "text",
    [
        "2024-04-03 25:10:00 +0200",
        "2024-04-03 99:10:00 +0200",
        "2024-04-03 -5:10:00 +0200",
        "2024-04-03 08X18:00Y+0200",
        "2024-04-03 08:18:00 +9900",
        "2024-04-03 08:18:00 +0 00",
    ],
)
def test_stamps_in_apples_form_are_held_to_the_clock(text: str) -> None:
    assert Clock().read(text) is None


@given(st.integers(10**9, 4 * 10**9), st.integers(0, 999_999))
def test_seconds_milli_micro_and_nanoseconds(seconds: int, part: int) -> None:
    micro = seconds * US + part
    assert epoch(seconds) == epoch(str(seconds)) == seconds * US
    assert epoch(micro // 1000) == epoch(str(micro // 1000)) == micro // 1000 * 1000
    assert epoch(micro) == micro
    assert epoch(micro * 1000 + 789) == epoch(str(micro * 1000 + 789)) == micro  # more digits than a double has


@pytest.mark.parametrize("number", ["", "x", "1e9", "-", float("nan"), float("inf"), True, "1" * 30])
def test_what_is_no_count_of_seconds(number: object) -> None:
    assert epoch(number) is None  # type: ignore[arg-type]


def test_offsets() -> None:
    texts = {"+02:00": 120, "UTC+0900": 540, "-0430": -270, "Z": 0, "UTC": 0, "GMT-5": -300, "−03:30": -210}
    assert {text: offset_minutes(text) for text in texts} == texts
    assert offset_minutes("Berlin") is offset_minutes("+99:00") is None


def test_the_offset_of_an_instant_in_the_zone_that_was_told() -> None:
    assert BERLIN.offset(micros(EIGHT)) == 120
    assert BERLIN.offset(2**62) is None
    assert Clock().offset(micros(EIGHT)) is None


def test_a_zone_that_does_not_exist_is_named() -> None:
    for name in ("Mars", "../etc/passwd", "\0"):
        with pytest.raises(ConfigError, match="Europe/Berlin"):
            zone(name)
