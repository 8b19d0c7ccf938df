"""Runs that differ in their seed alone, done as one: each is what it is alone, whatever becomes of the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import ClientConfig
from metapulse.errors import RunError
from metapulse.methods.base import Paper, Report
from metapulse.methods.reptile import Reptile
from metapulse.rng import Keys, RunKeys
from metapulse.server import lockstep
from metapulse.server.config import Config, build_config
from metapulse.server.folder import RunFolder
from metapulse.server.progress import SilentProgress
from metapulse.server.run import Run
from metapulse.sim import population
from metapulse.sim.cells import Cell
from metapulse.sim.experiment import resume_experiment, run_experiment
from metapulse.sim.lockstep import MOST, SharedPool, batches, companions, run_together
from metapulse.sim.runner import run_batch, run_cell, run_cells
from metapulse.strategies.base import OuterSettings
from metapulse.strategies.runs import RunMeans
from metapulse.strategies.strategy import RunStrategy

BASE: dict[str, Any] = {
    "run": {"name": "one", "rounds": 6},
    "source": {"name": "wearables", "users": 12, "devices": ["phone", "watch"], "executions": 3, "windows": 3},
    "split": {"test": 0.3},
    "model": {"name": "mlp", "hidden": [8]},
    "learner": {"name": "reptile", "inner_lr": 0.1, "inner_steps": 2, "batch_size": 4},
    "strategy": {"name": "fedreptile", "cohort": 4, "lr": 0.5},
    "evaluation": {"every": 3, "shots": [1], "steps": [0, 2], "clients": 4, "episodes": 1},
    "checkpoint": {"every": 2},
}
SINE = {"source": {"name": "sine", "clients": 40}, "split": {"test": 0.3}}


def config(seed: int = 0, **sections: dict[str, Any]) -> Config:
    table = {**BASE, **sections}
    return build_config({**table, "run": {**BASE["run"], **table["run"], "seed": seed}})


def together(configs: list[Config], folder: Path, resume: bool = False) -> list[lockstep.Ended]:
    paths = [folder / str(i) for i in range(len(configs))]
    return run_together(configs, paths, [None] * len(configs), [resume] * len(configs))


def same_run(a: Path, b: Path, notes: int = 0) -> None:
    """The same events but for times and the second's notes, θ, what devices keep, and rows: to rounding."""
    first, second = RunFolder(a), RunFolder(b)
    untimed = [
        [
            {k: v for k, v in e.items() if k not in ("time", "seconds", "spent")}
            for e in f.events()
            if e["kind"] != "note"
        ]
        for f in (first, second)
    ]
    assert [sum(e["kind"] == "note" for e in f.events()) for f in (first, second)] == [0, notes]
    assert [(e["round"], e["kind"], e.keys()) for e in untimed[0]] == [
        (e["round"], e["kind"], e.keys()) for e in untimed[1]
    ]
    for x, y in zip(*untimed, strict=True):
        for key, value in x.items():
            assert y[key] == (pytest.approx(value, rel=1e-4, abs=1e-6) if isinstance(value, float) else value), key
    thetas = [f.final()[1] for f in (first, second)]
    for name, p in thetas[0].items():
        torch.testing.assert_close(thetas[1][name], p, rtol=1e-4, atol=1e-6)
    for x, y in zip(first.metrics(), second.metrics(), strict=True):
        assert {**x, "value": 0} == {**y, "value": 0}
        assert y["value"] == pytest.approx(x["value"], rel=1e-3, abs=1e-5)


