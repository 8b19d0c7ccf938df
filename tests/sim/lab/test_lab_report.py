"""The report of a comparison: whole, self-contained, true to its tables; every table comes in three forms."""

import dataclasses
import io
import json
import re

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.errors import RunError
from server.files import write_json
from sim.lab.comparison import Ranking
from sim.lab.report import write_report
from sim.lab.report.ablation import ablations, effect
from sim.lab.report.budgets import at_equal_cost
from sim.lab.report.curves import by_round, by_shots, by_step, clients
from sim.lab.report.export import Cell, Table, best, tex
from sim.lab.report.figures import fairness, forest, ranks, transfers
from sim.lab.report.folder import read_comparison, read_lab
from sim.lab.report.page import render
from sim.lab.report.points import points
from sim.lab.report.tables import every, si
from sim.lab.report.view import View, p_words
from sim.lab.statistics.crossed import half_width
from tests.comparisons import Size, lab
from tests.pages import Tags, drawn, in_browser, text_of


@pytest.fixture(scope="module")
def made():
    return lab(Size())


@pytest.fixture(scope="module")
def view(made):
    return View(made)


@pytest.fixture(scope="module")
def tables(view):
    return every(view)


@pytest.fixture(scope="module")
def page(view, tables):
    return render(view, tables)


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    """The made-up comparison as the lab writes it."""
    root = tmp_path_factory.mktemp("compared")
    write_json(root / "comparison.json", dataclasses.asdict(made.comparison))
    write_json(root / "tuning.json", made.tuning)
    entries = [{k: v for k, v in dataclasses.asdict(cell).items() if k != "finished"} for cell in made.cells]
    write_json(root / "spec.json", {"cells": entries})
    made.results.write_parquet(root / "results.parquet")
    made.costs.write_parquet(root / "costs.parquet")
    for cell in made.cells:
        if cell.finished:
            (root / "cells" / cell.key).mkdir(parents=True)
            (root / "cells" / cell.key / "summary.json").write_text("{}")
    return root


# The page


def test_the_page_reaches_for_nothing_outside(page):
    tags = Tags(page)
    assert {(tag, attribute) for tag, attribute, _ in tags.reaching} == {("a", "href")}
    assert all(value.startswith("data:text/plain") for _, _, value in tags.reaching)
    assert "link" not in tags.count
    assert tags.count["script"] == 3  # Plotly, the figures, and what draws them
    assert not re.search(r"https?:|@import|url\(", re.sub(r'href="data:[^"]*"', "", text_of(page)))


def test_what_comes_from_outside_is_text_and_never_markup(page):
    assert "out of memory &lt;b&gt;&amp; more" in page
    assert "out of memory <b>" not in page


def test_every_section_is_there(page):
    assert re.findall(r"<h2>(.*?)</h2>", page) == [
        *("Verdict", "Ranking", "Scores", "Adaptation", "Shots", "Learning", "Client by client"),
        *("From device to device", "Fairness", "Costs", "Ablations", "Tuning", "Configurations", "References"),
    ]


def test_every_place_has_a_figure_for_every_choice_and_plotly_understands_them(page, made):
    options = {
        name: re.findall(r'<option value="([^"]*)"', inside)
        for name, inside in re.findall(r'<select name="(\w+)">(.*?)</select>', page)
    }
    assert (options["scenario"], options["shots"]) == (["new_user", "new_device"], ["1", "5"])
    assert options["axis"] == ["rounds", "gradient_steps", "flops", "bytes"]
    places = re.findall(r'id="(figure-\d+)"(?: data-by="([\w ]+)")?', page)
    expected = set()
    for place, by in places:
        keys = [place]
        for choice in by.split():
            keys = [f"{key}/{option}" for key in keys for option in options[choice]]
        expected |= set(keys)
    figures = drawn(page)
    assert set(figures) == expected
    for figure in figures.values():
        go.Figure({"data": figure["data"], "layout": figure["layout"]})  # refuses unknown properties and values


def test_sentences_that_are_many_are_folded_under_a_table(made, tables):
    few = dataclasses.replace(made.comparison, words=("Nothing differs.",))
    many = dataclasses.replace(made.comparison, words=tuple(f"Sentence {i}." for i in range(9)))
    shown = text_of(render(View(dataclasses.replace(made, comparison=few)), tables))
    folded = text_of(render(View(dataclasses.replace(made, comparison=many)), tables))
    assert "<details" not in shown[: shown.index("Nothing differs.")].split("<h2>Verdict")[1]
    assert "The verdict in 9 sentences" in folded
    assert all(f"<li>Sentence {i}.</li>" in folded for i in range(9))


