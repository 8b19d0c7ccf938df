"""A stray character in an item of JSON costs the item, or of a list whose elements stand for themselves one or two."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

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


SERIES = ("dataset", "values", "days", "activities-heart")


def left_of(text: str, good: list[Any]) -> list[Any]:
    """Elements that were read: each is as it was, or as the text has it, if that is JSON all the same."""
    found, tally = items(f'[{text}, {{"next": 1}}, {{"next": 2}}]', series=SERIES)
    left = [part for item in found if "next" not in item for part in elements(item) if part is not None]
    try:
        assert left == elements(json.loads(text, strict=False)) or tally.notes.total() or tally.skipped.total()
    except ValueError:
        assert all(part in good for part in left), text
        assert tally.notes.total() or tally.skipped.total() or left == good, text
    return left


@pytest.mark.parametrize("given", [DAY, PAIRS, NESTED])
@pytest.mark.parametrize("stray", STRAYS)
def test_one_character_more_costs_two_elements_at_most(given: dict[str, Any], stray: str) -> None:
    """A bracket may hide where the list goes on, as a break in its last elements does: then it is given up."""
    good = elements(given)
    last = sum(len(json.dumps(part)) + 2 for part in good[-2:])
    for text in damaged(given, stray, after=1):
        left = left_of(text, good)
        near = json.dumps(given)[:-last] not in text and json.dumps(given, separators=(",", ":"))[:-last] not in text
        assert len(left) >= len(good) - 2 or stray in "{[]}" or not near, text


@pytest.mark.parametrize("given", [DAY, PAIRS, NESTED])
@pytest.mark.parametrize("stray", ["{", "[", ",", ":", '"'])
def test_no_character_makes_an_element_another(given: dict[str, Any], stray: str) -> None:
    for text in damaged(given, stray):
        left_of(text, elements(given))


@pytest.mark.parametrize("instead", ["\x0b", "@", "\x7f"])
def test_one_character_that_became_another_costs_two_elements_at_most(instead: str) -> None:
    """A bracket that is another may be the end of an element and the beginning of the next."""
    text, inner = json.dumps(DAY), json.dumps(MINUTES[1:-2])[1:-1]
    first = text.index(inner)
    for at in range(first, first + len(inner)):
        assert len(left_of(f"{text[:at]}{instead}{text[at + 1 :]}", MINUTES)) >= len(MINUTES) - 2


@pytest.mark.parametrize("stray", STRAYS)
def test_numbers_by_place_are_given_up(stray: str) -> None:
    """Of a list whose numbers have no times of their own none is known to be where it was."""
    for text in damaged(NUMBERS, stray):
        found, _ = items(f'[{text}, {{"next": 1}}, {{"next": 2}}]', series=SERIES)
        assert [item for item in found if "next" not in item] in ([], [NUMBERS]), text


def test_an_object_without_a_member_is_not_taken_for_a_whole_one() -> None:
    for text in damaged(DAY, "}", after=1):
        found, _ = items(f"[{text}]", series=SERIES)
        assert not any(part and part.keys() < {"time", "value"} for item in found for part in elements(item)), text


@pytest.mark.parametrize("stray", ["\x0b", "\xa0", "@", "}", "]", "\0"])
def test_a_day_of_fitbits_with_a_stray_character_is_read(stray: str, record: Import) -> None:
    """Up to it, where it is a bracket: that may be another list's, whose beginning was lost with this one's end."""
    text = json.dumps(DAY).replace('"value": 64.0}', f'"value": 64.0}}{stray}')
    frame, tally = record({"heart.json": text})
    kept = {60.0 + m for m in range(9) if m not in (4, 5) and (stray not in "}]" or m < 4)}
    assert set(frame["value"]) >= kept
    assert sum(file.notes["a part of an item was no JSON, and was left out"] for file in tally.files.values()) == 1


@pytest.mark.parametrize("part", ["}", "]", "},", '{"a":[{"k":1}},', "[{}]},{", '}]"k":', "@,", "\x0b", "\0 ", '},"k'])
def test_very_many_of_them_are_passed_in_time(part: str) -> None:
    for head in ('[{"a": [{"k": 1}', '[{"a": [[1, 2]', '[{"a": [1, 2', '[{"a": ' + "[" * 900):
        items(head + part * (20_000 // len(part)))
