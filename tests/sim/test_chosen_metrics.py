"""Chosen metrics from a configuration to a run's folder, table and page, and to a comparison's verdict and page."""

import json
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from metapulse.errors import ConfigError
from metapulse.server.folder import RunFolder
from metapulse.sim.comparison_runner import ComparisonRunner
from metapulse.sim.experiment import run_experiment
from metapulse.sim.lab.compare import judge_methods
from metapulse.sim.report import write_report
from metapulse.sim.report.comparison.page import comparison_page
from metapulse.sim.report.comparison.tables import every_table
from metapulse.sim.report.comparison.view import ComparisonView
from metapulse.sim.scores import beside, score_tables, shown_metrics
from tests.comparisons import Size, lab
from tests.lab import SPEC, Ear, spec, tables_only
from tests.runs import make
from tests.sim.lab.results import results
from tests.sim.test_target_values import readings

OWN = "tests.server.test_chosen_metrics:sure"
CHOSEN = {"metrics": ["macro_f1", "auroc", OWN], "main_metric": "macro_f1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two rounds on simulated watches, looked at on the way."""
    path = tmp_path_factory.mktemp("run") / "reptile"
    asked = {**CHOSEN, "validation_every": 1}
    people = {"test": 0.34, "validation": 0.17}
    run_experiment(make("reptile", "fedreptile", "", 2, evaluation=asked, split=people), path)
    return path


def titles(tables):
    return [str(table.title).partition(" after")[0] for table in tables]


def test_a_run_reports_what_was_chosen_and_decides_by_the_main_metric(folder):
    summary = RunFolder(folder).summary()
    assert (summary["chosen_metrics"], summary["main_metric"]) == (CHOSEN["metrics"], "macro_f1")
    assert {"loss", "accuracy", *CHOSEN["metrics"]} <= {score["metric"] for score in summary["scores"]}
    rows = pl.read_parquet(folder / "metrics.parquet")
    assert set(CHOSEN["metrics"]) <= set(rows["metric"])
    asked = [e for e in RunFolder(folder).events() if e["kind"] == "meta-test" and e["phase"] == "test"]
    last = rows.filter(phase="test", round=2, metric="macro_f1", step=3, shots=2)["value"].mean()
    assert asked[-1]["headline"] == pytest.approx(last)
    assert titles(score_tables({"reptile": summary})) == CHOSEN["metrics"]


def test_the_page_of_a_run_is_about_the_main_metric_and_has_a_table_of_each_other(folder, tmp_path):
    write_report([folder], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Last meta-test, macro-F1:" in page
    inside = page.split("<h2>Other metrics</h2>")[1].split("<section>")[0]
    assert re.findall(r"<h3>(.*?)</h3>", inside) == ["area under the ROC curve", "sure"]
    score = next(
        s
        for s in RunFolder(folder).summary()["scores"]
        if (s["metric"], s["round"], s["phase"], s["step"]) == (OWN, 2, "test", 3)
    )
    assert f"{score['mean']:.4g}" in inside


def test_of_whom_a_metric_is_not_defined_is_said_beside_the_scores():
    counts = {"round": 1, "phase": "test", "scenario": "new_user", "metric": "auroc", "clients": 2}
    summary = {
        "not_defined": [{**counts, "shots": 1}, {**counts, "shots": 5}, {**counts, "shots": 5, "metric": "mard"}]
    }
    assert beside(summary) == [
        "new_user, 1 shot and 5 shots: auroc is not defined for 2 clients, who are not in its mean",
        "new_user, 5 shots: mard is not defined for 2 clients, who are not in its mean",
    ]


def test_tables_are_about_the_main_metric_first_and_each_once():
    scores = [{"metric": name} for name in ("loss", "balanced_accuracy", "ece")]
    assert shown_metrics([((), "")], scores) == ["balanced_accuracy"]
    assert shown_metrics([(("ece", "balanced_accuracy"), ""), (("ece",), "")], scores) == ["balanced_accuracy", "ece"]
    assert shown_metrics([(("auroc", "ece"), "ece")], scores) == ["ece", "auroc"]


@pytest.mark.long
def test_a_run_on_glucose_of_ones_own_reports_mard_and_zones(tmp_path):
    names = ["rmse", "mard", "clarke_a", "clarke_ab", "parkes_a", "parkes_ab"]
    sections = {
        "source": readings(tmp_path / "d.csv", people=6),
        "model": {"name": "mlp", "hidden": [4]},
        "episodes": {"split": "samples", "shots": 5},
        "evaluation": {"metrics": names, "main_metric": "mard", "split": "forward", "shots": [5]},
    }
    summary = run_experiment(make("reptile", "fedreptile", "sine", 1, **sections), tmp_path / "run")
    found = {s["metric"]: s["mean"] for s in summary["scores"] if s["step"] == 0}
    assert set(names) <= set(found)
    assert found["rmse"] ** 2 <= found["mse"] * (
        1 + 1e-6
    )  # √ is concave: the mean of roots is below the root of the mean
    assert found["clarke_a"] <= found["clarke_ab"]
    assert found["parkes_a"] <= found["parkes_ab"]
    assert 0 < found["mard"] < 100


# A comparison


JUDGED = SPEC.replace('reference = "fedavg_ft"', 'reference = "fedavg_ft"\nmetric = "rmse"')


def test_a_comparison_s_metric_is_measured_and_decides_in_every_run(tmp_path):
    asked = spec(tmp_path, JUDGED)
    for dataset, method in asked.pairs:
        evaluation = asked.config(dataset, method, 0).evaluation
        assert (evaluation.metrics, evaluation.main_metric) == (("rmse",), "rmse")
    assert asked.main_metrics() == {"few": "rmse", "many": "rmse"}
    plain = spec(tmp_path)
    assert plain.main_metrics() == {"few": "", "many": ""}
    named = JUDGED.replace("shots = [5]", 'shots = [5], metrics = ["rmse", "mae"]')
    assert spec(tmp_path, named).config("few", "maml", 0).evaluation.metrics == ("rmse", "mae")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (JUDGED.replace("rmse", "r2"), "compare.metric = 'r2': must be one of loss"),
        (JUDGED.replace("rmse", "no.such:thing"), "compare.metric = 'no.such:thing': cannot be imported"),
        (
            SPEC.replace("shots = [5]", 'shots = [5], metrics = ["rmse"], main_metric = "mse"'),
            "base.evaluation.main_metric = 'mse': must be one of evaluation.metrics: rmse",
        ),
        (
            SPEC + 'evaluation = { metrics = ["rmse"], main_metric = "rmse" }\n',
            "methods.maml.evaluation.main_metric = 'rmse': must be '', by which fedavg_ft is judged on few",
        ),
    ],
)
def test_a_wrong_metric_of_a_comparison_is_refused_with_its_place(tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        spec(tmp_path, text)
    assert str(caught.value).startswith(message)


@pytest.mark.long
def test_a_comparison_is_judged_by_its_metric(tmp_path):
    runner = ComparisonRunner(spec(tmp_path, JUDGED), tmp_path / "out", 0, lambda *batch: Ear())
    with tables_only():
        said, failures = runner.run()
    assert failures == []
    assert {(score.metric, score.higher) for score in said.scores} == {("rmse", False)}
    assert "rmse" in set(pl.read_parquet(tmp_path / "out" / "results.parquet")["metric"])
    best = RunFolder(next((tmp_path / "out" / "cells").iterdir())).config()[0]["evaluation"]
    assert best["main_metric"] == "rmse"


def scored(metric, sign):
    """Three methods, of which "good" gains."""
    return results(
        lambda method, scenario, shots, step, seed: (
            sign * (0.5 + 0.1 * (method == "good") + 0.01 * np.random.default_rng(seed).normal(size=8))
        ),
        ("base", "good"),
        metric=metric,
    )


@pytest.mark.parametrize(
    ("metric", "sign", "verdict"), [("macro_f1", 1, "better"), ("ece", 1, "worse"), ("mine:cost", -1, "worse")]
)
def test_verdicts_follow_the_chosen_metric_and_its_direction(metric, sign, verdict):
    """Under accuracy, which is measured too, the methods are alike."""
    alike = results(lambda *_: np.full(8, 0.5), ("base", "good"), metric="accuracy")
    table = pl.concat([scored(metric, sign), alike.filter(metric="accuracy")])
    said = judge_methods(table, "t", "base", ["base", "good"], ["data"], range(5), (), {"data": metric})
    assert {score.metric for score in said.scores} == {metric}
    assert [pair.verdict for pair in said.pairs] == [verdict]
    assert said.rankings[0].methods[0] == ("good" if verdict == "better" else "base")
    plain = judge_methods(table, "t", "base", ["base", "good"], ["data"], range(5))
    assert {score.metric for score in plain.scores} == {"accuracy"}


def test_a_score_below_zero_has_an_interval_below_zero():
    said = judge_methods(
        scored("mine:cost", -1), "t", "base", ["base", "good"], ["data"], range(5), (), {"data": "mine:cost"}
    )
    assert all(score.last.low < score.last.value < score.last.high < 0 for score in said.scores)
    assert all(np.isnan(score.gini) for score in said.scores)


def test_people_for_whom_the_metric_is_not_defined_are_left_out_and_told():
    table = scored("auroc", 1).with_columns(apart=pl.lit(""))
    nobody = (pl.col("user") == "test-3") & (pl.col("metric") == "auroc")
    table = table.with_columns(
        value=pl.when(nobody).then(None).otherwise("value"),
        apart=pl.when(nobody).then(pl.lit("auroc not defined")).otherwise("apart"),
    )
    said = judge_methods(table, "t", "base", ["base", "good"], ["data"], range(5), (), {"data": "auroc"})
    assert {score.clients for score in said.scores} == {7}
    assert said.words[-1].startswith("data: auroc is not defined for 1 of 8 clients")


def test_the_page_of_a_comparison_has_a_table_of_the_other_metrics():
    made = lab(Size())
    of_watches = pl.col("dataset") == "watches"
    more = made.results.filter(of_watches).with_columns(metric=pl.lit("macro_f1"), value=pl.col("value") / 2.0)
    own = made.results.filter(of_watches, pl.col("user") != "p0").with_columns(metric=pl.lit("mine:sure_enough"))
    chosen = {"metrics": ["macro_f1", "mine:sure_enough"]}
    cells = tuple(
        replace(cell, config=cell.config | {"evaluation": cell.config["evaluation"] | chosen})
        if cell.dataset == "watches"
        else cell
        for cell in made.cells
    )
    view = ComparisonView(replace(made, results=pl.concat([made.results, more, own]), cells=cells))
    tables = every_table(view)
    (table,) = tables["others"]
    assert table.head == ("question", "method", ">macro-F1", ">sure enough")
    assert len(table.rows) == 2 * 2 * 4
    for score in (s for s in made.comparison.scores if s.dataset == "watches"):
        mine = (
            (pl.col("method") == score.method)
            & (pl.col("scenario") == score.scenario)
            & (pl.col("shots") == score.shots)
        )
        half = table.frame.filter(mine, metric="macro_f1")
        assert half["mean"].item() == pytest.approx(score.last.value / 2.0)
        assert table.frame.filter(mine, metric="mine:sure_enough")["clients"].item() == half["clients"].item() - 1
    page = comparison_page(view, tables)
    assert "<h2>Other metrics</h2>" in page
    assert every_table(ComparisonView(made))["others"] == []
    json.dumps(table.frame.to_dicts())