def test_configurations_and_papers_of_what_was_compared_are_there(page):
    assert 'name = "maml"' in page.replace("&quot;", '"')
    assert page.count("@misc{finn2017") == 1  # two methods, one paper


def test_a_comparison_of_one_data_set_two_methods_and_no_validation_is_a_page():
    one = lab(Size(methods=2, datasets=1, looks=(20,)))
    bare = dataclasses.replace(one, results=one.results.filter(pl.col("phase") == "test"), tuning=[])
    view = View(bare)
    page = render(view, every(view))
    assert "<h2>Learning" not in page
    assert "<h2>Tuning" not in page
    assert "<h2>Scores" in page


# Numbers


def test_points_are_means_over_people_with_the_interval_that_inverts_the_test():
    values = {("a", 0): 0.5, ("a", 1): 0.7, ("b", 0): 0.1, ("b", 1): 0.2, ("c", 0): 0.9, ("c", 1): 0.8}
    rows = [{"g": 1, "seed": s, "user": u, "value": v} for (u, s), v in values.items()]
    twice = [row | {"value": row["value"] + d} for row in rows if row["user"] == "a" for d in (-0.3, 0.3)]
    halfway = [{"g": 1, "seed": 0, "user": "never after seed 1", "value": 99.0}]
    found = points(pl.DataFrame([r for r in rows if r["user"] != "a"] + twice + halfway), ["g"]).row(0, named=True)
    grid = np.array([[0.5, 0.1, 0.9], [0.7, 0.2, 0.8]])  # a's two devices count as one person
    assert found["mean"] == pytest.approx(grid.mean())
    assert found["high"] - found["mean"] == pytest.approx(half_width(grid))
    assert found["mean"] - found["low"] == pytest.approx(half_width(grid))


def test_adaptation_ends_where_the_scores_are(view):
    figure = by_step(view, "glucose")["new_device/5"]
    assert figure["layout"]["xaxis"]["ticktext"] == ["0", "1", "5", "20"]
    for score in view.at("glucose", "new_device", 5):
        line = next(t for t in figure["data"] if t["name"] == score.method and t["mode"] == "lines+markers")
        assert line["x"] == [0, 1, 2, 3]
        assert line["y"][line["x"].index([0, 1, 5, 20].index(score.step))] == pytest.approx(score.last.value)


def test_learning_curves_are_those_of_validation_people_with_costs_to_draw_them_against(view, made):
    figure = by_round(view, "watches")["new_user/1"]
    rows = made.results.filter(
        (pl.col("phase") == "validation") & (pl.col("dataset") == "watches") & (pl.col("method") == "maml"),
        (pl.col("scenario") == "new_user") & (pl.col("shots") == 1),
        pl.col("step") == view.scores["watches", "new_user", 1, "maml"].step,
    )
    people = rows.group_by("round", "user").agg(pl.col("value").mean())
    wanted = people.group_by("round").agg(pl.col("value").mean()).sort("round")
    line = next(t for t in figure["data"] if t["name"] == "maml" and t["mode"] == "lines+markers")
    assert line["x"] == [10, 20]
    assert line["y"] == pytest.approx(wanted["value"].to_list())
    assert line["meta"] == {
        "rounds": 1.0,
        "gradient_steps": 50.0,
        "flops": 2e7,
        "bytes": 4e5 + 8e5,
    }  # tests/comparisons.py


def test_shots_are_drawn_at_the_judged_step(view):
    line = next(t for t in by_shots(view, "both")["new_user"]["data"] if t["name"] == "maml" and "fill" not in t)
    assert line["y"] == [view.scores["both", "new_user", k, "maml"].last.value for k in (1, 5)]


def test_every_client_has_a_place_under_every_method(view, made):
    found = clients(view, "watches")["new_user/5"]
    assert len(found["names"]) == 9  # six people, three of them with two devices
    assert set(found["values"]) == {f"run-{i}" for i in range(4)}
    score = view.scores["watches", "new_user", 5, "maml"]
    place = found["values"][f"run-{view.place('maml')}"]
    assert len(place) == score.clients
    assert score.worst_decile == pytest.approx(min(place), rel=1e-4)


def test_marks_are_filled_where_a_verdict_was_reached(view):
    for question in view.questions("both"):
        figure = forest(view, "both")["/".join(map(str, question))]
        scores = list(reversed(view.at("both", *question)))
        for score, trace in zip(scores, figure["data"], strict=False):
            pair = view.pair(score)
            reached = pair is None or pair.verdict != "no difference shown"
            assert (trace["marker"]["color"] == trace["marker"]["line"]["color"]) == reached
            assert trace["x"] == [score.last.value]


