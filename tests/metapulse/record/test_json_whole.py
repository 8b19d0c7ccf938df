"""What one break of a file must never do: give a value another time, unit or device, or call what was deleted valid."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from metapulse.errors import MetapulseError
from metapulse.files import replace_with
from metapulse.record.store import metadata
from tests.metapulse.record.conftest import Import
from tests.sim.fake.test_damage import is_json

FIRST = (
    '{"_id": "a1", "eventType": "Meal Bolus", "created_at": "2024-01-22T08:00:00.000Z", "insulin": 4.5,'
    ' "boluscalc": {"profile": "x"}}'
)
SECOND = '{"_id": "a2", "eventType": "Carb Correction", "created_at": "2024-01-22T12:00:00.000Z", "carbs": 20}'
THIRD = '{"_id": "a3", "eventType": "Meal Bolus", "created_at": "2024-01-22T14:00:00.000Z", "insulin": 3}'
NIGHT = '{"id": "1", "day": "2024-01-22", "score": 80, "contributors": {"deep_sleep": 70}}'
WEIGHT = (
    '{"WeightDataList": [{"DataSource": "FromDevice", "TimeZone": "+0100", "MDate": 1705991220, "BMI": 19.2,'
    ' "WeightValue": 158.8}], "WeightUnit": 1, "RecordCount": 1}'
)
READING = (
    '[{"type": "smbg", "value": 27.8, "units": "mmol/L", "time": "2024-01-22T09:05:00.000Z", "annotations":'
    ' [{"code": "bg/out-of-range", "value": "high", "threshold": 500}], "deviceId": "m", "id": "5", "uploadId": "u"}]'
)
BODY = (
    '[{"header": {"id": "4", "schema_id": {"namespace": "omh", "name": "step-count", "version": "2.0"},'
    ' "acquisition_provenance": {"source_name": "B", "modality": "self-reported"}}, "body": {"step_count": 123,'
    ' "effective_time_frame": {"time_interval": {"start_date_time": "2024-01-22T09:00:00Z",'
    ' "end_date_time": "2024-01-22T10:00:00Z"}}}}]'
)
SERIES = '{"day": 1, "spO2SingleValues": [[1705882140000, 96.1], [1705882200000, 96.3], [1705882260000, 96.5]]}'


def rows(record: Import, text: str) -> tuple[list[tuple[Any, ...]], bool]:
    frame, tally = record({"file.json": text})
    found = frame.select("metric", "start", "end", "value", "unit", "code", "device", "quality").rows()
    return found, bool(tally.unread) or any(file.skipped.total() or file.notes.total() for file in tally.files.values())


def test_an_object_that_lost_its_bracket_lends_nothing_to_the_one_before(record: Import) -> None:
    sound, _ = rows(record, f"[{FIRST}, {SECOND}, {THIRD}]")
    for text in (f"[{FIRST}, {SECOND[1:]}, {THIRD}]", f"[{THIRD}, {FIRST}, {SECOND[1:]}]"):
        found, told = rows(record, text)
        assert found, text
        assert all(row in sound for row in found)
        assert told
    found, told = rows(record, f'{{"data": [{NIGHT}, "id": "2", "day": "2024-01-23"}}], "next_token": null}}')
    assert not found
    assert told


@pytest.mark.parametrize("mark", [",}", ',}srvModified":1,"', "}]", ", }}"])
def test_what_was_deleted_stays_so(mark: str, record: Import) -> None:
    deleted = f'{FIRST[:-1]}{mark}isValid": false}}'
    found, told = rows(record, f"[{deleted}, {SECOND}, {THIRD}]")
    assert [row[3] for row in found] in ([20.0, 3.0], [3.0], [])
    assert told


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (WEIGHT, WEIGHT.index("WeightUnit")),
        (READING, READING.index("annotations")),
        (BODY, 1),
        (SERIES, SERIES.index("[[")),
    ],
    ids=["ihealth", "tidepool", "openmhealth", "garmin"],
)
@pytest.mark.parametrize("instead", ["", "}", "]", "{", "[", ",", ":", "@"])
def test_one_structural_character_makes_no_row_another(text: str, places: int, instead: str, record: Import) -> None:
    """Characters outside of names and texts: another there may make a sound document that says something else."""
    sound, _ = rows(record, text)
    for at in range(places, len(text)):
        if text[at] not in "{}[]:," or text[:at].count('"') % 2:
            continue
        found, told = rows(record, text[:at] + instead + text[at + 1 :])
        known = [row for row in found if row not in sound and "unit_unknown" not in row[7]]
        assert not known, text[:at] + f"<{instead}>" + text[at + 1 :]
        assert told or found == sound or instead == text[at]


def test_a_member_behind_the_list_shows_that_a_lost_block_has_closed_the_item(record: Import) -> None:
    """Of a list that is no member of an object: what was lost began an object within the item, whose end is not its."""
    at = READING.index('"annotations"')
    found, told = rows(record, READING[:at] + READING[READING.index('"threshold"') :])
    assert not found
    assert told


def night(begin: str, *stages: str) -> str:
    parts = ", ".join(
        f'{{"startTime": "{at}", "endTime": "{until}", "stage": {n}}}' for at, until, n in map(str.split, stages)
    )
    return (
        f'{{"type": "SleepSession", "startTime": "{begin}", "endTime": "2024-01-23T05:17:00Z", "metadata": {{"id": "1",'
        f' "dataOrigin": "x"}}, "stages": [{parts}]}}'
    )


STEPS = (
    '{"type": "Steps", "startTime": "2024-01-23T08:00:00Z", "endTime": "2024-01-23T08:05:00Z", "count": 90,'
    ' "metadata": {"dataOrigin": "x"}}'
)
STAGES = (
    "2024-01-22T21:02:00Z 2024-01-22T21:26:00Z 1",
    "2024-01-22T21:26:00Z 2024-01-22T22:00:00Z 4",
    "2024-01-22T22:00:00Z 2024-01-22T23:00:00Z 5",
)


@pytest.mark.parametrize("lost", ['"stages": [{', 's": [{"startTime": "2024-01-22T21:02:00Z", "endTime', '"metadata'])
@pytest.mark.parametrize("stages", [1, 2, 3])
@pytest.mark.parametrize(
    "around",
    ["[{}, {}, {}]", '{{"records": [{}, {}, {}]}}', '{{"records": [{}, {}, {}], "count": 3}}'],
    ids=["list", "object", "object with more"],
)
def test_elements_of_a_list_that_lost_its_beginning_are_no_items(
    lost: str, stages: int, around: str, record: Import
) -> None:
    """They end the item before them, and the list with it, too early."""
    text = around.format(STEPS, night("2024-01-22T21:02:00Z", *STAGES[:stages]), STEPS.replace("T08", "T09"))
    sound, _ = rows(record, text)
    assert len(sound) == stages + 2
    at = text.index(lost)
    found, told = rows(record, text[:at] + text[at + len(lost) :])
    assert found
    assert all(row in sound for row in found)
    assert told


def test_elements_whose_day_stands_beside_their_list_are_not_read_behind_a_lost_block(record: Import) -> None:
    beats = (f'{{"heartRate": {60 + n}, "secondsFromDayStart": {3600 * n}, "source": "24_7"}}' for n in range(6))
    first, second = (", ".join(next(beats) for _ in range(3)) for _ in range(2))
    text = (
        f'{{"deviceDays": [{{"date": "2024-01-22", "deviceId": null, "samples": [{first}]}},'
        f' {{"date": "2024-01-23", "deviceId": null, "samples": [{second}]}}]}}'
    )
    sound, _ = rows(record, text)
    assert len(sound) == 6
    between = text.index("]}, {")
    for start in range(between - 30, between + 1):
        for end in range(text.index(second) - 14, text.index(second) + 14):
            damaged = text[:start] + text[end:]
            if is_json(damaged):
                continue
            found, told = rows(record, damaged)
            assert all(row in sound for row in found), text[:start] + "<>" + text[end:]
            assert told
    oops = text.replace('"heartRate": 61', '"heartRate": oops')
    assert len(rows(record, oops)[0]) == 5


def test_minutes_of_a_pulse_that_lost_their_name_are_no_saturation(record: Import) -> None:
    minute = '{"minute": "2024-01-21T21:50:00.000", "value": {"rmssd": 25.5}}'
    found, told = rows(record, f'{{"dateTime": "2024-01-21", "minutes": [{minute}, {minute}]}}]}}')
    assert not found
    assert told


def test_a_value_that_one_item_says_twice_is_counted_away(record: Import) -> None:
    minute = '{"minute": "2024-01-21T21:50:00.000", "value": {"rmssd": 25.5}}'
    frame, tally = record({"hrv.json": f'{{"hrv": [{{"dateTime": "2024-01-21", "minutes": [{minute}, {minute}]}}]}}'})
    assert len(frame) == tally.records == 1
    assert [file.away["said twice by one item"] for file in tally.files.values()] == [1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_a_pipe_is_neither_read_nor_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "person.parquet"
    os.mkfifo(pipe)
    for work in (metadata, lambda path: replace_with(path, lambda stream: stream.write(b"x"))):
        with pytest.raises(MetapulseError, match="a pipe or a device"):
            work(pipe)
    assert pipe.is_fifo()
