"""Whole runs with a privacy budget: what is written, what is not, and what a kill cannot turn back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metapulse.errors import RunError
from metapulse.server.config import Config
from metapulse.server.folder import RunFolder
from metapulse.server.privacy import LEDGER, released
from metapulse.server.run import Run
from metapulse.sim.engines.cohort import CohortGrid, SourceDirectory
from metapulse.sim.engines.workers import LocalPool
from metapulse.sim.population import ClientJob
from metapulse.sim.report.runs.privacy import privacy_table
from metapulse.sim.report.runs.run_data import read_run
from metapulse.sim.sources.sine import Sine
from metapulse.strategies.privacy.accounting import Release, epsilon
from metapulse.strategies.privacy.plan import sentence
from tests.runs import Faulty, Result, distance, make, read

PEOPLE, TRAINING = 30, 20  # a third is held out
SIGMA, DELTA = 30.0, 1e-5
ALL_PEOPLE = {"cohort": 0}
FIXED = {"mechanism": "central", "noise_multiplier": SIGMA, "delta": DELTA, "sampling": "fixed", "noise_seed": 3}


class Dies(LocalPool):
    """This process, which ends in the middle of a round."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def train(self, job: ClientJob, meta: Any, round: int, *rest: Any) -> Any:
        if round == self._at:
            raise KeyboardInterrupt
        return super().train(job, meta, round, *rest)


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


def job(made: Config, path: Path, pool: LocalPool | None = None) -> Run:
    return Run(made, CohortGrid(PEOPLE, pool), SourceDirectory(Sine(clients=PEOPLE)), path)


def run(made: Config, path: Path) -> Result:
    return read(path, job(made, path).start())


def killed(made: Config, path: Path, at: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        job(made, path, Dies(at)).start()


def events(path: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in RunFolder(path).events() if event["kind"] == kind]


@pytest.mark.usefixtures("addressed")
def test_the_epsilon_stated_is_that_of_the_event_log(tmp_path: Path) -> None:
    """Recomputed from the log alone: its plan, and as many rounds as it has."""
    sampled = {"sampling": "poisson", "noise_multiplier": 2.0, "noise_seed": -1}
    result = run(config(3, **sampled), tmp_path / "run")
    (plan,) = events(tmp_path / "run", "privacy")
    rounds = len(events(tmp_path / "run", "round"))
    release = Release(plan["noise_multiplier"], plan["cohort"], plan["people"], plan["sampling"])
    again = epsilon(release, rounds, plan["delta"], plan["accountant"])
    assert (plan["people"], plan["cohort"], plan["relation"]) == (TRAINING, 4, "add or remove one person")
    assert result.summary["privacy"] == {
        "rounds": 3,
        "epsilon": again,
        "delta": DELTA,
        "relation": "add or remove one person",
    }
    assert events(tmp_path / "run", "privacy-spent")[-1]["epsilon"] == again


@pytest.mark.usefixtures("addressed")
def test_every_checkpoint_knows_what_has_been_spent(tmp_path: Path) -> None:
    run(config(noise_seed=-1), tmp_path / "run")
    states = [json.loads((c / "state.json").read_text()) for c in RunFolder(tmp_path / "run").checkpoints()]
    assert [(s["round"], s["privacy"]["rounds"]) for s in states] == [(0, 0), (2, 2), (4, 4), (6, 6)]
    costs = [s["privacy"]["epsilon"] for s in states]
    assert costs == sorted(set(costs))


def test_nothing_is_written_that_tells_who_took_part_or_failed(tmp_path: Path) -> None:
    """Two people have samples that cannot be used; without privacy the log names them."""
    for name, off in (("open", {"mechanism": "none"}), ("private", {})):
        made = config(2, noise_multiplier=1.0, **off)
        world = replace(
            made, source={"name": "tests.runs:Faulty", "clients": PEOPLE}, strategy=made.strategy | ALL_PEOPLE
        )
        source = Faulty(clients=PEOPLE)
        Run(world, CohortGrid(PEOPLE), SourceDirectory(source), tmp_path / name).start()
    stages = [
        {event["reason"].split(": ")[0] for event in events(tmp_path / n, "dropped")} for n in ("open", "private")
    ]
    assert any("episode" in reason for reason in stages[0])
    assert not any("episode" in reason for reason in stages[1])
    told = [set(event) - {"round", "kind", "time"} for event in events(tmp_path / "private", "round")]
    assert told == [{"moved", "step", "seconds", "spent", "clip", "update-norm"}] * 2


def test_a_kill_does_not_turn_the_budget_back(tmp_path: Path) -> None:
    """Rounds 3 and 4 begin, the process dies, and both are done again from the checkpoint of round 2."""
    whole = run(config(), tmp_path / "whole")
    killed(config(), tmp_path / "run", at=4)
    result = read(tmp_path / "run", job(config(), tmp_path / "run").resume())
    assert result.summary["privacy"]["rounds"] == 8
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
    assert epsilon(release, 7, DELTA) <= limit < epsilon(release, 8, DELTA)
    (end,) = events(tmp_path / "run", "privacy-limit")
    assert (end["round"], end["reason"][:20]) == (5, "7 rounds have begun,")
    assert {row["round"] for row in result.rows} == {5}


def test_the_round_that_ends_a_budget_is_looked_at_like_a_last_one(tmp_path: Path) -> None:
    """Looks after every second of six rounds; a killed run's budget ends after the fifth, which may be the best."""
    made = config(epsilon=epsilon(Release(SIGMA, 4, PEOPLE - 12, "fixed"), 7, DELTA) + 1e-6)
    made = replace(
        made,
        evaluation=replace(made.evaluation, validation_every=2, scenarios=("new_user",)),
        split=replace(made.split, test=0.2, validation=0.2),
    )
    killed(made, tmp_path / "run", at=4)
    result = read(tmp_path / "run", job(made, tmp_path / "run").resume())
    (end,) = events(tmp_path / "run", "privacy-limit")
    assert end["round"] == 5
    assert {row["round"] for row in result.rows if row["phase"] == "validation"} == {2, 4, 5}
    assert 5 in {row["round"] for row in result.rows if row["phase"] == "test"}


def test_a_ledger_that_knows_of_fewer_rounds_than_the_checkpoint_is_not_believed(tmp_path: Path) -> None:
    killed(config(), tmp_path / "run", at=4)
    ledger = tmp_path / "run" / LEDGER
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:1]))
    with pytest.raises(RunError, match=r"privacy\.jsonl knows of 1 rounds that have begun; at least 4 have"):
        job(config(), tmp_path / "run").resume()