def test_fairness_goes_from_the_worst_tenth_to_the_mean(view):
    data = fairness(view, "watches")["new_user/1"]["data"]
    scores = list(reversed(view.at("watches", "new_user", 1)))
    assert [t["x"] for t in data] == [[s.worst_decile, s.last.value] for s in scores]


def test_transfer_is_the_mean_over_people_on_a_device(view, made):
    maps = transfers(view)
    assert set(maps) == {"watches", "both", "glucose"}
    assert "trained on phone, watch" in view.trained_on("both")
    heat = maps["both"]["5"]["data"][0]
    rows = made.results.filter(
        (pl.col("phase") == "test") & (pl.col("round") == 20) & (pl.col("dataset") == "both"),
        (pl.col("method") == "maml") & (pl.col("shots") == 5) & (pl.col("device") == "ring"),
    )
    steps = {s: view.scores["both", s, 5, "maml"].step for s in ("new_user", "new_device")}
    wanted = rows.filter(pl.col("step") == steps["new_device"])["value"].mean()
    row = next(i for i, names in enumerate(heat["text"]) if names[0] == "maml")
    assert heat["z"][row][heat["x"].index("ring")] == pytest.approx(wanted)
    other = maps["watches"]["5"]["data"][0]
    assert (other["zmin"], other["zmax"]) == (heat["zmin"], heat["zmax"])  # one source, one scale


def test_the_critical_difference_diagram_stands_where_the_ranks_are(view):
    methods = view.comparison.methods
    ranking = Ranking(None, methods, (1.2, 2.0, 3.1, 3.7), 1.5, (methods[:2], methods[1:]), 0.01, 5)
    data = ranks(view, ranking)["data"]
    lines = {tuple(t["x"][:2]) for t in data if len(t["x"]) == 3}
    assert lines == {(r, r) for r in ranking.ranks}
    bars = [t["x"] for t in data if len(t["x"]) == 2]
    assert bars[0] == [1, 2.5]  # the critical difference itself
    assert [(a < 1.2 and b > 2.0, b < 3.1) for a, b in bars[1:2]] == [(True, True)]
    assert [(a < 2.0 and b > 3.7, a > 1.2) for a, b in bars[2:]] == [(True, True)]


def test_without_a_critical_difference_none_is_drawn(view):
    ranking = Ranking("watches", view.comparison.methods, (1.0, 2.0, 3.0, 4.0), None, (), None, 4)
    figure = ranks(view, ranking)
    assert all(len(trace["x"]) == 3 for trace in figure["data"])
    assert not any("critical" in note["text"] for note in figure["layout"]["annotations"])


def test_methods_stand_in_order_of_rank_and_the_reference_is_always_in_colour(made):
    view = View(made)
    assert view.methods == made.comparison.ranking.methods
    large = ["fedavg_ft", *(f"m{i}" for i in range(9))]
    order = Ranking(None, (*large[1:], large[0]), tuple(map(float, range(10))), None, (), None, 2)
    many = dataclasses.replace(made.comparison, methods=tuple(large), ranking=order)
    assert View(dataclasses.replace(made, comparison=many)).shown == {"fedavg_ft", *large[1:6]}


def test_equal_budgets_cut_a_run_where_the_cheapest_ends(view, made):
    # A round costs 1, 2, 3 × 1e7 operations (tests/comparisons.py), a run has 20 rounds; the fourth does not train.
    budget, found = at_equal_cost(view, "watches", "flops")
    assert budget == pytest.approx(20 * 1e7)
    assert {method: round for method, (round, _) in found.items()} == {"fedavg_ft": 20, "maml": 10, "local_only": 0}
    questions = list(view.questions("watches"))
    rows = view.validated["watches"].filter((pl.col("method") == "maml") & (pl.col("round") == 10))
    each = [rows.filter((pl.col("scenario") == s) & (pl.col("shots") == k))["value"].mean() for s, k in questions]
    assert found["maml"][1] == pytest.approx(np.mean(each))


def test_ablations_are_methods_that_differ_in_one_setting():
    base = {"run": {"name": "a", "seed": 0}, "learner": {"name": "maml", "inner_lr": 0.1, "inner_steps": 5}}
    change = lambda **learner: base | {"learner": base["learner"] | learner}  # noqa: E731
    configs = {
        "b": change(inner_lr=0.5),
        "a": base,
        "again": {**base, "run": {"name": "again", "seed": 3}},
        "two": change(inner_lr=0.9, inner_steps=1),
        "other": change(name="anil"),
    }
    found = {one.setting: dict(one.values) for one in ablations(configs)}
    assert found == {"learner.inner_lr": {"a": 0.1, "again": 0.1, "b": 0.5}}
    assert list(found["learner.inner_lr"].values()) == [0.1, 0.1, 0.5]


