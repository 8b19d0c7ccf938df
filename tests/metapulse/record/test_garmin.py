"""Garmin Connect: every kind of file that the export and the web service have, in the shapes that people have."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from metapulse.record.clock import zone
from metapulse.record.readers import json_stream, json_text
from metapulse.record.readers.base import Options
from metapulse.record.store import import_files
from metapulse.record.tally import FileTally

NIGHT = {
    "sleepStartTimestampGMT": "2024-04-02T21:10:00.0",
    "sleepEndTimestampGMT": "2024-04-03T04:40:00.0",
    "calendarDate": "2024-04-03",
    "sleepWindowConfirmationType": "ENHANCED_CONFIRMED_FINAL",
    "deepSleepSeconds": 4200,
    "lightSleepSeconds": 15000,
    "remSleepSeconds": 5400,
    "awakeSleepSeconds": 600,
    "averageRespiration": 14.0,
    "sleepScores": {"overallScore": 82},
}
DAY = {
    "calendarDate": "2024-04-03",
    "wellnessStartTimeGmt": "2024-04-02T22:00:00.0",
    "wellnessEndTimeGmt": "2024-04-03T22:00:00.0",
    "wellnessStartTimeLocal": "2024-04-03T00:00:00.0",
    "totalSteps": 8123,
    "totalDistanceMeters": 6100,
    "activeKilocalories": 410.0,
    "restingHeartRate": 52,
    "currentDayRestingHeartRate": 51,
    "minHeartRate": 47,
    "averageStressLevel": -1,
}
WEB = {
    "dailySleepDTO": {
        "id": 1712092200000,
        "calendarDate": "2024-04-03",
        "sleepTimeSeconds": 24600,
        "sleepStartTimestampGMT": 1712092200000,
        "sleepEndTimestampGMT": 1712119200000,
        "sleepStartTimestampLocal": 1712099400000,
        "deepSleepSeconds": None,
        "sleepScores": {"overall": {"value": 82}},
    },
    "sleepLevels": [{"startGMT": "2024-04-02T21:10:00.0", "endGMT": "2024-04-02T21:40:00.0", "activityLevel": 1.0}],
    "hrvData": [{"value": 45.0, "startGMT": 1712092200000}],
    "sleepHeartRate": [{"value": 52, "startGMT": 1712092200000}, {"value": None, "startGMT": 1712092320000}],
}
STRESS = {
    "calendarDate": "2024-04-03",
    "stressValuesArray": [[1712092200000, 23], [1712092380000, -1], [1712092560000, -2]],
    "bodyBatteryValuesArray": [[1712092200000, "MEASURED", 63, 2.0]],
}
PULSE = {
    "calendarDate": "2024-04-03",
    "restingHeartRate": 51,
    "heartRateValueDescriptors": [{"key": "timestamp", "index": 0}, {"key": "heartrate", "index": 1}],
    "heartRateValues": [[1712092200000, 55], [1712092320000, None]],
}
STEPS = [
    {
        "startGMT": "2024-04-03T08:00:00.0",
        "endGMT": "2024-04-03T08:15:00.0",
        "steps": 512,
        "primaryActivityLevel": "active",
    }
]
EXPORTED = [
    {
        "summarizedActivitiesExport": [
            {
                "activityId": 1,
                "activityType": "running",
                "startTimeGmt": 1712131200000.0,
                "startTimeLocal": 1712138400000.0,
                "duration": 1800000.0,
                "distance": 500000.0,
                "avgHr": 150,
                "calories": 1673.6,
            }
        ]
    }
]
SERVED = [
    {
        "activityType": {"typeKey": "running"},
        "startTimeGMT": "2024-04-03 08:00:00",
        "startTimeLocal": "2024-04-03 10:00:00",
        "duration": 1800.0,
        "distance": 5000.0,
        "averageHR": 150.0,
        "calories": 400.0,
    }
]
WEIGHT = {"dateWeightList": [{"samplePk": 1, "date": 1712131200000, "timestampGMT": 1712124000000, "weight": 70500.0}]}
CSV = (
    "sleepSummaryId,calendarDate,timezoneOffsetInMs,unixTimestampInMs,durationInMs,deepSleepDurationInMs,"
    "awakeDurationInMs,overallSleepScore,validation\n"
    "a,2024-04-03,7200000,1712092200000,24600000,4200000,600000,-1,ENHANCED_TENTATIVE\n"
    "b,2024-04-03,7200000,1712092200000,25200000,4200000,600000,81,ENHANCED_FINAL\n"
)


def record_of(tmp_path: Path, content: Any, name: str = "some.json", told: str = "") -> tuple[FileTally, pl.DataFrame]:
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    out = tmp_path / "person.parquet"
    out.unlink(missing_ok=True)
    options = Options(zone(told) if told else None)
    (tally,) = import_files([tmp_path / name], out, options).files.values()
    assert not tally.unexplained
    return tally, pl.read_parquet(out)


def values(record: pl.DataFrame, metric: str) -> list[float]:
    return record.filter(pl.col("metric") == metric)["value"].to_list()


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_night_is_in_utc_and_its_sum_is_sleep(tmp_path: Path) -> None:
    tally, record = record_of(tmp_path, [NIGHT], told="Europe/Berlin")
    assert tally.format == "garmin"
    assert values(record, "sleep_duration") == [(4200 + 15000 + 5400) / 60]
    assert values(record, "sleep_score") == [82]
    assert set(record["start"]) == {at("2024-04-02T21:10")}
    assert set(record["end"]) == {at("2024-04-03T04:40")}
    assert set(record["offset_min"]) == {120}


def test_a_day_lies_where_the_persons_clock_stood(tmp_path: Path) -> None:
    _, record = record_of(tmp_path, [DAY])
    assert values(record, "steps_daily") == [8123]
    assert values(record, "resting_heart_rate") == [51]
    assert values(record, "stress") == []  # -1 is a code
    assert set(record["start"]) == {at("2024-04-02T22:00")}
    assert set(record["offset_min"]) == {120}


def test_the_web_services_night_has_stages_and_series(tmp_path: Path) -> None:
    tally, record = record_of(tmp_path, WEB)
    stage = record.filter(pl.col("metric") == "sleep_stage")
    assert stage["code"].to_list() == ["light"]
    assert values(record, "sleep_duration") == [410]
    assert values(record, "hrv_rmssd") == [45]
    assert values(record, "heart_rate") == [52]
    assert "sleep_deep" not in set(record["metric"])  # null is no 0
    assert tally.notes == {"sleepHeartRate: no value": 1}
    assert record.filter(pl.col("metric") == "sleep_duration")["offset_min"].to_list() == [120]


def test_negative_stress_is_a_code(tmp_path: Path) -> None:
    tally, record = record_of(tmp_path, STRESS)
    assert values(record, "stress") == [23]
    assert values(record, "body_battery") == [63]
    assert tally.notes == {"stressValuesArray: a code for a value that could not be measured": 2}


def test_series_of_pairs(tmp_path: Path) -> None:
    assert values(record_of(tmp_path, PULSE)[1], "heart_rate") == [55]
    _, record = record_of(tmp_path, STEPS, "steps.json")
    assert record.filter(pl.col("metric") == "steps").select("start", "end").rows() == [
        (at("2024-04-03T08:00"), at("2024-04-03T08:15"))
    ]


def test_an_activity_is_the_same_from_export_and_web_service(tmp_path: Path) -> None:
    """The one in ms, cm and kJ, the other in s, m and kcal."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = record_of(tmp_path / "one", EXPORTED)[1], record_of(tmp_path / "two", SERVED)[1]
    keep = ["start", "end", "offset_min", "metric", "code", "unit"]
    assert one.select(keep).equals(two.select(keep))
    assert [round(v, 6) for v in one["value"]] == two["value"].to_list()
    assert one.filter(pl.col("metric") == "workout_energy")["quality"].to_list() == [["unit_assumed"]]


