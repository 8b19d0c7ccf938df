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
