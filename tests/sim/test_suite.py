"""Suites: each method is the base with its change, one that fails does not stop the others, finished ones rest."""

import dataclasses
import json
from pathlib import Path

import pytest

from metapulse.errors import ConfigError, RunError
from metapulse.server.run import Run
from metapulse.sim.lab.cells import comparison_cells
from metapulse.sim.lab.spec import read_spec
from metapulse.sim.progress import Display
from metapulse.sim.runner import run_cells
from metapulse.sim.suite import new_cells, read_suite, saved_cells

BASE = """
[run]
name = "trio"
seed = 4
rounds = 2
[source]
name = "sine"
clients = 10
[transform]
name = "none"
[model]
name = "sine"
hidden = [4]
[learner]
name = "reptile"
inner_lr = 0.02
[episodes]
split = "samples"
[strategy]
name = "fedreptile"
cohort = 3
[evaluation]
split = "samples"
steps = [0, 2]
"""
METHODS = """
[methods.plain]
[methods.faster]
learner = { inner_lr = 0.2 }
[methods.maml]
learner = { name = "maml" }
strategy = { name = "fedmaml", cohort = 3 }
"""


@pytest.fixture
def toml(tmp_path):
    def write(text=BASE + METHODS):
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    return write


def done(todo):
    return list(run_cells(todo))


def test_a_method_is_the_base_with_its_change_laid_over(toml):
    made = read_suite(toml())
    assert (made.name, made.seed, made.nested, list(made.configs)) == ("trio", 4, True, ["plain", "faster", "maml"])
    plain, faster, maml = made.configs.values()
    assert [c.run.name for c in made.configs.values()] == ["plain", "faster", "maml"]
    assert (plain.learner["inner_lr"], faster.learner["inner_lr"]) == (0.02, 0.2)
    assert dict(maml.learner) == {"name": "maml"}  # another learner starts from its own defaults
    assert all(c.run.seed == 4 and c.source == plain.source for c in made.configs.values())


def test_without_methods_there_is_one_run(toml):
    made = read_suite(toml(BASE))
    assert (made.nested, list(made.configs)) == (False, ["trio"])


def test_what_is_set_wins_over_methods_and_can_be_for_one(toml):
    sets = ["learner.inner_lr=0.5", "run.rounds=7", "methods.maml.run.rounds=9"]
    made = read_suite(toml(), sets, {"run": {"seed": 8}})
    assert [c.run.rounds for c in made.configs.values()] == [7, 7, 9]
    assert [c.learner["inner_lr"] for c in made.configs.values()] == [0.5, 0.5, 0.5]
    assert made.seed == 8


@pytest.mark.parametrize(
    ("text", "sets", "message"),
    [
        (BASE + "[methods.fast]\nlearner = { inner_rl = 1 }", [], "methods.fast.learner.inner_rl = 1: unknown key"),
        (BASE + "[methods.'../up']", [], "methods = '../up': a name has letters"),
        (BASE + "[methods.'']", [], "methods = '': a name has letters"),
        (BASE + METHODS, ["methods.mamel.run.rounds=1"], "--set = 'methods.mamel': no such method (there are: plain"),
        (BASE + METHODS, ["methods=1"], "--set = 'methods': expected methods.NAME.section.key=value"),
        (BASE, ["run.rounds=-1"], "run.rounds = -1: must be ≥ 0"),
    ],
)
def test_mistakes_say_where(toml, text, sets, message):
    with pytest.raises(ConfigError) as caught:
        read_suite(toml(text), sets)
    assert str(caught.value).startswith(message)


def test_a_suite_runs_every_method_in_its_own_folder(toml, tmp_path):
    outcomes = done(new_cells(read_suite(toml()), tmp_path / "out"))
    assert [o.code for o in outcomes] == [0, 0, 0]
    for outcome in outcomes:
        assert json.loads((outcome.cell.path / "summary.json").read_text()) == outcome.summary
    thetas = {o.summary["theta"] for o in outcomes}
    assert len(thetas) == 3
    (alone,) = done(new_cells(read_suite(toml(BASE), ["run.name=plain"]), tmp_path / "alone"))
    assert alone.summary == outcomes[0].summary  # a method is what it would be alone


