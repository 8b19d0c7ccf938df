"""Garmin's nights: what a sum of stages is made of, and what is missing where a part is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from metapulse.record.readers.garmin_keys import CODE
from tests.metapulse.record.test_garmin import NIGHT, record_of, values


@pytest.mark.parametrize(
    ("told", "minutes", "raw"),
    [
        ({}, 410, "deepSleepSeconds 4200 + lightSleepSeconds 15000 + remSleepSeconds 5400"),
        ({"sleepTimeSeconds": 24000}, 400, "24000.0 s"),
        ({"lightSleepSeconds": None}, None, None),
        ({"deepSleepSeconds": None}, None, None),
        ({"remSleepSeconds": None}, None, None),  # of 7.5 h are 125 minutes neither deep nor light nor awake
        ({"remSleepSeconds": None, "lightSleepSeconds": 22200}, 440, "deepSleepSeconds 4200 + lightSleepSeconds 22200"),
        ({"remSleepSeconds": None, "lightSleepSeconds": 22000, "unmeasurableSeconds": 200}, 436.667, None),
        ({"remSleepSeconds": "abc", "lightSleepSeconds": 22200}, None, None),
        ({"lightSleepSeconds": "abc"}, None, None),
        ({"sleepTimeSeconds": "abc"}, None, None),
    ],
)
def test_sleep_is_a_sum_only_where_none_of_its_stages_is_missing(
    told: dict[str, Any], minutes: float | None, raw: str | None, tmp_path: Path
) -> None:
    """A device that does not know REM leaves no time for it."""
    tally, record = record_of(tmp_path, [{**NIGHT, **told}])
    assert values(record, "sleep_duration") == ([] if minutes is None else [pytest.approx(minutes, abs=0.001)])
    if raw:
        assert record.filter(pl.col("metric") == "sleep_duration")["raw"].to_list() == [raw]
    bad = [key for key, value in told.items() if value == "abc"]
    assert tally.notes == {f"{key}: no number": 1 for key in bad}


@pytest.mark.parametrize("code", [-1, -2])
def test_codes_of_a_night_are_no_values(code: int, tmp_path: Path) -> None:
    names = "averageRespiration", "averageSpO2Value", "lightSleepSeconds", "awakeSleepSeconds"
    tally, record = record_of(tmp_path, [{**NIGHT, **dict.fromkeys(names, code)}])
    assert set(record["metric"]) == {"sleep_deep", "sleep_rem", "sleep_score"}
    assert tally.notes == {f"{name}: {CODE}": 1 for name in names}


@pytest.mark.parametrize("name", ["deepSleepSeconds", "lightSleepSeconds", "remSleepSeconds"])
def test_a_sum_with_a_part_that_cannot_be_is_implausible_as_the_part_is(name: str, tmp_path: Path) -> None:
    _, record = record_of(tmp_path, [{**NIGHT, name: -60}])
    doubted = record.filter(pl.col("quality").list.contains("implausible"))
    assert doubted.height == 2
    assert "sleep_duration" in set(doubted["metric"])
    assert len(values(record, "sleep_duration")) == 1


@pytest.mark.parametrize(
    ("awake", "unmeasurable", "note"),
    [
        ("abc", "0", "awakedurationinms: no number"),
        ("", "0", ""),
        ("0", "abc", "unmeasurablesleepdurationinms: no number"),
    ],
)
def test_a_night_of_which_a_part_is_missing_has_no_end(
    awake: str, unmeasurable: str, note: str, tmp_path: Path
) -> None:
    text = (
        "sleepSummaryId,calendarDate,timezoneOffsetInMs,unixTimestampInMs,durationInMs,"
        "unmeasurableSleepDurationInMs,awakeDurationInMs\n"
    )
    line = f"a,2024-04-03,7200000,1712092200000,24600000,{unmeasurable},{awake}\n"
    tally, record = record_of(tmp_path, text + line, "sleep_summaries.csv")
    assert values(record, "sleep_duration") == [410]
    assert set(record["end"]) == {None}
    assert tally.notes == {"a night whose end is not known": 1, **({note: 1} if note else {})}


HOUR = 3_600_000
EVENING = 1712092200000


@pytest.mark.parametrize(
    ("validation", "date", "begins", "superseded"),
    [
        ("AUTO_TENTATIVE", "2024-04-03", 0, True),
        ("ENHANCED_TENTATIVE", "2024-04-03", 6, True),
        ("ENHANCED_TENTATIVE", "2024-04-02", -1, True),  # the same night, which was another day's at first
        ("ENHANCED_TENTATIVE", "2024-04-03", 7, False),  # a nap that begins where the night ends
        ("ENHANCED_TENTATIVE", "2024-04-03", 15, False),
        ("ENHANCED_TENTATIVE", "2024-04-03", 25, True),  # of the second final one
        ("MANUAL", "2024-04-03", 15, False),  # sleep that no device saw
        ("MANUAL", "2024-04-03", 0, True),  # the device saw this night itself
        ("AUTO_MANUAL", "2024-04-03", 3, True),
        ("", "2024-04-03", 0, False),  # of which nothing is told
    ],
)
def test_a_night_that_is_not_final_gives_way_to_a_final_one_of_the_same_time(
    validation: str, date: str, begins: int, superseded: bool, tmp_path: Path
) -> None:
    text = "sleepSummaryId,calendarDate,timezoneOffsetInMs,unixTimestampInMs,durationInMs,awakeDurationInMs,validation"
    lines = (
        f"a,2024-04-03,0,{EVENING + 24 * HOUR},{7 * HOUR},0,ENHANCED_FINAL",
        f"b,{date},0,{EVENING + begins * HOUR},{2 * HOUR},0,{validation}",
        f"c,2024-04-03,0,{EVENING},{6 * HOUR},{HOUR},AUTO_FINAL",
    )
    _, record = record_of(tmp_path, "\n".join([text, *lines, ""]), "sleep_summaries.csv")
    marked = {row["source"]["row"]: "superseded" in row["quality"] for row in record.to_dicts()}
    typed = {row["source"]["row"] for row in record.to_dicts() if "manual" in row["quality"]}
    assert typed == ({3} if validation == "MANUAL" else set())
    assert marked == {2: False, 3: superseded, 4: False}
