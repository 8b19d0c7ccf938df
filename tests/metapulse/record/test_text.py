"""CSV, JSON and XML that are broken: what is good is read, and what is not is counted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metapulse.record.readers.base import Context, Sample
from metapulse.record.readers.encoding import encoding
from metapulse.record.readers.markup import tags
from metapulse.record.readers.text import csv_rows, csv_table, json_items, number
from metapulse.record.tally import FileTally
from tests import thorough
from tests.metapulse.record.conftest import Import
from tests.metapulse.record.test_readers import memory_file


def context(content: str | bytes) -> Context:
    return Context(memory_file(content.encode() if isinstance(content, str) else content), tally=FileTally("file"))


def items(content: str, *keys: str, above: dict[str, Any] | None = None) -> tuple[list[Any], dict[str, int]]:
    given = context(content)
    return [item for _, item in json_items(given, *keys, above=above)], dict(given.tally.skipped)


def test_a_quote_that_is_never_closed_costs_its_own_line() -> None:
    given = context('a,b\n1,"two\nlines"\n3,"lost\n' + "4,5\n" * 100)
    rows = [cells for _, cells in csv_rows(given)]
    assert rows[:2] == [["a", "b"], ["1", "two\nlines"]]
    assert rows[2:] == [["4", "5"]] * 100
    assert given.tally.skipped == {"a quote that is never closed": 1}
    assert given.tally.seen == 103


@pytest.mark.parametrize("first", ['8,"lost,x', '8,5" tall,x', '8,"lost" too",x', '8,"lost'])
@pytest.mark.parametrize("last", ['9,"lost,x', '9,5" tall,x', '9,lost",x', '9,lost"'])
@pytest.mark.parametrize("between", [1, 2, 30])
def test_two_broken_quotes_take_nothing_with_them_of_what_is_between(first: str, last: str, between: int) -> None:
    good = [[f"g{n}", "two\nlines" if n == 3 else "x", "y"] for n in range(between)]
    written = [f'{a},"{b}",{c}' if "\n" in b else f"{a},{b},{c}" for a, b, c in good]
    given = context("\n".join(["0,1,2", first, *written, last, "1,1,1", "2,2,2"]))
    rows = [cells for _, cells in csv_rows(given)]
    assert [cells for cells in rows if cells[0] not in ("8", "9")] == [["0", "1", "2"], *good, ["1"] * 3, ["2"] * 3]
    assert [cells[1] for cells in rows if cells[0] in ("8", "9")].count('5" tall') == (first + last).count('5" tall')
    assert given.tally.seen == len(rows) + given.tally.skipped.total()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("form", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_any_encoding_and_any_line_end(form: str, end: str) -> None:
    content = end.join(["Gerät;Wert", "Uhr;5,6", ""]).encode(form)
    assert [cells for _, cells in csv_rows(context(content))] == [["Gerät", "Wert"], ["Uhr", "5,6"]]


def test_columns_are_found_by_name_below_whatever_stands_above() -> None:
    given = context("A title\n\nTIME,pulse\n1,60,\n2\n3,61,extra\n")
    assert list(csv_table(given, "time", fold=str.lower)) == [
        (4, {"time": "1", "pulse": "60"}),
        (5, {"time": "2", "pulse": ""}),
        (6, {"time": "3", "pulse": "61"}),
    ]
    assert given.tally.skipped == {"above the header": 1, "the header": 1}
    assert given.tally.notes == {"a row has more cells than the header has columns": 1}


@pytest.mark.parametrize(
    ("line", "value", "told"),
    [("1,72,80", "72", 1), ("1,72,72", "72", 0), ("1,,80", "80", 0), ("1,N/A,80", "80", 0), ("1,72,-", "72", 0),
     ("1,72", "72", 0), ("1", "", 0), ("1,-,n/a", "-", 0)],
)  # fmt: skip
def test_of_two_columns_of_one_name_the_first_that_is_not_empty_counts(line: str, value: str, told: int) -> None:
    given = context(f"time,value,Value\n{line}\n")
    assert list(csv_table(given, "time", fold=str.lower)) == [(2, {"time": "1", "value": value})]
    assert given.tally.notes == ({"two columns of one name: the first counts": 1} if told else {})


def test_columns_without_a_name_are_not_two_of_one_name() -> None:
    given = context("time,,\n1,2,3\n")
    assert [cells["time"] for _, cells in csv_table(given, "time")] == ["1"]
    assert not given.tally.notes


SCALARS = st.none() | st.booleans() | st.integers() | st.text()
VALUES = st.lists(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))


@settings(max_examples=thorough.of(20, 500))
@given(VALUES)
def test_json_items_are_those_of_json(values: list[Any]) -> None:
    assert items(json.dumps(values)) == (values, {})
    assert items(json.dumps({"first": 1, "data": values, "last": [2]}), "data") == (values, {})


@given(st.lists(st.dictionaries(st.text(), st.integers()), min_size=1))
def test_objects_line_by_line_or_one_after_another(values: list[Any]) -> None:
    for between in ("\n", "", ",\n"):
        assert items(between.join(map(json.dumps, values))) == (values, {})


def test_a_bad_item_loses_no_good_one() -> None:
    assert items('[{"a": 1}, {"a": oops}, {"a": 3}, {"a": 4') == (
        [{"a": 1}, {"a": 3}],
        {"no JSON": 1, "torn at the end of the file": 1},
    )


BROKEN = [
    *('{"n": 1,, "b": 2}', '{"n": undefined}', '{"n": [{"x": 1}, {"y": 2}], bad}', '{"n": {"b": 1}', '{"n" 1}'),
    *("{'n': 1}", '{"n": "un} {"'),
    *('{"n": "unterminated}', "{broken", "nul", "-", '{"n": 1e999, "b": }', '{"n": [{"x": [1,2}]}', "}", '"x', "tru"),
    *('me": "x"}', '": {"b": 1}}', '{"n": [[[[}', '{"n": "un, "b": "x"}', '{"n": {"b": [', '{"n": "\\"}'),
]  # fmt: skip
#: What may be the rest of the item before, or hides where the next begins.
COSTS_ANOTHER = ('{"n": "un} {"', "{broken", "}", '"x', 'me": "x"}', '": {"b": 1}}')


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_item_costs_itself_and_no_more_than_the_one_beside_it(broken: str) -> None:
    good = [{"n": n, "in": {"text": 'a "quoted, {"', "of": [{"x": n}, {"y": []}]}} for n in range(4)]
    for at in range(len(good) + 1):
        parts = list(map(json.dumps, good))
        parts.insert(at, broken)
        texts = ["[{}]".format(", ".join(parts)), "[\n{}\n]".format(",\n".join(parts)), "\n".join(parts)]
        for text in texts[0 if broken != '{"a": {"b": [' else 2 :]:  # whose end nothing shows but the line's
            given = context(text)
            found = [item for _, item in json_items(given)]
            assert len([item for item in found if item in good]) >= len(good) - (broken in COSTS_ANOTHER), text
            assert all(item in good or not isinstance(item, dict) for item in found), text
            assert given.tally.seen == len(found) + given.tally.skipped.total()
            assert given.tally.skipped or given.tally.notes
        member = '{{"first": 1, "data": [{}], "last": 2}}'.format(", ".join(parts))
        if broken not in ('{"a": {"b": [', "}"):
            found, _ = items(member, "data")
            assert len([item for item in found if item in good]) >= len(good) - (broken in COSTS_ANOTHER), member


def test_what_follows_an_array_is_read() -> None:
    assert items('[{"a": 1}]\n[{"a": 2}, {"a": 3}]') == ([{"a": 1}, {"a": 2}, {"a": 3}], {})
    assert items('[{"a": 1}, ], {"a": 2}]') == ([{"a": 1}, {"a": 2}], {"no JSON": 1})


def test_a_broken_member_costs_itself() -> None:
    assert items('{"x": oops, "data": [{"a": 1}, {"a": 2}], "y": , "data": [{"a": 3}]}', "data") == (
        [{"a": 1}, {"a": 2}, {"a": 3}],
        {"no JSON": 2},
    )
    assert items('{"x": 1\n{"data": [{"a": 1}]}', "data") == ([{"a": 1}], {"no JSON": 1})


def test_a_comment_that_is_never_closed_costs_itself() -> None:
    given = context('<a/><!-- <b/> --><c/><!-- oops <d n="1"/><!-- <e/> --><f/>' + ("<g/>" + " " * 60) * 20_000)
    names = [tag.name for tag in tags(given)]
    assert names[:4] == ["a", "c", "d", "f"]
    assert len(names) == 20_004
    assert given.tally.skipped == {"a tag that is not well formed": 1}
    given = context("<a/><!-- oops" + ("<g/>" + " " * 60) * 20_000)
    assert len(list(tags(given))) == 20_001


def test_many_broken_items_are_passed_in_time() -> None:
    assert items("[" + '{"a": [1, {"b": x},{"c": [' * 2_000)[0] == []


def test_a_bad_item_among_many_is_given_up_at_once() -> None:
    good = [{"n": n} for n in range(50_000)]
    text = json.dumps(good).replace('{"n": 7}', '{"n": oops}')
    assert items(text) == (good[:7] + good[8:], {"no JSON": 1})


def test_an_object_without_the_arrays_is_one_item() -> None:
    above: dict[str, Any] = {}
    assert items('{"a": 1, "b": [2]}', "data", above=above) == ([{"a": 1, "b": [2]}], {})
    assert items('{"a": 1, "data": [2], "c": 3}', "data", above=above) == ([2], {})
    assert above == {"a": 1, "b": [2], "c": 3}


def test_objects_one_after_another_are_all_read() -> None:
    pages = '{"a": 1, "data": [2, 3]}\n{"data": [4]}{"b": 5}'
    assert items(pages, "data") == ([2, 3, 4, {"b": 5}], {})
    assert items(pages + "]", "data") == ([2, 3, 4, {"b": 5}], {"no JSON": 1})
    assert items('{"data": [1], x: 3}, {"data": [2]}', "data") == ([1, 2], {"no JSON": 1})


def test_what_is_deep_is_no_item_and_no_end() -> None:
    assert items("[" * 100_000)[0] == []
    assert items('[{"a": ' + "[" * 100_000 + '}, {"a": 2}]')[0] == [{"a": 2}]


def test_long_files_are_read_in_pieces() -> None:
    values = [{"n": n, "text": "x" * (n % 97)} for n in range(20_000)]
    assert items(json.dumps(values)) == (values, {})


@pytest.mark.parametrize(
    ("text", "value"),
    [("72", 72), (" 72.5 ", 72.5), ("13,666", 13666), ("5,6", 5.6), ("1.234,5", 1234.5), ("1,234.5", 1234.5),
     ("1 234", 1234), ("1'234'567", 1234567), ("−3", -3), (".5", 0.5), ("1e3", 1000), (7, 7), (7.5, 7.5), ("-0", 0)],
)  # fmt: skip
def test_numbers(text: object, value: float) -> None:
    assert number(text) == value


def test_a_comma_is_decimal_where_the_file_says_so() -> None:
    assert number("5,600") == 5600
    assert number("5,600", decimal_comma=True) == 5.6


@pytest.mark.parametrize(
    "text", ["", "x", "1,2,3", "nan", "inf", "1e999", "9" * 400, None, True, [], {}, "1-2", "٣", 10**400, float("nan")]
)
def test_what_is_no_number(text: object) -> None:
    assert number(text) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_to_the_digit(value: float) -> None:
    assert number(repr(value)) == number(value) == value


def test_encodings_by_their_first_bytes() -> None:
    assert encoding("ä".encode()) == "utf-8-sig"
    assert encoding("ä".encode("utf-16")) == "utf-16"
    assert encoding("ä;b".encode("cp1252") + b" " * 10) == "cp1252"
    assert encoding(b"a" * 65_535 + "ä".encode()[:1]) == "utf-8-sig"  # a letter that the sample cuts in two


def test_letters_of_windows_after_a_long_beginning_without_any() -> None:
    """The beginning says nothing then; where it does, a byte that does not fit is damage."""
    rows = "a,b\n" + "1,2\n" * 20_000 + "3,µS\n"
    assert list(csv_rows(context(rows.encode("cp1252"))))[-1][1] == ["3", "µS"]
    assert list(csv_rows(context(rows.encode())))[-1][1] == ["3", "µS"]
    assert list(csv_rows(context("ä\n".encode() + rows.encode("cp1252"))))[-1][1] == ["3", "\ufffdS"]


def test_tags_through_a_broken_declaration_and_control_characters() -> None:
    content = (
        "<?xml version='1.0'?><!DOCTYPE A [\n<!ATTLIST B\n  c CDATA #IMPLIED\n<!ELEMENT D EMPTY>\n>\n]>"
        '<A><!-- <B c="no"/> --><B c="1&lt;2 \x1b"/><B c=\'x\' d = "y">text</B><B c="3></A>'
    )
    given = context(content)
    found = [(tag.name, tag.attributes, tag.opens, tag.closes, tag.text) for tag in tags(given)]
    assert found == [
        ("A", {}, True, False, ""),
        ("B", {"c": "1<2 \x1b"}, True, True, ""),
        ("B", {"c": "x", "d": "y"}, True, False, "text"),
        ("B", {}, False, True, ""),
        ("A", {}, False, True, ""),
    ]
    assert given.tally.skipped == {"a tag that is not well formed": 1}


PARTS = (
    "<a",
    "<b ",
    "</a",
    "<a x='1'",
    ' x="',
    ' x = "',
    ' y:z="',
    '"',
    '"/>',
    '">',
    ">",
    "/>",
    "\n ",
    "'",
    "&lt;",
    "1",
)


@settings(max_examples=thorough.of(300, 20_000))
@given(st.lists(st.sampled_from(PARTS), max_size=40).map("".join))
@example('<b x="1"/><b x="1" "2><b x="1"/>')
@example('<a x="1>2" y="\'">"</a>')
def test_tags_whose_shape_is_known_are_those_that_are_parsed(content: str) -> None:
    """A piece of a file that has a comment in it is parsed tag by tag."""
    known, parsed = context(content + "</end>"), context("<!---->" + content + "</end>")
    assert list(tags(known)) == list(tags(parsed))
    assert (known.tally.seen, known.tally.skipped) == (parsed.tally.seen, parsed.tally.skipped)


def test_entities_are_not_expanded() -> None:
    given = context('<!DOCTYPE a [<!ENTITY b "&c;&c;"><!ENTITY c SYSTEM "file:///etc/passwd">]><a x="&b;&c;&#65;"/>')
    (tag,) = tags(given)
    assert tag.attributes == {"x": "&b;&c;A"}


def test_tags_across_pieces_of_a_long_file() -> None:
    content = "<a>" + "".join(f'<b n="{n}" t="{"x" * (n % 89)}"/>\n' for n in range(20_000)) + "</a>"
    given = context(content)
    assert [int(tag.attributes["n"]) for tag in tags(given) if tag.name == "b"] == list(range(20_000))
    assert not given.tally.skipped


def test_half_a_character_in_json_can_be_written() -> None:
    given = context('[{"a": "\\ud83d\\ude00 \\uD83d x", "b\\udc00": 1}, 2]')
    assert [item for _, item in json_items(given)] == [{"a": "\U0001f600 ? x", "b?": 1}, 2]


def test_arrays_under_any_name_are_read_and_named() -> None:
    above: dict[str, Any] = {}
    given = context('{"a": [1, 2], "of": "x", "b": [3]}')
    found = [(above[""], item) for _, item in json_items(given, "*", above=above)]
    assert found == [("a", 1), ("a", 2), ("b", 3)]
    assert above["of"] == "x"


MARK = "\ufeff".encode()


@pytest.mark.parametrize("bad", [b"\xe4", b"\xff", b"\xc3", b"\xf0\x9f"])
def test_a_byte_order_mark_and_a_byte_that_is_no_letter_cost_that_row_at_most(bad: bytes) -> None:
    rows = b"time,name\n1,a\n2," + bad + b"\n3,\xc3\xa4\n"
    assert [cells for _, cells in csv_rows(context(MARK + rows))][::3] == [["time", "name"], ["3", "ä"]]
    cut = context(MARK + b"time,name\n1,\xc3\xa4\n2," + bad)
    assert [cells for _, cells in csv_rows(cut)][:2] == [["time", "name"], ["1", "ä"]]
    assert Sample(MARK + rows).lines[0] == "time,name"


def test_two_byte_order_marks_are_read_as_one() -> None:
    for content in (MARK + MARK + b"time,name\n1,a\n", b"\xff\xfe" + "\ufefftime,name\n1,a\n".encode("utf-16-le")):
        given = context(content)
        assert list(csv_table(given, "time")) == [(2, {"time": "1", "name": "a"})]
        assert Sample(content).lines[0] == "time,name"
    assert [item for _, item in json_items(context(MARK + MARK + b'[{"a": 1}]'))] == [{"a": 1}]


def test_the_mark_does_not_make_another_file_of_one_with_a_damaged_byte(record: Import) -> None:
    rows = b"time,metric,value,unit\n2024-01-01T00:00:00Z,heart_rate,60,bpm\n2024-01-01T00:01:00Z,\xe4,60,bpm\n"
    for content in (MARK + rows, MARK + MARK + rows):
        frame, _ = record({"own.csv": content})
        assert frame["value"].to_list() == [60.0]