def test_the_ledger_says_what_each_round_released(tmp_path: Path) -> None:
    run(config(3), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / LEDGER).read_text().splitlines()]
    assert [(line["round"], line["begun"]) for line in lines] == [(1, 1), (2, 2), (3, 3)]
    for line in lines:
        assert line["noise_multiplier"] == line["sum_multiplier"] == SIGMA
        assert (line["cohort"], line["people"], line["clip"], line["delta"]) == (4, TRAINING, 1.0, DELTA)
        assert (line["mechanism"], line["sampling"], line["relation"]) == ("central", "fixed", "replace one person")
    assert released(tmp_path / "run") == {Release(SIGMA, 4, TRAINING, "fixed"): 3}


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_line_that_a_kill_cut_short_is_a_round_that_began(cut: int, tmp_path: Path) -> None:
    killed(config(), tmp_path / "run", at=4)
    ledger = tmp_path / "run" / LEDGER
    ledger.write_bytes(ledger.read_bytes()[:-cut])
    result = read(tmp_path / "run", job(config(), tmp_path / "run").resume())
    assert result.summary["privacy"]["rounds"] == 8
    killed_again = job(config(), tmp_path / "run")
    assert killed_again.budget is not None
    killed_again.budget.resume(6)
    assert killed_again.budget.begun == 8


CHANGED = {
    "noise_multiplier": ("σ", lambda line: line | {"noise_multiplier": 40.0}),
    "people": ("N", lambda line: line | {"people": 2000}),
    "mechanism": ("mechanism", lambda line: line | {"mechanism": "local"}),
    "data": ("data", lambda line: line | {"data": "0" * 32}),
    "who": ("who", lambda line: line | {"who": "0" * 32}),
    "start_clip": ("C", lambda line: line | {"start_clip": 9.0}),
    "delta": ("δ", lambda line: line | {"delta": 1e-3}),
}


