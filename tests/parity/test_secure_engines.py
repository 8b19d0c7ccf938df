"""Secure aggregation on all engines: the same whole numbers, the same drop-outs; masks change not a bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, RecordDict
from flwr.serverapp import Grid

from metapulse.client.secure.quantise import STAGES
from metapulse.errors import ConfigError, EngineError, NoResultError
from metapulse.server.app import app
from metapulse.server.config import Config, resolved
from metapulse.server.config_text import to_toml
from metapulse.server.folder import RunFolder
from metapulse.server.run import Run
from metapulse.sim import experiment
from metapulse.sim.engines.cohort import CohortGrid, SourceDirectory
from metapulse.sim.engines.settings import Cohort
from metapulse.trees import norm, sub
from tests.direct import Direct
from tests.parity.conftest import Runtime
from tests.runs import CLIENTS, Faulty, Result, distance, make, read

#: Adam's first steps are signs, of numbers that rounding may turn.
SGD = {"cohort": 0, "outer": "sgd", "lr": 0.1}
ON = {"on": True, "max_weight": 20.0, "range": 32.0}
#: A client is lost at each stage, and some rounds are given up.
LOSSES, ROUNDS = {**ON, "dropout": [0.12, 0.12, 0.12, 0.12]}, 6
PRIVATE = {"mechanism": "client", "sampling": "fixed", "clip": 0.05, "noise_multiplier": 0.5, "delta": 1e-3}


def config(secure: dict[str, Any], rounds: int = 2, learner: str = "meta_sgd", **sections: Any) -> Config:
    """All clients in every round; none is held out."""
    sections = {"split": {"test": 0.0, "validation": 0.0}, "evaluation": {"scenarios": []}} | sections
    return make(learner, "fedmaml", "sine", rounds, secure_aggregation=secure, **{"strategy": SGD, **sections})


def run(made: Config, path: Path, masks: bool = False) -> Result:
    return read(path, experiment.run_experiment(replace(made, engine=replace(made.engine, masks=masks)), path))


def dropped(path: Path) -> list[tuple[int, int, str]]:
    """Round, client and reason."""
    return [(e["round"], e["client"], str(e["reason"])) for e in RunFolder(path).events() if e["kind"] == "dropped"]


CASES: dict[str, Config] = {
    "samples": config(ON),
    "uniform": config(ON, strategy={**SGD, "weighting": "uniform", "outer": "momentum"}),
    "ring16": config({**ON, "neighbours": 2, "threshold": 0.9, "drop_out": 0.0, "bits": 16}),
    "devices": config(ON, learner="ditto"),
    "private": config(
        ON, privacy={**PRIVATE, "noise_seed": 4}, strategy={**SGD, "cohort": CLIENTS, "weighting": "uniform"}
    ),
    "losses": config(LOSSES, ROUNDS),
}


@pytest.mark.parametrize(("name", "chunk"), [*((name, 0) for name in CASES), ("losses", 2)])
def test_masks_change_not_a_bit(name: str, chunk: int, tmp_path: Path) -> None:
    made = replace(CASES[name], engine=Cohort(chunk=chunk))
    simulated, real = run(made, tmp_path / "simulated"), run(made, tmp_path / "real", masks=True)
    assert simulated.digests == real.digests
    assert simulated.summary == real.summary
    assert dropped(tmp_path / "real") == dropped(tmp_path / "simulated")


def test_losses_come_at_every_stage_and_some_rounds_are_given_up(tmp_path: Path) -> None:
    """What the case above is worth; θ stays where it is in a round that is given up."""
    found = run(CASES["losses"], tmp_path / "run")
    told = dropped(tmp_path / "run")
    assert {why.split(": ")[0] for _, client, why in told if client >= 0} == set(STAGES)
    given_up = {round for round, client, why in told if client < 0 and why.startswith("round given up: ")}
    assert 0 < len(given_up) < ROUNDS
    still = {r for r in range(1, ROUNDS + 1) if found.digests[r] == found.digests[r - 1]}
    assert still == given_up
    events = [e for e in RunFolder(tmp_path / "run").events() if e["kind"] == "round"]
    assert {e["round"] for e in events if not e["moved"]} == given_up


@pytest.mark.parametrize("name", ["samples", "uniform", "ring16", "devices"])
def test_a_run_ends_where_it_does_without_secure_aggregation(name: str, tmp_path: Path) -> None:
    """Over both rounds, to what the steps of the whole numbers allow: 2⁻³¹·6·4 of 32 bits, 2⁻¹⁵·6·4·(20/10) of 16."""
    plain = run(
        config({}, strategy=dict(CASES[name].strategy), learner=CASES[name].learner["name"]), tmp_path / "plain"
    )
    secure = run(CASES[name], tmp_path / "secure")
    steps = [sub(result.thetas[1], result.thetas[0]) for result in (secure, plain)]
    assert distance(*steps) <= (2e-2 if name == "ring16" else 1e-5)
    assert norm(steps[1]) > 0
    assert distance(secure.thetas[1], plain.thetas[1]) > 0


def test_clients_that_cannot_train_are_lost_with_their_vector(tmp_path: Path) -> None:
    made = config(ON, rounds=1, source={"name": "tests.runs:Faulty", "clients": CLIENTS})
    results = {}
    for masks in (False, True):
        path = tmp_path / str(masks)
        grid = CohortGrid(CLIENTS, masks=masks)
        results[masks] = read(path, Run(made, grid, SourceDirectory(Faulty(clients=CLIENTS)), path).start())
        assert [(c, why.split(": ")[0]) for _, c, why in dropped(path)] == [
            (1, "masked vectors"),
            (2, "masked vectors"),
        ]
    assert results[True].digests == results[False].digests
    assert results[True].digests[0] != results[True].digests[1]


def test_ten_rounds_given_up_in_a_row_end_a_run(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no usable reply in 10 rounds"):
        run(config({**ON, "dropout": [0.0, 0.0, 1.0, 0.0]}, rounds=12), tmp_path / "run")
    assert len(dropped(tmp_path / "run")) == 10 * (CLIENTS + 1)


def test_a_private_round_that_is_given_up_moves_nothing(tmp_path: Path) -> None:
    """No data has left: not even noise is added. The log names no client."""
    made = config(
        {**ON, "dropout": [0.0, 0.0, 1.0, 0.0]},
        rounds=3,
        privacy={**PRIVATE, "noise_seed": 4},
        strategy={**SGD, "cohort": CLIENTS, "weighting": "uniform"},
    )
    with pytest.raises(NoResultError, match=r"no round of 3 had .*most often \(3 times\): round given up"):
        run(made, tmp_path / "run")
    events = [e for e in RunFolder(tmp_path / "run").events() if e["kind"] == "round"]
    assert [(e["moved"], e["update-norm"]) for e in events] == 3 * [(False, 0.0)]
    assert {client for _, client, *_ in dropped(tmp_path / "run")} == {-1}


NODES = {1000 - 7 * i: {"partition-id": i, "num-partitions": CLIENTS} for i in range(CLIENTS)}


def start(grid: Grid, made: Config, path: Path) -> None:
    settings = {"config": to_toml(resolved(made)), "out": str(path), "min-nodes": CLIENTS}
    app(grid, Context(4711, 1, {}, RecordDict(), settings))


def found(path: Path) -> Result:
    return read(path, json.loads((path / "summary.json").read_text()))


def test_the_client_app_is_one_of_the_parties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same circle: real devices are in one that is drawn in secret, which decides who has too few around it."""
    monkeypatch.setattr("metapulse.server.secure.aggregation.secret", lambda: CASES["losses"].run.seed)
    start(Direct(NODES), CASES["losses"], tmp_path / "nodes")
    ours, theirs = run(CASES["losses"], tmp_path / "cohort"), found(tmp_path / "nodes")
    assert dropped(tmp_path / "nodes") == dropped(tmp_path / "cohort")
    assert distance(theirs.thetas[-1], ours.thetas[-1]) <= 1e-5


