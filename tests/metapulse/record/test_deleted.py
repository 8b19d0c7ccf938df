"""What was deleted does not count, however little the file still tells of it, and in whatever order it is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.metapulse.record.test_oura import NIGHT as WHOLE_NIGHT
from tests.metapulse.record.test_outdated import MEAL, counting
from tests.metapulse.record.test_treatments import BASAL, READING, of_names

NIGHT = {key: value for key, value in WHOLE_NIGHT.items() if key not in ("heart_rate", "sleep_phase_5_min")}
BOLUS = {**MEAL, "carbs": None}
BARE = {"isValid": False, "srvModified": 1712150000000}


def without(item: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in names}


@pytest.mark.parametrize("live", [MEAL, BASAL, {**MEAL, "insulin": None}])
def test_a_deletion_that_tells_no_amount_ends_all_amounts(live: dict[str, Any], tmp_path: Path) -> None:
    bare = {**without(live, "insulin", "carbs", "absolute", "duration"), **BARE}
    assert counting(of_names(tmp_path, t_1=[live], t_2=[bare])) == []


def test_a_deletion_that_tells_one_amount_ends_the_others(tmp_path: Path) -> None:
    made = of_names(tmp_path, t_1=[MEAL], t_2=[{**without(MEAL, "insulin"), **BARE}])
    assert counting(made) == []


def test_a_deletion_that_tells_no_reading_ends_the_reading(tmp_path: Path) -> None:
    made = of_names(tmp_path, e_1=[READING], e_2=[{**without(READING, "sgv"), **BARE}])
    assert counting(made) == []


@pytest.mark.parametrize("live", [without(READING, "type"), {**READING, "mbg": 120, "sgv": None, "type": "mbg"}])
def test_a_deletion_that_tells_no_more_than_id_and_time_ends_what_it_was(live: dict[str, Any], tmp_path: Path) -> None:
    bare = {"identifier": live["identifier"], "date": live["date"], **BARE}
    assert counting(of_names(tmp_path, e_1=[live], e_2=[bare, READING | {"identifier": "r2", "sgv": 90}])) == [
        ("glucose", 90)
    ]


def test_a_deletion_ends_no_other_document_and_no_later_state(tmp_path: Path) -> None:
    bare = {**without(MEAL, "insulin", "carbs"), **BARE}
    later = {**BOLUS, "insulin": 2.0, "srvModified": 1712160000000}
    other = {**BOLUS, "_id": "65f2", "insulin": 1.0}
    made = of_names(tmp_path, t_1=[MEAL, other], t_2=[bare], t_3=[later])
    assert counting(made) == [("insulin_rapid", 1), ("insulin_rapid", 2)]


def test_a_treatment_and_a_reading_of_one_id_are_two(tmp_path: Path) -> None:
    reading = {**READING, "identifier": "65f1", "date": 1712138400000}
    assert counting(of_names(tmp_path, t_1=[{**BOLUS, **BARE}], e_1=[reading])) == [("glucose", 120)]


@pytest.mark.parametrize("no", [0, "false", "False", 0.0, False])
def test_words_for_no(no: object, tmp_path: Path) -> None:
    assert counting(of_names(tmp_path, t_1=[{**MEAL, "isValid": no}])) == []


def test_an_id_is_the_same_as_a_fraction(tmp_path: Path) -> None:
    later = {**BOLUS, "_id": 17, "insulin": 3.0, "srvModified": 1712150000000}
    made = of_names(tmp_path, t_1=[{**BOLUS, "_id": 17.0}], t_2=[later])
    assert counting(made) == [("insulin_rapid", 3)]


ALONE, BOTH, NEW = {"_id": "65f1"}, {"_id": "65f1", "identifier": "u1"}, {"_id": None, "identifier": "u1"}


@pytest.mark.parametrize("ids", [(ALONE, BOTH), (BOTH, NEW), (ALONE, BOTH, NEW), (BOTH, ALONE), (NEW, BOTH, ALONE)])
@pytest.mark.parametrize("facts", [{}, {"insulin": 3.0}, {"isValid": False}])
@pytest.mark.parametrize("dated", [False, True])
def test_the_ids_of_database_and_interface_are_one(
    ids: tuple[dict[str, Any], ...], facts: dict[str, Any], dated: bool, tmp_path: Path
) -> None:
    """The last state counts, once."""
    stamps: list[dict[str, Any]] = [{"srvModified": 1712150000000 + n} if dated else {} for n in range(len(ids))]
    given = [[{**BOLUS, **id, **stamp}] for id, stamp in zip(ids, stamps, strict=True)]
    given[-1][0].update(facts)
    made = of_names(tmp_path, **{f"t_{n}": items for n, items in enumerate(given)})
    assert counting(made) == ([] if "isValid" in facts else [("insulin_rapid", facts.get("insulin", 4))])


def test_two_documents_with_two_ids_each_are_two(tmp_path: Path) -> None:
    pair = [{**BOLUS, **BOTH}, {**BOLUS, "_id": "65f2", "identifier": "u2"}]
    made = of_names(tmp_path, t_1=[{**BOLUS, **ALONE}], t_2=pair)
    assert counting(made) == [("insulin_rapid", 4), ("insulin_rapid", 4)]


def test_what_an_export_without_ids_has_of_a_deleted_treatment_does_not_count(tmp_path: Path) -> None:
    made = of_names(tmp_path, t_1=[without(MEAL, "_id")], t_2=[{**MEAL, **BARE}])
    assert counting(made) == []


def test_of_two_treatments_without_ids_one_deletion_ends_one(tmp_path: Path) -> None:
    bare = without(BOLUS, "_id")
    made = of_names(tmp_path, t_1=[bare, bare], t_2=[{**BOLUS, **BARE}])
    assert counting(made) == [("insulin_rapid", 4)]


def test_one_without_an_id_counts_that_says_something_else_than_what_was_deleted(tmp_path: Path) -> None:
    made = of_names(tmp_path, t_1=[{**without(BOLUS, "_id"), "insulin": 5.0}], t_2=[{**BOLUS, **BARE}])
    assert counting(made) == [("insulin_rapid", 5)]


def test_one_without_an_id_is_ended_that_says_what_was_there_before_the_deletion(tmp_path: Path) -> None:
    states = {"t_2": [BOLUS], "t_3": [{**BOLUS, "insulin": None, **BARE}]}
    assert counting(of_names(tmp_path, t_1=[without(BOLUS, "_id")], **states)) == []


@pytest.mark.parametrize(
    "gone",
    [
        {},
        {"total_sleep_duration": None, "average_hrv": None},
        {"total_sleep_duration": None},
        {"total_sleep_duration": 0, "average_hrv": 0},
    ],
)
def test_a_deleted_night_of_oura_ends_all_its_values(gone: dict[str, Any], tmp_path: Path) -> None:
    assert counting(of_names(tmp_path, sleep_1=[NIGHT], sleep_2=[{**NIGHT, **gone, "type": "deleted"}])) == []


@pytest.mark.parametrize("kind", ["long_sleep", "late_nap"])
def test_what_an_export_without_ids_has_of_a_deleted_night_does_not_count(kind: str, tmp_path: Path) -> None:
    first = {**without(NIGHT, "id"), "type": kind}
    assert counting(of_names(tmp_path, sleep_1=[first], sleep_2=[{**NIGHT, "type": "deleted"}])) == []


def test_a_night_of_oura_that_came_back_with_other_values_counts(tmp_path: Path) -> None:
    """The latest state by the order of the files; one that says what it said before the deletion is that row."""
    back = {"type": "long_sleep", "total_sleep_duration": 24000, "average_hrv": 60}
    states = {"sleep_2": [{**NIGHT, "type": "deleted"}], "sleep_3": [{**NIGHT, **back}]}
    assert counting(of_names(tmp_path, sleep_1=[NIGHT], **states)) == [("hrv_rmssd", 60), ("sleep_duration", 400)]
