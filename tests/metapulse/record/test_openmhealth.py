"""Open mHealth and IEEE 1752.1: what the schemas allow is read, what they do not is counted away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metapulse.record.readers.base import Options
from metapulse.record.store import import_files
from tests.metapulse.record.conftest import Import
from tests.metapulse.record.samples import SAMPLES

NIGHT = {
    "time_interval": {"start_date_time": "2024-04-02T23:00:00+02:00", "end_date_time": "2024-04-03T07:00:00+02:00"}
}
NOW = {"date_time": "2024-04-03T08:00:00+02:00"}
OPEN = {"time_interval": {"start_date_time": "2024-04-03T08:00:00+02:00"}}
NO_STATISTIC, NO_UNIT = "a descriptive_statistic that is none", "heart_rate in a unit that is none of it"
BEATS = {"heart_rate": {"value": 61, "unit": "beats/min"}}


def test_the_sample(record: Import) -> None:
    made, tally = record({"omh.json": SAMPLES["omh.json"]})
    assert made.select("metric", "value", "code", "unit", "quality").rows() == [
        ("steps", 6000.0, "morning", "count", ["date_only"]),
        ("heart_rate", 65.0, "minimum", "/min", []),
        ("glucose", pytest.approx(99.09, abs=0.01), None, "mg/dL", []),
    ]
    assert (made["end"][1] - made["start"][1]).total_seconds() == 600
    assert made["device"][1]["app"] == "Band"
    (file,) = tally.files.values()
    assert file.skipped == {"step_count without the interval that it is of": 1}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (BEATS, "no time frame"),
        (BEATS | {"effective_time_frame": {}}, "a time frame that is no time"),
        (BEATS | {"effective_time_frame": NIGHT["time_interval"]}, "a time frame that is no time"),
        (BEATS | {"effective_time_frame": OPEN}, "a time frame that is no time"),
        (BEATS | {"effective_time_frame": NIGHT, "descriptive_statistic": "minmum"}, NO_STATISTIC),
        (BEATS | {"effective_time_frame": NIGHT, "descriptive_statistic": {}}, NO_STATISTIC),
        ({"heart_rate": {"value": 61, "unit": "g"}, "effective_time_frame": NOW}, NO_UNIT),
        ({"heart_rate": {"value": "x", "unit": "bpm"}, "effective_time_frame": NOW}, "heart_rate without a number"),
        ({"step_count": "6000", "effective_time_frame": NIGHT}, "step_count without a number"),
        ({"mood": {"value": 1, "unit": "1"}, "effective_time_frame": NOW}, "no measure of the record"),
    ],
)  # fmt: skip
def test_what_the_schema_does_not_allow_is_counted_away(record: Import, body: dict[str, Any], why: str) -> None:
    _, tally = record({"file": json.dumps({"header": {"schema_id": {"namespace": "omh"}}, "body": body})})
    (file,) = tally.files.values()
    assert (tally.records, file.skipped) == (0, {why: 1})


def test_every_file_of_the_schemas_tests(data_dir: Path, tmp_path: Path) -> None:
    """What should fail gives no record; what should pass gives one, unless it has no time."""
    place = data_dir / "exports" / "open_mhealth_schemas"
    tally = import_files([place], tmp_path / "person.parquet")
    assert len(tally.files) > 100
    for file in tally.files.values():
        name = file.file
        assert not file.unexplained
        if "shouldFail" in name:
            assert not file.kept, name
        elif "shouldPass" in name and not file.kept:
            assert set(file.skipped) <= {"no time frame", "a header without a body"}, name


def test_lists_of_bodies_in_one_data_point(record: Import) -> None:
    """As data sets of many people have them: the header once, the bodies in lists, numbers as texts."""
    instant = {"time_interval": {"start_date_time": "2024-04-03T08:00:00Z", "end_date_time": "2024-04-03T08:00:00Z"}}
    stage = {"start_date_time": "2024-04-03T02:00:00Z", "end_date_time": "2024-04-03T02:10:00Z"}
    bodies = {
        "cgm": [
            {"blood_glucose": {"value": 120 + at, "unit": "mg/dL"}, "event_type": "EGV", "transmitter_id": "T1",
             "effective_time_frame": instant} for at in range(3)
        ],
        "activity": [
            {"base_movement_quantity": {"value": "10", "unit": "steps"}, "activity_name": "walking",
             "effective_time_frame": NIGHT}
        ],
        "sleep": [{"sleep_stage_state": "light", "sleep_stage_time_frame": {"time_interval": stage}},
                  {"sleep_stage_state": "drowsy", "sleep_stage_time_frame": {"time_interval": stage}}],
    }  # fmt: skip
    text = json.dumps({"header": {"modality": "sensed"}, "body": bodies})
    made, tally = record({"file": text})
    assert made.select("metric", "value", "code", "quality").rows() == [
        ("steps", 10.0, None, []),
        ("sleep_stage", None, "light", []),
        ("sleep_stage", None, "unknown", ["mapped"]),
        *[("glucose", 120.0 + at, None, []) for at in range(3)],
    ]
    assert made["device"][-1]["unit"] == "T1"
    (file,) = tally.files.values()
    assert file.seen == file.used == 6
    made, tally = record({"file": text[: text.index("walking")]})  # torn: what is said of all of them may be lost
    assert made.is_empty()
    assert tally.unread


def test_a_night_of_ieee(record: Import) -> None:
    summary = {"total_sleep_time": {"value": 7.5, "unit": "h"}, "deep_sleep_duration": {"value": 3600, "unit": "sec"}}
    stages = [{"sleep_stage_state": "rem", "sleep_stage_time_frame": NIGHT}]
    body = {"sleep_stage_summary": summary, "sleep_stage_episodes": stages}
    sheets = [{"datasheet_reference": "https://acme.example/band"}]
    header = {"schema_id": {"namespace": "ieee"}, "modality": "self-reported", "external_datasheets": sheets}
    made, _ = record({"file": json.dumps({"header": header, "body": body | {"effective_time_frame": NIGHT}})})
    assert made.select("metric", "value", "code").rows() == [
        ("sleep_deep", 60.0, None),
        ("sleep_duration", 450.0, None),
        ("sleep_stage", None, "rem"),
    ]
    assert made["quality"].to_list() == [["manual"]] * 3
    assert made["device"][0]["model"] == "https://acme.example/band"


def test_a_workout_in_the_answer_of_a_server(record: Import) -> None:
    frame = {"time_interval": {"start_date_time": "2024-04-03T08:00:00Z", "duration": {"value": 0.5, "unit": "h"}}}
    body = {"activity_name": "Running", "distance": {"value": 5, "unit": "km"}, "effective_time_frame": frame}
    point = {"header": {"acquisition_provenance": {"source_name": "App", "modality": "sensed"}}, "body": body}
    made, _ = record({"file": json.dumps({"shim": "app", "timeStamp": 1, "body": [point, point]})})
    assert made.select("metric", "value", "code").rows()[::2] == [
        ("workout", 30.0, "running"),
        ("workout_distance", 5000.0, "running"),
    ]
    assert [len(quality) for quality in made["quality"]] == [0, 1, 0, 1]


def test_a_local_time_is_marked(record: Import) -> None:
    made, _ = record(
        {"file": json.dumps(BEATS | {"effective_time_frame": {"date_time": "2024-04-03T08:00:00"}})}, Options()
    )
    assert made["quality"].to_list() == [["zone_assumed"]]
