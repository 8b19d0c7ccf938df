"""What devices keep: the same on every engine, over rounds, through an interruption, and in the meta-test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metapulse.server.config import Config
from metapulse.server.folder import RunFolder
from metapulse.server.progress import SilentProgress
from metapulse.sim import experiment
from metapulse.sim.engines.device_states import DeviceStates
from tests.parity.conftest import Runtime
from tests.runs import CLIENTS, Result, distance, make, read

ROUNDS = 4


def config(learner: str, engine: str, **engine_settings: object) -> Config:
    """Half of the people in every round, so that some have states and others none when the meta-test asks."""
    return make(
        learner,
        "fedavg",
        "sine",
        ROUNDS,
        engine={"name": engine, **({"cpus_per_client": 1.0} if engine == "flower" else {}), **engine_settings},
        strategy={"cohort": 2},
        checkpoint={"every": 2, "keep": 1000},
        evaluation={"every": 2, "steps": [0, 1], "scenarios": ["known_user", "new_user"]},
    )


def run(job: Config, path: Path) -> Result:
    return read(path, experiment.run_experiment(job, path))


class Interrupted(Exception):
    """What stops a run in the middle."""


class Stop(SilentProgress):
    """Stops a run at the end of its third round, after the checkpoint of the second."""

    def round(self, round: int, rounds: int, clients: int, seconds: float) -> None:
        if round == 3:
            raise Interrupted


def same(ours: Result, theirs: Result) -> None:
    """As near as float32 lets stacks of other sizes be."""
    for a, b in zip(ours.thetas, theirs.thetas, strict=True):
        assert distance(a, b) <= 1e-5
    assert [{**row, "value": 0} for row in ours.rows] == [{**row, "value": 0} for row in theirs.rows]
    values = ([row["value"] for row in result.rows] for result in (ours, theirs))
    np.testing.assert_allclose(*values, rtol=1e-4, atol=1e-5)


@pytest.mark.ray
def test_engines_agree_and_repeat_themselves_through_an_interruption(tmp_path: Path, runtime: Runtime) -> None:
    runtime.close()
    cohort = run(config("ditto", "cohort"), tmp_path / "cohort")
    actors = run(config("ditto", "cohort", workers=2, chunk=1), tmp_path / "actors")
    flower = run(config("ditto", "flower"), tmp_path / "flower")
    same(actors, cohort)
    same(flower, cohort)
    with pytest.raises(Interrupted):
        experiment.run_experiment(config("ditto", "flower"), tmp_path / "stopped", Stop())
    resumed = read(tmp_path / "stopped", experiment.resume_experiment(tmp_path / "stopped"))
    assert resumed.digests == flower.digests
    assert resumed.rows == flower.rows
    assert resumed.summary == flower.summary


@pytest.mark.parametrize("learner", ["apfl", "fedrep", "fedper", "lg_fedavg", "scaffold", "feddyn", "local_norm"])
def test_neither_company_nor_an_interruption_changes_what_is_kept(learner: str, tmp_path: Path) -> None:
    whole = run(config(learner, "cohort"), tmp_path / "whole")
    same(run(config(learner, "cohort", chunk=1), tmp_path / "alone"), whole)
    with pytest.raises(Interrupted):
        experiment.run_experiment(config(learner, "cohort"), tmp_path / "stopped", Stop())
    resumed = read(tmp_path / "stopped", experiment.resume_experiment(tmp_path / "stopped"))
    assert (resumed.digests, resumed.rows, resumed.summary) == (whole.digests, whole.rows, whole.summary)
    places = [tmp_path / folder / "checkpoints" / f"{ROUNDS:06d}" for folder in ("whole", "stopped")]
    kept = [{p.relative_to(place): p.read_bytes() for p in place.rglob("*.npy")} for place in places]
    assert kept[0] == kept[1]
    assert bool(kept[0]) is (learner != "local_norm")  # the network for curves has no norms


def test_the_state_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the test above honest: with devices that forget, known people's scores are others."""
    whole = run(config("ditto", "cohort"), tmp_path / "whole")
    monkeypatch.setattr(DeviceStates, "of", lambda self, clients: {})
    forgetful = run(config("ditto", "cohort"), tmp_path / "forgetful")
    assert forgetful.digests == whole.digests  # Ditto's global model knows nothing of the personal ones
    changed = {a["scenario"] for a, b in zip(whole.rows, forgetful.rows, strict=True) if a["value"] != b["value"]}
    assert changed == {"known_user"}


def test_few_of_a_million_have_a_state(tmp_path: Path) -> None:
    """A checkpoint holds those who were in a round and no others, and a run continues from it to the same bits."""
    settings = {"source": {"clients": 1_000_000}, "strategy": {"cohort": 7}, "evaluation": {"clients": 5}}
    job = make("ditto", "fedavg", "sine", 3, checkpoint={"every": 2, "keep": 2}, **settings)
    alone = run(job, tmp_path / "alone")
    asked = [e["clients"] for e in RunFolder(tmp_path / "alone").events() if e["kind"] == "round"]
    kept = tmp_path / "alone" / "checkpoints" / "000003" / "devices"
    clients = np.load(kept / "clients.npy", allow_pickle=False)
    assert 7 <= len(set(clients.tolist())) == len(clients) <= sum(asked) == 21
    assert max(clients) > CLIENTS
    assert sum(p.stat().st_size for p in kept.rglob("*.npy")) < 30 * 4 * sum(
        p.numel() for p in alone.thetas[0].values()
    )

    with pytest.raises(Interrupted):
        experiment.run_experiment(job, tmp_path / "stopped", Stop())
    experiment.resume_experiment(tmp_path / "stopped")
    files = sorted(path.name for path in (kept / "arrays").iterdir())
    assert files
    again = tmp_path / "stopped" / "checkpoints" / "000003" / "devices" / "arrays"
    assert all((kept / "arrays" / name).read_bytes() == (again / name).read_bytes() for name in files)
