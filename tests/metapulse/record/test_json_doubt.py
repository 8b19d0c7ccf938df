"""Of an object that may lack a member nothing is kept, as it would pass for another: not deleted, of a whole day."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.metapulse.record.conftest import Import
from tests.metapulse.record.test_hostile import items

GONE = '{"_id": "a", "created_at": "2024-03-01T10:00:00Z", "insulin": 4.0, "isValid": false}'
NEXT = '{"_id": "b", "created_at": "2024-03-01T11:00:00Z", "insulin": 5.0}'
LAST = '{"_id": "c", "created_at": "2024-03-01T12:00:00Z", "insulin": 6.0}'


@pytest.mark.parametrize("bracket", ["}", "]"])
@pytest.mark.parametrize("between", [", ", ",", ",\n  "])
@pytest.mark.parametrize("form", ["[{}, {}, {}]", '{{"data": [{}, {}, {}], "next": null}}', "[{},{},{}]"])
def test_an_item_that_a_bracket_closes_early_is_none(bracket: str, between: str, form: str) -> None:
    members = GONE[1:-1].split(", ")
    for cut in range(1, len(members)):
        head, tail = between.join(members[:cut]), between.join(members[cut:])
        for joint in (f"{bracket}{between}", f"{between}{bracket}", f"{between.strip()}{bracket} "):
            found, tally = items(form.format(f"{{{head}{joint}{tail}}}", NEXT, LAST), "data")
            assert found == [json.loads(NEXT), json.loads(LAST)], joint
            assert tally.skipped == {"no JSON": 1}


@pytest.mark.parametrize("joint", ["},", ",}", "}"])
def test_an_element_in_a_document_that_a_bracket_closes_early_is_null(joint: str) -> None:
    broken = GONE.replace(', "isValid"', f'{joint} "isValid"')
    found, tally = items(f'[{{"day": 1, "of": [{NEXT}, {broken}, {LAST}], "n": 2}}]')
    assert found == [{"day": 1, "of": [json.loads(NEXT), None, json.loads(LAST)], "n": 2}]
    assert tally.notes.total()


@pytest.mark.parametrize("item", ['{"at": 1, "value": {"bpm": 70}, "confidence": 0}', '{"a": {"b": {"c": 1}, "d": 2}}'])
def test_members_behind_an_object_may_be_its_own_where_a_bracket_is_too_many(item: str) -> None:
    found, tally = items(f"[{item}}}, {NEXT}]")
    assert found == [json.loads(NEXT)]
    assert tally.skipped["no JSON"] >= 1
    found, _ = items(f'[{{"n": 1, "of": [{NEXT}, {item}}}, {LAST}]}}]')
    assert item not in map(json.dumps, found[0]["of"] if found else [])


def test_a_document_that_a_bracket_closes_early_is_none() -> None:
    text = '{"day": [], "minutes": {"dataset": [{"n": 1}]}%s, "interval": 15, "of": "minute"}}'
    assert items(text % "}")[0] == []
    assert items((text % "")[:-1])[0] == [json.loads((text % "")[:-1])]


@pytest.mark.parametrize("torn", ["7}5200.0", "7}]5200.0", "75},200.0", "75200}.0"])
def test_a_bracket_in_a_number_leaves_no_first_digits(torn: str) -> None:
    found, _ = items(f'[{{"at": 1, "weight": {torn}}}, {NEXT}, {LAST}]')
    assert json.loads(NEXT) in found or json.loads(LAST) in found
    assert not any("weight" in item for item in found if isinstance(item, dict))
    found, _ = items(f'[{{"d": 1, "of": [{{"at": 1, "x": 2}}, {{"at": 1, "x": {torn}}}, {{"at": 2, "x": 3}}]}}]')
    kept: list[Any] = [part for item in found if isinstance(item, dict) for part in item.get("of") or []]
    assert all(part in ({"at": 1, "x": 2}, {"at": 2, "x": 3}, None) for part in kept)


def test_what_follows_sound_items_is_no_part_of_them() -> None:
    for text in (
        '[{"a": 1}, 2, "x", {"b": {}, "c": 1}, null]',
        '{"k": [{"a": 1}, {"b": {}, "c": 1}], "n": {}, "m": 1}',
    ):
        found, tally = items(text, "k")
        assert {"a": 1} in found
        assert {"b": {}, "c": 1} in found
        assert not tally.skipped
        assert not tally.error
    found, _ = items(f'{NEXT}\n"isValid": false}}\n{LAST}\n')
    assert json.loads(NEXT) in found  # the line behind it has lost its beginning
    assert json.loads(LAST) in found


@pytest.mark.parametrize("joint", ["},", ",}", "}"])
def test_a_deleted_treatment_whose_mark_was_cut_off_does_not_count(joint: str, record: Import) -> None:
    gone, kept = (text.replace("{", '{"eventType": "Meal Bolus", ') for text in (GONE, NEXT))
    gone = gone.replace(', "isValid"', f'{joint} "isValid"')
    frame, tally = record({"treatments.json": f"[{gone}, {kept}]"})
    assert frame["value"].to_list() == [5.0]
    assert sum(file.skipped["no JSON"] for file in tally.files.values()) == 1