FEDAVG, FEDMAML = {"name": "fedavg", "cohort": 4}, {"name": "fedmaml", "cohort": 4, "lr": 0.05}
CASES: dict[str, dict[str, Any]] = {
    "reptile": {},
    "full batches": {"learner": {"name": "fedavg", "inner_steps": 3}, "strategy": FEDAVG},
    "moments": {"strategy": {"name": "fedreptile", "cohort": 4, "outer": "adam", "lr": 0.01}},
    "second order": {"learner": {"name": "maml", "inner_steps": 2, "inner_lr": 0.1}, "strategy": FEDMAML},
    "rates in θ": {"learner": {"name": "meta_sgd"}, "strategy": {**FEDMAML, "schedule": "cosine"}},
    "devices that keep": {"learner": {"name": "ditto", "inner_steps": 2}, "strategy": FEDAVG},
    "controls in θ": {
        "learner": {"name": "scaffold", "inner_steps": 2, "inner_lr": 0.1},
        "strategy": {**FEDAVG, "weighting": "uniform"},
    },
    "a scale learnt before": {**SINE, "learner": {"name": "reptile", "inner_lr": 0.02, "inner_steps": 2}},
    "too few samples": {
        "episodes": {"shots": 9},
        "learner": {"name": "fomaml", "inner_steps": 2},
        "strategy": FEDMAML,
    },
    "the best round": {
        "split": {"test": 0.3, "validation": 0.3},
        "evaluation": {**BASE["evaluation"], "validation_every": 2},
    },
}


@pytest.mark.parametrize("name", CASES)
def test_each_is_what_it_is_alone(name: str, tmp_path: Path) -> None:
    configs = [config(seed, **CASES[name]) for seed in (3, 4, 5)]
    assert len({companions(one) for one in configs} - {None}) == 1
    ended = together(configs, tmp_path / "one")
    for i, (one, summary) in enumerate(zip(configs, ended, strict=True)):
        apart = run_experiment(one, tmp_path / f"alone{i}")
        assert isinstance(summary, dict)
        assert (summary["seed"], summary["config"]) == (apart["seed"], apart["config"])
        same_run(tmp_path / f"alone{i}", tmp_path / "one" / str(i))


def test_who_is_in_the_stack_changes_no_bit(tmp_path: Path) -> None:
    """A run among three is the same as among two: no number depends on how many there are."""
    together([config(seed) for seed in (1, 2, 3)], tmp_path / "three")
    together([config(seed) for seed in (2, 3)], tmp_path / "two")
    for i in (0, 1):
        found = [RunFolder(tmp_path / folder / str(i + 1 - j)).final()[1] for folder, j in (("three", 0), ("two", 1))]
        assert all(torch.equal(found[0][name], p) for name, p in found[1].items())


def test_more_seeds_do_not_hold_the_data_more_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stays in memory from round to round is one executor, with its source and its samples."""
    made: list[int] = []
    real = population.make_executor

    def noted(spec: ClientConfig, *more: Any) -> ClientExecutor:
        made.append(spec.seed)
        return real(spec, *more)

    monkeypatch.setattr(population, "make_executor", noted)
    together([config(seed) for seed in (3, 4, 5)], tmp_path)
    assert made == [0]


def test_a_round_that_is_unsound_is_taken_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is then what it is alone; the others do not notice."""
    taken: list[tuple[int, int]] = []
    whole = lockstep.run_means

    def doubtful(*args: Any) -> RunMeans:
        means = whole(*args)
        rows = torch.arange(len(means.sound)) != 1
        spoilt = {
            n: p + torch.where(rows, 0.0, torch.nan).view(-1, *(1,) * (p.dim() - 1)) for n, p in means.update.items()
        }
        return replace(means, sound=means.sound & rows, update=spoilt)

    def noted(run: Run, round: int, arrays: Any) -> Any:
        taken.append((run.config.run.seed, round))
        return real(run, round, arrays)

    real = Run.round
    monkeypatch.setattr(lockstep, "run_means", doubtful)
    monkeypatch.setattr(Run, "round", noted)
    configs = [config(seed, **CASES["moments"]) for seed in (3, 4, 5)]
    together(configs, tmp_path / "one")
    assert taken == [(4, round) for round in range(1, 7)]
    monkeypatch.undo()
    for i, one in enumerate(configs):
        run_experiment(one, tmp_path / f"alone{i}")
        same_run(tmp_path / f"alone{i}", tmp_path / "one" / str(i))


