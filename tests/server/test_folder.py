"""The run folder: what goes in comes out, damage is named, and a checkpoint is whole or not there."""

import errno
import json
import os
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch

from metapulse.errors import RunError
from metapulse.server.folder import SCHEMA, RunFolder, Snapshot, digest, environment, version_of
from metapulse.server.metatest import last_scores
from metapulse.server.progress import SilentProgress
from metapulse.server.run import Run
from metapulse.sim.experiment import resume_experiment, run_experiment
from metapulse.strategies.replies import RESERVED
from tests.runs import make

THETA = {"b": torch.arange(6.0).view(2, 3), "a": torch.full((1,), -2.5)}


def row(round=1, value=0.5):
    names = {"phase": "test", "scenario": "new_user", "user": "p1", "device": "watch", "metric": "loss", "apart": ""}
    return {**names, "round": round, "client": 3, "shots": 5, "step": 0, "value": value}


@pytest.fixture
def folder(tmp_path):
    made = RunFolder(tmp_path / "deep" / "run")
    made.create({"run": {"name": "x"}}, "abc")
    return made


def snapshot(round=1, rows=()):
    return Snapshot(round, THETA, {"m": torch.ones(2)}, list(rows), 7)


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_new_folder_says_what_is_run_and_on_what(folder):
    assert folder.config() == ({"run": {"name": "x"}}, "abc")
    assert json.loads((folder.path / "environment.json").read_text())["versions"].keys() >= {"flwr", "torch", "ray"}
    assert folder.events() == []
    assert folder.checkpoints() == []
    assert folder.last() is None


def test_a_folder_in_use_is_not_overwritten(folder):
    with pytest.raises(RunError, match="holds a run already"):
        folder.create({}, "def")
    assert folder.config()[1] == "abc"


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match=r"cannot make .*run: (File exists|Not a directory)"):
        RunFolder(tmp_path / "run").create({}, "abc")


def test_a_checkpoint_comes_back_as_it_was(folder):
    folder.event(1, "round", seconds=0.1)
    folder.save(snapshot(1, [row(1)]), keep=2)
    found = folder.last()
    assert (found.round, found.rows, found.dropped) == (1, [row(1)], 7)
    assert same(found.theta, THETA)
    assert same(found.outer, {"m": torch.ones(2)})


def test_log_and_metrics_are_cut_back_to_the_checkpoint(folder):
    folder.event(1, "round")
    folder.save(snapshot(1, [row(1)]), keep=2)
    folder.event(2, "round")
    folder.write_metrics([row(1), row(2)])
    assert folder.last().rows == [row(1)]
    assert [(e["round"], e["kind"]) for e in folder.events()] == [(1, "round"), (1, "checkpoint")]


def test_metrics_that_lost_rows_are_not_resumed_from(folder):
    folder.save(snapshot(1, [row(1), row(1, 0.25)]), keep=2)
    folder.write_metrics([row(1)])
    with pytest.raises(RunError, match="holds 1 of its 2 rows"):
        folder.last()


def test_only_the_newest_checkpoints_are_kept(folder):
    for round in range(1, 6):
        folder.save(snapshot(round), keep=2)
    assert [p.name for p in folder.checkpoints()] == ["000004", "000005"]
    assert sorted(p.name for p in (folder.path / "checkpoints").iterdir()) == ["000004", "000005"]


def test_a_line_cut_short_by_a_crash_is_left_out(folder):
    folder.event(1, "round", loss=float("nan"))
    with (folder.path / "events.jsonl").open("a") as log:
        log.write('{"round": 2, "ki')
    (event,) = folder.events()
    assert (event["round"], event["loss"]) == (1, None)


def test_metrics_are_tidy_and_other_programs_read_them(folder):
    folder.write_metrics([row(1), row(2, float("nan"))])
    table = pq.read_table(folder.path / "metrics.parquet")
    assert table.schema == SCHEMA
    assert table["round"].to_pylist() == [1, 2]


