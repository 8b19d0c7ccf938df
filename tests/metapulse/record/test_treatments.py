"""Treatments whose exports tell little of which state is the later one, and what their change stamps tell."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tests.metapulse.record.conftest import Import
from tests.metapulse.record.test_outdated import MEAL, counting, outdated, record_of

BASAL = {**MEAL, "eventType": "Temp Basal", "insulin": None, "carbs": None, "absolute": 1.2, "duration": 30}
READING = {"identifier": "r1", "type": "sgv", "sgv": 120, "date": 1712138700000, "device": "xDrip"}


def of_names(folder: Path, **given: list[dict[str, object]]) -> pl.DataFrame:
    """The record of exports of these names; the same in every order and grouping."""
    paths = [folder / f"{name.replace('_', '-')}.json" for name in given]
    for path, items in zip(paths, given.values(), strict=True):
        path.write_text(json.dumps(items), encoding="utf-8")
    return record_of(folder, paths)


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
    assert made.height == 4


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


def of_each_kind(at: int, **facts: object) -> list[dict[str, object]]:
    """A bolus, a temporary basal rate and a reading, as they were changed so many minutes after they were made."""
    when = {"srvModified": 1712138400000 + 60_000 * at, **facts}
    return [{**MEAL, **when}, {**BASAL, "_id": "65f2", **when}, {**READING, **when}]


@pytest.mark.parametrize("names", [("e_1", "e_2"), ("entries", "history"), ("z_2", "a_1")])
@pytest.mark.parametrize("times", [1, 2])
def test_what_an_export_of_any_name_says_was_deleted_later_does_not_count(
    names: tuple[str, str], times: int, tmp_path: Path
) -> None:
    """Also where the export from before had it twice."""
    before, after = names
    made = of_names(tmp_path, **{before: of_each_kind(0) * times, after: of_each_kind(10, isValid=False)})
    assert counting(made) == []


@pytest.mark.parametrize("deleted_first", [False, True])
def test_what_a_file_says_was_valid_and_then_deleted_does_not_count(deleted_first: bool, tmp_path: Path) -> None:
    both = [*of_each_kind(0), *of_each_kind(10, isValid=False)]
    assert counting(of_names(tmp_path, e_1=both[::-1] if deleted_first else both)) == []


@pytest.mark.parametrize(("first", "counted"), [(True, 0), (False, 4)])
@pytest.mark.parametrize("names", [("t_1", "t_2"), ("history", "treatments")])
def test_the_later_file_tells_whether_it_was_deleted_where_no_change_is_told(
    first: bool, counted: int, names: tuple[str, str], tmp_path: Path
) -> None:
    given = {
        name: [*of_each_kind(0, isValid=valid, srvModified=None)] for name, valid in zip(names, (first, not first))
    }
    assert len(counting(of_names(tmp_path, **given))) == counted


def test_one_of_two_uploads_of_a_reading_counts_after_the_other_was_deleted(tmp_path: Path) -> None:
    other = {**READING, "identifier": "r2", "device": "loop"}
    made = of_names(tmp_path, e_1=[READING, other], e_2=[{**READING, "isValid": False}, other])
    assert counting(made) == [("glucose", 120)]


def test_a_reading_that_two_sites_hold_under_ids_of_their_own_counts_once(tmp_path: Path) -> None:
    made = of_names(tmp_path, entries=[READING], other=[{**READING, "identifier": "s7"}])
    assert counting(made) == [("glucose", 120)]
    assert made.height == 2


@pytest.mark.parametrize("entered_by", ["Loop", None])
def test_a_treatment_without_an_id_is_one_of_those_that_got_ids_later(entered_by: str | None, tmp_path: Path) -> None:
    bare = {key: value for key, value in MEAL.items() if key not in ("_id", "carbs")}
    with_ids = [{**bare, "_id": id, "enteredBy": entered_by} for id in ("a", "b")]
    assert counting(of_names(tmp_path, t_1=[bare], t_2=with_ids)) == [("insulin_rapid", 4)] * 2


@pytest.mark.parametrize(
    "ids",
    [
        (0, 2),
        ({"$uuid": "a"}, {"$uuid": "b"}),
        ({"$binary": {"base64": "AAA=", "subType": "04"}}, {"$binary": {"base64": "BBB=", "subType": "04"}}),
        ("a b 5", "a b 6"),
        ("z" * 100, "y" * 100),
    ],
)
def test_ids_of_every_kind_tell_two_treatments_apart(ids: tuple[object, object], tmp_path: Path) -> None:
    first, second = ({**MEAL, "_id": id, "carbs": None} for id in ids)
    made = of_names(tmp_path, t_1=[first, second], t_2=[{**second, "insulin": 5.0}, {**first, "insulin": 6.0}, MEAL])
    assert counting(made, "insulin_rapid") == [("insulin_rapid", 4), ("insulin_rapid", 5), ("insulin_rapid", 6)]


def test_an_id_of_nothing_is_none(tmp_path: Path) -> None:
    made = of_names(tmp_path, t_1=[{**MEAL, "_id": "", "carbs": None}, {**MEAL, "_id": " ", "carbs": None}])
    assert counting(made) == [("insulin_rapid", 4)]


def test_the_reason_why_a_treatment_is_counted_away_is_its_stamp_where_that_is_bad(record: Import) -> None:
    items = [{**MEAL, "created_at": "garbage"}, MEAL, {**MEAL, "_id": "65f2", "insulin": None, "carbs": None}]
    made, tally = record({"treatments.json": json.dumps(items)})
    assert made.height == 2
    (account,) = tally.files.values()
    assert account.skipped == {"a stamp that is no time": 1, "a treatment without an amount: Meal Bolus": 1}


@pytest.mark.parametrize("when", [{"$date": "2024-04-03T10:05:00Z"}, {"$date": {"$numberLong": "1712138700000"}}])
def test_times_and_decimals_of_a_database_are_read(when: object, record: Import) -> None:
    """As mongoexport writes them: a time in place of a number, and the numbers of either kind of file."""
    reading = {**READING, "date": when, "sgv": {"$numberDecimal": "120.5"}}
    bolus = {**MEAL, "created_at": when, "insulin": {"$numberDecimal": "5.5"}, "carbs": None}
    made, _ = record({"entries.json": json.dumps([reading]), "treatments.json": json.dumps([bolus])})
    assert made.select("metric", "value").rows() == [("glucose", 120.5), ("insulin_rapid", 5.5)]
    assert made["start"].dt.epoch("ms").to_list() == [1712138700000] * 2
    assert made["quality"].to_list() == [[], []]
