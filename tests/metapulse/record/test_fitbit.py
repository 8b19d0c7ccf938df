"""Fitbit in Takeout: nights."""

from __future__ import annotations

import json

import polars as pl

from tests.metapulse.record.conftest import Import


def test_stages_of_the_night_when_clocks_go_back_follow_one_another(record: Import) -> None:
    """23:30 to 02:50 summer time, then 02:05 winter time, 75 minutes of it: an hour later, not before."""
    stages = [("2024-10-26T23:30:00.000", "light", 12_000), ("2024-10-27T02:50:00.000", "deep", 900)]
    stages += [("2024-10-27T02:05:00.000", "rem", 4500)]
    data = [{"dateTime": at, "level": level, "seconds": seconds} for at, level, seconds in stages]
    times = {"startTime": "2024-10-26T23:30:00.000", "endTime": "2024-10-27T03:20:00.000"}
    night = {"logId": 1, "dateOfSleep": "2024-10-27", **times, "levels": {"data": data, "shortData": []}}
    made, _ = record({"sleep-2024-10.json": json.dumps([night])})
    used = made.filter(pl.col("metric") == "sleep_stage").sort("start")
    assert used["code"].to_list() == ["light", "deep", "rem"]
    assert used["end"][:-1].to_list() == used["start"][1:].to_list()


def stages(record: Import, parts: list[tuple[str, str, int]], short: list[tuple[str, str, int]]) -> pl.DataFrame:
    """Of a night from 23:00 to 6:00 in which clocks go back; stages are (time, level, seconds)."""
    lists = [
        [{"dateTime": f"2024-10-{at}:00.000", "level": level, "seconds": seconds} for at, level, seconds in each]
        for each in (parts, short)
    ]
    times = {"startTime": "2024-10-26T23:00:00.000", "endTime": "2024-10-27T06:00:00.000"}
    levels = {"data": lists[0], "shortData": lists[1]}
    made, _ = record({"sleep.json": json.dumps([{"logId": 1, "dateOfSleep": "2024-10-27", **times, "levels": levels}])})
    return made.filter(pl.col("metric") == "sleep_stage").sort("start")


def test_an_awakening_in_the_hour_that_exists_twice_is_marked(record: Import) -> None:
    """The second one is before it in the first hour, and rows are in order of time."""
    short = [("27T02:10", "wake", 60), ("27T02:05", "wake", 60)]
    made = stages(record, [("26T23:00", "light", 28_800)], short).filter(pl.col("code") == "awake")
    assert made["start"].dt.strftime("%H:%M").to_list() == ["00:10", "01:05"]
    assert made["offset_min"].to_list() == [120, 60]
    assert made["quality"].to_list() == [["clock_ambiguous"], []]


def test_a_stage_after_a_gap_in_the_hour_that_exists_twice_is_marked(record: Import) -> None:
    """What follows it at once is as sure as itself."""
    made = stages(record, [("26T23:00", "light", 3600), ("27T02:10", "deep", 600), ("27T02:20", "rem", 600)], [])
    assert made["start"].dt.strftime("%H:%M").to_list() == ["21:00", "00:10", "00:20"]
    assert made["quality"].to_list() == [[], ["clock_ambiguous"], ["clock_ambiguous"]]


def test_a_night_that_ends_in_the_hour_that_exists_twice_is_marked(record: Import) -> None:
    night = {"logId": 1, "dateOfSleep": "2024-10-27", "minutesAsleep": 180, "levels": {}}
    times = {"startTime": "2024-10-26T23:00:00.000", "endTime": "2024-10-27T02:30:00.000"}
    made, _ = record({"sleep.json": json.dumps([{**night, **times}])})
    assert made["quality"].to_list() == [["clock_ambiguous"]]


def test_what_has_no_time_is_told_so(record: Import) -> None:
    stamps = ["03/13/24 22:15:20", "13/03/24 22:15:20", None]
    series = [{"dateTime": stamp, "value": {"bpm": 70, "confidence": 2}} for stamp in stamps]
    nothing = [{"dateTime": "03/13/24 22:15:20", "value": "x"}, {"dateTime": None, "value": {"date": None, "value": 0}}]
    run = {"logId": 1, "activityName": "Run", "startTime": "13/03/24 22:15:20", "duration": 60_000}
    night = {"logId": 1, "dateOfSleep": "2024-03-13", "startTime": "soon", "endTime": "2024-03-14T06:00", "levels": {}}
    _, tally = record({"heart_rate-2024-03-13.json": json.dumps([*series, *nothing, run, night])})
    assert next(iter(tally.files.values())).skipped == {
        "a stamp that is no time": 4,
        "a series without a metric of ours, or no value in it": 2,
    }


def test_a_twin_whose_dates_a_spreadsheet_rewrote_is_not_guessed_in_silence(record: Import) -> None:
    made, _ = record({"steps.csv": "timestamp,steps\n2024-04-03T08:00:00Z,12\n4/3/2024 9:00,13\n"})
    assert dict(made.select("value", "quality").iter_rows()) == {12: [], 13: ["date_order_assumed"]}


def test_rows_of_a_twin_below_a_second_header_are_read_by_it(record: Import) -> None:
    """Two exports joined: the second has another column in front."""
    joined = "timestamp,steps\n2024-04-03T08:00:00Z,12\ndata source,steps,timestamp\nCharge 6,13,2024-04-03T09:00:00Z\n"
    made, tally = record({"steps.csv": joined})
    assert made["value"].to_list() == [12.0, 13.0]
    assert [device["model"] for device in made["device"]] == [None, "Charge 6"]
    (account,) = tally.files.values()
    assert account.skipped == {"the header": 2}


def test_values_of_another_series_than_the_name_tells_are_counted_away(record: Import) -> None:
    """As of files that were joined under the name of one."""
    beats = [{"dateTime": f"04/03/24 08:0{n}:00", "value": {"bpm": 60 + n, "confidence": 3}} for n in range(2)]
    steps = [{"dateTime": f"04/03/24 08:0{n}:00", "value": str(50 + n)} for n in range(3)]
    made, tally = record({"heart_rate-2024-04-03.json": json.dumps([*beats, *steps])})
    assert sorted(made["value"]) == [60, 61]
    (file,) = tally.files.values()
    assert file.skipped == {"a value of another series than the file's name tells": 3}
    made, _ = record({"steps-2024-04-03.json": json.dumps([*beats, *steps])})
    assert made["metric"].to_list().count("steps") == 3
