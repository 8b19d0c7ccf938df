"""JSON that is cut off, or of which an item was lost, is named as not read to its end."""

from __future__ import annotations

import json

import pytest

from metapulse.record.readers import json_stream
from metapulse.record.readers.text import json_items
from tests.metapulse.record.conftest import Import
from tests.metapulse.record.test_text import context


@pytest.mark.parametrize("whole", [
    json.dumps([{"n": n, "of": [n, {"x": 1}]} for n in range(3)]), json.dumps({"data": [{"n": 1}, {"n": 2}], "end": 1}),
    json.dumps([{"data": [{"n": 1}]}, {"data": [{"n": 2}]}]), '{"n": 1}\n{"n": [2, 3]}',
])  # fmt: skip
def test_a_file_that_is_cut_off_is_named_as_one(whole: str) -> None:
    given = context(whole)
    list(json_items(given, "data"))
    assert not given.tally.error
    for end in range(whole.index("1") + 2, len(whole)):
        given = context(whole[:end])
        list(json_items(given, "data"))
        lines = whole[:end].rstrip() == '{"n": 1}'  # which is whole
        assert given.tally.error in ([""] if lines else [json_stream.CUT, json_stream.LOST]), whole[:end]


def test_a_file_of_which_an_item_was_lost_is_named_and_one_that_lost_a_part_is_not() -> None:
    for text, error in (
        ('[{"a": oops, "b": [1]}, {"a": 2}]', json_stream.LOST),
        ('[{"a": [1, oops]}, {"a": 2}]', json_stream.LOST),
        ('[{"t": [{"a": 1}, {"a": oops}, {"a": 3}]}, {"t": []}, oops]', ""),
    ):
        given = context(text)
        list(json_items(given, series=("t",)))
        assert given.tally.error == error
        looked = context(text)
        list(json_items(looked, count=False))
        assert not looked.tally.error


def test_the_account_names_a_file_that_is_cut_off(record: Import) -> None:
    night = {"type": "long_sleep", "bedtime_start": "2024-01-21T21:40:00+01:00",
             "bedtime_end": "2024-01-22T06:22:00+01:00", "efficiency": 90}  # fmt: skip
    for text, unread in ((json.dumps({"data": [night]}), []), (json.dumps({"data": [night]})[:-2], ["sleep.json"])):
        _, tally = record({"sleep.json": text})
        assert [line.partition(": ")[0] for line in tally.unread] == unread
