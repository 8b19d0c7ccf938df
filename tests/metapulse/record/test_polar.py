"""Polar Flow: every kind of file of the export, in its two versions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from metapulse.record.clock import zone
from metapulse.record.readers.base import Options
from metapulse.record.store import import_files
from metapulse.record.tally import FileTally

OLD: dict[str, Any] = {
    "exportVersion": "1.6",
    "startTime": "2024-04-03T10:00:00.000",
    "stopTime": "2024-04-03T10:30:00.000",
    "timezoneOffset": "120",
    "duration": "PT30M",
    "distance": 5000.0,
    "averageHeartRate": 150,
    "kiloCalories": 400,
    "deviceId": "A1",
    "product": {"modelName": "Polar Vantage V"},
    "exercises": [
        {
            "startTime": "2024-04-03T10:00:00.000",
            "timezoneOffset": 120,
            "sport": "RUNNING",
            "samples": {
                "heartRate": [
                    {"dateTime": "2024-04-03T10:00:00.000", "value": 90},
                    {"dateTime": "2024-04-03T10:00:01.000", "value": 92},
                    {"dateTime": "2024-04-03T10:00:02.000"},
                ],
                "speed": [{"dateTime": "2024-04-03T10:00:00.000", "value": 9.0}],
            },
        }
    ],
}
NEW: dict[str, Any] = {
    "created": "2024-04-03T08:31:00.000",
    "durationMillis": 1800000,
    "startTime": "2024-04-03T10:00:00",
    "timezoneOffsetMinutes": 120,
    "distanceMeters": 5000,
    "hrAvg": 150,
    "calories": 400,
    "sport": {"id": "1"},
    "exercises": [
        {
            "startTime": "2024-04-03T10:00:00",
            "samples": {
                "samples": [
                    {"type": "HEART_RATE", "intervalMillis": 1000, "values": [90, "NaN", 92]},
                    {"type": "DISTANCE", "intervalMillis": 1000, "values": ["NaN", 0.0, 2.5, 5.5]},
                    {"type": "LEFT_CRANK_TORQUE", "intervalMillis": 1000, "values": [1]},
                ]
            },
        }
    ],
}
DAY = {
    "date": "2024-04-03",
    "exportVersion": "1.2",
    "samples": {
        "mets": [{"localTime": "08:00:00", "value": 1.5}],
        "steps": [{"localTime": "08:00:00.000", "value": 40}, {"localTime": "08:01:00.000", "value": 52}],
    },
    "summary": {
        "stepCount": 8123,
        "calories": 2300,
        "activityLevels": [{"level": "SEDENTARY", "duration": "PT10H30M"}, {"level": "SLEEP", "duration": "PT8H"}],
    },
}
PULSE = {
    "deviceDays": [
        {
            "userId": 1,
            "deviceId": "A1",
            "date": "2024-04-03",
            "samples": [{"heartRate": 61, "secondsFromDayStart": 3661}],
        },
        {"userId": 1, "deviceId": "A1", "date": "2024-04-04", "samples": []},
    ]
}
NIGHT = {
    "night": "2024-04-03",
    "evaluation": {
        "sleepSpan": "PT8H",
        "asleepDuration": "PT7H30M30S",
        "analysis": {"efficiencyPercent": 93.5},
        "interruptions": {"totalCount": 21},
        "phaseDurations": {"wake": "PT29M30S", "rem": "PT2H", "deep": "PT1H"},
    },
    "sleepResult": {
        "hypnogram": {
            "sleepStart": "2024-04-02T23:00:00.000+02:00",
            "sleepEnd": "2024-04-03T07:00:00.000+02:00",
            "sleepStateChanges": [
                {"offsetFromStart": "PT0S", "state": "NONREM12"},
                {"offsetFromStart": "PT1H", "state": "NONREM3"},
                {"offsetFromStart": "PT8H", "state": "WAKE"},
            ],
        }
    },
}
SCORE = {"night": "2024-04-03", "sleepScoreResult": {"sleepScore": 78.4}}
RECOVERY = {
    "night": "2024-04-03",
    "meanNightlyRecoveryRri": 1100,
    "meanNightlyRecoveryRmssd": 45,
    "meanNightlyRecoveryRespirationInterval": 4000,
}
BEATS = {
    "date": "2024-04-03",
    "devicePpiSamplesList": [
        {"deviceId": "A1", "ppiSamples": [{"sampleDateTime": "2024-04-03T01:00:00.500", "pulseLength": 980}, {}]}
    ],
}


def record_of(tmp_path: Path, content: Any, told: str = "") -> tuple[FileTally, pl.DataFrame]:
    (tmp_path / "some.json").write_text(json.dumps(content), encoding="utf-8")
    out = tmp_path / "person.parquet"
    out.unlink(missing_ok=True)
    (tally,) = import_files([tmp_path / "some.json"], out, Options(zone(told) if told else None)).files.values()
    assert not tally.unexplained
    assert tally.format == "polar"
    return tally, pl.read_parquet(out)


def rows(record: pl.DataFrame, metric: str, *columns: str) -> list[tuple[Any, ...]]:
    return record.filter(pl.col("metric") == metric).select(columns or ("start", "value")).rows()


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("told", ["", "America/New_York"])
@pytest.mark.parametrize("content", [OLD, NEW])
def test_a_session_of_either_version_has_its_own_offset(content: Any, told: str, tmp_path: Path) -> None:
    _, record = record_of(tmp_path, content, told)
    assert rows(record, "workout", "start", "end", "value") == [(at("2024-04-03T08:00"), at("2024-04-03T08:30"), 30)]
    assert rows(record, "workout_distance", "value") == [(5000,)]
    assert rows(record, "workout_energy", "value") == [(400,)]
    assert [value for _, value in rows(record, "heart_rate")] == [90, 92]
    assert rows(record, "heart_rate")[0][0] == at("2024-04-03T08:00")
    assert set(record["offset_min"]) == {120}
    assert not any("zone_assumed" in marks for marks in record["quality"])


def test_speed_is_in_kilometres_an_hour_and_a_device_is_named(tmp_path: Path) -> None:
    _, record = record_of(tmp_path, OLD)
    assert rows(record, "speed", "value", "unit") == [(2.5, "m/s")]
    assert record["device"][0]["model"] == "Polar Vantage V"
    assert record["device"][0]["unit"] == "A1"


def test_an_interval_goes_on_over_values_that_are_none(tmp_path: Path) -> None:
    _, record = record_of(tmp_path, NEW)
    assert [start.second for start, _ in rows(record, "heart_rate")] == [0, 2]
    assert rows(record, "distance", "value") == [(2.5,), (3.0,)]


def test_a_day(tmp_path: Path) -> None:
    _, record = record_of(tmp_path, DAY, "Europe/Berlin")
    assert rows(record, "steps", "start", "value") == [(at("2024-04-03T06:00"), 40), (at("2024-04-03T06:01"), 52)]
    assert rows(record, "steps_daily", "start", "end", "value") == [
        (at("2024-04-02T22:00"), at("2024-04-03T22:00"), 8123)
    ]
    assert rows(record, "sedentary_minutes", "value") == [(630,)]
    assert rows(record, "total_energy", "quality") == [(["date_only", "unit_assumed"],)]
    _, record = record_of(tmp_path, DAY)
    assert rows(record, "steps", "quality") == [(["zone_assumed"],)] * 2


def test_heart_rate_by_the_second_of_the_day(tmp_path: Path) -> None:
    tally, record = record_of(tmp_path, PULSE, "Europe/Berlin")
    assert rows(record, "heart_rate") == [(at("2024-04-02T23:01:01"), 61)]
    assert tally.skipped.total() == 1


def test_a_night(tmp_path: Path) -> None:
    _, record = record_of(tmp_path, [NIGHT, SCORE, RECOVERY])
    assert rows(record, "sleep_stage", "start", "end", "code") == [
        (at("2024-04-02T21:00"), at("2024-04-02T22:00"), "light"),
        (at("2024-04-02T22:00"), at("2024-04-03T05:00"), "deep"),
    ]
    assert rows(record, "sleep_duration", "value", "offset_min") == [(450.5, 120)]
    assert rows(record, "sleep_rem", "value") == [(120,)]
    assert rows(record, "sleep_score", "value") == [(78.4,)]
    assert rows(record, "hrv_rmssd", "value", "code") == [(45, "mean of the night")]
    assert rows(record, "respiratory_rate", "value", "raw") == [(15, "4000 ms")]


def test_beats(tmp_path: Path) -> None:
    tally, record = record_of(tmp_path, [BEATS], "Europe/Berlin")
    assert rows(record, "rr_interval") == [(at("2024-04-02T23:00:00.500000"), 980)]
    assert tally.notes == {"a beat without a time or a length": 1}


def test_values_of_any_type_cost_no_other(tmp_path: Path) -> None:
    odd = [
        None,
        4,
        [],
        {"night": 3, "sleepResult": []},
        {"date": "x", "samples": 3},
        {"exercises": [3, {"samples": 1}]},
    ]
    tally, record = record_of(tmp_path, [*odd, NIGHT])
    assert rows(record, "sleep_duration", "value") == [(450.5,)]
    assert tally.skipped.total() == 6


def test_values_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    pulse = [
        {"dateTime": "2024-04-03T10:00:00.000", "value": 90},
        {"dateTime": "2024-04-03T10:00:01.000", "value": "x"},
        {"dateTime": "soon", "value": 91},
        {"value": 92},
        5,
    ]
    old = {**OLD, "exercises": [{**OLD["exercises"][0], "samples": {"heartRate": pulse, "speed": None}}]}
    tally, record = record_of(tmp_path, old)
    assert rows(record, "heart_rate", "value") == [(90,)]
    assert tally.notes == {"heartRate: no number": 1, "heartRate: a value without a time": 3}


def test_of_a_regular_series_bad_values_are_told_and_nan_is_none(tmp_path: Path) -> None:
    series = {"type": "HEART_RATE", "intervalMillis": 1000, "values": [90, "NaN", "x", 92]}
    new = {**NEW, "hrAvg": "fast", "exercises": [{**NEW["exercises"][0], "samples": {"samples": [series]}}]}
    tally, record = record_of(tmp_path, new)
    assert rows(record, "heart_rate", "value") == [(90,), (92,)]
    assert tally.notes == {"HEART_RATE: no number": 1, "hrAvg: no number": 1}


def distances(*samples: Any) -> dict[str, Any]:
    return {**OLD, "exercises": [{**OLD["exercises"][0], "samples": {"distance": list(samples)}}]}


def so_far(time: str, value: Any) -> dict[str, Any]:
    return {"dateTime": f"2024-04-03T{time}.000", "value": value}


def test_distance_with_a_stamp_each_is_what_was_added(tmp_path: Path) -> None:
    """A value that cannot be read leaves a longer interval, whatever the order of samples."""
    samples = [so_far("10:00:00", 0.0), so_far("10:01:00", 300.5), so_far("10:02:00", "x"), so_far("10:03:00", 600.0)]
    first, second, last = (at(f"2024-04-03T08:{minute}") for minute in ("00", "01", "03"))
    for given in (samples, samples[::-1], [samples[1], samples[3], *samples, {"value": 5}]):
        tally, record = record_of(tmp_path, distances(*given))
        assert rows(record, "distance", "start", "end", "value") == [(first, second, 300.5), (second, last, 299.5)]
        assert tally.notes["distance: no number"] == 1
        assert len(tally.notes) == 1 + ({"value": 5} in given)


@pytest.mark.parametrize(
    ("totals", "added"),
    [
        ((0, 300, 5, 600, 700), [300, 300, 100]),  # one is wrong: the total goes on where it was
        ((0, 300, 0, 100, 200), [300, 100, 100]),  # it began anew
        ((0, 300, 200), [300]),
    ],
)
@pytest.mark.parametrize("regular", [True, False])
def test_a_distance_that_falls_is_none_that_was_run(
    totals: tuple[int, ...], added: list[int], regular: bool, tmp_path: Path
) -> None:
    content = distances(*(so_far(f"10:0{minute}:00", total) for minute, total in enumerate(totals)))
    if regular:
        series = {"type": "DISTANCE", "intervalMillis": 60_000, "values": totals}
        content = {**NEW, "exercises": [{**NEW["exercises"][0], "samples": {"samples": [series]}}]}
    tally, record = record_of(tmp_path, content)
    assert rows(record, "distance", "value") == [(value,) for value in added]
    assert list(tally.notes.values()) == [1]
    assert next(iter(tally.notes)).endswith(": a total that fell")
