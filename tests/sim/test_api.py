"""What ``import metapulse as mp`` offers: the command line's folders, and results that show themselves."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import metapulse as mp
from metapulse.server.folder import RunFolder
from metapulse.sim.api import laid_over
from metapulse.sim.cli import main
from tests.commands import PAIR, TINY
from tests.lab import SPEC

ROOT = Path(__file__).resolve().parents[2]

CLASSES = """
[run]
rounds = 2
[source]
name = "synthetic"
clients = 10
[transform]
name = "standardise"
on = "support"
[model]
name = "mlp"
hidden = [4]
[strategy]
cohort = 3
[episodes]
split = "samples"
[evaluation]
split = "samples"
scenarios = ["known_user", "new_user"]
steps = [0, 2]
episodes = 1
"""


@pytest.fixture
def pair(tmp_path):
    (tmp_path / "pair.toml").write_text(PAIR)
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "classes.toml").write_text(CLASSES)
    return tmp_path


def test_results_show_themselves(pair, capsys):
    result = mp.run(pair / "pair.toml", pair / "out", sets=["run.rounds=2"], seed=3, quiet=True)
    assert capsys.readouterr() == ("", "")
    assert "slow" in repr(result)
    assert "<table" in result._repr_html_()
    assert result.methods == tuple(result) == ("slow", "fast")
    assert pl.DataFrame(list(result.scores))["mean"].is_finite().all()
    assert {row["method"] for row in result.scores} == {"slow", "fast"}
    assert "new_user" in repr(result.scores)
    assert result.report().read_text().startswith("<!doctype html>")
    assert {s["seed"] for s in result.summaries.values()} == {3}


def test_it_is_the_command_lines_run_whatever_the_number_of_threads(pair):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        result = mp.run(str(pair / "pair.toml"), pair / "a", quiet=True)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert main(["run", str(pair / "pair.toml"), "--out", str(pair / "b")]) == 0
    for name in result.methods:
        ours, theirs = (pair / folder / name / "summary.json" for folder in "ab")
        assert ours.read_bytes() == theirs.read_bytes()


def test_sections_are_laid_over_the_file_and_the_folder_has_a_name_of_its_own(pair, monkeypatch):
    monkeypatch.chdir(pair)
    learner = {"name": "fedavg_ft", "inner_lr": 0.5}
    first = mp.run("tiny.toml", quiet=True, seed=4, run={"rounds": 1, "name": "mine"}, learner=learner)
    assert first.path == Path("runs/mine-4")
    assert (first.config.run.rounds, dict(first.config.learner)) == (1, learner)
    assert mp.run("tiny.toml", quiet=True, seed=4, run={"name": "mine"}).path == Path("runs/mine-4-2")
    with pytest.raises(mp.ConfigError, match="no_such_section"):
        mp.run("tiny.toml", quiet=True, no_such_section={"a": 1})
    with pytest.raises(mp.ConfigError, match="rounds = 5: expected a section of the configuration"):
        laid_over({"rounds": 5}, {})


def test_going_on_reads_what_is_finished(pair):
    first = mp.run(pair / "pair.toml", pair / "out", quiet=True)
    (pair / "out" / "fast" / "summary.json").unlink()
    half = mp.load(pair / "out")
    assert (half.methods, dict(half.failed)) == (("slow",), {"fast": "not finished"})
    assert mp.resume(pair / "out", quiet=True).summaries == first.summaries
    assert mp.load(pair / "out").summaries == first.summaries
    with pytest.raises(mp.RunError, match="does not exist"):
        mp.load(pair / "nowhere")


def test_one_run_needs_no_name_and_several_do(pair):
    one = mp.run(pair / "tiny.toml", pair / "one", quiet=True)
    assert one.metrics.num_rows > 0
    assert one.summary["rounds"] == 3
    several = mp.run(pair / "pair.toml", pair / "two", quiet=True)
    with pytest.raises(mp.RunError, match="no run 'slower'; there are: slow, fast"):
        several["slower"]
    with pytest.raises(mp.RunError, match=r"several runs; choose one: result\['slow'\]"):
        several.summary
    rows = several.metrics
    assert rows.column_names[0] == "method"
    assert rows["method"].unique().to_pylist() == ["slow", "fast"]
    assert rows.num_rows == several["slow"].metrics.num_rows + several["fast"].metrics.num_rows


LEARNERS = ("fedavg", "reptile", "maml", "ditto", "fedrep", "protonet", "local_only", "cavia", "majority")


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_persons_model_answers_what_the_meta_test_judged(pair, learner):
    """Accuracy of ``predict`` on the query of a client's only test episode is the number in metrics.parquet."""
    mp.run(pair / "classes.toml", pair / "out", quiet=True, method={"name": learner})
    result = mp.load(pair / "out")
    rows = pl.from_arrow(result.metrics).filter(pl.col("metric") == "accuracy", pl.col("apart") == "")
    assert set(rows["scenario"]) == {"known_user", "new_user"}
    for row in rows.iter_rows(named=True):
        model = result.model(row["user"], scenario=row["scenario"], steps=row["step"])
        samples, cuts = model.work.cuts(row["client"], model.trial)
        support, query = cuts[0].support, cuts[0].query
        offered = np.isin(samples.y[query], samples.y[support])  # the others are in no score
        right = model.predict(samples.x[query]) == samples.y[query]
        assert right[offered].mean() == pytest.approx(row["value"], abs=1e-6)


