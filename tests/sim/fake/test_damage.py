"""A broken row of any format, the first too, costs itself: all that is read without it is read beside it."""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from metapulse.record.readers.base import Context, Options
from metapulse.record.readers.fit_walk import DATA, Walk
from metapulse.record.recognise import recognise
from metapulse.record.schema import Row
from metapulse.record.tally import FileTally
from metapulse.sim.fake.formats import formats
from metapulse.sim.fake.formats.base import Making
from metapulse.sim.fake.life import Life
from metapulse.sim.fake.wear import worn_rows
from tests.metapulse.record.test_readers import memory_file

ZONE = "Europe/Berlin"
NAMES = sorted(formats().keys() - {"fit"})
#: A line that is none, where samples have their time by their place: without a line those after it would be earlier.
NO_LINE = {"empatica": "-"}
#: An element that has lost a bracket costs its whole series, where none says of which day or what it is.
BARE = {"fitbit_web", "garmin", "polar"}
ROWS = 120  # of each format, about
PLACES = (0.0, 0.5, 1.0)
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]')
#: What becomes of an element of an array.
ITEMS = {
    "no value": lambda text: (
        re.sub(r'":\s*(?:"[^"]*"|[^",:{}\[\]]*)([,}])', r'": oops\1', text, count=1) if ":" in text else "oops"
    ),
    "torn": lambda text: text[: len(text) // 2],
    "not closed": lambda text: text[:-1],
}
#: What becomes of a line.
LINES = {
    "a quote": lambda text: '"bro,ken',
    "separators": lambda text: ";;;",
    "torn": lambda text: text[: len(text) // 2],
    "JSON": lambda text: '{"a": ',
    "control characters": lambda text: "\0\1\x1b,",
}


def exported(name: str, folder: Path) -> list[tuple[str, bytes]]:
    """The files of a small export, one of each kind."""
    (day,) = worn_rows(Life(3, ZONE), formats()[name], (5,))
    step = max(len(day) // ROWS, 1)
    formats()[name].write(day[::step], Making(folder, ZONE, False, np.random.default_rng(0)))
    files: dict[str, tuple[str, bytes]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                content = max(map(archive.read, archive.namelist()), key=len)
        kind = re.sub(r"[\d_.-]+", "", path.name)
        files.setdefault(kind, (path.name, content))
    return list(files.values())


def read(file: str, content: bytes, options: Options) -> Counter[Row] | None:
    """The rows, whatever their number; None if no reader knows the file."""
    reader, _ = recognise(memory_file(content, file))
    if reader is None:
        return None
    tally, rows, last = FileTally("file"), Counter[Row](), -1
    for row in reader.read(Context(memory_file(content, file), options, tally)):
        tally.used += row.row != last
        last = row.row
        rows[row._replace(row=0)] += 1
    assert not tally.unexplained
    assert tally.seen - tally.used == tally.skipped.total()
    return rows


def parts(text: str) -> list[tuple[int, int]]:
    """Where the innermost objects and lists are that are elements of an array."""
    open_ones: list[tuple[str, int]] = []
    found: list[tuple[int, int]] = []
    for match in TOKEN.finditer(text):
        if match[0] in "{[":
            open_ones.append((match[0], match.start()))
        elif match[0] in "}]":
            _, start = open_ones.pop()
            if open_ones and open_ones[-1][0] == "[" and not (found and found[-1][0] > start):
                found.append((start, match.end()))
    return found


def rows_of(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"[^\r\n]+", text)][1:]


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_row_loses_no_other(name: str, tmp_path: Path) -> None:
    """But for one or two behind an element that has lost its end, or its series."""
    options, tried = formats()[name].options(ZONE), 0
    for file, content in exported(name, tmp_path):
        text = content.decode()
        a_tree = text.lstrip()[:1] in ("{", "[")
        found, damage, without = (
            (parts(text), ITEMS, "null") if a_tree else (rows_of(text), LINES, NO_LINE.get(name, ""))
        )
        whole = read(file, content, options) or Counter()
        for place in PLACES if len(found) > 1 else ():
            start, end = found[round(place * (len(found) - 1))]
            rest = read(file, (text[:start] + without + text[end:]).encode(), options)
            if not rest or whole.total() - rest.total() > ROWS // 4:  # a header, or what the others need
                continue
            for kind, broken in damage.items():
                left = read(file, (text[:start] + broken(text[start:end]) + text[end:]).encode(), options)
                assert left is not None, (file, place, kind)
                lost = len(found) if name in BARE else 2
                assert (rest - left).total() <= lost * (a_tree and kind in ("torn", "not closed")), (file, place, kind)
                tried += 1
    assert tried


UNREAD = ("WeightUnit ?", "BGUnit ?", "BPUnit ?", "DistanceUnit ?")
STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]')
DAMAGED = 20  # places of a file


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def sound_json(name: str, folder: Path) -> Iterator[tuple[str, str, set[Row]]]:
    """Files of a small export that are JSON: name, text, rows without their devices."""
    options = formats()[name].options(ZONE)
    for file, content in exported(name, folder):
        text = content.decode()
        if text.lstrip()[:1] in ("{", "["):
            whole = {row._replace(device=None) for row in read(file, content, options) or ()}
            assert whole
            yield file, text, whole


@pytest.mark.parametrize("name", NAMES)
def test_no_character_of_structure_makes_a_row_another(name: str, tmp_path: Path) -> None:
    """Brackets, commas, colons and the quotes of names: lost, doubled, or another, so that the file is no JSON.

    Without its unit a value is as it was written; a device of FHIR that is lost is as it was referred to.
    """
    options = formats()[name].options(ZONE)
    for file, text, whole in sound_json(name, tmp_path):
        places = [m.start() for m in STRUCTURE.finditer(text) if m[0][0] != '"' or text[m.end() :].lstrip()[:1] == ":"]
        for at in places[:: max(1, len(places) // DAMAGED)]:
            for instead in ("", text[at] * 2, *"{}[],:"):
                damaged = f"{text[:at]}{instead}{text[at + 1 :]}"
                left = [] if is_json(damaged) else read(file, damaged.encode(), options) or []
                others = [row for row in left if row._replace(device=None) not in whole and row.unit not in UNREAD]
                assert not others, (file, text[max(0, at - 60) : at], instead, text[at : at + 40], others[:2])


#: What becomes of a message of FIT.
MESSAGES = {
    "no message": lambda data: b"\xff" * len(data),
    "zeros": lambda data: bytes(len(data)),
    "torn": lambda data: data[: len(data) // 2],
    "another's head": lambda data: b"\x0f" + data[1:],
    "without its head": lambda data: data[1:],
}


#: What moves all that follows: of the first message, before any time is known, what was read in its place seems one.
SHORTER = ("torn", "without its head")


def messages(data: bytes) -> list[tuple[int, int]]:
    """Where the messages are that have a time, the first of each kind and the last ones aside."""
    walk, found = Walk(data, data.find(b".FIT") - 8), list[tuple[int, int]]()
    for piece in walk.pieces():
        end = walk.at + len(piece.bytes)
        if piece.kind == DATA and walk._shape(piece).stamp:
            found.append((walk.at, end))
    return found


def test_a_broken_message_of_fit_loses_no_other(tmp_path: Path) -> None:
    options, tried = formats()["fit"].options(ZONE), 0
    for file, content in exported("fit", tmp_path):
        found = messages(content)
        for place in PLACES if len(found) > 2 else ():
            start, end = found[round(place * (len(found) - 1))]
            rest = read(file, content[:start] + content[end:], options)
            if not rest:
                continue
            for kind, broken in MESSAGES.items():
                if not place and kind in SHORTER:
                    continue
                left = read(file, content[:start] + broken(content[start:end]) + content[end:], options)
                assert left is not None, (file, place, kind)
                assert not rest - left, (file, place, kind)
                tried += 1
    assert tried


#: What becomes of the line of a CSV with the names of columns.
HEADERS = {
    "a control character": lambda text: text[: len(text) // 2] + "\x01" + text[len(text) // 2 :],
    "control characters": lambda text: "\0" + text + "\x1b",
    "a quote before it": lambda text: '"' + text,
    "a quote in it": lambda text: re.sub(r"([,;\t])", r'\1"', text, count=1),
}


@pytest.mark.parametrize("name", sorted(formats().keys() - {"fit", "empatica", "hl7"}))
def test_a_broken_header_loses_no_row(name: str, tmp_path: Path) -> None:
    options, wrong = formats()[name].options(ZONE), []
    for file, content in exported(name, tmp_path):
        text = content.decode()
        if text.lstrip()[:1] in ("{", "[", "<"):
            continue
        whole = read(file, content, options)
        header = re.split(r"[\r\n]", text, maxsplit=1)[0]
        for kind, broken in HEADERS.items():
            left = read(file, (broken(header) + text[len(header) :]).encode(), options)
            if left != whole:
                wrong.append((file, kind, left and left.total(), whole and whole.total()))
    assert not wrong
