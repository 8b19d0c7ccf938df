"""Cells are run once, whatever happens; one that fails is told and the rest go on; the table is the same bytes."""

import threading
import time

import polars as pl
import pytest

from metapulse.errors import RunError
from metapulse.server.files import read_json
from metapulse.server.folder import RunFolder
from metapulse.server.lock import alone
from metapulse.server.run import Run
from metapulse.sim import experiment
from metapulse.sim.comparison_runner import ComparisonRunner
from metapulse.sim.lab.cells import comparison_cells
from metapulse.sim.lab.table import SCHEMA, result_table
from metapulse.sim.runner import run_cells
from tests.lab import SPEC, Ear, spec, tables_only

pytestmark = pytest.mark.long


class Diary:
    """A tracker that keeps what it is told in the run's folder."""

    def __init__(self, folder):
        self.path = folder.path / "diary.txt"

    def log(self, round, values):
        with self.path.open("a") as stream:
            print(round, *values, file=stream)

    def close(self, summary):
        self.log(-1, summary)


def conducted(asked, folder, workers=0, only=(), track=()):
    """What a comparison told, and what failed."""
    ear = Ear()
    _, failures = ComparisonRunner(asked, folder, workers, lambda batch, todo, done, at_once: ear, track).run(only)
    return ear, failures


