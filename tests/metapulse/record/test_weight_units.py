"""The unit of Fitbit's weights, which no file names."""

from __future__ import annotations

import json

import pytest

from tests.metapulse.record.conftest import Import

POUNDS = [(161.5, 24.1), (162.5, 24.2), (163.5, None), (164.5, 24.4)]
WEIGHTS = [
    {"logId": at, "weight": weight, "date": f"01/2{at}/24", "time": "06:32:00", "bmi": bmi}
    for at, (weight, bmi) in enumerate(POUNDS)
]
SITE = "Body\nDate,Weight,BMI,Fat\n" + "".join(
    f"2024-01-2{at},{weight},{bmi or 0},0\n" for at, (weight, bmi) in enumerate(POUNDS)
)
FILES = {
    "weight-2024-01-22.json": json.dumps(WEIGHTS),
    "answer.json": json.dumps({"weight": [{**each, "date": f"2024-01-2{at}"} for at, each in enumerate(WEIGHTS)]}),
    "fitbit_export.csv": SITE,
}


@pytest.mark.parametrize("name", FILES)
def test_a_weight_without_a_bmi_is_in_the_unit_of_the_others(name: str, record: Import) -> None:
    made, _ = record({name: FILES[name]})
    made = made.filter(made["metric"] == "weight")
    assert [round(value, 1) for value in made["value"]] == [73.3, 73.7, 74.2, 74.6]
    assert all("unit_assumed" in quality for quality in made["quality"])


def test_where_nothing_tells_a_weight_is_in_kilograms(record: Import) -> None:
    made, _ = record({"weight-2024-01-22.json": json.dumps([{**each, "bmi": None} for each in WEIGHTS])})
    assert made["value"].to_list() == [161.5, 162.5, 163.5, 164.5]