def test_finished_runs_are_not_done_again_and_the_rest_are(toml, tmp_path):
    first = done(new_cells(read_suite(toml()), tmp_path / "out"))
    stamps = [(o.cell.path / "summary.json").stat().st_mtime_ns for o in first]
    (first[1].cell.path / "summary.json").unlink()  # as if killed while writing it
    for part in sorted(first[2].cell.path.rglob("*"), reverse=True):  # and before the last had begun
        part.rmdir() if part.is_dir() else part.unlink()
    again = done(saved_cells(tmp_path / "out"))
    assert [o.summary for o in again] == [o.summary for o in first]
    after = [(o.cell.path / "summary.json").stat().st_mtime_ns for o in again]
    assert after[0] == stamps[0]
    assert after[1] > stamps[1]
    assert after[2] > stamps[2]


class Heard(Display):
    """Keeps what is said."""

    def __init__(self):
        self.said = {}

    def note(self, cell, text):
        self.said.setdefault(cell.name, []).append(text)


def test_common_settings_that_another_learner_starts_without_are_told(toml, tmp_path):
    asked, ear = read_suite(toml()), Heard()
    said = "learner.inner_lr = 0.02 (here 0.01) of the common [learner] does not apply to 'maml'"
    assert asked.notes == {"plain": [], "faster": [], "maml": [said]}
    assert [o.code for o in run_cells(new_cells(asked, tmp_path / "out"), lambda *batch: ear)] == [0, 0, 0]
    assert ear.said == {"maml": [said]}


def test_a_suite_is_a_comparison_with_one_data_set_and_one_seed(toml, tmp_path):
    suite = read_suite(toml())
    base = BASE.replace("seed = 4\n", "").replace("\n[", "\n[base.")
    (tmp_path / "spec.toml").write_text("[compare]\nseeds = [4]\n" + base + "[datasets.only]\n" + METHODS)
    asked = read_spec(tmp_path / "spec.toml")
    cells = comparison_cells(asked)
    assert [cell.name for cell in cells] == ["only/plain/4", "only/faster/4", "only/maml/4"]
    named = [dataclasses.replace(cell.config.run, name=cell.method) for cell in cells]
    made = [dataclasses.replace(cell.config, run=run) for cell, run in zip(cells, named, strict=True)]
    assert made == list(suite.configs.values())
    assert {name: asked.notes("only", name) for name in suite.configs} == suite.notes


@pytest.mark.parametrize("key", ["on", "space"])
def test_what_only_a_comparison_has_is_refused(toml, key):
    with pytest.raises(ConfigError, match=rf"methods\.fast\.{key} = .*: belongs to a comparison"):
        read_suite(toml(BASE + f"[methods.fast]\n{key}.x = {{ low = 1, high = 2 }}\n"))


def test_settings_of_the_file_that_another_entry_of_the_command_line_leaves_out_are_told(toml, tmp_path):
    sets = ["learner.batch_size=3", "learner.name=fedprox"]
    asked = read_suite(toml(BASE), sets)
    (config,), (told,) = asked.configs.values(), asked.notes.values()
    assert config.learner == {"name": "fedprox", "batch_size": 3}
    (line,) = told
    assert line.startswith("learner.inner_lr = 0.02 (now 0.01)")
    assert line.endswith("of the file does not apply to learner.name = 'fedprox'")
    assert new_cells(asked, tmp_path / "one")[0].notes == told
    assert read_suite(toml(BASE), ["learner.inner_lr=0.3"]).notes == {config.run.name: []}
    assert read_suite(toml(), sets[::-1]).notes["faster"][-1].endswith("does not apply to learner.name = 'fedprox'")


def test_one_that_fails_is_reported_and_the_rest_go_on(toml, tmp_path, monkeypatch):
    text = BASE + METHODS + '[methods.crowd]\nsplit = { train_devices = ["moon"] }\n[methods.last]\n'
    todo = new_cells(read_suite(toml(text)), tmp_path / "out")
    monkeypatch.setattr(Run, "told", _breaking(todo[0].config))
    outcomes = {o.cell.name: o for o in done(todo)}
    assert {name: o.code for name, o in outcomes.items()} == {"plain": 1, "faster": 0, "maml": 0, "crowd": 2, "last": 0}
    assert outcomes["crowd"].error.startswith("split.train_devices = ['moon']: must be among")
    assert outcomes["plain"].error.startswith("unexpected ZeroDivisionError: two lines (traceback in ")
    assert "raise ZeroDivisionError" in (tmp_path / "out" / "plain" / "crash.log").read_text()


