"""Trackers: what they were told is read back from where they wrote it; nothing here reaches the network."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from wandb import teardown
from wandb.proto.wandb_internal_pb2 import Record

import metapulse as mp
from metapulse.server.config import build_config
from metapulse.server.folder import RunFolder
from metapulse.sim.cells import Cell, CellResult
from metapulse.sim.runner import run_cells
from metapulse.sim.tracking import TRACKERS, chosen
from tests.processes import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
SCORE = "test/new_user/mse/shots_5/step_2/mean"
SETS = ("--set", "checkpoint.every=1", "--set", "evaluation.every=1")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights & Biases stays on this machine, and its hooks of how a process ends stay in the test."""
    monkeypatch.setattr(sys, "exit", sys.exit)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_ALLOW_FILE_STORE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)


class Dying:
    """A tracker that fails, or takes the whole process with it, after round 2."""

    def __init__(self, folder: RunFolder) -> None:
        self.kill = os.environ.get("DYING") == "kill"

    def log(self, round: int, values: Mapping[str, float]) -> None:
        if round == 2 and self.kill:
            os._exit(9)
        if round == 2:
            raise OSError("the tracker's disk is full")

    def close(self, summary: Mapping[str, Any]) -> None:
        pass


def tensorboard(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar of a run's event files: (round, value) each."""
    files = EventAccumulator(str(path / "tensorboard"))
    files.Reload()
    return {tag: [(e.step, e.value) for e in files.Scalars(tag)] for tag in files.Tags()["scalars"]}


def mlflow() -> tuple[MlflowClient, list[Run]]:
    """The store in this folder, and its runs."""
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    client = MlflowClient(Path("mlruns").absolute().as_uri())
    found = client.get_experiment_by_name("metapulse")
    assert found is not None
    return client, list(client.search_runs([found.experiment_id]))


def wandb(file: Path) -> Iterator[Record]:
    """Records of an offline run: blocks of 32 KiB, chunks with a header of checksum, length and type in each."""
    teardown()  # its service goes on writing for a moment after a run is finished; this waits for its end
    data, at, record = file.read_bytes(), 7, b""
    while at < len(data):
        left = 2**15 - at % 2**15
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(record)
            record = b""


def history(file: Path) -> list[dict[str, float]]:
    """What was logged, in order; wandb's own keys left out."""
    rows = [r.history.item for r in wandb(file) if r.HasField("history")]
    named = [{"/".join(i.nested_key) or i.key: float(i.value_json) for i in row} for row in rows]
    return [{k: v for k, v in row.items() if not k.startswith("_")} for row in named]


def scores(path: Path) -> dict[str, dict[int, float]]:
    """Mean of every score of a run's summary, by the name that trackers know, and by round."""
    found: dict[str, dict[int, float]] = {}
    for s in json.loads((path / "summary.json").read_text())["scores"]:
        name = f"{s['phase']}/{s['scenario']}/{s['metric']}/shots_{s['shots']}/step_{s['step']}/mean"
        found.setdefault(name, {})[s["round"]] = s["mean"]
    return found


def seconds(path: Path) -> list[tuple[int, float]]:
    """(round, seconds) of the event log."""
    return [(e["round"], e["seconds"]) for e in RunFolder(path).events() if e["kind"] == "round"]


def test_tensorboard_has_rounds_stages_scores_and_the_configuration(call, here):
    assert call("run", "tiny.toml", "--track", "tensorboard", *SETS, "--out", "a")[0] == 0
    scalars = tensorboard(here / "a")
    assert scalars["round/clients"] == [(1, 3.0), (2, 3.0), (3, 3.0)]
    for (round, told), (logged, measured) in zip(scalars["round/seconds"], seconds(here / "a"), strict=True):
        assert round == logged
        assert told == pytest.approx(measured, rel=1e-5)
    assert {"seconds/sampling", "seconds/inner", "seconds/aggregate", "meta-test/headline"} <= set(scalars)
    assert SCORE in scores(here / "a")
    for name, expected in scores(here / "a").items():
        assert dict(scalars[name]) == pytest.approx(expected, rel=1e-6)
    files = EventAccumulator(str(here / "a" / "tensorboard"))
    files.Reload()
    text = files.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert 'name = "reptile"' in text
    assert "theta" in files.Tensors("summary/text_summary")[0].tensor_proto.string_val[0].decode()


@pytest.mark.long
def test_mlflow_has_a_run_for_every_method_of_a_suite(call, here):
    assert call("run", "pair.toml", "--track", "mlflow", *SETS, "--out", "both")[0] == 0
    client, runs = mlflow()
    named = {run.info.run_name: run for run in runs}
    assert sorted(named) == ["fast", "slow"]
    assert named["slow"].data.params["learner.inner_lr"] == "0.001"
    assert named["fast"].data.params["learner.inner_lr"] == "0.1"
    for name, run in named.items():
        summary = RunFolder(here / "both" / name)
        assert run.info.status == "FINISHED"
        assert run.data.tags["metapulse.run"] == summary.identity
        assert run.data.tags["summary.config"] == summary.config()[1]
        for score, expected in scores(summary.path).items():
            logged = {m.step: m.value for m in client.get_metric_history(run.info.run_id, score)}
            assert logged == pytest.approx(expected, rel=1e-9)


@pytest.mark.long
def test_wandb_writes_all_of_it_offline(call, here):
    assert call("run", "tiny.toml", "--track", "wandb", *SETS, "--out", "a")[0] == 0
    (file,) = (here / "a" / "wandb").glob("offline-run-*/run-*.wandb")
    assert file.name == f"run-{RunFolder(here / 'a').identity}.wandb"
    rows = history(file)
    assert [row["federated_round"] for row in rows if "round/clients" in row] == [1, 2, 3]
    told = {int(row["federated_round"]): row[SCORE] for row in rows if SCORE in row}
    assert told == pytest.approx(scores(here / "a")[SCORE])
    records = list(wandb(file))
    (begun,) = (r.run for r in records if r.HasField("run"))
    assert (begun.project, begun.display_name) == ("metapulse", "tiny")
    assert {"learner", "strategy"} <= {i.key for i in begun.config.update}
    assert next(r.exit.exit_code for r in records if r.HasField("exit")) == 0


def together(here: Path, track: str) -> list[CellResult]:
    """Two runs that differ in their seed alone, which are done as one."""
    table = tomllib.loads((here / "tiny.toml").read_text())
    configs = [build_config({**table, "run": {**table["run"], "seed": seed}}) for seed in (1, 2)]
    cells = [Cell(str(i), config, here / str(i)) for i, config in enumerate(configs)]
    return list(run_cells(cells, track=[track]))


@pytest.mark.long
def test_runs_done_as_one_are_a_wandb_run_each(here):
    assert [result.error for result in together(here, "wandb")] == ["", ""]
    for path in (here / "0", here / "1"):
        (file,) = (path / "wandb").glob("offline-run-*/run-*.wandb")
        assert file.name == f"run-{RunFolder(path).identity}.wandb"
        told = {int(row["federated_round"]): row[SCORE] for row in history(file) if SCORE in row}
        assert told == pytest.approx(scores(path)[SCORE])


class Unclosed:
    """A tracker that cannot be closed in the first of some runs."""

    def __init__(self, folder: RunFolder) -> None:
        self.name = folder.path.name

    def log(self, round: int, values: Mapping[str, float]) -> None:
        pass

    def close(self, summary: Mapping[str, Any]) -> None:
        if self.name == "0":
            raise OSError("the tracker's disk is full")


def test_a_tracker_that_cannot_be_closed_is_the_failure_of_its_run_alone(here):
    first, second = together(here, f"{__name__}:Unclosed")
    assert (first.error, first.code) == ("the tracker's disk is full", 2)
    assert (second.error, second.code) == ("", 0)


def test_a_run_that_was_given_up_goes_on_in_the_same_tracker_runs(call, here):
    track = ("--track", "tensorboard", "--track", "mlflow", "--track", "wandb")
    code, _, err = call("run", "tiny.toml", *track, "--track", f"{__name__}:Dying", *SETS, "--out", "a")
    assert code == 2
    assert "the tracker's disk is full" in err
    assert mlflow()[1][0].info.status == "FAILED"
    assert call("resume", "a", *track)[0] == 0
    client, (run,) = mlflow()
    assert run.info.status == "FINISHED"
    rounds = [m.step for m in client.get_metric_history(run.info.run_id, "round/clients")]
    assert rounds == [1, 2, 3]
    assert [round for round, _ in tensorboard(here / "a")["round/clients"]] == [1, 2, 3]
    pieces = sorted((here / "a" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len({piece.name for piece in pieces}) == 1
    exits = [next(r.exit.exit_code for r in wandb(piece) if r.HasField("exit")) for piece in pieces]
    assert sorted(exits) == [0, 1]


@pytest.mark.e2e
def test_a_killed_run_shows_every_round_once(here):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DYING": "kill"}
    words = [sys.executable, "-m", "metapulse.sim.cli"]
    track = ["--track", "tensorboard", "--track", "mlflow"]
    first = [*words, "run", "tiny.toml", *track, "--track", "tests.sim.test_tracking:Dying", *SETS, "--out", "a"]
    assert subprocess.run(first, env=environment, capture_output=True, timeout=PATIENCE).returncode == 9
    subprocess.run([*words, "resume", "a", *track], env=environment, capture_output=True, timeout=PATIENCE, check=True)
    assert [round for round, _ in tensorboard(here / "a")["round/clients"]] == [1, 2, 3]
    client, (run,) = mlflow()
    assert [m.step for m in client.get_metric_history(run.info.run_id, "round/clients")] == [1, 2, 3]
    assert run.info.status == "FINISHED"


def test_tracking_changes_no_number(here):
    plain, told = (mp.run(here / "tiny.toml", here / name, quiet=True, track=track) for name, track in PAIR.items())
    assert plain.summaries == told.summaries


PAIR = {"plain": (), "told": ("tensorboard",)}


def test_a_tracker_that_is_not_there_is_one_line(refused, monkeypatch):
    said = refused("run", "tiny.toml", "--track", "tensorbored")
    assert said == "track.name = 'tensorbored': must be one of mlflow, tensorboard, wandb, or package.module:Name"
    monkeypatch.setattr("metapulse.sim.tracking.base.find_spec", lambda name: None)
    for name in TRACKERS:
        expected = f"--track = '{name}': is not installed; it is an extra: pip install 'metapulse[{name}]'"
        assert refused("run", "tiny.toml", "--track", name) == expected
    assert not Path("runs").exists()
    assert chosen([f"{__name__}:Dying"]) == [Dying]
