"""Tuning in the lab: rungs of cells that ask validation people alone, and the runs that come of what they chose."""

import shutil

import pytest

from metapulse.client.executor import ClientExecutor
from metapulse.errors import ConfigError
from metapulse.server.client_sampler import ClientSampler
from metapulse.server.files import read_json, read_sealed, write_sealed
from metapulse.server.folder import RunFolder
from metapulse.server.run import Run
from metapulse.sim.comparison_runner import ComparisonRunner
from metapulse.sim.engines.cohort import SourceDirectory
from metapulse.sim.engines.workers import LocalPool
from metapulse.sim.lab.tuning import score
from metapulse.sim.lockstep import SharedPool
from tests.lab import SPEC, Ear, spec, tables_only

pytestmark = pytest.mark.long

TUNED = (
    SPEC.replace("episodes = 1, validation", 'episodes = 1, scenarios = ["known_user", "new_user"], validation')
    + 'space = { "learner.inner_lr" = { low = 0.001, high = 0.5, log = true } }\n'
    + "[tuning]\ntrials = 4\nseeds = 2\neta = 2\nfraction = 0.5\n"
)


def conducted(folder, only=(), text=TUNED):
    """What a comparison told, batch by batch, and what failed."""
    ears = {}

    def display(batch, todo, done, at_once):
        ears[batch] = Ear()
        return ears[batch]

    _, failures = ComparisonRunner(spec(folder, text), folder / "out", 0, display).run(only)
    return ears, failures


@pytest.fixture(scope="module", autouse=True)
def no_report():
    """These tests are about runs and their table."""
    with tables_only():
        yield


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A comparison with tuning: folder, what it told, and (round, seed, scenario, who) of all questions."""
    folder, asked = tmp_path_factory.mktemp("tuned"), []

    def spied(evaluate):
        def spy(self, work, meta, round, chunks, trial, states):
            asked.append((round, work.text, trial.name, {client for chunk in chunks for client in chunk}))
            return evaluate(self, work, meta, round, chunks, trial, states)

        return spy

    with pytest.MonkeyPatch.context() as patch:
        for pool in (LocalPool, SharedPool):  # of a run alone, and of several that are done as one
            patch.setattr(pool, "evaluate", spied(pool.evaluate))
        ears, failures = conducted(folder)
    assert failures == []
    return folder, ears, asked


def trials(folder):
    """The runs of trials: their seeds are none of the comparison's."""
    folders = [RunFolder(path.parent) for path in folder.glob("out/cells/*/summary.json")]
    return [one for one in folders if one.config()[0]["run"]["seed"] > 1]


def test_all_studies_share_the_batch_of_a_rung(tuned):
    _, ears, _ = tuned
    assert list(ears) == ["tuning, rung 1", "tuning, rung 2", ""]
    assert ears["tuning, rung 1"].begun == [
        f"{data}/maml/trial {n}/{seed}" for data in ("few", "many") for n in range(4) for seed in (2, 3)
    ]
    assert len(ears["tuning, rung 2"].begun) == 8  # two of four on each data set, two seeds each
    assert len(ears[""].begun) == 8


def test_trials_of_another_version_are_pointed_out(tuned, tmp_path):
    """They decided on settings, as much as the runs themselves do."""
    shutil.copytree(tuned[0], tmp_path / "copy")
    folder = tmp_path / "copy"
    told = ComparisonRunner(spec(folder, TUNED), folder / "out", 0, lambda *batch: Ear())
    assert not any("different versions" in word for word in told.run()[0].words)
    made = trials(folder)[0].path / "environment.json"
    write_sealed(made, read_sealed(made) | {"git": "0123456789ab"})
    assert any("different versions" in word and "0123456789ab" in word for word in told.run()[0].words)


def test_trials_ask_validation_people_and_nobody_else(tuned):
    """Not even known people, whose held-out samples are those of the test; once each, after their last round."""
    folder, _, asked = tuned
    runs = trials(folder)
    assert len(runs) == 24
    assert {run.config()[0]["run"]["seed"] for run in runs} == {2, 3}
    for run in runs:
        rounds = run.config()[0]["run"]["rounds"]
        assert {(r["phase"], r["scenario"], r["round"]) for r in run.metrics()} == {("validation", "new_user", rounds)}
    test = spec(folder, TUNED)
    for dataset in test.datasets:
        config = test.config(dataset, "maml", 0)
        sampler = ClientSampler(SourceDirectory(ClientExecutor(config.client_config()).source), config)
        held_back = set(sampler.targets("new_user", "test"))
        source = ClientExecutor(config.client_config()).source
        mine = [
            (scenario, who)
            for _, work, scenario, who in asked
            if f'"clients": {len(source)}' in work and ('"seed": 2' in work or '"seed": 3' in work)
        ]
        assert mine
        assert all(scenario == "new_user" and not who & held_back for scenario, who in mine)


