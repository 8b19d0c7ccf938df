"""Every reader: knows its own format and no other, says what it did with every row, and survives what people have."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.record.clock import zone
from metapulse.record.columns import Tables
from metapulse.record.containers import File
from metapulse.record.readers import readers
from metapulse.record.readers.base import Context, Options, Reader, Sample
from metapulse.record.recognise import recognise
from metapulse.record.schema import Row
from metapulse.record.tally import FileTally
from tests import thorough
from tests.metapulse.record.samples import SAMPLES


def memory_file(content: bytes, name: str = "file") -> File:
    """A file that lies in memory."""
    return File(name, len(content), "mark", lambda: io.BufferedReader(io.BytesIO(content)))  # type: ignore[arg-type]


def read(reader: Reader, content: bytes, name: str = "file") -> tuple[list[Row], FileTally]:
    """A reader's rows and its account, with ``used`` as the store counts it."""
    tally = FileTally(name)
    context = Context(memory_file(content, name), Options(zone("Europe/Berlin")), tally)
    rows, last = [], None
    for row in reader.read(context):
        if (row.file, row.row) != last:
            last = (row.file, row.row)
            tally.used += 1
        rows.append(row)
    return rows, tally


@pytest.mark.parametrize("name", SAMPLES)
def test_each_sample_is_known_by_one_reader(name: str) -> None:
    sample = Sample(SAMPLES[name].encode(), "renamed")
    assert len([reader for reader in readers() if reader.sniff(sample)]) == 1


def test_every_real_export_and_case_is_known_by_one_reader_at_most(data_dir: Path) -> None:
    for top in (data_dir / "exports", data_dir.parent / "cases" / "record"):
        for path in top.rglob("*"):
            if path.is_file():
                with path.open("rb") as stream:
                    head = stream.read(65_536)
                found = [reader.name for reader in readers() if reader.sniff(Sample(head, path.name))]
                assert len(found) <= 1, path


@pytest.mark.parametrize("name", SAMPLES)
def test_every_row_is_accounted_for(name: str) -> None:
    reader, why = recognise(memory_file(SAMPLES[name].encode(), name))
    assert reader is not None, why
    rows, tally = read(reader, SAMPLES[name].encode(), name)
    assert rows
    assert not tally.unexplained, tally


#: What gets into a file: quotes and brackets, bytes of no encoding, numbers that are none.
PIECES = [
    *(b"\0", b"\x1b", b'"', b"{", b"}", b"[", b"]", b",", b"<", b">", b"&", b"\r", b"\n", b"\xff\xfe", b"\xc3", b"-"),
    *(b"9" * 400, b"e400", b"NaN", b"null", b"true", b"1e308", b"\\u0000", b"\\ud800", b"99999999999999999999"),
]
#: What is done to it: (how, where, how much, what).
KINDS = st.sampled_from(["cut", "drop", "twice", "put"])
DAMAGE = st.lists(
    st.tuples(KINDS, st.floats(0, 1), st.integers(1, 40), st.sampled_from(PIECES)), min_size=1, max_size=4
)


def damaged(content: bytes, damage: list[tuple[str, float, int, bytes]]) -> bytes:
    for kind, where, length, piece in damage:
        at = int(where * len(content))
        if kind == "cut":
            content = content[:at]
        elif kind == "drop":
            content = content[:at] + content[at + length :]
        elif kind == "twice":
            content = content[: at + length] + content[at:]
        else:
            content = content[:at] + piece + content[at:]
    return content


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=thorough.of(20, 500))
@given(damage=DAMAGE)
def test_no_damage_raises_or_loses_count(name: str, damage: list[tuple[str, float, int, bytes]]) -> None:
    """Also where a file is not recognised any more: its reader is asked to read it all the same."""
    whole = SAMPLES[name].encode()
    reader, _ = recognise(memory_file(whole, name))
    assert reader is not None
    content = damaged(whole, damage)
    recognise(memory_file(content or b" ", name))
    rows, tally = read(reader, content, name)
    assert not tally.unexplained, tally
    block = Tables().block(rows, name, tally)
    assert len(block["start"]) == tally.kept == tally.given - tally.away.total()


@pytest.mark.parametrize(
    ("name", "piece", "other"),
    [("fitbit_export.csv", '"22.8"', '"-22.8"'), ("fitbit_export.csv", '"13,666"', '"-1"')],
)
def test_what_once_raised(name: str, piece: str, other: str) -> None:
    reader, _ = recognise(memory_file(SAMPLES[name].encode(), name))
    assert reader is not None
    rows, tally = read(reader, SAMPLES[name].replace(piece, other).encode(), name)
    assert rows
    assert not tally.unexplained


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "fitbit_web",
            '{"activities-calories": [{"dateTime": "2024-09-21", "value": 1}], "activities-calories-intraday": '
            '{"dataset": [{"time": "16:00:00", "value": 6}], "datasetInterval": "-1e308", "datasetType": "minute"}}',
        ),
        (
            "nightscout",
            '[{"eventType": "Exercise", "created_at": "2024-04-03T08:00:00Z", "duration": -1e308, "_id": "a"}]',
        ),
    ],
)
def test_a_length_beyond_all_times_costs_no_more_than_its_row(name: str, content: str) -> None:
    rows, tally = read(next(reader for reader in readers() if reader.name == name), content.encode())
    assert not tally.unexplained
    assert all(row.end is None or row.end > row.start for row in rows)
