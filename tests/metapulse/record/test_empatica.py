"""Empatica's session: times from the first line and the rate, axes, beats, contact."""

from __future__ import annotations

import pytest

from tests.metapulse.record.conftest import Import
from tests.metapulse.record.samples import SAMPLES
from tests.metapulse.record.test_vendors import rows


def test_three_axes_in_metres_a_second_squared(record: Import) -> None:
    made, _ = record({"1560279825_A0151F_ACC.csv": SAMPLES["ACC.csv"]})
    assert sorted(rows(made)[:3], key=lambda row: row[3]) == [
        ("11 21:03:45", "acceleration", pytest.approx(-9.80665), "x", "m/s2", []),
        ("11 21:03:45", "acceleration", pytest.approx(4.903325), "y", "m/s2", []),
        ("11 21:03:45", "acceleration", 0.0, "z", "m/s2", []),
    ]
    assert made["start"].diff().dt.total_microseconds().to_list() == [None, 0, 0, 31250, 0, 0]
    assert set(made["raw"][:3]) == {"-64/64 g", "32/64 g", "0/64 g"}
    assert made["device"][0] == {
        "manufacturer": "Empatica", "model": "E4", "hardware": None, "firmware": None, "unit": "A0151F", "app": None,
    }  # fmt: skip


def test_skin_without_contact(record: Import) -> None:
    made, _ = record({"EDA.csv": SAMPLES["EDA.csv"]})
    assert made.select("value", "unit").rows() == [(0.0, "uS"), (0.020499, "uS"), (0.048685, "uS")]
    assert made["quality"].to_list() == [["not_worn_suspected"], [], []]
    assert made["start"].diff().dt.total_milliseconds().to_list() == [None, 250, 250]


def test_beats_have_times_of_their_own(record: Import) -> None:
    made, _ = record({"IBI.csv": SAMPLES["IBI.csv"]})
    assert made["value"].to_list() == [pytest.approx(609.403), pytest.approx(843.789)]
    assert made["start"].dt.epoch("us").to_list() == [1560279908503822, 1560279924973326]


def test_a_broken_line_keeps_its_place_in_time(record: Import) -> None:
    made, tally = record({"TEMP.csv": "1560279825.00\r\n4.000000\r\n32.13\r\n3x\r\n\r\n32.15\r\n"})
    assert made["start"].diff().dt.total_milliseconds().to_list() == [None, 750]
    (file,) = tally.files.values()
    assert file.skipped == {"when it began": 1, "how many samples a second": 1, "no sample": 1, "an empty line": 1}


def test_a_name_that_does_not_say_what_was_measured_is_told(record: Import) -> None:
    """Four samples a second are skin temperature or conductance."""
    text = SAMPLES["EDA.csv"]
    _, tally = record({"session.csv": text, "EDA.csv": text})
    why = "its name does not say what was measured (ACC, BVP, EDA, HR or TEMP)"
    assert {file.file: file.skipped[why] for file in tally.files.values()} == {"session.csv": 3, "EDA.csv": 0}
