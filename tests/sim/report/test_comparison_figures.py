"""Figures of a comparison show the numbers that they say they show."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from metapulse.sim.lab.comparison import Ranking
from metapulse.sim.lab.statistics.crossed import half_width
from metapulse.sim.report.comparison.ablation import ablations, effect
from metapulse.sim.report.comparison.budgets import at_equal_cost
from metapulse.sim.report.comparison.curves import by_round, by_shots, by_step, clients
from metapulse.sim.report.comparison.figures import fairness, forest, ranks, transfers
from metapulse.sim.report.comparison.points import points
from metapulse.sim.report.comparison.view import ComparisonView


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
    rows = made.results.collect().filter(
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
    rows = made.results.collect().filter(
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
    view = ComparisonView(made)
    assert view.methods == (*made.comparison.ranking.methods, "local_only")  # a baseline, which is ranked nowhere
    assert view.named("local_only") == "local_only (baseline)"
    large = ["fedavg_ft", *(f"m{i}" for i in range(9))]
    order = Ranking(None, (*large[1:], large[0]), tuple(map(float, range(10))), None, (), None, 2)
    many = dataclasses.replace(made.comparison, methods=tuple(large), ranking=order)
    assert ComparisonView(dataclasses.replace(made, comparison=many)).shown == {"fedavg_ft", *large[1:6]}


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


def test_who_is_apart_is_in_no_curve_as_in_no_table(made):
    """Beside everybody a client whose numbers are no comparison, with a value that would move every mean."""
    plain = made.results.with_columns(apart=pl.lit(""))
    names = {"client": pl.lit(999, pl.Int64), "user": pl.lit("odd"), "apart": pl.lit("one class"), "value": pl.lit(9.0)}
    odd = plain.filter(pl.col("client") == 0).with_columns(**names)
    view, wanted = ComparisonView(dataclasses.replace(made, results=pl.concat([plain, odd]))), ComparisonView(made)
    for draw in (by_step, by_round, clients):
        assert draw(view, "watches") == draw(wanted, "watches")
    assert transfers(view) == transfers(wanted)
    assert effect(view, "glucose", ["maml", "maml_fast"], "maml") == effect(
        wanted, "glucose", ["maml", "maml_fast"], "maml"
    )
    assert at_equal_cost(view, "watches", "flops") == at_equal_cost(wanted, "watches", "flops")