def test_regression_is_answered_in_the_targets_unit(pair):
    mp.run(pair / "tiny.toml", pair / "out", quiet=True, evaluation={"episodes": 1})
    result = mp.load(pair / "out")
    rows = pl.from_arrow(result.metrics).filter(pl.col("metric") == "mse")
    assert len(rows) > 0
    for row in rows.iter_rows(named=True):
        model = result.model(row["user"], steps=row["step"])
        samples, cuts = model.work.cuts(row["client"], model.trial)
        error = model.predict(samples.x[cuts[0].query]) - samples.y[cuts[0].query]
        assert np.square(error).mean() == pytest.approx(row["value"], rel=1e-5)


def test_without_a_person_it_is_theta_and_samples_of_ones_own_adapt_it(pair):
    """Zero steps on a support are θ; the person's own support, given as samples, gives the person's model."""
    result = mp.run(pair / "tiny.toml", pair / "out", quiet=True)
    plain, person = result.model(), result.model(3)
    theta = RunFolder(result.path).final()[1]
    assert all(torch.equal(plain.params[name][0], p) for name, p in theta.items())
    samples, cuts = person.work.cuts(3, person.trial)
    support = samples.take(cuts[0].support)
    x = samples.x[:7]
    for steps, model in ((0, plain), (None, person)):
        given = result.model(support=(support.x, support.y), steps=steps)
        np.testing.assert_allclose(given.predict(x), model.predict(x), rtol=1e-6)
    assert np.abs(person.predict(x) - plain.predict(x)).max() > 1e-3
    np.testing.assert_array_equal(result.predict(x, 3), person.predict(x))
    np.testing.assert_array_equal(result.predict(x), plain.predict(x))


def test_a_person_who_is_not_there_is_refused(pair):
    result = mp.run(pair / "tiny.toml", pair / "out", quiet=True)
    with pytest.raises(
        mp.RunError, match=r"person = 10: there is none in the run's data; must be a number from 0 to 9"
    ):
        result.model(10)
    with pytest.raises(mp.RunError, match="person = 'Ann': there is none in the run's data; must be as in column user"):
        result.model("Ann")
    with pytest.raises(mp.RunError, match="device = 'moon': must be one of"):
        result.model(1, device="moon")
    with pytest.raises(mp.RunError, match=r"steps = -1: must be ≥ 0"):
        result.model(1, steps=-1)
    for x in (np.zeros((3, 9)), np.zeros((0, 1)), np.full((3, 1), np.nan)):
        with pytest.raises(mp.DataError, match=r"^x(: a sample has shape| has no samples|: 3 of 3 samples hold NaN)"):
            result.predict(x)
    with pytest.raises(mp.DataError, match="support: a sample has shape"):
        result.model(support=(np.zeros((3, 9), np.float32), np.zeros((3, 1), np.float32)))


def test_a_scale_that_the_run_has_learnt_is_the_models(pair):
    mp.run(pair / "tiny.toml", pair / "out", quiet=True, transform={"name": "global"})
    model = mp.load(pair / "out").model()
    assert type(model.work.transform).__name__ == "Fixed"


