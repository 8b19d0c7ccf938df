"""Tables of a comparison hold its numbers, and come in three forms."""

import io
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.sim.report.comparison.tables import si
from metapulse.sim.report.comparison.view import p_words
from metapulse.sim.report.table import ReportTable, TableCell, best_value, tex


def test_tables_hold_the_scores_of_the_comparison_unrounded(tables, made):
    for table in tables["scores"]:
        read = pl.read_csv(io.StringIO(table.csv))
        wanted = [s for s in made.comparison.scores if s.dataset == table.title]
        assert len(read) == len(wanted)
        for score in wanted:
            at = (
                pl.col("method") == score.method,
                pl.col("scenario") == score.scenario,
                pl.col("shots") == score.shots,
            )
            row = read.filter(*at).row(0, named=True)
            assert (row["last"], row["last_low"], row["best"]) == (score.last.value, score.last.low, score.best.value)


def test_the_best_of_a_column_is_strong_and_of_an_error_it_is_the_least(tables):
    for table in tables["scores"]:
        pick = min if table.title == "glucose" else max
        for column in zip(*table.rows, strict=True):
            if isinstance(column[0], TableCell) and column[0].place is None:
                values = [float(cell.text) for cell in column]
                assert [cell.strong for cell in column] == [value == pick(values) for value in values]


def test_verdicts_at_a_glance_count_the_pairs(tables, made):
    (table,) = tables["glance"]
    for row in table.frame.iter_rows(named=True):
        told = [p.verdict for p in made.comparison.pairs if (p.dataset, p.method) == (row["dataset"], row["method"])]
        assert (row["better"], row["worse"], row["questions"]) == (told.count("better"), told.count("worse"), 4)


def test_what_tuning_chose_is_strong(tables):
    for table in tables["tuning"]:
        strong = [row[0] for row in table.rows if row[1].strong]
        assert strong == ["8"]
        assert table.rows[0][1].text == "as specified"
        assert table.rows[3][2:] == ("–", "–")  # it failed


def test_tuning_says_its_effort_its_best_and_how_sure_that_is(tables):
    """Trial 8 scored .68 after 20 rounds, .02 to either side with two seeds; the method's own was out before."""
    (table,) = tables["tuned"]
    assert [row["dataset"] for row in table.frame.iter_rows(named=True)] == ["watches", "both", "glucose"]
    for row in table.frame.iter_rows(named=True):
        assert (row["trials"], row["failed"], row["seeds"], row["own"]) == (9, 1, 2, None)
        assert (row["best"], row["seeds_sd"]) == (pytest.approx(0.68), pytest.approx(0.04 / 2**0.5))
        assert row["trials_sd"] == pytest.approx(np.std([0.5 + 0.01 * n for n in range(9) if n != 3], ddof=1))
    chosen = table.rows[0][-1]
    assert chosen.detail == "adaptation steps new people at 5 shots: 20\nleft alone, while others tune it: strategy.lr"
    each = pl.read_csv(io.StringIO(tables["tuning"][0].csv)).row(8, named=True)
    assert each["score_round_20_seed_10"] == pytest.approx(0.70)


def test_failures_say_which_run_and_why(tables):
    (table,) = tables["failures"]
    assert [cell if isinstance(cell, str) else cell.text for cell in table.rows[0]][::4] == [
        "glucose",
        "out of memory <b>& more",
    ]


def test_every_table_has_as_many_places_in_each_row_and_a_name_of_its_own(tables):
    flat = [table for group in tables.values() for table in group]
    assert len({table.name for table in flat}) == len(flat)
    for table in flat:
        assert re.fullmatch(r"[\w.-]+", table.name)
        lines = table.tex.splitlines()
        assert lines[1].startswith(r"\begin{tabular}")
        rows = [line for line in lines if line.endswith(r"\\")]
        assert len(rows) == len(table.rows) + 1
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(table.head) - 1}


@given(st.text(max_size=20))
def test_no_letter_of_plain_text_commands_latex(text):
    left = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater)\{\}", "", tex(text))
    left = re.sub(r"\$(-|\\rightarrow|\\times)\$|\\[&%$#_{}]", "", left)
    assert not set(left) & set("&%$#_{}~^\\")


def test_a_title_with_a_line_break_stays_a_comment():
    table = ReportTable(
        "x", "one\ntwo", ("a", ">b"), (("1", TableCell("2", "x\ny", strong=True)),), pl.DataFrame({"a": [1]})
    )
    assert table.tex.splitlines()[0].startswith("% one two;")
    assert r"1 & \textbf{2} {\scriptsize x y} \\" in table.tex


@pytest.mark.parametrize(
    ("value", "words"), [(0, "0 B"), (999.4, "999 B"), (999.6, "1 kB"), (1.234e6, "1.23 MB"), (5e19, "50 EB")]
)
def test_numbers_with_prefixes(value, words):
    assert si(value, "B") == words


def test_small_words():
    assert (p_words(0.0004), p_words(0.0123), p_words(1.0)) == ("p < 0.001", "p = 0.012", "p = 1")
    assert best_value([float("nan"), 1.0, 2.0], True) == 2.0
    assert np.isnan(best_value([], False))
