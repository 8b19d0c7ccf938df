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
    text = f'[{{"day": 1, "of": [{NEXT}, {NEXT}, {broken}, {LAST}], "n": 2}}, {{"day": 2}}]'
    found, tally = items(text, series=("of",))
    assert found[-1] == {"day": 2}
    kept = [part for part in found[0].get("of", []) if part is not None]
    assert all(part in (json.loads(NEXT), json.loads(LAST)) for part in kept)
    assert tally.notes.total() or tally.skipped.total()
    assert items(text)[0] == [{"day": 2}]


@pytest.mark.parametrize("item", ['{"at": 1, "value": {"bpm": 70}, "confidence": 0}', '{"a": {"b": {"c": 1}, "d": 2}}'])
def test_members_behind_an_object_may_be_its_own_where_a_bracket_is_too_many(item: str) -> None:
    found, tally = items(f"[{item}}}, {NEXT}]")
    assert json.loads(item) not in found
    assert tally.skipped.total() >= 1
    found, _ = items(f'[{{"n": 1, "of": [{NEXT}, {item}}}, {LAST}]}}]', series=("of",))
    assert item not in map(json.dumps, found[0]["of"] if found else [])


def test_a_document_that_a_bracket_closes_early_is_none() -> None:
    text = '{"day": [], "minutes": {"dataset": [{"n": 1}]}%s, "interval": 15, "of": "minute"}}'
    assert items(text % "}")[0] == []
    assert items((text % "")[:-1])[0] == [json.loads((text % "")[:-1])]


@pytest.mark.parametrize("torn", ["7}5200.0", "7}]5200.0", "75},200.0", "75200}.0"])
def test_a_bracket_in_a_number_leaves_no_first_digits(torn: str) -> None:
    found, _ = items(f'[{{"_id": 1, "weight": {torn}}}, {NEXT}, {LAST}]')
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


@pytest.mark.parametrize("character", ["\x01", "\0", "\ufffd"])
def test_an_object_with_a_damaged_name_or_word_is_none(character: str, record: Import) -> None:
    named, word = (
        GONE.replace(old, new) for old, new in (("sVal", f"sV{character}al"), ("4.0", f'4.0, "t": "de{character}l"'))
    )
    for broken in (named, word):
        found, tally = items(f"[{broken}, {NEXT}]")
        assert found == [json.loads(NEXT)]
        assert tally.skipped == {"no JSON": 1}
        text = f'[{{"day": 1, "of": [{NEXT}, {broken}, {LAST}], "n": 2}}]'
        found, tally = items(text, series=("of",))
        assert found == [{"day": 1, "of": [json.loads(NEXT), None, json.loads(LAST)], "n": 2}]
        assert tally.notes.total() == 1
        assert items(text)[0] == []
    for key, text in (("device", "Gerät"), ("enteredBy", "x"), ("notes", ""), ("title", "Ab")):
        free = NEXT.replace("{", f'{{"{key}": "{text}{character}r", ')
        found, tally = items(f"[{free}, {LAST}]")
        assert [item["_id"] for item in found] == ["b", "c"]
        assert not tally.notes


def test_so_is_one_with_a_byte_that_is_no_utf_8(record: Import) -> None:
    gone, kept = (text.replace("{", '{"eventType": "Meal Bolus", "enteredBy": "J\xfcrg", ') for text in (GONE, NEXT))
    gone = gone.replace("isValid", "isV\xffalid")
    frame, tally = record({"t.json": f"[{gone}, {kept}]".encode("latin-1")})
    assert frame["value"].to_list() == [5.0]
    assert sum(file.skipped["no JSON"] for file in tally.files.values()) == 1


def test_sound_names_and_words_of_any_language_are_kept() -> None:
    given = [{"Größe": "Fußball", "名前": "値", "store": {"Übung": {"Land": "Österreich"}}}, {"n": "a\nb\tc"}]
    found, tally = items(json.dumps(given, ensure_ascii=False).replace("\\n", "\n"))
    assert found == given
    assert not tally.notes


@pytest.mark.parametrize("joint", [", ,", ",,", " ", "\n", ", x,", ", 51.5x,", " @ "])
def test_numbers_with_a_break_among_them_are_at_no_known_place(joint: str) -> None:
    for key in ("items", "pairs"):
        found, tally = items(f'[{{"every": 5, "{key}": [50, 51.5{joint}52, 53], "at": 1}}, {NEXT}]', series=("pairs",))
        assert found == [json.loads(NEXT)]
        assert tally.skipped == {"no JSON": 1}
    found, _ = items(f'[{{"pairs": [[1, 2], [3{joint}4], [5, 6]]}}, {NEXT}]', series=("pairs",))
    assert found == [{"pairs": [[1, 2], None, [5, 6]]}, json.loads(NEXT)]


def test_days_of_a_series_without_its_name_are_no_saturation(record: Import) -> None:
    days = '"dateTime": "2015-08-23", "value": "175"}, {"dateTime": "2015-08-24", "value": "2937"}]}'
    frame, tally = record({"steps.json": f'{{"activities-steps": [{days}'})
    assert frame.is_empty()
    assert sum(file.skipped.total() for file in tally.files.values())


@pytest.mark.parametrize("character", ["\0", "\x01", "\ufffd"])
def test_stages_by_place_are_none_where_a_character_is_damaged(character: str, record: Import) -> None:
    night = {"id": "a", "day": "2024-03-02", "bedtime_start": "2024-03-01T23:00:00+01:00", "type": "long_sleep",
             "bedtime_end": "2024-03-02T07:00:00+01:00", "total_sleep_duration": 3600}  # fmt: skip
    night["sleep_phase_5_min"] = "4221" * 24
    text = json.dumps({"data": [night]}).replace("422142", f"422{character}142")
    frame, tally = record({"sleep.json": text})
    assert frame["metric"].to_list() == (["sleep_duration"] if character > "\x1f" else [])
    notes = sum(file.notes["sleep_phase_5_min: no stages"] for file in tally.files.values())
    assert notes == (character > "\x1f")
    assert notes or tally.unread


def test_a_name_of_a_metric_with_a_damaged_character_is_told(record: Import) -> None:
    session = {"fitnessActivity": "walking", "startTime": "2023-11-14T22:13:20Z", "endTime": "2023-11-14T23:13:20Z",
               "aggregate": [{"metricName": "com.google.calories.expended", "floatValue": 100.5}]}  # fmt: skip
    text = json.dumps(session)
    assert "workout_energy" in record({"a.json": text})[0]["metric"].to_list()
    frame, tally = record({"a.json": text.replace("google.cal", "google.\0al")})
    assert frame.is_empty()
    assert tally.unread or sum(file.skipped.total() for file in tally.files.values())


def test_a_point_of_which_a_value_is_broken_has_none(record: Import) -> None:
    values = [{"value": {"fpVal": 80}}, {"value": {"fpVal": 90}}, {"value": {"fpVal": 70}}]
    kind = {"dataTypeName": "com.google.heart_rate.summary", "startTimeNanos": 1714499150017000000}
    text = json.dumps(
        {"Data Source": "derived:com.google.heart_rate.summary:x:y", "Data Points": [{"fitValue": values, **kind}] * 2}
    )
    torn = text.replace('"value": {"fpVal": 80}', '"value":@ {"fpVal": 80}', 1)
    frame, _ = record({"derived_com.google.heart_rate.summary_x.json": torn})
    assert sorted(frame["value"].to_list()) == [70.0, 80.0, 90.0]
