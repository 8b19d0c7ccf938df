"""A stray character in an item of JSON costs the element of an array that it is in, or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from metapulse.record.readers.json_mend import mended
from tests.metapulse.record.conftest import Import
from tests.metapulse.record.test_hostile import items

MINUTES = [{"time": f"00:{m:02}:12", "value": 60.0 + m} for m in range(9)]
DAY = {"activities-heart": [{"dateTime": "2024-01-22", "value": {}}],
       "activities-heart-intraday": {"dataset": MINUTES, "datasetInterval": 1}}  # fmt: skip
PAIRS = {"date": "2024-01-22", "values": [[1_705_877_820_000 + m, 13.5 + m] for m in range(9)], "after": 1}
NUMBERS = {"day": "2024-01-22", "heart": {"interval": 300, "items": [30 + m for m in range(9)]}, "after": 1}
NESTED = {"name": "a", "days": [
    {"date": f"2024-01-0{d}", "samples": [{"beat": d, "at": [d, 2]} for _ in range(3)], "n": 1} for d in range(1, 5)
]}  # fmt: skip
BLANKS = "\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0"
STRAYS = [*BLANKS, "@", "\x7f", "\0", "}", "]"]


def elements(of: Any) -> list[Any]:
    """Of the one list that the documents here have."""
    if isinstance(of, dict):
        lists = [of.get("dataset"), of.get("values"), of.get("items"), of.get("days")]
        found = next((each for each in lists if isinstance(each, list)), None)
        return found if found is not None else [part for each in of.values() for part in elements(each)]
    return []


def damaged(given: Any, stray: str, after: int = 0) -> Iterator[str]:
    """The document with one more character at every place of its list; ``after`` so many of its elements."""
    for separators in ((", ", ": "), (",", ":")):
        text = json.dumps(given, separators=separators)
        inner = json.dumps(elements(given)[after:], separators=separators)[1:-1]
        first = text.index(inner)
        for at in range(first, first + len(inner) + 1):
            yield text[:at] + stray + text[at:]


def left_of(text: str, good: list[Any]) -> tuple[list[Any], list[Any]]:
    """(elements that were read, those of them that are as they were); what follows the document is read."""
    found, tally = items(f'[{text}, {{"next": 1}}]')
    assert found[-1] == {"next": 1}, text
    left = [part for item in found[:-1] for part in elements(item)]
    whole = [part for part in left if part in good]
    assert tally.notes.total() or whole != left or whole == good, text
    return left, whole


@pytest.mark.parametrize("given", [DAY, PAIRS, NUMBERS, NESTED])
@pytest.mark.parametrize("stray", [*BLANKS, "@", "\x7f", "\0"])
def test_one_character_more_costs_one_element(given: dict[str, Any], stray: str) -> None:
    good = elements(given)
    for text in damaged(given, stray):
        left, whole = left_of(text, good)
        assert len(whole) >= len(good) - 1, text
        assert given is not NUMBERS or len(left) == len(good), text  # those behind it keep their place


@pytest.mark.parametrize("given", [DAY, PAIRS, NUMBERS])
@pytest.mark.parametrize("stray", ["}", "]"])
def test_one_bracket_more_costs_one_element(given: dict[str, Any], stray: str) -> None:
    good = elements(given)
    for text in damaged(given, stray, after=1):
        _, whole = left_of(text, good)
        assert len(whole) >= len(good) - 1, text


@pytest.mark.parametrize("stray", [*STRAYS, "@@ oops"])
@pytest.mark.parametrize("given", [DAY, PAIRS])
def test_what_stands_between_two_elements_costs_neither(given: dict[str, Any], stray: str) -> None:
    good = elements(given)
    for between in (", ", ","):
        for torn in (f"{stray}{between}", f"{between}{stray}", f" {stray} {between}"):
            parts = list(map(json.dumps, good))
            text = json.dumps(given).replace(json.dumps(good)[1:-1], "<>")
            _, whole = left_of(text.replace("<>", torn.join([parts[0], between.join(parts[1:])])), good)
            assert whole == good, torn


@pytest.mark.parametrize("instead", ["\x0b", "@", "\x7f"])
def test_one_character_that_became_another_costs_two_elements_at_most(instead: str) -> None:
    """A bracket that is another may be the end of an element and the beginning of the next."""
    text, inner = json.dumps(DAY), json.dumps(MINUTES[1:])[1:-1]
    first = text.index(inner)
    for at in range(first, first + len(inner)):
        found, _ = items(f"[{text[:at]}{instead}{text[at + 1 :]}]")
        whole = [part for item in found for part in elements(item) if part in MINUTES]
        assert len(whole) >= len(MINUTES) - 2, text[at - 30 : at] + "<" + instead + ">" + text[at + 1 : at + 30]


def test_an_object_without_a_member_is_not_taken_for_a_whole_one() -> None:
    for text in damaged(DAY, "}", after=1):
        found, _ = items(f"[{text}]")
        assert not any(part and part.keys() < {"time", "value"} for item in found for part in elements(item)), text


@pytest.mark.parametrize("stray", [*BLANKS, "\x7f", "\0", "@"])
def test_a_character_between_members_outside_any_list_costs_nothing(stray: str) -> None:
    found = mended(f'{{"a": 1,{stray} "b": [2] {stray}, "c": {{}}}}', 0, 99)
    assert found is not None
    assert found.value == {"a": 1, "b": [2], "c": {}}


@pytest.mark.parametrize("stray", ["\x0b", "\xa0", "@", "}", "]", "\0"])
def test_a_day_of_fitbits_with_a_stray_character_is_read(stray: str, record: Import) -> None:
    text = json.dumps(DAY).replace('"value": 64.0}', f'"value": 64.0}}{stray}')
    frame, tally = record({"heart.json": text})
    assert sorted(frame["value"]) == [60.0 + m for m in range(9)]
    assert sum(file.notes["a part of an item was no JSON, and was left out"] for file in tally.files.values()) == 1


@pytest.mark.parametrize("part", ["}", "]", "},", '{"a":[{"k":1}},', "[{}]},{", '}]"k":', "@,", "\x0b", "\0 ", '},"k'])
def test_very_many_of_them_are_passed_in_time(part: str) -> None:
    for head in ('[{"a": [{"k": 1}', '[{"a": [[1, 2]', '[{"a": [1, 2', '[{"a": ' + "[" * 900):
        items(head + part * (20_000 // len(part)))