def _breaking(chosen):
    whole = Run.told

    def broken(self, *told):
        if self.config.learner == chosen.learner and self.config.run.name == chosen.run.name:
            raise ZeroDivisionError("two\nlines")
        return whole(self, *told)

    return broken


def test_a_folder_with_runs_is_not_run_into(toml, tmp_path):
    new_cells(read_suite(toml()), tmp_path / "out")
    with pytest.raises(RunError, match="holds a run already"):
        new_cells(read_suite(toml()), tmp_path / "out")
    done(new_cells(read_suite(toml(BASE)), tmp_path / "single"))
    for text in (BASE, BASE + METHODS):
        with pytest.raises(RunError, match="holds a run already"):
            new_cells(read_suite(toml(text)), tmp_path / "single")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("suite.json", "{}", "is not a suite's list of methods"),
        ("suite.json", '{"order": ["a"], "methods": {}}', "is not a suite's list of methods"),
        ("suite.json", "[", "cannot be read"),
        ("config.json", "{}", "is not a run's configuration"),
        ("other.txt", "", "holds no run: neither config.json nor suite.json"),
    ],
)
def test_damaged_folders_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(RunError, match=message):
        saved_cells(tmp_path)


def test_missing_folders_and_files_are_named(tmp_path):
    with pytest.raises(RunError, match="nowhere does not exist"):
        saved_cells(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="file is not a folder"):
        saved_cells(tmp_path / "file")


def test_a_suite_never_leaves_its_folder(tmp_path):
    table = {"name": "x", "order": ["../evil"], "methods": {"../evil": {}}}
    (tmp_path / "suite.json").write_text(json.dumps(table))
    with pytest.raises(RunError, match="is not a suite's list of methods"):
        saved_cells(tmp_path)


def test_a_damaged_summary_is_not_taken_for_a_finished_run(toml, tmp_path):
    (outcome,) = done(new_cells(read_suite(toml(BASE)), tmp_path / "out"))
    (outcome.cell.path / "summary.json").write_text("{}")
    (again,) = done(saved_cells(tmp_path / "out"))
    assert (again.code, again.summary) == (2, None)
    assert "summary.json is not a run's summary" in again.error


CONFIGS = Path(__file__).parents[2] / "configs"
#: Shipped comparisons, and how many methods, data sets and seeds they have.
COMPARISONS = {CONFIGS / "comparison.toml": (26, 5, 30), CONFIGS / "known_answers.toml": (5, 2, 5)}


@pytest.mark.long
@pytest.mark.parametrize("path", sorted(set(CONFIGS.rglob("*.toml")) - set(COMPARISONS)), ids=lambda p: p.stem)
def test_what_is_shipped_is_valid(path, monkeypatch):
    monkeypatch.syspath_prepend(CONFIGS.parent / "benchmarks")  # reproductions name what stands beside their script
    assert read_suite(path).configs


@pytest.mark.long
@pytest.mark.parametrize(("path", "size"), COMPARISONS.items(), ids=lambda x: getattr(x, "stem", ""))
def test_the_shipped_comparisons_are_valid(path, size):
    asked = read_spec(path)
    assert (len(asked.methods), len(asked.datasets), len(asked.seeds)) == size


def test_the_main_job_asks_every_method_the_same_and_chooses_nothing_on_the_test():
    made = read_suite(Path(__file__).parents[2] / "configs" / "main.toml")
    learners = ["local_only", "fedavg", "fedavg_ft", "reptile", "fomaml", "maml", "meta_sgd"]
    assert [c.learner["name"] for c in made.configs.values()] == learners
    asked = [dataclasses.replace(c.evaluation, adapt={}) for c in made.configs.values()]
    assert all(one == asked[0] for one in asked)
    assert set(asked[0].scenarios) == {"new_user", "new_device", "new_device_history"}
    base = next(iter(made.configs.values()))
    assert all(
        (c.source, c.split, c.model, c.run.seed) == (base.source, base.split, base.model, 0)
        for c in made.configs.values()
    )
