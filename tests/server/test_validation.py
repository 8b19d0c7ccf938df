"""Looks at validation people: who is asked when, which round they choose, and what is left for the test."""

import dataclasses

import pytest

from metapulse.client.executor import ClientExecutor
from metapulse.errors import ConfigError
from metapulse.server.client_sampler import ClientSampler
from metapulse.server.folder import RunFolder
from metapulse.server.merit import merit
from metapulse.server.metatest import last_scores
from metapulse.sim.engines.cohort import SourceDirectory
from metapulse.sim.engines.workers import LocalPool
from metapulse.sim.experiment import run_experiment
from tests.runs import make

ROUNDS = 6
SPLIT = {"test": 0.34, "validation": 0.17}  # of six people two, one, and three to train on


def config(rounds=ROUNDS, **evaluation):
    settings = {"validation_every": 2, "steps": [0, 1], "scenarios": ["known_user", "new_user"], **evaluation}
    return make("fedavg", "fedavg", "sine", rounds, split=SPLIT, evaluation=settings)


def judged(config, path, monkeypatch):
    """A run's rows, its summary, and (round, scenario, who) of every question in the order of asking."""
    asked = []
    evaluate = LocalPool.evaluate

    def spy(self, work, meta, round, chunks, trial, states):
        asked.append((round, trial.name, {client for chunk in chunks for client in chunk}))
        return evaluate(self, work, meta, round, chunks, trial, states)

    monkeypatch.setattr(LocalPool, "evaluate", spy)
    summary = run_experiment(config, path)
    return RunFolder(path).metrics(), summary, asked


def targets(config, phase):
    source = ClientExecutor(config.client_config()).source
    return set(ClientSampler(SourceDirectory(source), config).targets("new_user", phase))


def rounds_of(rows, phase, scenario):
    return sorted({row["round"] for row in rows if (row["phase"], row["scenario"]) == (phase, scenario)})


def test_test_people_are_asked_at_the_end_only(tmp_path, monkeypatch):
    """At the last round and at the best one; known people have no samples that are for choosing, and what their
    devices keep is of the last round."""
    made = config()
    rows, _, asked = judged(made, tmp_path / "run", monkeypatch)
    looks = {r: [row for row in rows if (row["phase"], row["round"]) == ("validation", r)] for r in (2, 4, 6)}
    best = max(looks, key=lambda r: merit(looks[r]))  # the first of equals
    ends = sorted({best, ROUNDS})
    assert rounds_of(rows, "validation", "new_user") == [2, 4, 6]
    assert rounds_of(rows, "validation", "known_user") == []
    assert rounds_of(rows, "test", "new_user") == ends
    assert rounds_of(rows, "test", "known_user") == [ROUNDS]
    held_out = [who for _, scenario, who in asked if scenario == "new_user"]
    assert held_out == [targets(made, "validation")] * 3 + [targets(made, "test")] * len(ends)
    assert not targets(made, "validation") & targets(made, "test")


def test_choosing_never_asks_test_people(tmp_path, monkeypatch):
    made = config(phase="validation")
    rows, summary, asked = judged(made, tmp_path / "run", monkeypatch)
    assert {row["phase"] for row in rows} == {"validation"}
    assert [(r, who) for r, _, who in asked] == [(r, targets(made, "validation")) for r in (2, 4, 6)]
    assert {score["phase"] for score in last_scores(summary)} == {"validation"}


def test_looking_changes_no_number_of_the_run(tmp_path, monkeypatch):
    rows, summary, _ = judged(config(), tmp_path / "looks", monkeypatch)
    blind, other, _ = judged(config(validation_every=0), tmp_path / "blind", monkeypatch)
    assert summary["theta"] == other["theta"]
    assert [r for r in rows if (r["phase"], r["round"]) == ("test", ROUNDS)] == blind


def test_the_best_round_is_judged_as_it_was(tmp_path, monkeypatch):
    """θ of the best round is the θ that a run of so many rounds ends with."""
    monkeypatch.setattr("metapulse.server.judging.merit", lambda rows, main: float(rows[0]["round"] == 4))
    rows, _, _ = judged(config(), tmp_path / "run", monkeypatch)
    short, _, _ = judged(config(rounds=4), tmp_path / "short", monkeypatch)
    best = [row for row in rows if (row["phase"], row["round"]) == ("test", 4)]
    assert best == [row for row in short if (row["phase"], row["scenario"]) == ("test", "new_user")]


def test_without_rounds_everybody_is_asked_once(tmp_path, monkeypatch):
    rows, _, _ = judged(config(rounds=0), tmp_path / "run", monkeypatch)
    assert {(row["phase"], row["scenario"], row["round"]) for row in rows} == {
        ("validation", "new_user", 0),
        ("test", "new_user", 0),
        ("test", "known_user", 0),
    }


def test_merit_is_the_mean_over_questions_of_the_best_step():
    """Balanced accuracy at one shot .5 → .7 over two people, at five shots .8 → .6: (.7 + .8) / 2. A loss counts
    negatively: −1 and −2."""

    def row(shots, step, value, metric="balanced_accuracy", user="one"):
        return {"scenario": "new_user", "shots": shots, "step": step, "metric": metric, "value": value, "user": user}

    rows = [row(1, 0, 0.5), row(1, 0, 0.5, user="two"), row(1, 1, 0.6), row(1, 1, 0.8, user="two")]
    rows += [row(5, 0, 0.8), row(5, 1, 0.6), row(5, 1, 9.0, "loss")]
    assert merit(rows) == pytest.approx(0.75)
    losses = [row(1, 0, 1.0, "mse"), row(1, 1, 3.0, "mse"), row(5, 1, 2.0, "mse"), row(5, 1, 0.1, "mae")]
    assert merit(losses) == pytest.approx(-1.5)
    assert merit([]) is None
    assert merit([row(1, 0, 1e308, "mse"), row(1, 0, 1e308, "mse")]) is None  # the sum is no number


def test_looks_need_somebody_to_look_at(tmp_path):
    with pytest.raises(ConfigError, match="validation_every = 2: needs a scenario with held-out people"):
        config(scenarios=["known_user"])
    no_validation = dataclasses.replace(config(), split=dataclasses.replace(config().split, validation=0.0))
    with pytest.raises(ConfigError, match="none fits: phase validation"):
        run_experiment(no_validation, tmp_path / "run")