def test_the_unit_of_energy_is_seen_from_the_number(tmp_path: Path) -> None:
    """400 kcal are 1673.6 kJ, which is no whole number; 400 is taken as kcal."""
    activity = EXPORTED[0]["summarizedActivitiesExport"][0]
    for written in (1673.6, 400.0):
        _, record = record_of(tmp_path, [{"summarizedActivitiesExport": [{**activity, "calories": written}]}])
        assert [round(v, 6) for v in values(record, "workout_energy")] == [400]


def test_what_a_day_has_within_lists(tmp_path: Path) -> None:
    day = {
        "calendarDate": "2024-04-03",
        "activeKilocalories": 410.0,
        "restingHeartRate": 52,
        "allDayStress": {"aggregatorList": [{"type": "TOTAL", "averageStressLevel": 31}, {"type": "AWAKE"}]},
        "bodyBattery": {"bodyBatteryStatList": [{"bodyBatteryStatType": "HIGHEST", "statsValue": 88}]},
        "respiration": {"avgWakingRespirationValue": 14.0},
    }
    _, record = record_of(tmp_path, [day])
    assert values(record, "stress") == [31]
    assert values(record, "body_battery") == [88]
    assert values(record, "respiratory_rate") == [14]
    status = {
        "calendarDate": "2024-04-03",
        "metrics": [{"type": "HRV", "value": 47}, {"type": "SKIN_TEMP_C", "value": -0.4}],
    }
    _, record = record_of(tmp_path, [status, {"calendarDate": "2024-04-03", "allDayStress": {}, "metrics": None}])
    assert values(record, "hrv_rmssd") == [47]
    assert values(record, "skin_temperature_deviation") == [-0.4]