def test_the_effect_of_a_setting_is_the_mean_paired_gain(view):
    found = effect(view, "glucose", ["maml", "maml_fast"], "maml")
    assert found["maml"]["gain"] == found["maml"]["gain_low"] == 0.0
    gain = found["maml"]["value"] - found["maml_fast"]["value"]  # an error: less is better
    assert found["maml_fast"]["gain"] == pytest.approx(gain)
    assert found["maml_fast"]["gain_low"] < gain < found["maml_fast"]["gain_high"]


# Tables


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
            if isinstance(column[0], Cell) and column[0].place is None:
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
    table = Table("x", "one\ntwo", ("a", ">b"), (("1", Cell("2", "x\ny", strong=True)),), pl.DataFrame({"a": [1]}))
    assert table.tex.splitlines()[0].startswith("% one two;")
    assert r"1 & \textbf{2} {\scriptsize x y} \\" in table.tex


@pytest.mark.parametrize(
    ("value", "words"), [(0, "0 B"), (999.4, "999 B"), (999.6, "1 kB"), (1.234e6, "1.23 MB"), (5e19, "50 EB")]
)
def test_numbers_with_prefixes(value, words):
    assert si(value, "B") == words


def test_small_words():
    assert (p_words(0.0004), p_words(0.0123), p_words(1.0)) == ("p < 0.001", "p = 0.012", "p = 1")
    assert best([float("nan"), 1.0, 2.0], True) == 2.0
    assert np.isnan(best([], False))


# The folder


def test_the_report_comes_from_the_folder_alone_and_always_the_same(folder, page, tables):
    assert write_report(folder) == folder / "report.html"
    first = {path: path.read_bytes() for path in (folder / "report.html", *(folder / "tables").iterdir())}
    flat = [table for group in tables.values() for table in group]
    assert {p.name for p in first} == {"report.html", *(f"{t.name}.{kind}" for t in flat for kind in ("csv", "tex"))}
    assert (folder / "report.html").read_text() == page
    write_report(folder)
    assert all(path.read_bytes() == content for path, content in first.items())


def test_a_comparison_comes_back_from_json_as_it_was(folder, made):
    assert read_comparison(folder / "comparison.json") == made.comparison
    assert read_lab(folder).cells == made.cells


def test_a_number_json_has_no_word_for_is_nan(folder, tmp_path):
    value = json.loads((folder / "comparison.json").read_text())
    value["scores"][0]["gini"] = None
    (tmp_path / "comparison.json").write_text(json.dumps(value))
    assert np.isnan(read_comparison(tmp_path / "comparison.json").scores[0].gini)


@pytest.mark.parametrize(
    ("name", "content"),
    [(name, "{") for name in ("comparison.json", "results.parquet", "costs.parquet", "spec.json", "tuning.json")]
    + [(name, "{}") for name in ("comparison.json", "spec.json")],
)
def test_a_damaged_file_is_one_line_that_names_it(folder, tmp_path, name, content):
    for path in folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).write_text(content)
    with pytest.raises(RunError, match=re.escape(name)) as caught:
        write_report(tmp_path)
    assert "\n" not in str(caught.value)


# The browser

PROBE = """<script>addEventListener("load", () => setTimeout(() => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  for (const [name, value] of [["axis", "flops"], ["shots", "1"], ["scenario", "new_device"]]) {
    const select = document.querySelector(`select[name=${name}]`);
    select.value = value;
    select.dispatchEvent(new Event("change"));
  }
  document.querySelector(".legend button").click();
  setTimeout(() => { document.body.dataset.wide = document.documentElement.scrollWidth; }, 1500);
}, 1500));</script>"""


@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_draws_it_without_complaint_and_never_scrolls_sideways(page, tmp_path, width):
    (tmp_path / "page.html").write_text(page.replace("</body>", PROBE + "</body>"))
    opened = in_browser(tmp_path / "page.html", width, 30000)
    places = len(re.findall(r'id="figure-\d+"', page))
    assert opened.count("js-plotly-plot") >= places
    assert "data-missing" not in opened.split("<main>")[1]
    found = re.search(r'data-wide="(\d+)"', opened)
    assert found
    assert int(found[1]) <= max(width, 500)  # headless Chromium has no window narrower than 500