@pytest.fixture(scope="module", autouse=True)
def no_report():
    """These tests are about runs and their table."""
    with tables_only():
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A comparison left alone: specification, folder, what it told."""
    folder = tmp_path_factory.mktemp("whole")
    asked = spec(folder)
    ear, failures = conducted(asked, folder / "out")
    assert failures == []
    return asked, folder / "out", ear


def test_cells_run_in_order_and_tell_their_rounds(whole):
    asked, _, ear = whole
    names = [cell.name for cell in comparison_cells(asked)]
    assert ear.begun == names
    assert ear.ended == [(name, "") for name in names]
    pairs = [names[i : i + 2] for i in range(0, len(names), 2)]  # two seeds of a method are one piece of work
    assert ear.rounds == [(name, round) for pair in pairs for round in (1, 2, 3, 4) for name in pair]


def test_a_cell_is_an_ordinary_run_at_its_address(whole, tmp_path):
    asked, out, _ = whole
    cell = comparison_cells(asked)[3]
    summary = experiment.run_experiment(cell.config, tmp_path / "alone")
    assert RunFolder(out / cell.path).config()[1] == summary["config"] == cell.config.digest()
    assert RunFolder(out / cell.path).metrics() == RunFolder(tmp_path / "alone").metrics()


def test_the_table_has_every_number_of_every_run_sorted(whole):
    asked, out, _ = whole
    table = pl.read_parquet(out / "results.parquet")
    assert table.schema == SCHEMA
    keys = table.select(SCHEMA.names()[:-1])
    assert keys.rows() == sorted(set(keys.rows()))
    cell = comparison_cells(asked)[0]
    mine = table.filter(dataset=cell.dataset, method=cell.method, seed=cell.seed)
    rows = RunFolder(out / cell.path).metrics()
    assert len(table) == sum(len(RunFolder(out / c.path).metrics()) for c in comparison_cells(asked))
    assert sorted(mine["value"]) == sorted(row["value"] for row in rows)
    assert set(mine["phase"]) == {"validation", "test"}


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.e2e)])
def test_every_cell_is_tracked_and_no_number_changes(whole, tmp_path, workers):
    asked, out, _ = whole
    _, failures = conducted(asked, tmp_path, workers, track=[f"{__name__}:Diary"])
    assert failures == []
    for cell in comparison_cells(asked):
        told = [line.split() for line in ((tmp_path / cell.path) / "diary.txt").read_text().splitlines()]
        assert [int(line[0]) for line in told if "round/clients" in line] == [1, 2, 3, 4]
        assert any(name.startswith("test/new_user/mse/shots_5") for line in told for name in line)
        assert told[-1][0] == "-1"
    assert (tmp_path / "results.parquet").read_bytes() == (out / "results.parquet").read_bytes()


def test_what_is_finished_is_not_done_again(whole, monkeypatch):
    asked, out, _ = whole
    before = (out / "results.parquet").read_bytes()
    monkeypatch.setattr("metapulse.sim.runner.run_batch", None)
    ear, failures = conducted(asked, out)
    assert (ear.begun, failures) == ([], [])
    assert (out / "results.parquet").read_bytes() == before


def test_a_part_first_and_the_rest_later_make_the_same_table(whole, tmp_path):
    asked, out, _ = whole
    first, _ = conducted(asked, tmp_path, only=["*/maml/1"])
    part = pl.read_parquet(tmp_path / "results.parquet")
    assert set(part.select("dataset", "method", "seed").rows()) == {("few", "maml", 1), ("many", "maml", 1)}
    rest, _ = conducted(asked, tmp_path)
    assert len(first.begun) == 2
    assert sorted(first.begun + rest.begun) == sorted(cell.name for cell in comparison_cells(asked))
    assert (tmp_path / "results.parquet").read_bytes() == (out / "results.parquet").read_bytes()


def test_equal_cells_are_run_once_and_counted_for_both(tmp_path):
    text = SPEC + '[methods.again]\nlearner = { name = "fedavg_ft", inner_lr = 0.02 }\n'
    asked = spec(tmp_path, text)
    ear, _ = conducted(asked, tmp_path / "out", only=["few/fedavg_ft/0", "few/again/0"])
    assert ear.begun == ["few/fedavg_ft/0"]
    table = pl.read_parquet(tmp_path / "out" / "results.parquet")
    twins = [table.filter(method=name).drop("method") for name in ("fedavg_ft", "again")]
    assert twins[0].equals(twins[1])
    assert len(twins[0]) > 0


FAILING = """
[methods.crowd]
strategy = { name = "krum", cohort = 8, aggregator = { attackers = 2 } }
[methods.last]
learner = { name = "fedprox" }
"""


def check_failing(asked, out, workers):
    """Krum against two attackers needs seven replies; that five people train shows only when the data are there."""
    ear, failures = conducted(asked, out, workers, only=["*/crowd/0", "*/last/0"])
    assert [(failure.cell.name, failure.code) for failure in failures] == [("few/crowd/0", 2)]
    assert (
        failures[0].error
        == "strategy.aggregator = 'krum': 5 replies are too few against 2 attackers: 2 f + 3 = 7 are needed"
    )
    assert sorted(name for name, error in ear.ended if not error) == ["few/last/0", "many/crowd/0", "many/last/0"]
    told = [c for c in read_json(out / "spec.json")["cells"] if c["failure"]]
    assert [(c["dataset"], c["method"], c["failure"]) for c in told] == [("few", "crowd", failures[0].error)]
    return ear


def test_a_failing_cell_is_told_and_the_rest_go_on(tmp_path):
    asked = spec(tmp_path, SPEC + FAILING)
    check_failing(asked, tmp_path / "out", 0)
    again, failures = conducted(asked, tmp_path / "out", only=["*/crowd/0", "*/last/0"])
    assert again.begun == ["few/crowd/0"]
    assert len(failures) == 1


@pytest.mark.ray
def test_on_ray_it_is_the_same_to_the_byte(tmp_path):
    common = SPEC.replace("[datasets.few]", 'learner = { name = "fedavg_ft", inner_lr = 0.02 }\n[datasets.few]')
    asked = spec(tmp_path, common + FAILING)
    notes = {name: check_failing(asked, tmp_path / name, workers).notes for name, workers in (("here", 0), ("ray", 2))}
    assert sorted(notes["here"]) == sorted(notes["ray"])
    lost = "learner.inner_lr = 0.02 (here 0.01) of the common [learner] does not apply to 'fedprox'"
    assert notes["here"].count(("few/last/0", lost)) == 1
    here, ray = (tmp_path / name / "results.parquet" for name in ("here", "ray"))
    assert ray.read_bytes() == here.read_bytes()


def test_an_error_that_nobody_foresaw_stops_one_cell_only(tmp_path, monkeypatch):
    def broken(self, *told):
        if self.config.run.seed == 0:
            raise ZeroDivisionError("of θ")
        return whole(self, *told)

    whole = Run.told
    monkeypatch.setattr(Run, "told", broken)
    _, failures = conducted(spec(tmp_path), tmp_path / "out", only=["few/*"])
    assert [(f.cell.name, f.code) for f in failures] == [("few/fedavg_ft/0", 1), ("few/maml/0", 1)]
    assert failures[0].error.startswith("unexpected ZeroDivisionError: of θ (traceback in ")


def test_a_cell_that_somebody_else_runs_is_waited_for_and_not_done_twice(whole, tmp_path, monkeypatch):
    """As a new lab meets the last workers of one that was killed."""
    cell = comparison_cells(whole[0], tmp_path)[0]
    ear, ended = Ear(), []
    with alone(cell.path):
        other = threading.Thread(target=lambda: ended.extend(run_cells([cell], lambda *batch: ear, wait=True)))
        other.start()
        while not ear.begun:
            time.sleep(0.01)
        experiment.run_experiment(cell.config, cell.path)
        assert ended == []
        monkeypatch.setattr("metapulse.sim.runner.run_experiment", None)
    other.join()
    assert [result.error for result in ended] == [""]
    assert ear.rounds == []


def test_folders_of_other_things_are_refused(tmp_path):
    asked = spec(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RunError, match="holds a run; choose another folder"):
        conducted(asked, tmp_path)
    with pytest.raises(RunError, match=r"cannot make .*spec\.toml"):
        conducted(asked, tmp_path / "spec.toml")


def test_a_damaged_table_of_a_finished_run_is_named(whole, tmp_path):
    asked, _, _ = whole
    cell = comparison_cells(asked, tmp_path)[0]
    (tmp_path / cell.path).mkdir(parents=True)
    ((tmp_path / cell.path) / "summary.json").write_text("{}")
    with pytest.raises(RunError, match=r"metrics\.parquet cannot be read"):
        result_table([cell])
    ((tmp_path / cell.path) / "metrics.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(RunError, match=r"metrics\.parquet cannot be read"):
        result_table([cell])
