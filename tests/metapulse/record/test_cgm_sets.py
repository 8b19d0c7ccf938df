"""Published sets of glucose and meals: sensors side by side, shares of meals, units that nothing names."""

from __future__ import annotations

import pytest

from tests.metapulse.record.conftest import Import
from tests.metapulse.record.samples import SAMPLES
from tests.metapulse.record.test_vendors import rows


def test_a_minute_of_two_sensors_and_half_a_meal(record: Import) -> None:
    made, _ = record({"x": SAMPLES["cgmacros.csv"]})
    assert rows(made) == [
        ("01 08:10:00", "carbohydrates", 9.0, None, "g", ["manual"]),
        ("01 08:10:00", "energy_eaten", 75.0, None, "kcal", ["manual"]),
        ("01 08:10:00", "fat", 3.5, None, "g", ["manual"]),
        ("01 08:10:00", "fibre", 0.5, None, "g", ["manual"]),
        ("01 08:10:00", "glucose", 89.5, None, "mg/dL", ["interpolated"]),
        ("01 08:10:00", "heart_rate", 70.0, None, "/min", []),
        ("01 08:10:00", "protein", 1.5, None, "g", ["manual"]),
        ("01 08:10:00", "total_energy", 1.05, None, "kcal", []),
    ]
    assert made["raw"][0] == "18 g, of which 50 %"
    assert made["device"][4]["manufacturer"] == "Abbott"


def test_the_unit_of_glucose_is_that_of_the_whole_column(record: Import) -> None:
    made, tally = record({"x": SAMPLES["glucose.csv"]})
    assert rows(made) == [
        ("01 10:10:00", "glucose", pytest.approx(136.9, abs=0.1), None, "mg/dL", ["unit_assumed"]),
        ("01 10:15:00", "glucose_blood", pytest.approx(129.7, abs=0.1), None, "mg/dL", ["unit_assumed"]),
    ]
    assert next(iter(tally.files.values())).skipped["no value"] == 1
    made, _ = record({"x": SAMPLES["glucose.csv"].replace("7:0", "130").replace("7.6", "30")})
    assert made["value"].to_list() == [30, 7.2, 130]


def test_food_and_insulin(record: Import) -> None:
    made, _ = record({
        "food.csv": "picture,description,calories,balance,quality,datetime\n1.jpg,x,357,B,G,2014:10:01 10:27:49\n",
        "insulin.csv": "date,time,fast_insulin,slow_insulin,comment\n2014-10-01,22:27:00,,18,bedtime\n",
        "log.csv": "date,time_of_day,time_begin,logged_food,calorie,total_carb\n03/14/2020,13:44,,Salmon,201.0,10.0\n",
    })  # fmt: skip
    assert rows(made) == [
        ("01 10:27:49", "energy_eaten", 357.0, None, "kcal", ["manual"]),
        ("01 22:27:00", "insulin_long", 18.0, None, "U", ["manual"]),
        ("14 13:44:00", "carbohydrates", 10.0, None, "g", ["manual"]),
        ("14 13:44:00", "energy_eaten", 201.0, None, "kcal", ["manual"]),
    ]
