"""Treatments whose exports tell little of which state is the later one, and what their change stamps tell."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tests.metapulse.record.test_outdated import MEAL, counting, outdated, record_of


def of_one_name(folder: Path, *given: list[dict[str, object]]) -> pl.DataFrame:
    """The record of exports that are all called treatments.json; the same in every order and grouping."""
    paths = []
    for number, items in enumerate(given):
        path = folder / f"s{number}" / "treatments.json"
        path.parent.mkdir()
        path.write_text(json.dumps(items), encoding="utf-8")
        paths.append(path)
    return record_of(folder, paths)


def changed(at: int, **facts: object) -> list[dict[str, object]]:
    """The treatment as it was changed so many minutes after it was made."""
    return [{**MEAL, **facts, "srvModified": 1712138400000 + 60_000 * at}]


def test_of_two_states_in_files_of_one_name_one_counts(tmp_path: Path) -> None:
    """Nothing tells which is the later; it is the larger, as of nights."""
    made = of_one_name(tmp_path, [MEAL], [{**MEAL, "insulin": 3.5, "carbs": 45}])
    assert counting(made) == [("carbohydrates", 45), ("insulin_rapid", 4)]
    assert outdated(made) == [("carbohydrates", 40), ("insulin_rapid", 3.5)]


@pytest.mark.parametrize("facts", [{"eventType": "Bolus"}, {"enteredBy": "AAPS"}, {"eventType": ""}])
def test_of_two_kinds_or_devices_of_a_treatment_one_counts(facts: dict[str, object], tmp_path: Path) -> None:
    made = of_one_name(tmp_path, [{**MEAL, **facts, "carbs": None}], [{**MEAL, "carbs": None}])
    assert counting(made) == [("insulin_rapid", 4)]
    assert len(outdated(made)) == 1


def test_of_two_states_in_one_file_the_one_further_down_counts(tmp_path: Path) -> None:
    made = of_one_name(tmp_path, [MEAL, {**MEAL, "insulin": 3.5}])
    assert counting(made) == [("carbohydrates", 40), ("insulin_rapid", 3.5)]


def test_a_value_that_came_back_counts_where_the_files_say_when_it_was_changed(tmp_path: Path) -> None:
    """Of equal rows the last change stays, in whatever order they are read."""
    made = of_one_name(tmp_path, changed(0), changed(10, insulin=3.5), changed(20))
    assert counting(made) == [("carbohydrates", 40), ("insulin_rapid", 4)]
    assert outdated(made) == [("insulin_rapid", 3.5)]


def test_of_exports_that_differ_in_their_change_stamp_alone_the_last_stays(tmp_path: Path) -> None:
    made = of_one_name(tmp_path, changed(0), changed(10))
    assert made["raw"].to_list() == ["id 65f1 1712139000000000"] * 2


def test_a_treatment_that_was_restored_counts(tmp_path: Path) -> None:
    made = of_one_name(tmp_path, changed(0), changed(10, isValid=False), changed(20, isValid=True))
    assert counting(made) == [("carbohydrates", 40), ("insulin_rapid", 4)]
    assert made.height == 2


def test_a_treatment_that_was_restored_and_deleted_again_does_not_count(tmp_path: Path) -> None:
    states = changed(0), changed(10, isValid=False), changed(20, isValid=True), changed(30, isValid=False)
    assert counting(of_one_name(tmp_path, *states)) == []


def test_a_treatment_that_was_deleted_in_another_amount_and_restored_counts(tmp_path: Path) -> None:
    states = changed(0), changed(10, insulin=3.5, isValid=False), changed(20, isValid=True)
    assert counting(of_one_name(tmp_path, *states), "insulin_rapid") == [("insulin_rapid", 4)]


def test_two_treatments_of_one_amount_and_moment_are_two(tmp_path: Path) -> None:
    """Each with its own states, and in every export."""
    pair = [MEAL, {**MEAL, "_id": "65f2", "carbs": None}]
    made = of_one_name(tmp_path, pair, pair[::-1], [pair[0], {**pair[1], "insulin": 5.0}])
    assert counting(made, "insulin_rapid") == [("insulin_rapid", 4), ("insulin_rapid", 5)]
    assert outdated(made) == [("insulin_rapid", 4)]


def test_of_equal_rows_with_another_word_of_the_file_the_same_stays_in_every_order(tmp_path: Path) -> None:
    """A column of our own CSV, and the same of a row without a number."""
    lines = "2024-04-03T08:00:00Z,heart_rate,61,/min,,{0}\n2024-04-03T08:00:00Z,sleep_stage,,,deep,{0}\n"
    paths = []
    for word in ("xyz", "abc"):
        path = tmp_path / f"of {word}" / "own.csv"
        path.parent.mkdir()
        path.write_text("time,metric,value,unit,code,raw\n" + lines.format(word), encoding="utf-8")
        paths.append(path)
    assert record_of(tmp_path, paths)["raw"].to_list() == ["abc", "abc"]
