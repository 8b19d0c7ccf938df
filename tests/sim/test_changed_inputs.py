"""Runs, suites and comparisons over data that changes, goes or moves: never two in one table, never in silence."""

import json
import shutil

import pytest

from metapulse.server.folder import RunFolder
from metapulse.sim import experiment
from metapulse.sim.comparison_runner import ComparisonRunner
from metapulse.sim.lab.cells import comparison_cells
from metapulse.sim.runner import run_cells
from metapulse.sim.suite import new_cells, read_suite, saved_cells
from tests.lab import Ear, spec, tables_only

ROWS = [(f"p{p}", g, (7 * p + 3 * g + x) % 5, x % 2) for p in range(6) for g in range(2) for x in range(6)]
BASE = """
[run]
rounds = 3
[source]
name = "own"
path = "d.csv"
[split]
validation = 0.0
test = 0.34
[model]
name = "mlp"
hidden = [3]
[learner]
name = "fedavg_ft"
inner_lr = 0.05
[strategy]
name = "fedavg"
cohort = 3
[evaluation]
shots = [2]
steps = [0, 1]
[checkpoint]
every = 1
keep = 9
"""
METHODS = '[methods.one]\n[methods.two]\nmethod = { name = "reptile" }\n'


@pytest.fixture
def study(tmp_path):
    """A folder with d.csv and c.toml."""
    folder = tmp_path / "study"
    folder.mkdir()
    write(folder)
    (folder / "c.toml").write_text(BASE)
    return folder


def write(folder, first=1.0):
    lines = [",".join(map(str, row)) for row in [("p0", 0, first, 0), *ROWS[1:]]]
    (folder / "d.csv").write_text("\n".join(["user,group,a,y", *lines]) + "\n")


def interrupted(study, folder):
    """A run without its last round and its summary, as a kill leaves it; and the whole of it."""
    (cell,) = new_cells(read_suite(study / "c.toml"), folder)
    whole = experiment.run_experiment(cell.config, folder)
    (folder / "summary.json").unlink()
    shutil.rmtree(folder / "checkpoints" / "000003")
    return whole


def test_resume_from_another_folder_goes_on_with_the_file_beside_the_configuration(study, tmp_path, call, monkeypatch):
    whole = interrupted(study, tmp_path / "run")
    monkeypatch.chdir("/")
    assert call("resume", tmp_path / "run")[0] == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["theta"] == whole["theta"]


def test_resume_over_other_data_is_refused_by_name(study, tmp_path, refused):
    interrupted(study, tmp_path / "run")
    write(study, first=2.0)
    assert "d.csv) has changed since the run began" in refused("resume", tmp_path / "run")


def test_moved_data_is_asked_for_and_accepted_where_its_content_is_the_same(study, tmp_path, call, refused):
    whole = interrupted(study, tmp_path / "run")
    (study / "d.csv").rename(tmp_path / "e.csv")
    said = refused("resume", tmp_path / "run")
    assert "d.csv) is not there any more" in said
    assert f"metapulse resume {tmp_path / 'run'} --data PATH" in said
    write(study, first=2.0)
    assert "has changed" in refused("resume", tmp_path / "run", "--data", study / "d.csv")
    assert call("resume", tmp_path / "run", "--data", tmp_path / "e.csv")[0] == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["theta"], summary["config"]) == (whole["theta"], whole["config"])


def test_a_suite_does_not_go_on_over_other_data_than_its_finished_methods(study, tmp_path):
    (study / "c.toml").write_text(BASE + METHODS)
    todo = new_cells(read_suite(study / "c.toml"), tmp_path / "suite")
    (first,) = run_cells(todo[:1])
    assert first.error == ""
    write(study, first=2.0)
    one, two = run_cells(saved_cells(tmp_path / "suite"))
    assert (one.error, two.code) == ("", 2)
    assert "data source.path" in two.error
    assert "has changed" in two.error


def test_runs_begun_by_another_version_are_named(study, tmp_path, call):
    interrupted(study, tmp_path / "run")
    made = tmp_path / "run" / "environment.json"
    made.write_text(json.dumps(json.loads(made.read_text()) | {"git": "0123"}))
    assert "(0123) and goes on with metapulse" in call("resume", tmp_path / "run")[2]


COMPARISON = """
[compare]
name = "stale"
seeds = [0]
[base]
run = { rounds = 2 }
source = { name = "own", path = "d.csv" }
split = { validation = 0.0, test = 0.34 }
model = { name = "mlp", hidden = [3] }
strategy = { name = "fedavg", cohort = 3 }
evaluation = { shots = [2], steps = [0, 1] }
[datasets.mine]
[methods.one]
learner = { name = "fedavg_ft", inner_lr = 0.05 }
"""


def test_a_comparison_never_shows_finished_runs_over_other_data(study, tmp_path):
    def conducted(text):
        asked = spec(study, text)
        with tables_only():
            _, failures = ComparisonRunner(asked, tmp_path / "out", 0, lambda *batch: ear).run()
        assert failures == []
        return comparison_cells(asked)

    ear = Ear()
    (before,) = conducted(COMPARISON)
    write(study, first=2.0)
    now = conducted(COMPARISON + '[methods.two]\nmethod = { name = "reptile" }\n')
    assert ear.begun == [before.name, *(cell.name for cell in now)]  # the old one is done again
    assert before.key not in {cell.key for cell in now}
    assert {json.dumps(RunFolder(tmp_path / "out" / cell.path).inputs()) for cell in now} == {
        json.dumps(dict(now[0].inputs))
    }


def test_data_that_changes_under_a_comparison_fails_its_runs(study, tmp_path):
    lab = ComparisonRunner(spec(study, COMPARISON), tmp_path / "out", 0, lambda *batch: Ear())
    lab.cells()
    write(study, first=2.0)
    with tables_only():
        _, failures = lab.run()
    assert [failure.error for failure in failures] == [
        "its data or code changed while the comparison ran; run the command again"
    ]