def with_folders(folder: Path) -> dict[int, dict[str, Any]]:
    return {node: {**one, "state": str(folder / str(one["partition-id"]))} for node, one in NODES.items()}


def test_a_coordinator_that_dies_before_any_vector_has_left_does_the_round_again(tmp_path: Path) -> None:
    """Six say who they are, and twelve of the 24 answers of the second round are sent; then it is a new session.

    Its keys, circle and rounding are fresh: θ is the same but for less than a step of the whole numbers.
    """
    made = config(ON, rounds=2)
    start(Direct(with_folders(tmp_path / "a")), made, tmp_path / "whole")
    with pytest.raises(ConnectionError):
        start(Direct(with_folders(tmp_path / "b"), lives=6 + 24 + 12), made, tmp_path / "broken")
    assert RunFolder(tmp_path / "broken").checkpoints()[-1].name == "000001"
    start(Direct(with_folders(tmp_path / "b")), made, tmp_path / "broken")
    whole, broken = found(tmp_path / "whole"), found(tmp_path / "broken")
    assert whole.digests[1] == broken.digests[1]
    assert whole.digests[2] != broken.digests[2]
    assert distance(broken.thetas[2], whole.thetas[2]) <= 1e-6
    assert dropped(tmp_path / "broken") == []


def test_nodes_without_a_folder_decline_a_round_that_is_done_again(tmp_path: Path) -> None:
    """They cannot say whether they answered it; the next round they answer."""
    made = config(ON, rounds=2)
    with pytest.raises(ConnectionError):
        start(Direct(NODES, lives=6 + 15), made, tmp_path / "run")
    start(Direct(NODES), made, tmp_path / "run")
    told = dropped(tmp_path / "run")
    assert [(round, client) for round, client, *_ in told] == [(1, c) for c in [*range(CLIENTS), -1]]
    assert {why.split(": ")[-1] for *_, why in told[:-1]} == {
        "round 1 is repeated, and this device has no folder that says what it answered"
    }
    assert found(tmp_path / "run").digests[1] != found(tmp_path / "run").digests[2]


FLOWER = ("samples", "losses")


@pytest.fixture(scope="module")
def flower(runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    configs = {name: replace(CASES[name], run=replace(CASES[name].run, rounds=2)) for name in FLOWER}
    return runtime(configs, tmp_path_factory.mktemp("flower"))


@pytest.mark.ray
@pytest.mark.parametrize("name", FLOWER)
def test_flower_gives_the_same_round(name: str, flower: dict[str, Result], tmp_path: Path) -> None:
    made = replace(CASES[name], run=replace(CASES[name].run, rounds=2))
    ours, theirs = run(made, tmp_path / "run"), flower[name]
    assert ours.summary["dropped"] == theirs.summary["dropped"]
    steps = [sub(result.thetas[2], result.thetas[0]) for result in (ours, theirs)]
    assert norm(steps[0]) > 0
    assert distance(*steps) <= 1e-5


def test_too_few_neighbours_for_everybody_are_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    """How many take part is known once the data are."""
    made = config({**ON, "neighbours": 2, "drop_out": 0.4}, rounds=1)
    with pytest.raises(ConfigError, match=r"secure_aggregation\.neighbours = 2: must be ≥ 4 "):
        run(made, tmp_path / "run")
    assert not (tmp_path / "run").exists()
