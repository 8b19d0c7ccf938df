"""Tidepool's JSON: units, annotations, offsets, and data of many types."""

from __future__ import annotations

import json

import pytest

from metapulse.record.readers.base import Options
from tests.metapulse.record.conftest import Import
from tests.metapulse.record.samples import SAMPLES
from tests.metapulse.record.test_vendors import rows

UPLOAD = {"type": "upload", "time": "2024-04-03T06:00:00Z", "deviceId": "a", "uploadId": "u", "timezoneOffset": 120}


def datum(kind: str, **more: object) -> dict[str, object]:
    return {"type": kind, "time": "2024-04-03T06:00:00Z", "timezoneOffset": 120, **more}


def file(*data: object) -> str:
    return json.dumps([UPLOAD, *data])


def test_what_is_in_the_sample(record: Import) -> None:
    made, tally = record({"tidepool.json": SAMPLES["tidepool.json"]}, Options())
    near = pytest.approx
    assert rows(made) == [
        ("03 08:00:00", "glucose", near(38.9, abs=0.1), None, "mg/dL", ["censored_low"]),
        ("03 08:00:00", "insulin_basal_rate", 0.85, "scheduled", "U/h", []),
        ("03 08:05:00", "glucose", near(100.0, abs=0.01), None, "mg/dL", []),
        ("03 08:06:00", "glucose_blood", 101.0, None, "mg/dL", ["manual"]),
        ("03 08:10:00", "carbohydrates", 45.0, None, "g", ["manual"]),
        ("03 08:10:00", "insulin_rapid", 3.5, "dual/square", "U", []),
    ]
    assert (made["end"] - made["start"]).dt.total_minutes().to_list() == [None, 60, None, None, None, 30]
    assert made["device"][0]["unit"] == "DexG6_8A"
    assert made["device"][2]["app"] == "com.dexcom.G6"
    assert next(iter(tally.files.values())).skipped == {"no measurement: pumpSettings": 1}


def test_insulin_food_and_activity(record: Import) -> None:
    made, _ = record({"x": file(
        datum("insulin", dose={"total": 12, "units": "Units"}, formulation={"simple": {"actingType": "long"}}),
        datum("insulin", dose={"total": 3, "units": "Units"}),
        datum("food", nutrition={"carbohydrate": {"net": 40, "units": "grams"}, "energy": {"value": 300,
              "units": "kilocalories"}}),
        datum("physicalActivity", name="Running", duration={"units": "hours", "value": 0.5},
              distance={"units": "miles", "value": 3}),
        datum("basal", deliveryType="suspend", duration=600000),
        datum("bloodKetone", value=0.4, units="mmol/L"),
    )})  # fmt: skip
    assert {(row[1], row[2], row[3]) for row in rows(made)} == {
        ("insulin_long", 12.0, None), ("insulin", 3.0, None), ("carbohydrates", 40.0, None),
        ("energy_eaten", 300.0, None), ("workout", 30.0, "running"), ("workout_distance", 3 * 1609.344, "running"),
        ("insulin_basal_rate", 0.0, "suspend"), ("ketones", 0.4, None),
    }  # fmt: skip


def test_a_value_without_a_unit_is_marked(record: Import) -> None:
    made, _ = record({"x": file(datum("cbg", value=5.5), datum("cbg", value=120, deviceId="b"))})
    assert [round(value) for value in made["value"].sort()] == [99, 120]
    assert made["quality"].to_list() == [["unit_assumed"]] * 2


def test_a_wrong_unit_is_implausible_and_kept(record: Import) -> None:
    made, _ = record({"x": file(datum("cbg", value=100, units="mmol/L"))})
    assert made["quality"].to_list() == [["implausible"]]


def test_stamps_of_other_forms(record: Import) -> None:
    """A database's own form, milliseconds, and the device's local time where there is no other."""
    times = [{"$date": "2024-04-03T06:00:00Z"}, {"$date": 1712124060000}, 1712124120000, "2024-04-03T08:03:00+02:00"]
    data = [{"type": "cbg", "value": 5 + at, "units": "mmol/L", "time": time} for at, time in enumerate(times)]
    local = {"type": "cbg", "value": 9, "units": "mmol/L", "deviceTime": "2024-04-03T08:04:00"}
    made, tally = record({"x": file(*data, local, {"type": "cbg", "value": 5}, 7)}, Options())
    assert made["start"].dt.strftime("%H:%M").to_list() == ["06:00", "06:01", "06:02", "06:03", "08:04"]
    assert made["quality"].to_list() == [[], [], [], [], ["zone_assumed"]]
    skipped = next(iter(tally.files.values())).skipped
    assert skipped == {"no measurement: upload": 1, "a stamp that is no time: cbg": 1, "no object": 1}


def test_lines_of_a_database(record: Import) -> None:
    data = [UPLOAD, datum("cbg", value=5.5, units="mmol/L"), datum("cbg", value=5.6, units="mmol/L", deviceId="b")]
    made, _ = record({"x": "\n".join(json.dumps(item) for item in data)})
    assert len(made) == 2


def test_what_was_replaced_is_superseded(record: Import) -> None:
    made, _ = record({"x": file(datum("cbg", value=5.5, units="mmol/L", _active=False))})
    assert made["quality"].to_list() == [["superseded"]]
