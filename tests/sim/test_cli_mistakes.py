"""Whatever a user can do wrong is one line on stderr, with an exit code, and nothing is half-written."""

import csv
import errno
import json
import os
import re
import zipfile
from pathlib import Path

import pytest

from metapulse.server.folder import RunFolder
from metapulse.server.run import Run
from tests.commands import TINY

WRONG = [
    ("run.roundz=3", "run.roundz = 3: unknown key; did you mean 'rounds'?"),
    ("rum.rounds=3", "rum = {'rounds': 3}: unknown key; did you mean 'run'?"),
    ("run.rounds=many", "run.rounds = 'many': expected an integer"),
    ("run.rounds=-3", "run.rounds = -3: must be ≥ 0"),
    ("run.rounds", "--set = 'run.rounds': expected section.key=value"),
    ("learner.name=mamel", "learner.name = 'mamel': must be one of alpaca"),
    ("learner.inner_lr=nan", "learner.inner_lr = nan: must be a finite number"),
    ("strategy.name=fedavgg", "strategy.name = 'fedavgg': must be one of fedavg"),
    ("source.name=wearable", "source.name = 'wearable': must be one of "),
    ("model.name=cnn", "model.name = 'cnn': must be one of cnn1d"),
    ("model.name=cnn1d", "model.name = 'cnn1d': needs samples of channels × time"),
    ("inner_lr=0.5", "inner_lr = 0.5: unknown key; did you mean learner.inner_lr? (allowed: attack, "),
    ("strategy.inner_lr=0.5", "strategy.inner_lr = 0.5: unknown key; did you mean learner.inner_lr? (allowed: "),
    ("rounds=3", "rounds = 3: unknown key; did you mean run.rounds?"),
    ("model.hiden=[3]", "model.hiden = [3]: unknown key; did you mean 'hidden'?"),
    ("evaluation.scenarios=[]", "evaluation.scenarios = []: must name one at least"),
    ("evaluation.scenarios=['new_user', 'new_user']", "evaluation.scenarios = ['new_user', 'new_user']: each"),
    ("evaluation.shots=[]", "evaluation.shots = []: must name one at least"),
    ("evaluation.shots=[1, 1]", "evaluation.shots = [1, 1]: each may be named once"),
    ("evaluation.steps=[]", "evaluation.steps = []: must name one at least"),
    ("evaluation.steps=[0, 3, 3]", "evaluation.steps = [0, 3, 3]: each may be named once"),
    ("learner.inner_steps=4294967296", "learner.inner_steps = 4294967296: must be ≥ 0 and ≤ 100000"),
    ("run.rounds=36893488147419103232", "run.rounds = 36893488147419103232: must be ≥ 0 and ≤ 9007199254740992"),
    ("model.hidden=[16384, 16384]", "model = [16384, 16384]: a layer of this shape has more than"),
    ("model.hidden=[2147483648]", "model.hidden = 2147483648: must be ≥ 1 and ≤ 16384"),
    ("learner.inner_lr=1" + "0" * 400, "learner.inner_lr = 1000"),
    ("learner.inner_lr=0x1" + "0" * 5000, "learner.inner_lr = a number of too many digits: is beyond the range"),
    ("engine.workers=100000", "engine.workers = 100000: must be ≤ "),
    ("engine.address='127.0.0.1:1'", "engine.address = '127.0.0.1:1': has no effect without engine.workers"),
    ("engine.cpus_per_client=1.0", "engine.cpus_per_client = 1.0: has no effect with engine.name = 'cohort'"),
    ("split.test=1.0", "split.test = 1.0: must be ≥ 0 and < 1"),
    ("evaluation.scenarios=[\"new_device\"]", "evaluation.scenarios = 'new_device': none fits: phase test"),
    ("split.train_devices=[\"watch\"]", "split.train_devices = ['watch']: must be among"),
    ("source.name=spsw_har", "spsw_har has not been imported"),
    ("strategy.name=no.such:Thing", "strategy = 'no.such:Thing': cannot be imported"),
    ("engine.workers=-1", "engine.workers = -1: must be ≥ 0"),
]  # fmt: skip


@pytest.mark.parametrize("key", ["device='cuda'", "chunk=3", "masks=true"])
def test_what_flowers_engine_does_not_read_is_refused(refused, here, key):
    said = refused("run", "tiny.toml", "--engine", "flower", "--set", f"engine.{key}")
    assert "has no effect with engine.name = 'flower'" in said


def test_a_cohort_larger_than_the_study_is_all_of_it_and_said(call, here):
    code, _, said = call("run", "tiny.toml", "--set", "strategy.cohort=8", "--out", "out")
    told = "strategy.cohort = 8, and 7 clients are in meta-training: each round asks all of them"
    assert (code, told in said) == (0, True)
    events = RunFolder(here / "out").events()
    assert [e["remark"] for e in events if e["kind"] == "data" and "cohort" in e["remark"]] == [told]
    assert {e["asked"] for e in events if e["kind"] == "round"} == {7}


