"""The report: whole, self-contained, escaped; its numbers are those of the folder; differences are paired."""

import json
import re
import shutil

import numpy as np
import plotly.graph_objects as go
import pytest

from metapulse.errors import RunError
from metapulse.server.files import write_sealed
from metapulse.server.folder import RunFolder
from metapulse.server.statistics import bootstrap
from metapulse.sim.experiment import run_experiment
from metapulse.sim.report import write_report
from metapulse.sim.report.runs.figures import (
    adaptation,
    behind_the_best,
    distribution,
    learning,
    round_time,
    smooth,
    stages,
    worst_clients,
)
from metapulse.sim.report.runs.page import runs_page
from metapulse.sim.report.runs.paired import leader, paired_difference
from metapulse.sim.report.runs.run_data import facets, metric_of, read_runs
from tests.pages import Tags, drawn, in_browser, text_of
from tests.runs import make

NASTY = "<script>alert(1)</script>&\"'</style>"


def config(learner, strategy, name, **sections):
    world = {"source": {"users": 8, "devices": ["phone", "watch"]}, "split": {"train_devices": ["phone"], "test": 0.5}}
    asked = {"scenarios": ["new_user", "new_device"], "shots": [1, 2], "every": 1}
    evaluation = {**asked, **sections.pop("evaluation", {})}
    return make(
        learner,
        strategy,
        "wearables",
        sections.pop("rounds", 2),
        run={"rounds": 2, "seed": 5, "name": name},
        strategy={"cohort": 2},
        evaluation=evaluation,
        **{**world, **sections},
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    made = {
        "reptile": config("reptile", "fedreptile", "reptile"),
        "maml": config("maml", "fedmaml", NASTY),
        "elsewhere": config("reptile", "fedreptile", "elsewhere", evaluation={"seed": 1}),
    }
    for name, one in made.items():
        run_experiment(one, root / name)
    return {name: root / name for name in made}


@pytest.fixture(scope="module")
def pair(folders):
    return read_runs([folders["reptile"], folders["maml"]])


@pytest.fixture(scope="module")
def page(pair):
    return runs_page(pair)


def test_the_page_reaches_for_nothing_outside(page):
    tags = Tags(page)
    assert tags.reaching == []
    assert "link" not in tags.count
    assert "iframe" not in tags.count
    assert not re.search(r"https?:|@import|url\(", text_of(page))


def test_what_comes_from_a_configuration_is_text_and_never_markup(page):
    assert Tags(page).count["script"] == 3  # Plotly, the figures, and what draws them
    assert Tags(page).count["style"] == 1
    assert "<script>alert" not in page
    assert "</script>&" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    figures = json.dumps(drawn(page))
    assert "<script>" not in figures  # Plotly reads a little markup in labels


def test_every_section_is_there_and_every_place_has_its_figure(page):
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == [
        "What was run",
        "Final scores",
        "Adaptation",
        "Who is really better",
        "Client by client",
        "Learning",
        "Training",
        "Who was dropped",
        "Time",
        "Where the time went",
        "Settings",
    ]
    assert set(re.findall(r'id="(figure-\d+)"', page)) == set(drawn(page))
    assert len(drawn(page)) == 4 * 4 + 3  # four kinds in every scenario and number of shots; loss, time, and stages


def test_figures_are_what_plotly_understands(page):
    for figure in drawn(page).values():
        go.Figure(figure)  # refuses unknown properties and values
        assert figure["layout"]["xaxis"]["title"]["text"]


def test_scores_in_the_table_are_those_of_the_summary(page, folders):
    for name in ("reptile", "maml"):
        summary = json.loads((folders[name] / "summary.json").read_text())
        last = [s for s in summary["scores"] if s["round"] == 2 and s["metric"] == "balanced_accuracy"]
        for score in (s for s in last if s["step"] == 3 or (s["step"] == 0 and s["shots"] == 2)):
            assert f"{score['mean']:.3f}" in page
            assert f"[{score['low']:.3f}, {score['high']:.3f}]" in page


def test_curves_pass_through_the_scores(pair):
    facet = facets(pair)[1]
    assert facet.title == "New people, 2 shots"
    curves = [t for t in adaptation(facet, "loss")["data"] if t["mode"] == "lines+markers"]
    for line, curve in zip(facet.lines, curves, strict=True):
        assert curve["y"] == [line.at(step, "loss")["mean"] for step in (0, 1, 3)]
        assert curve["x"] == [0, 1, 2]
    course = [t for t in learning(facet, "loss")["data"] if t["mode"] == "lines+markers"]
    assert [c["x"] for c in course] == [[1, 2], [1, 2]]
    assert [c["y"][-1] for c in course] == [c["y"][-1] for c in curves]


def test_every_client_is_a_dot_before_and_after_and_the_worst_tenth_is_marked(pair):
    facet = facets(pair)[0]
    dots = [t for t in distribution(facet, "loss")["data"] if t["type"] == "scatter"]
    assert len(dots) == 4  # two runs, before and after
    clients = len(facet.lines[0].clients(3, "loss"))
    assert all(len(t["x"]) == clients for t in dots)
    crosses = [t["marker"]["symbol"].count("x-thin-open") for t in dots]
    assert sorted(crosses) == [0, 0, 1, 1]
    for trace in dots:
        marked = [x for x, s in zip(trace["x"], trace["marker"]["symbol"], strict=True) if s == "x-thin-open"]
        assert marked in ([], [max(trace["x"])])  # the highest loss is the worst


@pytest.mark.parametrize(("higher", "places"), [(True, [0, 3]), (False, [9, 4])])
def test_worst_decile(higher, places):
    values = [0.0, 5, 5, 1, 8, 5, 5, 5, 5, 9] + [5.0] * 10
    assert worst_clients(values, higher) == places


def test_a_difference_is_the_mean_of_paired_differences(pair):
    a, b = facets(pair)[0].lines
    made = paired_difference(a, b, "loss")
    mine = {r["client"]: r["value"] for r in a.clients(3, "loss")}
    theirs = {r["client"]: r["value"] for r in b.clients(3, "loss")}
    values = np.array([mine[c] - theirs[c] for c in sorted(mine)])
    low, high = bootstrap(values, np.arange(len(values)))  # one client a person in this scenario
    assert (made.clients, made.mean) == (len(values), pytest.approx(values.mean()))
    assert (made.low, made.high) == pytest.approx((low, high))
    assert made.wins == np.mean(values < 0)
    back = paired_difference(b, a, "loss")
    assert (back.mean, back.low, back.high) == pytest.approx((-made.mean, -made.high, -made.low), abs=2e-3)


def test_a_run_does_not_differ_from_itself(pair):
    line = facets(pair)[0].lines[0]
    made = paired_difference(line, line, "loss")
    assert (made.mean, made.low, made.high, made.clear, made.wins) == (0.0, 0.0, 0.0, False, 0.0)


def test_the_leader_is_the_best_mean(pair):
    lines = facets(pair)[0].lines
    means = [line.at(3, "loss")["mean"] for line in lines]
    assert leader(lines, "loss") is lines[int(np.argmin(means))]
    means = [line.at(3, "accuracy")["mean"] for line in lines]
    assert leader(lines, "accuracy").at(3, "accuracy")["mean"] == max(means)


def test_other_episodes_are_not_paired(folders):
    runs = read_runs([folders["reptile"], folders["elsewhere"]])
    facet = facets(runs)[0]
    assert paired_difference(*facet.lines, "loss") is None
    assert behind_the_best(facet, "loss") is None
    assert "their differences cannot be paired" in runs_page(runs)


def test_one_run_compares_its_shots(folders):
    runs = read_runs([folders["reptile"]])
    assert [p.title for p in facets(runs)] == ["New people", "New device"]
    assert [line.label for line in facets(runs)[0].lines] == ["1 shot", "2 shots"]
    page = runs_page(runs)
    assert "Who is really better" not in page
    assert [go.Figure(f) for f in drawn(page).values()]


def test_names_that_repeat_are_told_apart(folders, tmp_path):
    shutil.copytree(folders["reptile"], tmp_path / "copy")
    labels = [r.label for r in read_runs([folders["reptile"], tmp_path / "copy", folders["reptile"]])]
    assert len(set(labels)) == len(labels) == 2  # the same folder twice is one run


def test_a_run_that_is_not_finished_is_shown_as_far_as_it_is(folders, tmp_path):
    shutil.copytree(folders["reptile"], tmp_path / "cut")
    (tmp_path / "cut" / "summary.json").unlink()
    runs = read_runs([tmp_path / "cut"])
    assert runs[0].scores == read_runs([folders["reptile"]])[0].scores
    assert "unfinished" in text_of(runs_page(runs))
    (tmp_path / "cut" / "metrics.parquet").unlink()
    with pytest.raises(RunError, match=r"metrics\.parquet cannot be read"):
        read_runs([tmp_path / "cut"])
    shutil.rmtree(tmp_path / "cut" / "checkpoints")
    page = runs_page(read_runs([tmp_path / "cut"]))
    assert "No meta-test yet" in page
    assert metric_of(read_runs([tmp_path / "cut"])) == ""


def test_who_was_dropped_is_counted_by_reason(folders, tmp_path):
    shutil.copytree(folders["reptile"], tmp_path / "dropped")
    folder = RunFolder(tmp_path / "dropped")
    for round, client, value in ((1, 4, 2), (1, 5, 17), (2, 4, 9)):
        reason = f"round {round}, client {client}, episode: {value} of 9 samples hold NaN <b>"
        folder.event(round, "dropped", client=client, reason=reason)
    folder.event(2, "dropped", client=6, reason="no reply")
    page = text_of(runs_page(read_runs([folder.path])))
    rows = re.findall(r"<tr>((?:(?!</tr>).)*hold NaN(?:(?!</tr>).)*)</tr>", page)
    assert len(rows) == 1
    assert re.findall(r'class="number">(\d+)<', rows[0]) == ["3", "2"]  # replies, clients
    assert "episode: 2 of 9 samples hold NaN &lt;b&gt;" in rows[0]
    assert "1–2" in rows[0]
    assert "no reply" in page
    assert "every reply of every round passed" not in page


def test_stages_add_up_to_the_rounds_and_what_is_beside_them(folders):
    (run,) = read_runs([folders["reptile"]])
    rounds = ["sampling", "transfer", "data", "inner", "aggregate"]
    assert list(run.stages) == [*rounds, "evaluation", "checkpoint"]
    assert sum(run.stages[s] for s in rounds) == pytest.approx(sum(e["seconds"] for e in run.rounds))
    for stage, kind, count in (("evaluation", "meta-test", 2), ("checkpoint", "checkpoint", 3)):
        assert len(seconds := [e["seconds"] for e in run.events if e["kind"] == kind]) == count
        assert run.stages[stage] == pytest.approx(sum(seconds))
    assert all(seconds >= 0 for seconds in run.stages.values())


def test_the_time_of_a_round_is_drawn_and_written_by_stage(folders, tmp_path):
    shutil.copytree(folders["reptile"], tmp_path / "timed")
    (tmp_path / "timed" / "events.jsonl").write_text("")
    shutil.rmtree(tmp_path / "timed" / "checkpoints")
    folder = RunFolder(tmp_path / "timed")
    for round in (1, 2):
        folder.event(round, "round", seconds=0.4, spent={"sampling": 0.1, "clients": 0.3, "of-tomorrow": 1}, asked=2)
    folder.event(2, "meta-test", seconds=0.2)
    runs = read_runs([folder.path])
    assert runs[0].stages == {"sampling": 0.2, "clients": 0.6, "evaluation": 0.2}
    figure = stages(runs)
    assert {t["name"]: t["x"] for t in figure["data"]} == {"sampling": [100], "clients": [300], "evaluation": [100]}
    assert [t["customdata"] for t in figure["data"]] == [[pytest.approx(share)] for share in (0.2, 0.6, 0.2)]
    assert "300 ms<small>60.0%</small>" in runs_page(runs)


def test_a_slow_first_round_does_not_hide_the_others(folders):
    """Waiting for a cluster takes a thousand times as long as a round."""
    assert round_time(read_runs([folders["reptile"]]))["layout"]["yaxis"]["type"] == "log"


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_log_without_stages_has_no_such_section(folders, tmp_path, rounds):
    shutil.copytree(folders["reptile"], tmp_path / "old")
    (tmp_path / "old" / "events.jsonl").write_text("")
    shutil.rmtree(tmp_path / "old" / "checkpoints")
    for round in range(1, rounds + 1):
        RunFolder(tmp_path / "old").event(round, "round", seconds=1.0, spent=None)
    assert "Where the time went" not in runs_page(read_runs([tmp_path / "old"]))


@pytest.mark.parametrize("name", ["config.json", "summary.json", "metrics.parquet", "environment.json"])
def test_a_damaged_file_is_one_line_that_names_it(folders, tmp_path, name):
    shutil.copytree(folders["reptile"], tmp_path / "bad")
    (tmp_path / "bad" / name).write_text("{")
    with pytest.raises(RunError, match=re.escape(name)) as caught:
        write_report([tmp_path / "bad"], tmp_path / "page.html")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("name", ["summary.json", "config.json"])
def test_files_that_lack_what_a_report_needs_are_named(folders, tmp_path, name):
    shutil.copytree(folders["reptile"], tmp_path / "bad")
    path = tmp_path / "bad" / name
    write_sealed(path, json.loads(path.read_text()) | {"config": {"run": 3}, "parameters": "many"})
    with pytest.raises(RunError, match=r"is of another configuration|lacks what a report needs"):
        write_report([tmp_path / "bad"], tmp_path / "page.html")


def test_a_mean_that_overflowed_is_left_out(folders, tmp_path):
    shutil.copytree(folders["reptile"], tmp_path / "wild")
    path = tmp_path / "wild" / "summary.json"
    summary = json.loads(path.read_text())
    for score in summary["scores"]:
        if (score["scenario"], score["step"]) == ("new_user", 3):
            score["mean"] = score["high"] = None
    write_sealed(path, summary)
    page = runs_page(read_runs([folders["reptile"], tmp_path / "wild"]))
    assert [go.Figure(f) for f in drawn(page).values()]


def test_no_folder_is_no_report(tmp_path):
    with pytest.raises(RunError, match="at least one run"):
        write_report([], tmp_path / "page.html")


def test_smoothing_is_a_running_mean():
    assert smooth([1.0, 2.0, 3.0, 6.0], 2) == [1.0, 1.5, 2.5, 4.5]
    assert smooth([1.0, 2.0], 1) == [1.0, 2.0]


@pytest.mark.e2e
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_draws_it_without_complaint(folders, tmp_path, width):
    write_report([folders["reptile"], folders["maml"]], tmp_path / "page.html")
    opened = in_browser(tmp_path / "page.html", width, 1500)
    assert opened.count("js-plotly-plot") >= 18  # Plotly marks what it has drawn


BESIDE = """<script>addEventListener("load", () => setTimeout(() => {
  dispatchEvent(new Event("beforeprint"));
  const box = element => element.getBoundingClientRect(), all = (node, what) => [...node.querySelectorAll(what)];
  const gaps = plot => all(plot, ".ytitle").flatMap(t => all(plot, ".ytick text").map(l => box(l).left - box(t).right));
  setTimeout(() => document.body.dataset.gap = Math.min(...all(document, ".js-plotly-plot").flatMap(gaps)), 1500);
}, 1500));</script>"""


@pytest.mark.e2e
def test_the_title_of_an_axis_stands_beside_its_labels(page, tmp_path):  # one decimal or two: Plotly knows late
    figures, (before, rest) = drawn(page), page.split('<script type="application/json" id="figures">')
    for figure in figures.values():
        if figure["layout"]["xaxis"]["title"]["text"] == "federated round":
            for line in figure["data"]:
                line |= {"x": [0, 100, 400], "y": [0.374, 0.55, 0.733], "type": "scatter"}
    after = f"{json.dumps(figures)}</script>{rest.partition('</script>')[2]}".replace("</body>", BESIDE + "</body>")
    (tmp_path / "page.html").write_text(f'{before}<script type="application/json" id="figures">{after}')
    found = re.search(r'data-gap="([^"]+)"', in_browser(tmp_path / "page.html", 1280, 30000))
    assert float(found[1] if found else "nan") > 4