def test_weights_within_snapshots(tmp_path: Path) -> None:
    given = {"weight": 70500.0, "bodyFat": 18.0, "timestampGMT": "2024-04-03T06:00:00.0", "sourceType": "INDEX_SCALE"}
    _, record = record_of(tmp_path, [{"metaData": {"sequence": 1}, "weight": given}])
    assert values(record, "weight") == [70.5]
    assert values(record, "body_fat") == [18]
    assert record["start"][0] == at("2024-04-03T06:00")


def test_a_weighing_has_an_instant_and_a_local_time(tmp_path: Path) -> None:
    _, record = record_of(tmp_path, WEIGHT)
    assert record.select("start", "offset_min", "value").rows() == [(at("2024-04-03T06:00"), 120, 70.5)]


def test_a_tentative_night_is_superseded_by_the_final_one(tmp_path: Path) -> None:
    _, record = record_of(tmp_path, CSV, "sleep_summaries.csv")
    used = record.filter(~pl.col("quality").list.contains("superseded"))
    assert values(used, "sleep_duration") == [420]
    assert values(used, "sleep_score") == [81]
    assert used["end"][0] == at("2024-04-03T04:20")  # time awake is not in the duration


def test_values_of_any_type_cost_no_other(tmp_path: Path) -> None:
    odd = [
        None,
        5,
        "x",
        [NIGHT],
        {"calendarDate": 7, "totalSteps": "8"},
        {**DAY, "totalSteps": "8,123"},
        {"sleepLevels": [3]},
    ]
    tally, record = record_of(tmp_path, [*odd, NIGHT])
    assert values(record, "steps_daily") == [8123]
    assert values(record, "sleep_score") == [82]
    assert tally.skipped == {"nothing that is known to be measured": 5, "a day without a date": 1}


RUN = EXPORTED[0]["summarizedActivitiesExport"][0]
WEIGHING = WEIGHT["dateWeightList"][0]
UNREADABLE = [{**RUN, "startTimeGmt": None}, {**RUN, "duration": "long"}, {**RUN, "startTimeGmt": "31st of June"}]


@pytest.mark.parametrize("wrapped", [True, False])
def test_each_activity_of_the_export_is_a_row(tmp_path: Path, wrapped: bool) -> None:
    """The export is one object about all of them; a null stands for one that was broken."""
    export: dict[str, Any] = {"summarizedActivitiesExport": [RUN, *UNREADABLE, None, {**RUN, "startTimeGmt": 1.7e12}]}
    tally, record = record_of(tmp_path, [export] if wrapped else export)
    assert (tally.seen, tally.used) == (6, 2)
    assert tally.skipped == {"an activity without a time or a length": 3, "nothing that is known to be measured": 1}
    assert {source["row"] for source in record["source"]} == {0, 5}


