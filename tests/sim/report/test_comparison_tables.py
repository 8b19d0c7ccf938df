"""Tables of a comparison hold its numbers, and come in three forms."""

import io
import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.sim.report.comparison.matrix import effect_matrix, shade
from metapulse.sim.report.comparison.tables import si
from metapulse.sim.report.comparison.view import ComparisonView, p_words
from metapulse.sim.report.table import ReportTable, TableCell, best_value, tex
from metapulse.sim.scores import gain, number_text
from tests.comparisons import Size, lab


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


def test_the_matrix_has_every_pair_in_its_place_and_colour_where_a_verdict_was_reached(tables, view):
    """The largest difference of a competitor sets the scale; a baseline's larger one is as dark and no darker."""
    seen = set()
    for dataset, table in zip(view.datasets, tables["matrix"], strict=True):
        asked = list(view.questions(dataset))
        reference, *rows = table.rows
        assert (reference[0].text, reference[0].detail) == ("fedavg_ft", "reference")
        scores = [view.scores[dataset, *question, "fedavg_ft"] for question in asked]
        assert [cell.text for cell in reference[1:]] == [number_text(s.last.value, s.metric) for s in scores]
        assert [row[0].text for row in rows][-1] == "local_only"  # baselines last
        for row in rows:
            for question, cell in zip(asked, row[1:], strict=True):
                pair = view.pairs[dataset, *question, row[0].text]
                metric = view.measure(dataset)[0]
                assert cell.text == gain(pair.difference.value, metric, "+")
                assert cell.detail == " to ".join(
                    gain(v, metric, "+") for v in (pair.difference.low, pair.difference.high)
                )
                assert cell.kind.partition("-")[0] == {"no difference shown": "even"}.get(pair.verdict, pair.verdict)
                seen.add(cell.kind)
        assert len(table.frame) == sum(p.dataset == dataset for p in view.comparison.pairs)
    assert "even" in seen


def test_the_matrix_of_a_comparison_with_verdicts_is_coloured_by_size():
    shown = ComparisonView(lab(Size(methods=6, datasets=1, seeds=(0, 1, 2, 3, 4), people=8)))
    table = effect_matrix(shown, "watches")
    kinds = {row[0].text: {cell.kind for cell in row[1:]} for row in table.rows[1:]}
    assert kinds["local_only"] == {"worse-3"}
    assert any(kind.startswith("better-") for found in kinds.values() for kind in found)
    assert [shade(x, 0.9) for x in (0.1, 0.29, 0.31, 0.59, 0.61, 0.9, 7.0)] == [1, 1, 2, 2, 3, 3, 3]
    assert shade(0.1, 0.0) == 1


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