def test_a_run_that_falls_behind_goes_on_alone(tmp_path: Path) -> None:
    """Its outer steps leave the range of numbers, and are given up one by one; no others are."""
    wild = {"name": "fedreptile", "cohort": 4, "lr": 1e38}
    learner = {"name": "reptile", "inner_lr": 1000.0, "inner_steps": 1}
    configs = [config(seed, learner=learner, strategy=wild) for seed in (0, 1)]
    ended = together(configs, tmp_path / "one")
    for i, one in enumerate(configs):
        apart = run_cell(Cell("one", one, tmp_path / f"alone{i}"))
        assert isinstance(ended[i], Exception) == bool(apart.summary is None)
        found = [RunFolder(tmp_path / folder).events() for folder in (f"alone{i}", f"one/{i}")]
        facts = [[(e["round"], e["kind"], e.get("reason")) for e in events] for events in found]
        assert facts[0] == facts[1]
        assert any(reason and "given up" in reason for _, _, reason in facts[0])


def test_a_run_that_fails_does_not_touch_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(run: Run, round: int, *told: Any) -> None:
        if (run.config.run.seed, round) == (4, 3):
            raise ZeroDivisionError("of θ")
        whole(run, round, *told)

    whole = Run.told
    monkeypatch.setattr(Run, "told", broken)
    configs = [config(seed) for seed in (3, 4, 5)]
    ended = together(configs, tmp_path / "one")
    assert [type(how) for how in ended] == [dict, ZeroDivisionError, dict]
    monkeypatch.undo()
    for i in (0, 2):
        run_experiment(configs[i], tmp_path / f"alone{i}")
        same_run(tmp_path / f"alone{i}", tmp_path / "one" / str(i))
    resume_experiment(tmp_path / "one" / "1")  # from its last checkpoint
    run_experiment(configs[1], tmp_path / "alone1")
    same_run(tmp_path / "alone1", tmp_path / "one" / "1")


@dataclass(frozen=True)
class Choosy(Reptile):
    """Fails in a stack that holds a client of seed 4 in round 3, and so in every stack with one."""

    many_runs: ClassVar[bool] = True

    def update(self, model: Any, meta: Any, state: Any, episode: Any, keys: Keys) -> Report:
        parts = keys.parts if isinstance(keys, RunKeys) else (keys,)
        if (4, 3) in {(part.seed, part.round) for part in parts}:
            raise ZeroDivisionError("of a step")
        return super().update(model, meta, state, episode, keys)


def test_a_learner_that_fails_in_one_run_fails_in_that_run_alone(tmp_path: Path) -> None:
    """A stack says not whose clients it failed on: each run goes on by itself, and people are told."""
    configs = [config(seed, learner={**BASE["learner"], "name": f"{__name__}:Choosy"}) for seed in (3, 4, 5)]
    cells = [Cell(str(i), one, tmp_path / f"{i}") for i, one in enumerate(configs)]
    told = [Heard() for _ in cells]
    results = run_batch(cells, told)
    assert [(r.code, "ZeroDivisionError: of a step" in r.error) for r in results] == [(0, False), (1, True), (0, False)]
    assert all("round 3" in heard.lines[-1] and "of a step" in heard.lines[-1] for heard in told)
    for i in (0, 2):
        run_experiment(configs[i], tmp_path / f"alone{i}")
        same_run(tmp_path / f"alone{i}", tmp_path / str(i), notes=1)


