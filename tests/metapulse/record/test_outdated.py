"""What a vendor scored anew, or a person edited, between two exports: one state counts, whatever was read first."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from hashlib import sha256
from itertools import permutations
from pathlib import Path

import polars as pl
import pytest

from metapulse.record.daily import daily_totals
from metapulse.record.frame import load_record, without
from metapulse.record.merge import merge_records
from metapulse.record.nights import nights
from metapulse.record.store import import_files
from tests.metapulse.record.conftest import in_other_orders
from tests.metapulse.record.test_oura import NIGHT
from tests.metapulse.record.test_whoop import CYCLES

FINISHED = (
    CYCLES.replace("2024-04-02 23:10:00,,UTC-04:00", "2024-04-02 23:10:00,2024-04-03 22:50:00,UTC-04:00")
    .replace(",2210,171,68,", ",2650,175,70,")
    .replace(",410,440,200,90,120,30,", ",405,440,190,95,120,35,")
)


def states(folder: Path, *given: str | dict[str, str]) -> pl.DataFrame:
    """The record of exports, each a file or a folder of its own; the same to the byte in every order and grouping."""
    paths = []
    for number, files in enumerate(given, 1):
        top = folder / f"export 2024-05-0{number}"
        top.mkdir()
        for name, text in ({"export.csv": files} if isinstance(files, str) else files).items():
            (top / name).write_text(text, encoding="utf-8")
        paths.append(top)
    return record_of(folder, paths)


def record_of(folder: Path, paths: Sequence[Path]) -> pl.DataFrame:
    """The record of inputs; the same to the byte in every order and grouping."""
    out = folder / "person.parquet"
    import_files(paths, out)
    made = out.read_bytes()
    for number, order in enumerate(permutations(paths)):
        again = folder / f"{number}.parquet"
        import_files(order, again)
        assert _hash(again.read_bytes()) == _hash(made)
    import_files(paths, out)
    assert _hash(out.read_bytes()) == _hash(made)
    for seed in range(2):
        (folder / str(seed)).mkdir()
        others = in_other_orders(folder / str(seed), paths, random.Random(seed))
        assert [_hash(other) for other in others] == [_hash(made)] * 2
    return load_record(out)


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()  # which are compared faster than records where they differ


def counting(rows: pl.DataFrame, *metrics: str) -> list[tuple[str, float | None]]:
    """(metric, value) of what counts; of all metrics if none is named."""
    used = without(rows.filter(pl.col("metric").is_in(metrics)) if metrics else rows)
    return sorted(used.select("metric", "value").rows())


def outdated(rows: pl.DataFrame) -> list[tuple[str, float | None]]:
    return sorted(rows.filter(pl.col("quality").list.contains("outdated")).select("metric", "value").rows())


def test_a_running_cycle_of_whoop_gives_way_to_the_finished_one(tmp_path: Path) -> None:
    made = states(tmp_path, CYCLES, FINISHED)
    assert counting(made, "total_energy") == [("total_energy", 1900), ("total_energy", 2650)]
    assert ("total_energy", 2210) in outdated(made)
    assert ("heart_rate", 171) in outdated(made)
    assert daily_totals(made, "total_energy")["value"].sum() == pytest.approx(1900 + 2650)
    assert ("strain", 12.3) in outdated(made)  # the same strain, of a cycle that had no end
    out = tmp_path / "merged.parquet"
    merge_records([tmp_path / "person.parquet"], out)
    assert counting(load_record(out), "total_energy") == counting(made, "total_energy")


def test_a_finished_cycle_counts_also_where_its_export_has_the_lesser_name(tmp_path: Path) -> None:
    made = states(tmp_path, FINISHED, CYCLES)
    assert counting(made, "total_energy") == [("total_energy", 1900), ("total_energy", 2650)]


def test_a_night_that_whoop_scored_anew_counts_as_the_later_export_has_it(tmp_path: Path) -> None:
    """The later one is told by the numbers in the names; what both say is there once, and counts."""
    made = states(tmp_path, CYCLES, FINISHED)
    assert counting(made, "sleep_duration", "sleep_light", "sleep_deep", "sleep_rem", "time_in_bed") == [
        ("sleep_deep", 95), ("sleep_duration", 405), ("sleep_light", 190), ("sleep_rem", 120), ("time_in_bed", 440),
    ]  # fmt: skip
    assert {("sleep_deep", 90), ("sleep_duration", 410), ("sleep_light", 200)} <= set(outdated(made))
    assert nights(made)["asleep_min"].to_list() == [405]


def test_of_three_states_the_last_counts(tmp_path: Path) -> None:
    made = states(tmp_path, CYCLES, FINISHED, FINISHED.replace(",405,", ",400,"))
    assert counting(made, "sleep_duration") == [("sleep_duration", 400)]


def test_a_night_that_oura_scored_anew_counts_once(tmp_path: Path) -> None:
    """Its series of samples are no states of each other."""
    night = {key: value for key, value in NIGHT.items() if key != "sleep_phase_5_min"}
    anew = {**night, "total_sleep_duration": 24000, "average_hrv": 60}
    samples = {"data": [{"timestamp": "2024-04-03T10:00:00+02:00", "bpm": n, "source": "awake"} for n in (60, 61)]}
    texts = [
        {"sleep.json": json.dumps({"data": [one]}), "heartrate.json": json.dumps(samples)} for one in (night, anew)
    ]
    made = states(tmp_path, *texts)
    assert counting(made, "sleep_duration", "hrv_rmssd") == [("hrv_rmssd", 60), ("sleep_duration", 400)]
    assert outdated(made) == [("hrv_rmssd", 62), ("sleep_duration", 410)]
    assert nights(made)["asleep_min"].to_list() == [400]


def test_stages_that_were_scored_anew_count_as_the_later_export_has_them(tmp_path: Path) -> None:
    """Also what both say alike, and of which there is one row."""
    texts = [json.dumps({"data": [{**NIGHT, "sleep_phase_5_min": phases}]}) for phases in ("41112224", "41132244")]
    made = states(tmp_path, *({"sleep.json": text} for text in texts))
    (night,) = nights(made).to_dicts()
    assert [night[f"{name}_min"] for name in ("asleep", "deep", "light", "rem", "awake")] == [25, 10, 10, 5, 15]


def test_a_night_whose_beginning_was_moved_counts_once(tmp_path: Path) -> None:
    """It is another row, and no state of the first that the rows tell."""
    moved = FINISHED.replace("2024-04-02 23:10:00,2024-04-03 06:50:00,", "2024-04-02 23:40:00,2024-04-03 06:50:00,")
    assert moved != FINISHED
    made = states(tmp_path, FINISHED, moved.replace(",405,440,", ",380,410,"))
    assert nights(made)["asleep_min"].to_list() == [380]


def test_a_nap_is_no_state_of_a_night(tmp_path: Path) -> None:
    nap = {
        **NIGHT,
        "id": "s2",
        "type": "rest",
        "total_sleep_duration": 3600,
        "bedtime_end": "2024-04-03T00:10:00+02:00",
    }
    made = states(tmp_path, *({"sleep.json": json.dumps({"data": [one]})} for one in (NIGHT, nap)))
    assert counting(made, "sleep_duration") == [("sleep_duration", 60), ("sleep_duration", 410)]


GARMIN = "sleepSummaryId,calendarDate,timezoneOffsetInMs,unixTimestampInMs,durationInMs,awakeDurationInMs,validation\n"


def garmin(*nights: tuple[float, float, str]) -> str:
    """Nights (begin in hours after 21:10 UTC, hours of sleep, validation) as Garmin's CSV."""
    lines = (
        f"n{n},2024-04-03,0,{1712092200000 + b * 3_600_000:.0f},{h * 3_600_000:.0f},0,{v}"
        for n, (b, h, v) in enumerate(nights)
    )
    return GARMIN + "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("other", ["ENHANCED_TENTATIVE", "MANUAL"])
