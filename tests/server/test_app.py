"""The ServerApp on nodes that are called directly: settings, a whole run, and going on where one stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict
from flwr.serverapp import Grid

from metapulse.errors import ConfigError, EngineError, RunError
from metapulse.server.app import AppSettings, app, app_folder, read_config
from metapulse.server.config import build_config, resolved
from metapulse.server.config_text import to_toml
from metapulse.server.folder import RunFolder
from metapulse.sim import experiment
from tests.direct import Direct
from tests.runs import distance, make, read

NODES = {1000 - 7 * i: {"partition-id": i, "num-partitions": 6} for i in range(6)}


def start(grid: Grid, **settings: Any) -> None:
    """What Flower does with a ServerApp."""
    app(grid, Context(4711, 1, {}, RecordDict(), {key.replace("_", "-"): value for key, value in settings.items()}))


def text(rounds: int = 4) -> str:
    return to_toml(resolved(make("maml", "fedmaml", "sine", rounds)))


def test_a_run_is_that_of_the_cohort_engine(tmp_path: Path) -> None:
    start(Direct(NODES), config=text(), out=str(tmp_path / "a"), min_nodes=6)
    config = make("maml", "fedmaml", "sine", 4)
    ours = read(tmp_path / "b", experiment.run_experiment(config, tmp_path / "b"))
    found = read(tmp_path / "a", json.loads((tmp_path / "a" / "summary.json").read_text()))
    assert all(distance(a, b) <= 1e-6 for a, b in zip(found.thetas, ours.thetas, strict=True))
    assert found.summary["config"] == ours.summary["config"]


def test_more_clients_than_the_cohort_are_asked_of_real_devices_too(tmp_path: Path) -> None:
    more = to_toml(resolved(make("maml", "fedmaml", "sine", 1, strategy={"cohort": 2}, faults={"over_selection": 0.5})))
    start(Direct(NODES), config=more, out=str(tmp_path / "run"), min_nodes=6)
    (done,) = [event for event in RunFolder(tmp_path / "run").events() if event["kind"] == "round"]
    assert done["asked"] == done["clients"] == 3


def test_settings_of_a_simulating_engine_are_told_to_have_no_effect(
    tmp_path: Path, said: pytest.LogCaptureFixture
) -> None:
    table = resolved(make("maml", "fedmaml", "sine", 0))
    start(Direct(NODES), config=to_toml(table), out=str(tmp_path / "usual"), min_nodes=6)
    assert "no effect" not in said.text
    table["engine"] |= {"workers": 2, "chunk": 3, "timeout_s": 60.0}
    start(Direct(NODES), config=to_toml(table), out=str(tmp_path / "set"), min_nodes=6)
    (line,) = [record.getMessage() for record in said.records if "no effect" in record.getMessage()]
    assert "engine.chunk = 3, engine.workers = 2 have no effect" in line


def test_the_same_out_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """The SuperLink dies in the third round; the nodes have other ids when it is back."""
    start(Direct(NODES), config=text(), out=str(tmp_path / "whole"), min_nodes=6)
    with pytest.raises(ConnectionError):
        start(Direct(NODES, lives=6 + 2 * 3 + 1), config=text(), out=str(tmp_path / "broken"), min_nodes=6)
    assert RunFolder(tmp_path / "broken").checkpoints()[-1].name == "000002"
    others = {node + 5000: config for node, config in reversed(NODES.items())}
    start(Direct(others), config=text(), out=str(tmp_path / "broken"), min_nodes=6)
    whole, broken = ((tmp_path / name / "summary.json").read_bytes() for name in ("whole", "broken"))
    assert whole == broken


def test_the_same_out_with_another_configuration_is_refused(tmp_path: Path) -> None:
    start(Direct(NODES), config=text(2), out=str(tmp_path / "run"), min_nodes=6)
    with pytest.raises(RunError, match="was made with another configuration"):
        start(Direct(NODES), config=text(3), out=str(tmp_path / "run"), min_nodes=6)


def test_a_coordinator_without_data(tmp_path: Path) -> None:
    """The instruction names a source that no node has; each node has its own, and says what it predicts."""
    source = json.dumps({"name": "sine", "clients": 9})
    nodes = {node: {**config, "source": source, "client": config["partition-id"]} for node, config in NODES.items()}
    table = resolved(make("maml", "fedmaml", "sine", 1))
    absent = to_toml({**table, "source": {"name": "own", "path": "nowhere.csv"}})
    start(Direct(nodes), config=absent, out=str(tmp_path / "a"), min_nodes=6)
    start(Direct(NODES), config=to_toml(table), out=str(tmp_path / "b"), min_nodes=6)
    digests = [json.loads((tmp_path / name / "summary.json").read_text())["theta"] for name in "ab"]
    assert digests[0] == digests[1]


def test_too_few_nodes_leave_no_folder(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"6 usable of 6 nodes after 0\.2 s, at least 7 are needed"):
        start(Direct(NODES), config=text(), out=str(tmp_path / "run"), min_nodes=7, wait_s=0.2)
    assert not (tmp_path / "run").exists()


def test_without_out_the_folder_has_the_runs_name_and_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    start(Direct(NODES), config=text(1), min_nodes=6)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["run-4711"]


def test_files_inside_the_app_and_text() -> None:
    quick = read_config(AppSettings("configs/quick.toml"))
    assert quick.run.name == "quick"
    assert read_config(AppSettings((app_folder() / "configs" / "quick.toml").read_text())) == quick
    assert read_config(AppSettings("run.rounds = 3")) == build_config({"run": {"rounds": 3}})


@pytest.mark.parametrize("outside", ["/etc/hostname", "../secret.toml", "configs/../../x.toml"])
def test_files_outside_the_app_are_not_read(outside: str) -> None:
    with pytest.raises(ConfigError, match="must be a file inside the app's folder"):
        read_config(AppSettings(outside))


def test_a_method_of_the_file() -> None:
    both = 'learner = {name = "reptile"}\n[methods.second]\nlearner = {name = "maml"}\n'
    assert read_config(AppSettings(both)).learner["name"] == "reptile"
    assert read_config(AppSettings(both, "second")).learner["name"] == "maml"
    with pytest.raises(ConfigError, match="method = 'third': must be one of second"):
        read_config(AppSettings(both, "third"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rounds": 3}, r"run configuration\.rounds = 3: unknown key"),
        ({"min_nodes": 0}, r"run configuration\.min_nodes = 0: must be ≥ 1"),
        ({"wait_s": "long"}, r"run configuration\.wait_s = 'long': expected a number"),
        ({"config": "configs/nowhere.toml"}, r"configuration = .*nowhere\.toml.*: cannot be read"),
        ({"config": "[run"}, r"must be a file inside|cannot be read"),
        ({"config": "run.rounds = -1\n"}, r"run\.rounds = -1: must be ≥ 0"),
        ({"config": 'attack.name = "sign_flip"\n'}, r"attack\.name = 'sign_flip': is for simulated devices"),
        ({"config": 'attack.name = "alie"\n'}, r"attack\.name = 'alie': is for simulated devices"),
        ({"config": "faults.hours_per_round = 1.0\n"}, r"faults\.hours_per_round = 1\.0: is for simulated devices"),
        ({"config": "faults.outage = 0.1\n"}, r"faults\.outage = 0\.1: is for simulated devices"),
        ({"config": "faults.deadline_s = 9.0\n"}, r"faults\.deadline_s = 9\.0: is for simulated devices"),
        ({"config": "faults.partial = 0.5\n"}, r"faults\.partial = 0\.5: is for simulated devices"),
        ({"config": "faults.duplicate = 0.2\n"}, r"faults\.duplicate = 0\.2: is for simulated devices"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        start(Direct(NODES), **{"out": str(tmp_path / "run"), **settings})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
