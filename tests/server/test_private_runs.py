"""Whole runs with a privacy budget: what is written, what is not, and what a kill cannot turn back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client.errors import RunError
from server.config import Config
from server.folder import RunFolder
from server.run import Run
from sim.engines.cohort import CohortGrid, SourceDirectory
from sim.engines.workers import Local
from sim.sources.sine import Sine
from strategies.privacy.accounting import Release, epsilon
from tests.runs import Faulty, Result, distance, make, read

PEOPLE, TRAINING = 30, 20  # a third is held out
SIGMA, DELTA = 30.0, 1e-5
EVERYBODY = {"cohort": 0}
FIXED = {"mechanism": "central", "noise_multiplier": SIGMA, "delta": DELTA, "sampling": "fixed", "noise_seed": 3}


class Dies(Local):
    """This process, which ends in the middle of a round."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def train(self, work: str, meta: Any, round: int, *rest: Any) -> Any:
        if round == self._at:
            raise KeyboardInterrupt
        return super().train(work, meta, round, *rest)


def config(rounds: int = 6, every: int = 2, **privacy: Any) -> Config:
    return make(
        "reptile",
        "fedreptile",
        "sine",
        rounds,
        source={"clients": PEOPLE},
        strategy={"cohort": 4, "lr": 0.5},
        evaluation={"clients": 3},
        checkpoint={"every": every, "keep": 1000},
        privacy=FIXED | privacy,
    )


def job(made: Config, path: Path, pool: Local | None = None) -> Run:
    return Run(made, CohortGrid(PEOPLE, pool), SourceDirectory(Sine(clients=PEOPLE)), path)


def run(made: Config, path: Path) -> Result:
    return read(path, job(made, path).start())


def killed(made: Config, path: Path, at: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        job(made, path, Dies(at)).start()


def events(path: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in RunFolder(path).events() if event["kind"] == kind]


def test_the_epsilon_stated_is_that_of_the_event_log(tmp_path: Path) -> None:
    """Recomputed from the log alone: its plan, and as many rounds as it has."""
    sampled = {"sampling": "poisson", "noise_multiplier": 2.0}
    result = run(config(3, **sampled), tmp_path / "run")
    (plan,) = events(tmp_path / "run", "privacy")
    rounds = len(events(tmp_path / "run", "round"))
    release = Release(plan["noise_multiplier"], plan["cohort"], plan["people"], plan["sampling"])
    again = epsilon(release, rounds, plan["delta"], plan["accountant"])
    assert (plan["people"], plan["cohort"], plan["relation"]) == (TRAINING, 4, "add or remove one person")
    assert result.summary["privacy"] == {"rounds": 3, "epsilon": again, "delta": DELTA}
    assert events(tmp_path / "run", "privacy-spent")[-1]["epsilon"] == again


def test_every_checkpoint_knows_what_has_been_spent(tmp_path: Path) -> None:
    run(config(), tmp_path / "run")
    states = [json.loads((c / "state.json").read_text()) for c in RunFolder(tmp_path / "run").checkpoints()]
    assert [(s["round"], s["privacy"]["rounds"]) for s in states] == [(0, 0), (2, 2), (4, 4), (6, 6)]
    costs = [s["privacy"]["epsilon"] for s in states]
    assert costs == sorted(set(costs))


def test_nothing_is_written_that_tells_who_took_part_or_failed(tmp_path: Path) -> None:
    """Two people have samples that cannot be used; without privacy the log names them."""
    for name, off in (("open", {"mechanism": "none"}), ("private", {})):
        made = config(2, noise_multiplier=1.0, **off)
        world = replace(
            made, source={"name": "tests.runs:Faulty", "clients": PEOPLE}, strategy=made.strategy | EVERYBODY
        )
        source = Faulty(clients=PEOPLE)
        Run(world, CohortGrid(PEOPLE), SourceDirectory(source), tmp_path / name).start()
    stages = [
        {event["reason"].split(": ")[0] for event in events(tmp_path / n, "dropped")} for n in ("open", "private")
    ]
    assert any("episode" in reason for reason in stages[0])
    assert not any("episode" in reason for reason in stages[1])
    told = [set(event) - {"round", "kind", "time"} for event in events(tmp_path / "private", "round")]
    assert told == [{"moved", "seconds", "spent", "clip", "update-norm"}] * 2


def test_a_kill_does_not_turn_the_budget_back(tmp_path: Path) -> None:
    """Rounds 3 and 4 begin, the process dies, and both are done again from the checkpoint of round 2."""
    whole = run(config(), tmp_path / "whole")
    killed(config(), tmp_path / "run", at=4)
    result = read(tmp_path / "run", job(config(), tmp_path / "run").resume())
    assert result.summary["privacy"]["rounds"] == 8
    assert result.summary["privacy"]["epsilon"] == epsilon(Release(SIGMA, 4, TRAINING, "fixed"), 8, DELTA)
    assert result.digests[-1] == whole.digests[-1]  # a seed was given, so the noise is the same again


def test_without_a_seed_a_resumed_run_draws_other_people_and_other_noise(tmp_path: Path) -> None:
    results = [run(config(2, noise_seed=-1), tmp_path / name) for name in "ab"]
    assert distance(results[0].thetas[-1], results[1].thetas[-1]) > 1e-3
    assert results[0].digests[0] == results[1].digests[0]


def test_a_resumed_run_ends_when_its_budget_does(tmp_path: Path) -> None:
    release = Release(SIGMA, 4, TRAINING, "fixed")
    limit = epsilon(release, 7, DELTA) + 1e-6
    killed(config(epsilon=limit), tmp_path / "run", at=4)
    result = read(tmp_path / "run", job(config(epsilon=limit), tmp_path / "run").resume())
    assert result.summary["privacy"]["rounds"] == 7
    assert result.summary["privacy"]["epsilon"] <= limit
    (end,) = events(tmp_path / "run", "privacy-limit")
    assert (end["round"], end["reason"][:20]) == (5, "7 rounds have begun,")
    assert {row["round"] for row in result.rows} == {5}


def test_a_ledger_that_knows_of_fewer_rounds_than_the_checkpoint_is_not_believed(tmp_path: Path) -> None:
    killed(config(), tmp_path / "run", at=4)
    (tmp_path / "run" / "privacy.json").write_text('{"begun": 1}')
    with pytest.raises(RunError, match=r"privacy\.json does not say how many rounds have begun; at least 2 have"):
        job(config(), tmp_path / "run").resume()


def test_an_empty_round_is_a_round(tmp_path: Path) -> None:
    """Of 20 people each is in a round with probability 1/20: a third of the rounds is empty, and none is idle."""
    made = make(
        "reptile",
        "fedreptile",
        "sine",
        12,
        source={"clients": PEOPLE},
        strategy={"cohort": 1},
        evaluation={"clients": 3},
        privacy=FIXED | {"sampling": "poisson", "noise_multiplier": 2.0},
    )
    asked: list[int] = []

    class Counting(Local):
        def train(self, work: str, meta: Any, round: int, chunks: Any, *rest: Any) -> Any:
            asked.append(sum(map(len, chunks)))
            return super().train(work, meta, round, chunks, *rest)

    job(made, tmp_path / "run", Counting()).start()
    assert 0 in asked
    assert [event["moved"] for event in events(tmp_path / "run", "round")] == [True] * 12


@pytest.mark.parametrize("mechanism", ["client", "local"])
def test_devices_that_protect_themselves_train_too(tmp_path: Path, mechanism: str) -> None:
    result = run(config(2, mechanism=mechanism), tmp_path / "run")
    assert distance(result.thetas[-1], result.thetas[0]) > 0
