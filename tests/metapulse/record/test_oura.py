"""Oura: the collections of its web service and the CSV of its trends."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from metapulse.record.store import import_files
from metapulse.record.tally import FileTally

NIGHT = {
    "id": "s1",
    "day": "2024-04-03",
    "bedtime_start": "2024-04-02T23:00:00+02:00",
    "bedtime_end": "2024-04-03T06:30:00+02:00",
    "type": "long_sleep",
    "total_sleep_duration": 24600,
    "average_hrv": 62,
    "lowest_heart_rate": 0,
    "heart_rate": {"interval": 300, "items": [None, "52", 51.0], "timestamp": "2024-04-02T23:00:00+02:00"},
    "sleep_phase_5_min": "4229",
}
ACTIVITY = {
    "day": "2024-04-03",
    "score": 82,
    "steps": 8123,
    "active_calories": 412,
    "average_met_minutes": 1.5,
    "high_activity_time": 600,
    "contributors": {"meet_daily_targets": 60},
    "timestamp": "2024-04-03T04:00:00+02:00",
}
READINESS = {"day": "2024-04-03", "score": 75, "temperature_deviation": -0.2, "contributors": {"previous_night": 80}}
SCORE = {"day": "2024-04-03", "score": 78, "contributors": {"deep_sleep": 90, "rem_sleep": 70}}
PULSE = {"bpm": 64, "source": "awake", "timestamp": "2024-04-03T10:00:00+00:00"}
SPO2 = {"day": "2024-04-03", "spo2_percentage": {"average": 97.5}}
WORKOUT = {
    "activity": "Cycling",
    "day": "2024-04-03",
    "start_datetime": "2024-04-03T17:00:00+02:00",
    "end_datetime": "2024-04-03T18:00:00+02:00",
    "calories": 300,
    "distance": 15000,
    "source": "manual",
}
TRENDS = (
    "date,Sleep Score,Total Bedtime ,Total Sleep Duration,Average HRV,Temperature Deviation (°C),Steps,Readiness Score,"
    "Bedtime Start,Bedtime End\n"
    "2024-04-03,78,27000,24600,62,-0.2,8123,75,2024-04-02T23:00:00+02:00,2024-04-03T06:30:00+02:00\n"
    "2024-04-04,None,,,,,,,,\n"
    "2024-04-05,70,,,,,5000,,,\n"
)


def record_of(tmp_path: Path, content: Any, name: str = "some.json") -> tuple[FileTally, pl.DataFrame]:
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    out = tmp_path / "person.parquet"
    out.unlink(missing_ok=True)
    (tally,) = import_files([tmp_path / name], out).files.values()
    assert not tally.unexplained
    assert tally.format == "oura"
    return tally, pl.read_parquet(out)


def values(record: pl.DataFrame, metric: str) -> list[float]:
    return record.filter(pl.col("metric") == metric)["value"].to_list()


def test_an_items_time_is_its_index_and_0_is_no_pulse(tmp_path: Path) -> None:
    _, record = record_of(tmp_path, {"data": [NIGHT], "next_token": None})
    pulse = record.filter(pl.col("metric") == "heart_rate")
    assert [(t.hour, t.minute, v) for t, v in pulse.select("start", "value").iter_rows()] == [(21, 5, 52), (21, 10, 51)]
    assert values(record, "resting_heart_rate_lowest") == []
    stages = record.filter(pl.col("metric") == "sleep_stage").sort("start")
    minutes = [(end - start).total_seconds() / 60 for start, end in stages.select("start", "end").iter_rows()]
    assert list(zip(stages["code"], minutes, strict=True)) == [("awake", 5), ("light", 10), ("unknown", 5)]


def test_a_night_of_the_first_version(tmp_path: Path) -> None:
    old = {
        "summary_date": "2024-04-02",
        "bedtime_start": "2024-04-02T23:00:00+02:00",
        "bedtime_end": "2024-04-03T06:30:00+02:00",
        "total": 24600,
        "hr_5min": [0, 52],
        "hypnogram_5min": "44",
    }
    _, record = record_of(tmp_path, {"sleep": [old], "activity": []})
    assert values(record, "sleep_duration") == [410]
    assert values(record, "heart_rate") == [52]


def test_a_word_of_half_a_character_is_written(tmp_path: Path) -> None:
    _, record = record_of(tmp_path, json.dumps([WORKOUT]).replace("Cycling", "\\ud800x"))
    assert values(record, "workout") == [60]


def test_naps_are_told_from_nights_and_deleted_ones_do_not_count(tmp_path: Path) -> None:
    _, record = record_of(tmp_path, [{**NIGHT, "type": "late_nap"}, {**NIGHT, "id": "s2", "type": "deleted"}])
    slept = record.filter(pl.col("metric") == "sleep_duration").sort(pl.col("quality").list.len())
    assert slept.select("code", "quality", "raw").rows() == [
        ("nap", [], "id s1 0; 24600.0 s"),
        (None, ["superseded"], "id s2 0; 24600.0 s"),
    ]


def test_a_deleted_night_without_a_value_is_a_row_and_does_not_count(tmp_path: Path) -> None:
    bare = {key: NIGHT[key] for key in ("day", "bedtime_start", "bedtime_end")}
    tally, record = record_of(tmp_path, [NIGHT, {**bare, "id": "s2", "type": "deleted"}])
    assert values(record.filter(pl.col("quality").list.len() == 0), "sleep_duration") == [410]
    assert values(record.filter(pl.col("quality").list.contains("superseded")), "sleep_duration") == [None]
    assert not tally.skipped


def test_a_deleted_night_without_an_id_is_counted_away(tmp_path: Path) -> None:
    bare = {key: value for key, value in NIGHT.items() if key != "id"}
    tally, record = record_of(tmp_path, [NIGHT, {**bare, "type": "deleted"}])
    assert set(record["quality"].list.len()) == {0}
    assert tally.skipped.total() == 1


def test_whose_score_it_is_its_contributors_tell(tmp_path: Path) -> None:
    for document, metric in ((ACTIVITY, "activity_score"), (READINESS, "readiness_score"), (SCORE, "sleep_score")):
        _, record = record_of(tmp_path, {"data": [document]})
        assert values(record, metric) == [document["score"]]
        assert set(record["quality"].explode()) >= {"date_only"}


def test_other_collections(tmp_path: Path) -> None:
    assert values(record_of(tmp_path, [PULSE])[1], "heart_rate") == [64]
    assert values(record_of(tmp_path, [SPO2])[1], "spo2") == [97.5]
    _, record = record_of(tmp_path, {"data": [WORKOUT]})
    assert values(record, "workout") == [60]
    assert values(record, "workout_distance") == [15000]
    assert all("manual" in marks for marks in record["quality"])


def test_trends_nights_lie_in_bedtime_days_on_their_date(tmp_path: Path) -> None:
    tally, record = record_of(tmp_path, TRENDS, "oura_trends.csv")
    assert values(record, "sleep_duration") == [410]
    assert values(record, "steps_daily") == [8123, 5000]
    night = record.filter(pl.col("metric") == "sleep_duration")
    assert night["start"][0] == datetime(2024, 4, 2, 21, tzinfo=UTC)
    assert values(record, "skin_temperature_deviation") == [-0.2]
    assert tally.skipped["no value"] == 1


def test_values_of_any_type_cost_no_other(tmp_path: Path) -> None:
    odd = [
        7,
        None,
        {"day": 5},
        {"bedtime_start": []},
        {**NIGHT, "heart_rate": [1], "sleep_phase_5_min": 4},
        {"bpm": "x"},
    ]
    tally, record = record_of(tmp_path, {"data": [*odd, PULSE, NIGHT]})
    assert len(values(record, "sleep_duration")) == 2
    assert tally.skipped.total() == 5


def test_what_cannot_be_read_within_a_night_is_told(tmp_path: Path) -> None:
    pulse = {**NIGHT["heart_rate"], "items": [None, "x", 51.0]}
    tally, record = record_of(tmp_path, {"data": [{**NIGHT, "heart_rate": pulse, "average_hrv": "high"}]})
    assert tally.notes == {"heart_rate: no number": 1, "average_hrv: no number": 1}
    assert values(record, "heart_rate") == [51]


def test_a_series_without_a_time_is_told(tmp_path: Path) -> None:
    for broken in ({"timestamp": "yesterday"}, {"interval": "often"}, {"items": "many"}):
        night = {**NIGHT, "heart_rate": {**NIGHT["heart_rate"], **broken}}
        tally, record = record_of(tmp_path, {"data": [night]})
        assert tally.notes == {"heart_rate: a series without a time": 1}
        assert values(record, "sleep_duration") == [410]


def test_a_bad_cell_of_the_trends_is_told(tmp_path: Path) -> None:
    tally, record = record_of(tmp_path, TRENDS.replace(",8123,", ",many,"), "oura_trends.csv")
    assert tally.notes == {"steps: no number": 1}
    assert values(record, "steps_daily") == [5000]
