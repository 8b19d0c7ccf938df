"""Comments, CDATA sections and processing instructions: what stands in them is no measurement."""

from __future__ import annotations

import pytest

from metapulse.record.readers.markup import tags
from tests.metapulse.record.test_text import context


@pytest.mark.parametrize(("begins", "ends"), [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?php", "?>")])
def test_what_is_in_no_markup_is_passed_over(begins: str, ends: str) -> None:
    given = context(f'<a/>{begins} <b n="1"/> > {ends}<c/><d>text{begins} <b/>{ends}</d>')
    assert [(tag.name, tag.text) for tag in tags(given)] == [("a", ""), ("c", ""), ("d", "text"), ("d", "")]
    assert not given.tally.skipped
    within = f"{begins} " + '<b n="1"/>' * 40_000 + ends
    given = context("<a/>" + "<c/>" * 60_000 + within + "<c/>" * 60_000)
    assert [tag.name for tag in tags(given)] == ["a"] + ["c"] * 120_000
    assert not given.tally.skipped


@pytest.mark.parametrize(("begins", "ends"), [("<![CDATA[", "]]>"), ("<?php", "?>")])
def test_what_is_in_no_markup_and_never_closed_costs_itself(begins: str, ends: str) -> None:
    given = context(f"<a/>{begins} <b/>{ends}<c/>{begins} oops <d/>{begins} <e/>{ends}<f/>" + "<g/>" * 100_000)
    assert [tag.name for tag in tags(given)] == ["a", "c", "d", "f"] + ["g"] * 100_000
    assert given.tally.skipped == {"a tag that is not well formed": 1}
    given = context(f"<a/>{begins} oops" + "<g/>" * 300_000)
    assert len(list(tags(given))) == 300_001
    assert given.tally.skipped == {"a tag that is not well formed": 1}


@pytest.mark.parametrize("begins", ["<!-- ", "<![CDATA[", "<? "])
def test_what_is_never_closed_many_times_is_passed_in_time(begins: str) -> None:
    given = context((begins + "<a/>") * 50_000)
    assert len(list(tags(given))) == 50_000


def test_a_section_that_holds_a_comment_may_end_in_the_next_piece() -> None:
    given = context("<a/><![CDATA[ <!-- x --> <? y ?>" + "<b/>" * 100_000 + "]]><c/>")
    assert [tag.name for tag in tags(given)] == ["a", "c"]


@pytest.mark.parametrize("within", ["<!--", "<![CDATA[", "<?", "<? <b/>", "<![CDATA[ <b/>"])
def test_a_comment_may_hold_what_begins_something_else(within: str) -> None:
    given = context(f"<a/><!-- {within} --><c/>")
    names = [tag.name for tag in tags(given)]
    assert names == ["a", "c"]
    assert given.tally.skipped == ({"a tag that is not well formed": 1} if within == "<!--" else {})