@pytest.mark.parametrize("key", CHANGED)
def test_a_plan_that_has_changed_is_refused_by_name(key: str, tmp_path: Path) -> None:
    killed(config(), tmp_path / "run", at=4)
    ledger = tmp_path / "run" / LEDGER
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    ledger.write_text("".join(json.dumps(CHANGED[key][1](line)) + "\n" for line in lines))
    with pytest.raises(RunError, match=rf"4 rounds have begun under another plan: {key} was .* and is "):
        job(config(), tmp_path / "run").resume()


@pytest.mark.usefixtures("addressed")
def test_another_population_under_the_same_configuration_is_refused(tmp_path: Path) -> None:
    """σ follows from the budget, and with more people it would be smaller for the rounds that are left."""
    made = config(noise_multiplier=0.0, epsilon=3.0, noise_seed=-1)
    killed(made, tmp_path / "run", at=4)
    grown = Run(made, CohortGrid(300), SourceDirectory(Sine(clients=300)), tmp_path / "run")
    with pytest.raises(RunError, match=r"rounds have begun under another plan: people was 20 and is 198, .*"):
        grown.resume()


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_ledger_that_lost_the_line_of_the_round_that_was_killed_is_missed(at: int, tmp_path: Path) -> None:
    killed(config(), tmp_path / "run", at)
    ledger = tmp_path / "run" / LEDGER
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))
    for _ in range(2):  # what tells of it is still there the second time
        with pytest.raises(RunError, match=rf"knows of {at - 1} rounds that have begun; at least {at} have"):
            job(config(), tmp_path / "run").resume()


def test_a_changed_digit_of_the_ledger_is_refused(tmp_path: Path) -> None:
    killed(config(), tmp_path / "run", at=4)
    ledger = tmp_path / "run" / LEDGER
    ledger.write_bytes(ledger.read_bytes().replace(b'"round": 3', b'"round": 2'))
    with pytest.raises(RunError, match="line 3 is damaged, or was changed: its checksum does not fit"):
        job(config(), tmp_path / "run").resume()


def test_a_finished_run_whose_ledger_is_shorter_is_refused(tmp_path: Path) -> None:
    run(config(2), tmp_path / "run")
    (tmp_path / "run" / LEDGER).write_bytes(b"")
    with pytest.raises(RunError, match=r"privacy\.jsonl has 0 lines, and 2 releases have begun"):
        RunFolder(tmp_path / "run").summary()


def test_the_page_of_a_seeded_run_that_was_killed_says_that_nothing_is_private(tmp_path: Path) -> None:
    """Before its second checkpoint, which is the first that knows of a round."""
    killed(config(every=50), tmp_path / "run", at=3)
    page = privacy_table([read_run(tmp_path / "run")])
    assert "∞" in page
    assert "no privacy" in page
    assert "0.0000" not in page


def test_where_the_noise_has_a_seed_epsilon_is_infinite_and_says_why(tmp_path: Path) -> None:
    result = run(config(2), tmp_path / "run")
    places = [result.summary["privacy"], events(tmp_path / "run", "privacy-spent")[-1]]
    places.append(json.loads((RunFolder(tmp_path / "run").checkpoints()[-1] / "state.json").read_text())["privacy"])
    for place in places:
        assert (place["epsilon"], place["reason"].split(":")[0]) == ("inf", "privacy.noise_seed")
    assert "ε = ∞" in sentence(result.summary["privacy"])


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

    class Counting(LocalPool):
        def train(self, job: ClientJob, meta: Any, round: int, chunks: Any, *rest: Any) -> Any:
            asked.append(sum(map(len, chunks)))
            return super().train(job, meta, round, chunks, *rest)

    job(made, tmp_path / "run", Counting()).start()
    assert 0 in asked
    assert [event["moved"] for event in events(tmp_path / "run", "round")] == [True] * 12


@pytest.mark.parametrize("mechanism", ["client", "local"])
def test_devices_that_protect_themselves_train_too(tmp_path: Path, mechanism: str) -> None:
    result = run(config(2, mechanism=mechanism), tmp_path / "run")
    assert distance(result.thetas[-1], result.thetas[0]) > 0
