"""iHealth: times on the person's clock, units as numbers, zeros that are no values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from metapulse.record.readers.base import Options
from tests.metapulse.record.conftest import Import
from tests.metapulse.record.samples import SAMPLES

MDATE, CHANGED = 1442491407, 1442520221  # 14 s before its last change, on a clock 8 h behind UTC


def page(name: str, *readings: dict[str, Any], **members: Any) -> dict[str, Any]:
    given = [{"MDate": MDATE, "LastChangeTime": CHANGED, "TimeZone": "-0800"} | reading for reading in readings]
    return {f"{name}DataList": given, **members}


def test_the_sample(record: Import) -> None:
    made, tally = record({"ihealth.json": SAMPLES["ihealth.json"]})
    values = made.select("metric", "value", "unit", "quality").rows()
    assert values == [
        ("bp_diastolic", pytest.approx(90.01, abs=0.01), "mm[Hg]", ["manual"]),
        ("bp_systolic", pytest.approx(120.01, abs=0.01), "mm[Hg]", ["manual"]),
    ]
    assert made["start"][0].isoformat() == "2015-09-17T20:04:23+00:00"
    assert made["offset_min"].to_list() == [-480, -480]
    (file,) = tally.files.values()
    assert file.skipped == {"no value: 0, or none": 1}


@pytest.mark.parametrize(
    ("members", "unit", "marks"),
    [({"BGUnit": 0}, 95.0, []), ({"BGUnit": "1"}, 95 * 18.0156, ["implausible"]), ({}, 95.0, ["unit_assumed"])],
)
def test_units(record: Import, members: dict[str, Any], unit: float, marks: list[str]) -> None:
    made, _ = record({"file": json.dumps(page("BG", {"BG": 95}, **members))})
    assert made["value"].to_list() == [pytest.approx(unit)]
    assert made["quality"].to_list() == [marks]


def test_pages_one_after_another_and_in_an_array(record: Import) -> None:
    pages = [page("BG", {"BG": 95}, BGUnit=0), page("BO", {"BO": 97, "HR": 61}), page("Weight")]
    for text in (json.dumps(pages), "\n".join(map(json.dumps, pages))):
        made, _ = record({"file": text})
        assert made["metric"].to_list() == ["glucose_blood", "heart_rate", "spo2"]


def test_pages_that_differ_in_units_are_marked(record: Import) -> None:
    pages = [page("Weight", {"WeightValue": 70}, WeightUnit=0), page("Weight", {"WeightValue": 71}, WeightUnit=1)]
    made, tally = record({"file": json.dumps(pages)})
    (file,) = tally.files.values()
    assert made["quality"].to_list() == [["unit_assumed"]] * 2
    assert file.notes == {"several pages with different WeightUnit: kg was taken": 1}


def test_a_start_after_its_last_change_shows_instants(record: Import) -> None:
    sport = {"SportName": "Running", "Calories": 200, "SportStartTime": CHANGED - 29, "SportEndTime": CHANGED + 1771}
    given = page("SPORT", sport | {"TimeZone": -8}, sport | {"SportStartTime": 1000, "SportEndTime": 2000})
    del given["SPORTDataList"][1]["LastChangeTime"]
    made, tally = record({"file": json.dumps(given)})
    (file,) = tally.files.values()
    assert made["start"].dt.epoch("s").to_list()[-1] == CHANGED - 29
    assert made["value"].to_list() == [30.0, 200.0]
    assert file.away == {"a placeholder for a time (1970)": 2}
    assert len(file.notes) == 1


def test_a_day_and_a_night(record: Import) -> None:
    night = {"StartTime": 1447552260, "EndTime": 1447578960, "HoursSlept": 345, "Awaken": 0, "FallSleep": 0}
    day = {"MDate": 1447800900, "Steps": 0, "Calories": 1963, "DistanceTraveled": 0, "TimeZone": "-0700"}
    pages = [page("SR", night | {"TimeZone": "-0700"}), page("AR", day, DistanceUnit=0)]
    made, _ = record({"file": json.dumps(pages)})
    assert made.select("metric", "value", "quality").rows() == [
        ("sleep_disturbances", 0.0, []),
        ("sleep_duration", 345.0, []),
        ("time_in_bed", 445.0, []),
        ("steps_daily", 0.0, ["date_only", "not_worn_suspected"]),
        ("total_energy", 1963.0, ["date_only"]),
    ]
    assert made["start"].dt.to_string("%F %R").to_list() == ["2015-11-15 08:51"] * 3 + ["2015-11-17 07:00"] * 2


def test_without_an_offset_the_zone_is_assumed(record: Import) -> None:
    made, _ = record({"file": json.dumps(page("BG", {"BG": 95, "TimeZone": None}, BGUnit=0))}, Options())
    assert made["quality"].to_list() == [["zone_assumed"]]
    assert made["start"].dt.epoch("s").to_list() == [MDATE]


def test_an_end_that_is_no_time_is_left_out(record: Import) -> None:
    night = {"StartTime": 1447552260, "EndTime": -1e308, "HoursSlept": 345}
    made, _ = record({"file": json.dumps(page("SR", night))})
    assert made.select("metric", "end").rows() == [("sleep_duration", None)]
