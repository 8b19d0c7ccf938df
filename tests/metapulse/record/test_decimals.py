"""Numbers whose comma, or point, may be the decimal one or part thousands: told from the whole file."""

from __future__ import annotations

import pytest

from metapulse.record.readers.base import Context
from metapulse.record.readers.text import csv_rows, number
from metapulse.record.tally import FileTally
from tests.metapulse.record.conftest import Import
from tests.metapulse.record.test_readers import memory_file

WEIGHTS = ["2024-04-03T09:00:00Z;;weight;72,5;kg;", "2024-04-03T09:30:00Z;;weight;1.072,5;kg;"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a;b;c;d\nx;y;z;u\n72,500;1,5", 72.5),  # the other column tells
        ("a;b;c;d\nx;y;z;u\n72,500;1", 72.5),  # whose columns are parted by semicolons has the comma for its numbers
        ('a,b,c,d\nx,y,z,u\n"72,500","1,5"', 72.5),
        ('a,b,c,d\nx,y,z,u\n"72,500","1,2345"', 72.5),
        ('a,b,c,d\nx,y,z,u\n"72,500","0,250"', 72.5),
        ('a,b,c,d\nx,y,z,u\n"72,500","1.234,5"', 72.5),
        ('a,b,c,d\nx,y,z,u\n"72,500","1"', 72_500),
        ('a,b,c,d\nx,y,z,u\n"72,500","1,234,567"', 72_500),
        ("a;b;c;d\nx;y;z;u\n72,500;1,234.5", 72_500),
        ("a\tb\tc\td\nx\ty\tz\tu\n72,500\t1,234,567", 72_500),
        ('a,b,c,d\nx,y,z,u\n"0,125",1', 0.125),  # no thousands begin with 0
        ('a,b,c,d\nx,y,z,u\n"-0,005",1', -0.005),
    ],
)
def test_what_a_comma_is_worth(text: str, value: float) -> None:
    rows = list(csv_rows(Context(memory_file(text.encode()), tally=FileTally("file"))))
    assert number(rows[2][1][0]) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a;b;c;d\nx;y;z;u\n1.234;1,5", 1234),
        ("a;b;c;d\nx;y;z;u\n1.234.567;1,5", 1_234_567),
        ('a,b,c,d\nx,y,z,u\n1.234,"72,5"', 1234),
        ("a;b;c;d\nx;y;z;u\n1.234;1.072,5", 1234),
        ("a;b;c;d\nx;y;z;u\n1.234;1", 1.234),  # a semicolon alone does not tell
        ("a;b;c;d\nx;y;z;u\n1.234;72,500", 1.234),
        ("a;b;c;d\nx;y;z;u\n1.234;1,5;0.5", 1.234),  # both signs are decimal ones somewhere
        ('a,b,c,d\nx,y,z,u\n1.234,"1,234,567"', 1.234),
        ("a;b;c;d\nx;y;z;u\n0.234;1,5", 0.234),
        ("a;b;c;d\nx;y;z;u\n1.2345;1,5", 1.2345),
    ],
)
def test_what_a_point_is_worth(text: str, value: float) -> None:
    rows = list(csv_rows(Context(memory_file(text.encode()), tally=FileTally("file"))))
    assert number(rows[2][1][0]) == value


def test_points_that_part_thousands_in_a_record_of_our_own(record: Import) -> None:
    told = ["2024-04-03T08:00:00Z;2024-04-03T09:00:00Z;steps;1.234;count;1.234", *WEIGHTS]
    frame, _ = record({"own.csv": "\n".join(["time;end;metric;value;unit;raw", *told])})
    assert frame["value"].to_list() == [1234, 72.5, 1072.5]
    assert frame["raw"].to_list()[0] == "1.234"
    frame, _ = record({"own.csv": "\n".join(["time;end;metric;value;unit;raw", told[0]])})
    assert frame["value"].to_list() == [1.234]


def test_what_a_record_of_our_own_quotes_stays_as_it_was(record: Import) -> None:
    told = ["2024-04-03T08:00Z;weight;72,500;kg;72,500", "2024-04-03T09:00Z;weight;72,5;kg;"]
    frame, _ = record({"own.csv": "\n".join(["time;metric;value;unit;raw", *told])})
    assert frame["value"].to_list() == [72.5, 72.5]
    assert frame["raw"].to_list()[0] == "72,500"


def test_points_that_part_thousands_in_fitbits_counts(record: Import) -> None:
    """Steps and minutes have no fractions; energy in the same file is written in the same way."""
    text = (
        "Activities\nDate,Calories Burned,Steps,Distance,Floors,Minutes Sedentary\n"
        '"03-04-2024","2.467","13.666","9,87","12","1.040"\n"04-04-2024","987","512","0,4","0","700"\n'
    )
    frame, _ = record({"fitbit.csv": text})
    found = {(m, v) for m, v in zip(frame["metric"], frame["value"], strict=True) if m != "distance"}
    assert {("steps_daily", 13_666.0), ("total_energy", 2467.0), ("sedentary_minutes", 1040.0)} <= found
    assert {("steps_daily", 512.0), ("total_energy", 987.0)} <= found
