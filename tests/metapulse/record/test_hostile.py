"""Inputs made to hurt: what they cost is counted in bytes and in pieces of work, never in seconds."""

from __future__ import annotations

import json
import tracemalloc
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.record import import_files, reading
from metapulse.record.columns import Tables
from metapulse.record.lineage import Lineage
from metapulse.record.readers import json_stream, json_text
from metapulse.record.readers.base import Context, Sample
from metapulse.record.readers.json_parts import Part, Series, whole_parts
from metapulse.record.readers.text import json_items
from metapulse.record.reading import Read
from metapulse.record.repeats import known_again, ordered_block
from metapulse.record.schema import Device, Row, known_first
from metapulse.record.tally import SHOWN, FileTally, Tally
from metapulse.record.texts import Numbered
from tests.metapulse.record.conftest import Import
from tests.metapulse.record.test_readers import memory_file

LIMIT = 2**14  # characters, for the tests


def items(text: str, *keys: str, series: Collection[str] = ()) -> tuple[list[Any], FileTally]:
    given = Context(memory_file(text.encode()), tally=FileTally("file"))
    return [item for _, item in json_items(given, *keys, series=series)], given.tally


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Limits of a few thousand characters; and how many were in memory, whenever more were read."""
    held: list[int] = []
    more = json_stream.Scanner.more

    def counted(scanner: json_stream.Scanner) -> bool:
        read = more(scanner)
        held.append(len(scanner.text))
        return read

    limited(monkeypatch, "ITEM", LIMIT)
    limited(monkeypatch, "VAIN", LIMIT)
    limited(monkeypatch, "CHUNK", LIMIT // 16)
    monkeypatch.setattr(json_stream.Scanner, "more", counted)
    return held


@pytest.mark.parametrize("inner", ['{"x": "a ] }"}', "12", "[1, 2]", '"text"'])
def test_an_item_that_is_too_long_is_counted_and_never_in_memory(inner: str, small: list[int]) -> None:
    long = '{"of": [' + ", ".join([inner] * (40 * LIMIT // len(inner))) + "]}"
    found, tally = items(f'[{{"n": 1}}, {long}, {{"n": 2}}, {{"n": 3}}]')
    assert found == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert tally.skipped == {json_stream.TOO_LONG: 1}
    assert max(small) < 4 * LIMIT


def limited(patch: pytest.MonkeyPatch, name: str, value: int) -> None:
    """Set a limit where it is used."""
    for module in (json_stream, json_text):
        patch.setattr(module, name, value, raising=module is json_stream)


def test_a_torn_item_before_many_is_none_that_is_too_long(small: list[int]) -> None:
    good = [{"n": n, "of": [{"x": 1}]} for n in range(LIMIT // 8)]
    found, tally = items('[{"n": -1, "of": [{"x": 1}, ' + json.dumps(good)[1:])
    assert found == good
    assert tally.skipped == {"no JSON": 1}


@pytest.mark.parametrize("inner", ['{"n": 1, "of": [{"x": "}"}]}', "[1, 2]", "{}", '{"n": 0.5}', "12.5"])
def test_an_item_of_many_parts_is_told_before_it_is_built(inner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short as text, large as objects: what is in memory depends on what an item may take, not on the item."""
    for name, limit in {"HEAVY": 2**19, "CHUNK": 2**12, "VAIN": 2**12}.items():
        limited(monkeypatch, name, limit)
    text = '[{"n": 1}, {"of": [' + ", ".join([inner] * (2**20 // len(inner))) + ']}, {"n": 2}]'
    file = memory_file(text.encode())
    tracemalloc.start()
    found = [item for _, item in json_items(Context(file, tally=FileTally("file")))]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [{"n": 1}, {"n": 2}]
    assert peak < 5 * 2**20  # the file, a copy of it and what may be built; the item itself takes more than that


def test_of_a_list_that_is_too_long_the_items_are_read(small: list[int]) -> None:
    long = [{"n": n, "of": "[,"} for n in range(LIMIT)]
    found, tally = items(json.dumps([[{"n": -2}], long, [{"n": -1}]]))
    assert found == [[{"n": -2}], *long, [{"n": -1}]]
    assert tally.skipped == {json_stream.UNFOLDED_LIST: 1}
    assert tally.seen == len(found) + 1
    assert max(small) < 4 * LIMIT


def test_lists_that_are_too_long_within_each_other_end() -> None:
    with pytest.MonkeyPatch.context() as patch:
        limited(patch, "ITEM", LIMIT)
        limited(patch, "CHUNK", LIMIT // 16)
        found, tally = items("[" * 20 * LIMIT)
    assert found == []
    assert tally.seen == tally.skipped.total()


@pytest.mark.parametrize("broken", ['"status": oops', '"status": ', '"a": {"b": oops}', "oops"])
def test_a_body_beside_what_is_broken_is_read(broken: str, record: Import) -> None:
    group = {"grpid": 1, "date": 1_700_000_000, "category": 1, "measures": [{"value": 70, "type": 1, "unit": 0}]}
    body = json.dumps({"measuregrps": [group, group | {"grpid": 2, "date": 1_700_090_000}]})
    for text in (f'{{{broken}, "body": {body}}}', f'{{"body": {body}, {broken}}}'):
        frame, tally = record({"answer.json": text})
        assert frame["value"].to_list() == [70.0, 70.0], text
        assert sum(file.notes.total() for file in tally.files.values()) == 1


DOCUMENT = {"status": 0, "body": {"zone": "X", "list": [{"t": 1, "v": [1, 2]}, {"t": 2}, {"t": 3}]}}


def test_a_document_that_is_cut_off_gives_the_elements_that_are_whole() -> None:
    text = json.dumps(DOCUMENT)
    for end in range(text.index('{"t": 2}'), len(text)):
        found, tally = items(text[:end], series=("list",))
        kept = [part for item in found for part in item["body"]["list"] if part is not None]
        assert kept == DOCUMENT["body"]["list"][: len(kept)]  # type: ignore[index]
        assert len(kept) == sum(text.index(f'"t": {t}') + 8 <= end for t in (2, 3)) + 1
        assert tally.notes.total() == 1
        assert items(text[:end]) == ([], items(text[:end])[1])  # where its elements do not stand for themselves


@pytest.mark.parametrize(
    ("broken", "read"),
    [
        ('{"a": [{"t": 1}, {"t": 2, "unit": }, {"t": 3}]}', {"a": [{"t": 1}, None, {"t": 3}]}),
        ('{"a": [{"t": 1}, {"t": 2, {"t": 3}]}', {"a": [{"t": 1}, None, {"t": 3}]}),
        ('{"a": [[1, 5], [2, [3, 7]]}', None),
        ('{"a": [[1, 5], [2, [3, 7], [4, 9]]}', None),
        ('{"a": [[1, 5], [2, x], [4, 9]]}', {"a": [[1, 5], None, [4, 9]]}),
        ('{"a": [[2, x], [4, 9], [5, 9]]}', {"a": [None, [4, 9], [5, 9]]}),
        ('{"a": [[1, 5], oops, [3, 7]]}', {"a": [[1, 5], None, [3, 7]]}),
        ('{"a": [[1, 5], [2], x], [3, 7]], "b": 1}', None),
        ('{"a": [{"t": 1}, {"t": 2}], "b": oops}', None),
        ('{"a": [{"t": 1}, {"t": oops}], "b": 1}', {"a": [{"t": 1}, None], "b": 1}),
        ('{"a": [{"t": 1}, {"t": {"x": ], "b": 1}', {"a": [{"t": 1}, None], "b": 1}),
        ('{"a": [{"t": 1}, {"t": [}, {"t": 3}], "b": {"c": 1}}', {"a": [{"t": 1}, None, {"t": 3}], "b": {"c": 1}}),
        ('{"a": [1, oops, 3], "b": 1}', None),
        ('{"a": [{"t": 1}], "b": 1,}', None),
        ('{"c": [{"t": 1}, {"t": oops}]}', None),
    ],
)  # fmt: skip
def test_of_a_list_the_elements_are_read_that_are_whole(broken: str, read: object) -> None:
    found = whole_parts(f'[{broken}, {{"next": 1}}]', 1, Series(("a",)), torn=False)
    assert (found.value if isinstance(found, Part) else None) == read
    assert not isinstance(found, Part) or found.end == len(broken) + 1


def test_an_answer_of_fitbits_loses_one_minute(record: Import) -> None:
    minutes = [{"time": f"08:{m:02}:00", "value": 60 + m} for m in range(30)]
    answer = {
        "activities-heart": [{"dateTime": "2024-03-04", "value": {}}],
        "activities-heart-intraday": {"dataset": minutes},
    }
    text = json.dumps(answer).replace('"value": 67', '"value": oops')
    frame, _ = record({"heart.json": text})
    assert sorted(frame["value"]) == [60 + m for m in range(30) if m != 7]


def test_rows_of_one_instant_are_in_memory_little_more_than_once() -> None:
    tables, count = Tables(), 100_000
    rows = [Row("heart_rate", 1_700_000_000_000_000, 60.0, "bpm", n) for n in range(count)]
    block = tables.block(rows, "file", FileTally("file"))
    size = sum(column.nbytes for column in block.values())
    tracemalloc.start()
    known_again(ordered_block(block), Lineage())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2.5 * size


PARTS = st.none() | st.sampled_from(["", "a", "b", "ä", "Z", "\U0001f600"])


@given(st.lists(st.builds(Device, PARTS, PARTS, PARTS, PARTS, PARTS, PARTS), unique=True))
def test_devices_are_in_order_of_what_is_known_of_them(devices: list[Device]) -> None:
    order = sorted(range(len(devices)), key=lambda n: (devices[n].count(None), [part or "" for part in devices[n]]))
    table = Numbered[Device]()
    assert [table[device] for device in devices] == list(range(len(devices)))
    assert np.argsort(table.ranks(known_first)).tolist() == order


def test_a_table_of_very_many_files_shows_some_and_sums_up_the_others() -> None:
    tally = Tally()
    tally.add(FileTally(f"f{n}", "", f"no reader knows it: {n}") for n in range(5000))
    tally.add([FileTally("z.csv", "own", seen=7, used=7, kept=7), FileTally("y.csv", "own", seen=1, used=1, kept=1)])
    table, reasons = tally.table(), tally.reasons()
    assert [row["file"] for row in table][:2] == ["y.csv", "z.csv"]
    assert (len(table), len(reasons)) == (SHOWN + 1, SHOWN + 1)
    assert table[-1]["file"] == f"and {5002 - SHOWN} files more"
    assert sum(row["times"] for row in reasons) == 5000
    assert len(tally.facts()["files"]) == 5002


def test_of_very_many_files_without_a_reader_some_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of each input, so that reading it again, or beside another, adds nothing to the account."""
    monkeypatch.setattr(reading, "NAMED", 5)
    paths = [tmp_path / "a.zip", tmp_path / "b.zip"]
    for path, many in zip(paths, (20, 7), strict=True):
        with zipfile.ZipFile(path, "w") as archive:
            for n in range(many):
                archive.writestr(f"photo {n:02}.txt", f"{path.name} {n}")
            archive.writestr("own.csv", f"time,metric,value,unit\n2024-01-01T00:00:00Z,heart_rate,{many},bpm\n")
    for path in (*paths, paths[0]):
        tally = import_files([path], tmp_path / "one by one.parquet")
    assert import_files(paths, tmp_path / "at once.parquet").facts() == tally.facts()
    named = [file.file for file in tally.in_order() if not file.format]
    assert named == [
        "a.zip",
        *(f"a.zip/photo 0{n}.txt" for n in range(5)),
        "b.zip",
        *(f"b.zip/photo 0{n}.txt" for n in range(5)),
    ]
    told = {file.file: file.why for file in tally.files.values()}
    assert told["a.zip"] == "15 files more that no reader knows, not named one by one"
    assert told["b.zip"].startswith("2 files more")


def test_of_very_many_broken_files_some_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "NAMED", 1)
    unread = [(f"a/{n}.csv", "", "", "Permission denied") for n in range(4)]
    unread = [("a/-.txt", "", "empty", ""), *unread, *unread[:2]]  # which are told first, and once
    told = [(file.file, file.why, file.error) for file in Read(unread=unread).accounts()]
    assert told == [
        ("a/0.csv", "", "Permission denied"),
        ("a", "1 files more that no reader knows, not named one by one", ""),
        ("a", "", "3 files more that cannot be read, as a/1.csv: Permission denied"),
    ]


@pytest.mark.parametrize(
    "text", ["\n" * 60_000, "a\n\n" * 20_000, "[\n" * 30_000, " [\n{\n" * 12_000, "{ \n \n" * 12_000]
)
def test_what_may_be_json_is_told_in_one_pass(text: str) -> None:
    """Breaks of lines can be parted in very many ways; none of them is tried."""
    assert Sample(text.encode()).json in ("", text.lstrip())


def test_json_is_seen_below_lines_that_are_broken() -> None:
    for whole in ('{"a": 1}\n{"a": 2}\n', '[\n  {"a": 1}\n]', '[{"a": ' + "1" * 2000):
        assert Sample(("torn, 1}\n\r\n\n  " + whole).encode()).json == whole
    for other in ("a;b\n[1;2]\n", "a\n" * 9 + '{"a": 1}\n', "x" * 5000 + '\n{"a": 1}\n', 'a\n{"b\n'):
        assert Sample(other.encode()).json == ""