def test_runs_that_cannot_begin_together_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that cannot be read a second time is the failure of each run, not of the comparison."""

    def gone(pool: Any, job: Any) -> Any:
        raise OSError("the disk is gone")

    monkeypatch.setattr(SharedPool, "shared", gone)
    results = list(run_cells([Cell(str(seed), config(seed), tmp_path / str(seed)) for seed in (3, 4)]))
    assert [(result.error, result.code) for result in results] == [("the disk is gone", 2)] * 2


class Heard(SilentProgress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@dataclass(frozen=True)
class Unmade(OuterSettings):
    """Settings of a strategy that cannot be made."""

    paper: ClassVar[Paper] = Reptile.paper

    def make(self, *given: Any, **more: Any) -> RunStrategy:
        raise ZeroDivisionError("of a strategy")


def test_a_strategy_that_cannot_be_made_fails_in_its_own_runs(tmp_path: Path) -> None:
    own = {"name": f"{__name__}:Unmade", "cohort": 4}
    cells = [Cell(name, config(0, strategy=s), tmp_path / name) for name, s in (("a", own), ("b", BASE["strategy"]))]
    results = {result.cell.name: result for result in run_cells(cells)}
    assert "of a strategy" in results["a"].error
    assert results["b"].summary


def test_a_folder_that_holds_a_run_is_refused_for_that_run_alone(tmp_path: Path) -> None:
    configs = [config(seed) for seed in (3, 4)]
    run_experiment(configs[1], tmp_path / "one" / "1")
    ended = together(configs, tmp_path / "one")
    assert isinstance(ended[0], dict)
    assert isinstance(ended[1], RunError)


@pytest.mark.parametrize("name", ["reptile", "devices that keep", "moments"])
def test_what_is_interrupted_goes_on_to_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while only some of the runs have written a checkpoint, they stand after different rounds."""
    configs = [config(seed, **CASES[name]) for seed in (3, 4, 5)]
    together(configs, tmp_path / "whole")
    whole = Run.pause

    def pressed(run: Run, round: int, theta: Any) -> None:
        if (run.config.run.seed, round) == (4, 4):
            raise KeyboardInterrupt
        whole(run, round, theta)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "pause", pressed)
        with pytest.raises(KeyboardInterrupt):
            together(configs, tmp_path / "cut")
    assert [RunFolder(tmp_path / "cut" / str(i)).checkpoints()[-1].name for i in range(3)] == [
        "000004",
        "000002",
        "000002",
    ]
    together(configs, tmp_path / "cut", resume=True)
    for i in range(3):
        for file in ("summary.json", "metrics.parquet"):
            found = [(tmp_path / folder / str(i) / file).read_bytes() for folder in ("whole", "cut")]
            assert found[0] == found[1]


ALONE: dict[str, dict[str, Any]] = {
    "private": {"privacy": {"mechanism": "central", "noise_multiplier": 1.0, "clip": 1.0, "delta": 1e-5}},
    "secure": {"secure_aggregation": {"on": True}},
    "attacked": {"attack": {"name": "sign_flip", "fraction": 0.2}},
    "with faults": {"faults": {"outage": 0.1}},
    "with workers": {"engine": {"workers": 2}},
    "without rounds": {"run": {"rounds": 0}, "learner": {"name": "local_only"}, "strategy": {"name": "fedavg"}},
    "everybody": {"strategy": {"name": "fedreptile", "cohort": 0}},
    "robust": {"strategy": {"name": "fedreptile", "cohort": 4, "aggregator": {"name": "median"}}},
    "per step": {"learner": {"name": "fednova"}, "strategy": {"name": "fednova", "cohort": 4}},
    "one θ at a time": {"learner": {"name": "apfl"}, "strategy": FEDAVG, "method": {"free": True}},
}


@pytest.mark.parametrize("name", ALONE)
def test_others_are_alone(name: str) -> None:
    assert companions(config(0, **ALONE[name])) is None


def test_batches_are_companions_in_groups_as_alike_as_can_be() -> None:
    other = config(0, model={"name": "mlp", "hidden": [9]})
    assert batches([config(0), other, config(1), config(0, **ALONE["robust"]), config(2)]) == [[0, 2, 4], [1], [3]]
    sizes = [len(batch) for batch in batches([config(seed) for seed in range(2 * MOST + 1)])]
    assert sizes == [11, 11, 11]