def test_each_weighing_of_a_list_is_a_row_and_what_is_beside_the_list_too(tmp_path: Path) -> None:
    odd = [{**WEIGHING, "date": None, "timestampGMT": None}, {**WEIGHING, "weight": "heavy"}]
    tally, record = record_of(tmp_path, [{**DAY, "dateWeightList": [WEIGHING, *odd]}, {"dateWeightList": []}])
    assert (tally.seen, tally.used) == (5, 2)
    assert tally.skipped == {
        "a weighing without a time": 1,
        "a weighing without a value": 1,
        "nothing that is known to be measured": 1,
    }
    assert values(record, "weight") == [70.5]
    assert values(record, "steps_daily") == [8123]


def test_what_an_item_lost_is_told_where_it_has_more(tmp_path: Path) -> None:
    night = {**WEB["dailySleepDTO"], "sleepStartTimestampGMT": "x"}
    tally, record = record_of(tmp_path, [{**WEB, "dailySleepDTO": night}, {**DAY, "totalSteps": "many"}])
    assert tally.notes["a night without a time"] == 1
    assert tally.notes["totalSteps: no number"] == 1
    assert values(record, "steps_daily") == []
    assert values(record, "resting_heart_rate") == [51]


def test_an_export_that_is_longer_than_an_item_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (json_stream, json_text):
        monkeypatch.setattr(module, "ITEM", 2**18)
    many = [{**RUN, "activityId": at, "startTimeGmt": RUN["startTimeGmt"] + 3_600_000 * at} for at in range(2500)]
    tally, _ = record_of(tmp_path, [{"summarizedActivitiesExport": many}])
    assert (tally.seen, tally.used) == (2500, 2500)


@pytest.mark.parametrize("factor", [4.184, 4.19])  # Garmin multiplies by the latter
def test_the_unit_of_energy_is_that_of_the_whole_file(tmp_path: Path, factor: float) -> None:
    """250 kcal are 1046 kJ, a whole number too: what it is, the others tell."""
    kcal = [250.0, 100.0, 333.0, 412.0]
    for written in ([round(each * factor, 2) for each in kcal], kcal):
        runs = [{**RUN, "calories": each, "startTimeGmt": 1.7e12 + 1e7 * at} for at, each in enumerate(written)]
        _, record = record_of(tmp_path, [{"summarizedActivitiesExport": runs}])
        assert values(record, "workout_energy") == pytest.approx(kcal)
        assert all("unit_assumed" in q for q in record.filter(pl.col("metric") == "workout_energy")["quality"])


def test_a_whole_number_of_kilojoules_is_none_of_kilocalories_only_where_nothing_tells(tmp_path: Path) -> None:
    runs = [{**RUN, "calories": each, "startTimeGmt": 1.7e12 + each} for each in (1046.0, 400.0, 410.0)]
    _, record = record_of(tmp_path, [{"summarizedActivitiesExport": runs}])
    assert sorted(values(record, "workout_energy")) == [400, 410, 1046]


def test_a_rows_number_is_its_place_in_the_file(tmp_path: Path) -> None:
    """An item that is no JSON, and a list of three, have their places too."""
    text = json.dumps([{"summarizedActivitiesExport": [RUN, None, {**RUN, "startTimeGmt": 1.7e12}]}, DAY])
    tally, record = record_of(tmp_path, '[{"calendarDate": }, ' + json.dumps(WEIGHT) + ", " + text[1:])
    assert tally.skipped == {"no JSON": 1, "nothing that is known to be measured": 1}
    assert {source["row"] for source in record["source"]} == {1, 2, 4, 5}


def test_what_a_day_has_within_lists_is_told_where_it_cannot_be_read(tmp_path: Path) -> None:
    listed = {"aggregatorList": [{"type": "TOTAL", "averageStressLevel": "abc"}]}
    tally, _ = record_of(tmp_path, [{**DAY, "allDayStress": listed}, {**NIGHT, "sleepScores": {"overallScore": "x"}}])
    codes = {"averageStressLevel: a code for a value that could not be measured": 1}  # of the day itself
    assert tally.notes == {"averageStressLevel: no number": 1, "overallScore: no number": 1, **codes}