@pytest.mark.parametrize(("setting", "message"), WRONG, ids=[s for s, _ in WRONG])
def test_a_wrong_setting_is_one_line_and_leaves_nothing(refused, here, setting, message):
    assert refused("run", "tiny.toml", "--set", setting).startswith(message)
    assert not list(here.glob("runs/*/summary.json"))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["run", "none.toml"], "configuration = 'none.toml': cannot be read: "),
        (["run", "."], "configuration = '.': cannot be read: "),
        (["run", "broken.toml"], "configuration = '[run\\nrounds': is not valid TOML: "),
        (["run", "binary.toml"], "configuration = 'binary.toml': cannot be read: "),
        (["cite", "none.toml"], "configuration = 'none.toml': cannot be read: "),
        (["run"], "Missing argument 'CONFIG.toml'. (see: metapulse run --help)"),
        (["run", "tiny.toml", "--workers", "two"], "Invalid value for '--workers': 'two' is not a valid integer"),
        (["run", "tiny.toml", "--engine", "x"], "Invalid value for '--engine': 'x' is not one of 'cohort', 'flower'"),
        (["run", "tiny.toml", "--sed", "3"], "No such option '--sed'"),
        (["run", "tiny.toml", "--seed", "-1"], "run.seed = -1: must be ≥ 0"),
        (["ruin", "tiny.toml"], "No such command 'ruin'"),
        (["run", "tiny.toml", "--out", "tiny.toml"], "cannot make tiny.toml: "),
        (["run", "tiny.toml", "--out", "tiny.toml/below"], "cannot make tiny.toml/below: Not a directory"),
        (["run", "pair.toml", "--out", "tiny.toml/below"], "cannot make tiny.toml/below: Not a directory"),
        (["resume", "none"], "none does not exist"),
        (["resume", "empty"], "empty holds no run: neither config.json nor suite.json"),
        (["resume", "tiny.toml"], "tiny.toml is not a folder"),
        (["report", "none"], "none does not exist"),
        (["report", "empty"], "empty holds no run"),
        (["report"], "Missing argument"),
        (["data", "import", "spsw", "zip.zip"], "data set 'spsw': must be one of "),
        (["data", "import", "spsw_har", "none.zip"], "none.zip: no such file or folder"),
        (["data", "import", "spsw_har", "zip.zip"], "zip.zip"),
        (["data", "import", "uci_har", "cut.zip"], "cut.zip"),
        (["data", "import", "aw_fitbit", "zip.zip"], "zip.zip"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(refused, here, argv, message):
    (here / "broken.toml").write_text("[run\nrounds")
    (here / "binary.toml").write_bytes(b"\xff\xfe\x00\x01")
    (here / "zip.zip").write_bytes(b"PK\x03\x04" + b"no zip after all" * 9)
    with zipfile.ZipFile(here / "cut.zip", "w") as archive:
        archive.writestr("UCI HAR Dataset/features.txt", "1 tBodyAcc-mean()-X\n" * 1000)
    (here / "cut.zip").write_bytes((here / "cut.zip").read_bytes()[:200])
    (here / "empty").mkdir()
    assert message in refused(*argv)
    assert not (here / "cache").exists() or not list((here / "cache").iterdir())


ALL_TRAIN = ["--set", "split.test=0.0", "--set", "split.validation=0.0"]
ALL_TRAIN += ["--set", 'evaluation.scenarios=["known_user"]']


def own(here, rows, **settings):
    """A configuration on a CSV of one's own with (user, group, x, label) rows."""
    with (here / "own.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("user", "group", "x", "y"), *rows])
    text = TINY.replace('name = "sine"\nclients = 10', 'name = "own"\npath = "own.csv"')
    text = text.replace('name = "sine"\nhidden = [4]', 'name = "mlp"\nhidden = [4]')
    for key, value in settings.items():
        text = text.replace(f"\n{key} = ", f"\n{key} = {value} # ")
    (here / "own.toml").write_text(text)
    return "own.toml"


def people(label=lambda user, i: "ab"[i % 2], x=lambda user, i: user + i):
    return [(f"p{u}", i // 4, x(u, i), label(u, i)) for u in range(10) for i in range(8)]


def test_data_of_ones_own_runs(call, here):
    assert call("run", own(here, people()), "--out", "out")[0] == 0


def test_a_value_that_is_no_number_is_refused_with_its_place(refused, here):
    bad = people(x=lambda u, i: "nan" if (u, i) == (3, 2) else u + i)
    assert re.search(r"own\.csv.*NaN|missing|infinite|not a number", refused("run", own(here, bad)))


def test_a_single_class_is_refused(refused, here):
    assert "class" in refused("run", own(here, people(label=lambda u, i: "a")))


def test_where_everybody_has_one_class_nobody_could_be_judged(call, here):
    """Such a person has one right answer: it trains like all others, and its score says nothing."""
    code, _, said = call("run", own(here, people(label=lambda u, i: "ab"[u % 2])), "--out", "out")
    assert code == 1
    assert "no client could be judged" in said
    assert "one class offered" in said
    accuracy = [r["value"] for r in RunFolder(here / "out").metrics() if r["metric"] == "balanced_accuracy"]
    assert set(accuracy) == {1.0}


def test_a_person_with_one_sample_is_dropped_named_and_counted(call, here):
    config = own(here, [*people(), ("alone", 0, 1.0, "a")], cohort=0)
    code, _, _ = call("run", config, *ALL_TRAIN, "--out", "out")
    assert code == 0
    dropped = [e for e in RunFolder(here / "out").events() if e["kind"] == "dropped"]
    assert {e["client"] for e in dropped} == {0}  # "alone" sorts first
    assert all("no episode: " in e["reason"] or "samples" in e["reason"] for e in dropped)
    assert json.loads((here / "out" / "summary.json").read_text())["dropped"] == len(dropped)


def test_clients_without_samples_or_with_nan_are_dropped_named_and_counted(call, here):
    sets = ["--set", "source.name=tests.runs:Faulty", "--set", "source.clients=10", "--set", "strategy.cohort=0"]
    sets += ALL_TRAIN
    code, _, _ = call("run", "tiny.toml", *sets, "--out", "out")
    assert code == 0
    reasons = [e["reason"] for e in RunFolder(here / "out").events() if e["kind"] == "dropped"]
    assert len(reasons) == 2 * 3 + 2  # two clients in three rounds and in the meta-test
    assert sum("client 1 has no samples" in r for r in reasons) == 4
    assert sum("NaN" in r for r in reasons) == 4
    assert "has no samples" in (here / "out" / "report.html").read_text()


def full(*_args, **_kwargs):
    """A disk with no room left."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "disk")


@pytest.mark.parametrize("operation", ["os.fsync", "pathlib.Path.mkdir", "pathlib.Path.replace"])
def test_a_full_disk_is_one_line(refused, here, monkeypatch, operation):
    monkeypatch.setattr(operation, full)
    assert "No space left on device" in refused("run", "tiny.toml", "--out", "out")
    assert not (here / "out" / "summary.json").exists()
    assert not list(here.glob("out/.*.tmp"))


def unforeseen(*_args, **_kwargs):
    raise ZeroDivisionError("this was\nunexpected")


def test_what_nobody_foresaw_is_one_line_with_the_log_in_the_folder(refused, here, monkeypatch):
    monkeypatch.setattr("metapulse.server.run.Run.round", unforeseen)
    said = refused("run", "tiny.toml", "--out", "out", code=1)
    assert said == "unexpected ZeroDivisionError: this was unexpected (traceback in out/crash.log)"
    assert "in unforeseen" in (here / "out" / "crash.log").read_text()


def test_a_log_that_cannot_be_written_goes_elsewhere(refused, here, monkeypatch):
    monkeypatch.setattr("metapulse.server.run.Run.round", unforeseen)
    monkeypatch.setattr("pathlib.Path.write_text", full)
    monkeypatch.setattr("tempfile.tempdir", str(here))
    said = refused("run", "tiny.toml", "--out", "out", code=1)
    log = Path(re.search(r"traceback in (.*)\)", said)[1])
    assert log.parent == here
    assert "in unforeseen" in log.read_text()


def test_an_interrupt_says_how_to_go_on_and_going_on_ends_as_if_nothing_had_happened(call, here, monkeypatch):
    assert call("run", "pair.toml", "--out", "whole")[0] == 0
    real = Run.round

    def pressed(self, round, arrays):
        if (self.config.run.name, round) == ("fast", 2):
            raise KeyboardInterrupt
        return real(self, round, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "round", pressed)
        code, out, err = call("run", "pair.toml", "--out", "cut")
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "metapulse: interrupted; continue with: metapulse resume cut"
    assert call("resume", "cut")[0] == 0
    for name in ("slow", "fast"):
        for file in ("summary.json", "metrics.parquet"):
            assert (here / "cut" / name / file).read_bytes() == (here / "whole" / name / file).read_bytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"config.json": "{"}, "config.json cannot be read"),
        ({"config.json": "{}"}, "is not a run's configuration"),
        ({"checkpoints/000003/theta.safetensors": "x"}, "000003 is damaged"),
        ({"checkpoints/000003/state.json": ""}, "state.json cannot be read"),
        ({"metrics.parquet": "x"}, "metrics.parquet cannot be read"),
    ],
)
def test_a_damaged_run_is_not_resumed(call, refused, here, damage, message):
    assert call("run", "tiny.toml", "--out", "out")[0] == 0
    (here / "out" / "summary.json").unlink()
    for name, content in damage.items():
        (here / "out" / name).write_text(content)
    assert message in refused("resume", "out")


def test_another_configuration_is_not_resumed(call, refused, here):
    assert call("run", "tiny.toml", "--out", "out")[0] == 0
    (here / "out" / "summary.json").unlink()
    path = here / "out" / "config.json"
    path.write_text(path.read_text().replace('"inner_steps": 5', '"inner_steps": 6'))
    said = "out/config.json is damaged, or was changed by hand: its checksum does not fit"
    assert refused("resume", "out") == said


def test_markup_in_a_name_is_only_text(call, here):
    assert call("run", "tiny.toml", "--set", "run.name=[red]a[/nothing]", "--out", "out")[0] == 0