def test_theta_is_to_be_had_where_the_data_is_not(pair, monkeypatch):
    """As where the data is on devices: the model is built from the task that the run has written down."""
    lines = [f"{i % 2 + i / 40:.3f},{i / 7:.3f},{'ab'[i % 2]},{i // 10}" for i in range(60)]
    (pair / "mine.csv").write_text("\n".join(["u,v,y,user", *lines]) + "\n")
    own = {"name": "own", "path": str(pair / "mine.csv")}
    made = mp.run(pair / "classes.toml", pair / "out", quiet=True, source=own, strategy={"cohort": 0})
    x = np.array([[0.2, 0.1], [1.3, 5.0]], np.float32)
    before = made.model().outputs(x)
    (pair / "mine.csv").rename(pair / "moved.csv")
    model = mp.load(pair / "out").model()
    assert model.labels == ("a", "b")
    np.testing.assert_array_equal(model.outputs(x), before)
    with pytest.raises(mp.DataError, match=r"mine\.csv"):
        mp.load(pair / "out").model(0)
    assert mp.load(pair / "out", data=pair / "moved.csv").model(0).predict(x).shape == (2,)


@pytest.mark.long
def test_a_comparison_says_its_verdict_in_words_and_in_rows(pair, capsys):
    (pair / "spec.toml").write_text(SPEC)
    said = mp.compare(pair / "spec.toml", pair / "compared", quiet=True)
    assert capsys.readouterr() == ("", "")
    assert repr(said) == "\n".join(said.words)
    assert {row["method"] for row in said.scores} == {"maml", "fedavg_ft"}
    assert all(row["low"] <= row["difference"] <= row["high"] for row in said.verdicts)
    assert said.report().exists()
    assert not said.failed
    with pytest.raises(mp.ConfigError, match="moon"):
        mp.compare(pair / "spec.toml", pair / "compared", quiet=True, only=["moon/*"])


def test_a_report_of_several_folders_is_one_page(pair, monkeypatch):
    monkeypatch.chdir(pair)
    mp.run("tiny.toml", "a", quiet=True)
    mp.run("tiny.toml", "b", quiet=True, seed=1)
    assert mp.report("a") == Path("a/report.html")
    assert mp.report("a", "b").read_text().startswith("<!doctype html>")


@pytest.mark.long
def test_what_the_readme_and_the_pages_show_runs_as_it_stands(pair):
    """Every line about Python, over a small configuration in the place of the large one."""
    for page in (ROOT / "README.md", ROOT / "docs" / "api.md"):
        (block,) = re.findall(r"^( *)import metapulse as mp\n((?:\1.*\n|\n)*)", page.read_text(), re.MULTILINE)
        lines = [line.removeprefix(block[0]) for line in block[1].split("```")[0].splitlines()]
        text = "\n".join(["import metapulse as mp", *lines])
        for shown in ("configs/main.toml", "mine.toml"):
            text = text.replace(shown, str(pair / "pair.toml"))
        text = text.replace("comparison.toml", str(pair / "spec.toml")).replace('"maml"', '"slow"')
        text = text.replace("runs/", f"{pair / page.stem}/").replace('"rounds": 50', '"rounds": 1')
        (pair / "spec.toml").write_text(SPEC)
        exec(compile(text, str(page), "exec"), {"x": np.zeros((4, 1), np.float32)})


def test_mistakes_are_raised_and_single_failures_kept(pair):
    with pytest.raises(mp.ConfigError, match=r"run\.seed = -1"):
        mp.run(pair / "pair.toml", pair / "a", seed=-1)
    with pytest.raises(mp.MetapulseError, match=r"slow: split\.train_devices = \['moon'\]"):
        mp.run(pair / "pair.toml", pair / "b", sets=["split.train_devices=['moon']"], quiet=True)
    result = mp.run(pair / "pair.toml", pair / "c", sets=["methods.slow.split.train_devices=['moon']"], quiet=True)
    assert list(result.failed) == ["slow"]
    assert result.methods == ("fast",)
    with pytest.raises(mp.RunError, match=r"no run 'slow'; there are: fast; it failed: split\.train_devices"):
        result["slow"]