def test_the_best_of_the_last_rung_is_what_is_compared(tuned):
    folder, _, _ = tuned
    records = read_sealed(folder / "out" / "tuning.json")["studies"]
    assert [(r["dataset"], r["method"], r["rounds"], len(r["trials"])) for r in records] == [
        ("few", "maml", [2, 4], 4),
        ("many", "maml", [2, 4], 4),
    ]
    cells = read_json(folder / "out" / "spec.json")["cells"]
    for record in records:
        last = {trial["number"]: trial["scores"][1] for trial in record["trials"] if len(trial["scores"]) == 2}
        best = record["trials"][max(last, key=last.__getitem__)]
        assert record["chosen"] == best["settings"]
        rates = {
            c["config"]["learner"]["inner_lr"]
            for c in cells
            if (c["dataset"], c["method"]) == (record["dataset"], "maml")
        }
        own = {"few": 0.02, "many": 0.05}[record["dataset"]]
        assert rates == {best["settings"].get("learner.inner_lr", own)}
        runs = [run for run in trials(folder) if run.config()[0]["run"]["rounds"] == 4]
        alone = {score([run.metrics()]).value for run in runs}
        pairs = {score([a.metrics(), b.metrics()]).value for a in runs for b in runs if a is not b}
        assert set(last.values()) <= pairs  # by the people of both seeds together
        assert not set(last.values()) & alone


def test_a_second_time_nothing_is_done_and_the_files_are_the_same(tuned, monkeypatch):
    folder, _, _ = tuned
    names = ("spec.json", "tuning.json", "results.parquet", "comparison.json")
    before = [(folder / "out" / name).read_bytes() for name in names]
    monkeypatch.setattr("metapulse.sim.runner.run_batch", None)
    assert conducted(folder)[0] == {}
    assert [(folder / "out" / name).read_bytes() for name in names] == before


def test_a_part_tunes_what_it_needs(tmp_path):
    ears, _ = conducted(tmp_path, only=["few/*/0"])
    assert {name.split("/")[0] for ear in ears.values() for name in ear.begun} == {"few"}
    assert ears[""].begun == ["few/fedavg_ft/0", "few/maml/0"]
    assert [r["dataset"] for r in read_sealed(tmp_path / "out" / "tuning.json")["studies"]] == ["few"]
    assert {c["dataset"] for c in read_json(tmp_path / "out" / "spec.json")["cells"] if c["method"] == "maml"} == {
        "few"
    }


def test_a_trial_that_fails_is_the_worst_and_no_failure_of_the_comparison(tmp_path, monkeypatch):
    def broken(self, *told):
        if self.config.run.seed > 1 and self.config.learner["inner_lr"] != 0.02:
            raise ZeroDivisionError
        return whole(self, *told)

    whole = Run.told
    monkeypatch.setattr(Run, "told", broken)
    ears, failures = conducted(tmp_path, only=["few/maml/0"])
    assert failures == []
    assert sum(bool(error) for _, error in ears["tuning, rung 1"].ended) == 6  # three, with two seeds
    (record,) = read_sealed(tmp_path / "out" / "tuning.json")["studies"]
    assert record["chosen"] == {}
    assert record["trials"][1]["scores"] in ([None], [None, None])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TUNED.replace("trials = 4", "trails = 4"), "tuning.trails = 4: unknown key; did you mean 'trials'?"),
        (TUNED.replace("eta = 2", "eta = 1"), "tuning.eta = 1: must be ≥ 2"),
        (TUNED.replace('"learner.inner_lr" =', '"learner.inner_rl" ='), "methods.maml.space.learner.inner_rl = "),
        (TUNED.replace("low = 0.001", "low = -1.0"), "methods.maml.space.learner.inner_lr"),
        (TUNED.replace("space = {", "space = 3 #"), "methods.maml.space = 3: expected a table"),
    ],
)
def test_mistakes_say_where(tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        spec(tmp_path, text)
    assert str(caught.value).startswith(message)


def test_without_validation_people_there_is_nothing_to_tune_on(tmp_path):
    text = TUNED.replace("validation = 0.2, ", "validation = 0.0, ").replace(", validation_every = 2", "")
    _, failures = conducted(tmp_path, text=text, only=["few/maml/0"])
    assert [failure.cell.name for failure in failures] == [
        "few/maml/trial 0/2",
        "few/maml/trial 0/3",
    ] * 2  # a rung each
    assert "none fits: phase validation" in failures[0].error