@pytest.mark.parametrize("final_first", [False, True])
def test_a_final_night_of_garmin_counts_whatever_its_export_is_called(
    other: str, final_first: bool, tmp_path: Path
) -> None:
    pair: Sequence[str] = (garmin((0, 6, other)), garmin((0, 7, "ENHANCED_FINAL")))
    made = states(tmp_path, *(reversed(pair) if final_first else pair))
    assert counting(made, "sleep_duration") == [("sleep_duration", 420)]
    assert outdated(made) == [("sleep_awake", 0), ("sleep_duration", 360)]


MEAL = {
    "_id": "65f1",
    "eventType": "Meal Bolus",
    "created_at": "2024-04-03T10:00:00.000Z",
    "enteredBy": "Loop",
    "insulin": 4.0,
    "carbs": 40,
}


def treatments(folder: Path, *given: list[dict[str, object]]) -> pl.DataFrame:
    return states(folder, *({"treatments.json": json.dumps(items)} for items in given))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"srvModified": 1712138500000}, {"srvModified": 1712140000000}),
        ({"updated_at": "2024-04-03T10:10:00Z"}, {"updated_at": "2024-04-03T10:20:00Z"}),
        ({}, {"modifiedAt": "2024-04-03T10:20:00Z"}),
        ({}, {}),  # then by the names of the files
    ],
)
def test_a_treatment_that_was_edited_counts_as_it_is(
    first: dict[str, object], second: dict[str, object], tmp_path: Path
) -> None:
    edited = {**MEAL, **second, "insulin": 3.5, "eventType": "Correction Bolus", "enteredBy": "AAPS"}
    made = treatments(tmp_path, [{**MEAL, **first}], [edited])
    assert counting(made) == [("carbohydrates", 40), ("insulin_rapid", 3.5)]
    assert outdated(made) == [("carbohydrates", 40), ("insulin_rapid", 4)]