@pytest.mark.parametrize("name", ["theta.safetensors", "outer.safetensors", "state.json", "../../metrics.parquet"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped"])
def test_a_damaged_checkpoint_is_one_line_that_names_it(folder, name, damage):
    folder.save(snapshot(3, [row(1)]), keep=2)
    path = folder.path / "checkpoints" / "000003" / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "flipped":
        path.write_bytes(bytes(b ^ 0xFF for b in content[:16]) + content[16:])
    else:
        path.write_bytes(content[: 0 if damage == "empty" else len(content) // 2])
    with pytest.raises(RunError) as caught:
        folder.last()
    assert path.name in str(caught.value) or "000003" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["[]", "{}", '{"config": {}}', "3"])
def test_a_file_that_is_no_configuration_is_named(folder, content):
    (folder.path / "config.json").write_text(content)
    with pytest.raises(RunError, match=r"config\.json is not a run's configuration"):
        folder.config()


def test_a_full_disk_keeps_the_last_checkpoint(folder, monkeypatch):
    folder.save(snapshot(1), keep=2)

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="No space left on device"):
        folder.save(snapshot(2), keep=1)
    monkeypatch.setattr("pathlib.Path.open", full)
    with pytest.raises(RunError, match=r"events\.jsonl: No space left"):
        folder.event(2, "round")
    monkeypatch.undo()
    assert folder.last().round == 1
    folder.save(snapshot(2), keep=1)
    assert sorted(p.name for p in (folder.path / "checkpoints").iterdir()) == ["000002"]


def test_theta_has_a_name_that_follows_its_bits():
    assert digest(THETA) == digest({k: v.clone() for k, v in THETA.items()})
    assert digest(THETA) != digest(THETA | {"a": torch.full((1,), -2.5000002)})
    views = THETA | {"b": THETA["b"].T.contiguous().T}  # the same numbers in another memory order
    assert digest(views) == digest(THETA)


def test_environment_names_versions_without_failing_where_git_is_not(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment()["git"] is None


def test_versions_tell_apart_what_numbers_depend_on(monkeypatch, tmp_path):
    """Two states of one commit, compiled code or none, CPU or GPU: their runs may differ."""

    def git(changes):
        program = tmp_path / "git"
        program.write_text(f'#!/bin/sh\ncase "$*" in *describe*) echo 12ab-dirty;; *) echo "{changes}";; esac\n')
        program.chmod(0o755)
        return environment()

    monkeypatch.setenv("PATH", str(tmp_path))
    one, other = git("+ a"), git("+ b")
    assert one["git"].startswith("12ab-dirty.")
    assert version_of(one) != version_of(other)
    assert len({version_of(one | more) for more in ({}, {"compiled": not one["compiled"]}, {"device": "cuda"})}) == 3
    assert version_of(one) == version_of(one | {"device": "cpu"})


def test_asking_for_the_commit_writes_nothing_into_the_repository(monkeypatch, tmp_path):
    """A run that ended meanwhile, on a full disk, left git's ``index.lock`` behind, and no commit could be made."""
    asked = tmp_path / "asked"
    program = tmp_path / "git"
    program.write_text(f'#!/bin/sh\necho "$@" > "{asked}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    environment()
    assert asked.read_text().startswith("--no-optional-locks ")


def test_a_run_leaves_what_the_documents_promise(tmp_path):
    config = make("reptile", "fedreptile", "sine", 4, evaluation={"every": 2}, checkpoint={"every": 2, "keep": 2})
    summary = run_experiment(config, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    files = {p.name for p in folder.path.iterdir()}
    assert files == {
        "config.json",
        "environment.json",
        "events.jsonl",
        "metrics.parquet",
        "summary.json",
        "checkpoints",
    }
    assert [p.name for p in folder.checkpoints()] == ["000002", "000004"]
    assert {r["round"] for r in folder.metrics()} == {2, 4}
    assert [e["round"] for e in folder.events() if e["kind"] == "round"] == [1, 2, 3, 4]
    assert folder.config() == (json.loads((folder.path / "config.json").read_text())["config"], config.digest())
    assert json.loads((folder.path / "summary.json").read_text()) == summary
    assert summary["theta"] == digest(folder.last().theta)
    assert {s["round"] for s in last_scores(summary)} == {4}
    for score in summary["scores"]:
        keys = ("round", "scenario", "shots", "step", "metric")
        values = [r["value"] for r in folder.metrics() if all(r[k] == score[k] for k in keys)]
        assert (score["clients"], score["mean"]) == (len(values), pytest.approx(sum(values) / len(values)))


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    summary = run_experiment(make("maml", "fedmaml", "sine", 2), tmp_path / "run")
    assert resume_experiment(tmp_path / "run") == summary


def test_another_configuration_is_not_resumed(tmp_path):
    run_experiment(make("maml", "fedmaml", "sine", 2), tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    saved = json.loads(path.read_text())
    saved["config"]["learner"]["inner_lr"] = 0.25
    path.write_text(json.dumps(saved))
    with pytest.raises(RunError, match=r"config\.json is damaged, or was changed by hand"):
        resume_experiment(tmp_path / "run")


def test_metrics_of_a_strategy_may_have_any_names(tmp_path):
    """Those that the log has for numbers of its own are told apart from them."""
    folder = RunFolder(tmp_path)
    folder.log.cut(b"")
    config = SimpleNamespace(run=SimpleNamespace(rounds=3))
    run = SimpleNamespace(folder=folder, budget=None, progress=SilentProgress(), config=config, idle=0)
    Run.told(run, 1, 4, {**dict.fromkeys(RESERVED, 2.0), "loss": 1.0}, (True, False), 0.1, {})
    (event,) = folder.log.events()
    assert [event[key] for key in ("round", "kind", "asked", "moved", "step")] == [1, "round", 4, False, True]
    assert [event[key] for key in ("clients", "metrics/moved", "metrics/kind", "loss")] == [2.0, 2.0, 2.0, 1.0]