def test_the_file_says_which_state_of_a_treatment_is_later_whatever_its_name_says(tmp_path: Path) -> None:
    later = {**MEAL, "insulin": 3.5, "srvModified": 1712140000000}
    made = treatments(tmp_path, [later], [{**MEAL, "srvModified": 1712138500000}])
    assert counting(made) == [("carbohydrates", 40), ("insulin_rapid", 3.5)]


def test_two_treatments_of_one_moment_are_no_states_of_each_other(tmp_path: Path) -> None:
    made = treatments(tmp_path, [MEAL], [{**MEAL, "_id": "65f2", "insulin": 1.0, "carbs": None}])
    assert counting(made) == [("carbohydrates", 40), ("insulin_rapid", 1), ("insulin_rapid", 4)]


def test_the_parts_of_a_combo_bolus_are_edited_one_by_one(tmp_path: Path) -> None:
    combo = {**MEAL, "eventType": "Combo Bolus", "enteredinsulin": 8.0, "carbs": None, "duration": 60}
    first = {**combo, "splitNow": 50, "splitExt": 50}
    made = treatments(tmp_path, [first], [{**first, "duration": 120, "srvModified": 1712140000000}])
    assert counting(made) == [("insulin_rapid", 4), ("insulin_rapid", 4)]
    assert outdated(made) == [("insulin_rapid", 4)]


def test_what_was_deleted_before_a_later_export_does_not_count(tmp_path: Path) -> None:
    """A treatment and a reading, in the third version of the interface; what has no amount is counted away."""
    reading = {"identifier": "r1", "type": "sgv", "sgv": 120, "date": 1712138700000, "device": "xDrip"}
    made = states(
        tmp_path,
        {"treatments.json": json.dumps([MEAL]), "entries.json": json.dumps([reading])},
        {
            "treatments.json": json.dumps([{**MEAL, "isValid": False}, {"eventType": "Note", "isValid": False}]),
            "entries.json": json.dumps([{**reading, "isValid": False}]),
        },
    )
    assert counting(made) == []
    assert set(made["metric"]) == {"carbohydrates", "glucose", "insulin_rapid"}
    assert sorted(made["quality"].to_list()) == [["outdated"]] * 3 + [["superseded"]] * 3


def test_what_was_edited_and_then_deleted_does_not_count_in_any_state(tmp_path: Path) -> None:
    edited = {**MEAL, "insulin": 3.5, "srvModified": 1712140000000}
    deleted = {**edited, "srvModified": 1712150000000, "isValid": False}
    made = treatments(tmp_path, [{**MEAL, "srvModified": 1712138500000}], [edited], [deleted])
    assert counting(made) == []


def test_a_converted_value_of_a_treatment_still_says_what_the_file_said(tmp_path: Path) -> None:
    finger = {**MEAL, "glucose": 5.5, "glucoseType": "Finger", "units": "mmol/L", "srvModified": 1712140000000}
    made = treatments(tmp_path, [finger]).filter(metric="glucose_blood")
    assert made["raw"].to_list() == ["id 65f1 1712140000000000; 5.5 mmol/L"]
