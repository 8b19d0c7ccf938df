"""Successive halving as a pure function of its scores, and what a score is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.server.config import build_config, merge, resolved
from metapulse.server.folder import RunFolder
from metapulse.sim.experiment import run_experiment
from metapulse.sim.lab.space import Range, read_space
from metapulse.sim.lab.tuning import Scores, Study, TrialScore, TuningSettings, judge, plain_scores, score
from tests.runs import make

SPACE = {"learner.inner_lr": Range(0.001, 1.0, log=True), "learner.inner_steps": Range(1, 9)}


def study(rounds: int = 100, method: str = "maml", **settings: Any) -> Study:
    return Study("curves", method, SPACE, rounds, (77, 78), TuningSettings(**{"trials": 9, **settings}))


def finished(asked: Study, worth: Mapping[int, float | None]) -> list[Scores]:
    """A study run to its end where a trial is worth the same in every rung."""
    found: list[Scores] = []
    while trials := asked.trials(found):
        found.append({trial.number: worth[trial.number] for trial in trials})
    return found


@pytest.mark.parametrize(
    ("settings", "rounds", "expected"),
    [
        ({}, 100, (34, 100)),
        ({"fraction": 1 / 9}, 90, (10, 30, 90)),
        ({"fraction": 0.1}, 100, (10, 30, 100)),
        ({"fraction": 1.0}, 100, (100,)),
        ({"fraction": 0.25, "eta": 2}, 40, (10, 20, 40)),
        ({}, 1, (1,)),
        ({}, 0, (0,)),  # nothing to train: one rung judges all
    ],
)
def test_rungs_grow_by_eta_up_to_all_rounds(settings: dict[str, Any], rounds: int, expected: tuple[int, ...]) -> None:
    assert study(rounds, **settings).rungs == expected


def test_one_in_eta_goes_on() -> None:
    asked = study(fraction=1 / 9)
    found = finished(asked, {n: float(n % 5) for n in range(9)})
    assert [sorted(scores) for scores in found] == [list(range(9)), [3, 4, 8], [4]]
    assert asked.trials(found) == []
    assert asked.chosen(found) == asked.proposed[4]


def test_all_is_drawn_before_anything_has_run_and_trial_0_is_the_methods_own() -> None:
    first = study().trials([])
    assert [trial.number for trial in first] == list(range(9))
    assert first[0].settings == {}
    assert all(set(trial.settings) == set(SPACE) for trial in first[1:])
    assert len({json.dumps(trial.settings) for trial in first}) == 9
    assert study().trials([]) == first
    assert study(seed=1).trials([])[1:] != first[1:]
    assert study(method="anil").trials([])[1:] != first[1:]


def test_trials_ask_validation_people_alone() -> None:
    asked = study()
    table: dict[str, Any] = {
        "run": {"seed": 3, "rounds": 100},
        "learner": {"name": "maml"},
        "strategy": {"name": "fedmaml", "cohort": 4},
    }
    for rung, trials in enumerate([asked.trials([]), asked.trials([dict.fromkeys(range(9), 0.0)])]):
        for trial in trials:
            made = build_config(merge(json.loads(json.dumps(table)), trial.change))
            assert (made.run.rounds, made.run.seed) == (asked.rungs[rung], 3)  # seeds are laid over it
            assert (made.evaluation.phase, made.evaluation.every) == ("validation", 0)
            assert made.strategy["cohort"] == 4
            assert made.learner == {"name": "maml"} | {k.split(".")[1]: v for k, v in trial.settings.items()}


@given(st.lists(st.one_of(st.none(), st.floats(-1, 1)), min_size=9, max_size=9), st.permutations(range(9)))
def test_neither_the_order_of_completion_nor_failures_matter(worth: list[float | None], order: list[int]) -> None:
    """Who ended first changes nothing; no trial that goes on is worse than one that does not."""
    asked = study(fraction=1 / 9)
    straight, shuffled = ({n: worth[n] for n in numbers} for numbers in (range(9), order))
    on = [trial.number for trial in asked.trials([straight])]
    assert on == [trial.number for trial in asked.trials([shuffled])]
    values = [-2.0 if value is None else value for value in worth]
    assert min(values[n] for n in on) >= max(values[n] for n in set(range(9)) - set(on))
    best = asked.chosen(finished(asked, dict(enumerate(worth))))
    assert best == asked.proposed[values.index(max(values))]  # of equals the earliest


def test_a_method_that_always_fails_keeps_its_own_settings() -> None:
    asked = study()
    assert asked.chosen(finished(asked, dict.fromkeys(range(9)))) == {}


def test_the_record_says_what_was_tried() -> None:
    asked = study()
    found = finished(asked, {n: None if n == 2 else n / 10 for n in range(9)})
    told = [
        {n: TrialScore(v, (v - 0.1, v + 0.1) if v else (), {"new_user/5": n}) for n, v in rung.items()}
        for rung in found
    ]
    record = json.loads(json.dumps(asked.record(told), allow_nan=False))
    assert (record["dataset"], record["method"], record["rounds"]) == ("curves", "maml", [34, 100])
    assert (record["seeds"], record["steps"]) == ([77, 78], {"new_user/5": 8})
    assert [len(trial["scores"]) for trial in record["trials"]] == [1] * 6 + [2] * 3
    assert record["trials"][2] == {
        "number": 2,
        "settings": asked.proposed[2],
        "scores": [None],
        "by_seed": [[]],
    }
    assert record["trials"][8]["by_seed"][1] == pytest.approx([0.7, 0.9])
    assert record["chosen"] == asked.proposed[8]


def row(step: int, value: float, metric: str = "balanced_accuracy", **others: Any) -> dict[str, Any]:
    plain = {"round": 5, "phase": "validation", "scenario": "new_user", "client": 1, "shots": 1}
    found = plain | {"step": step, "metric": metric, "value": value} | others
    return {"user": f"p{found['client']}"} | found


def test_a_score_takes_the_best_step_of_every_question() -> None:
    """Step 1 of one shot, (.4 + .8)/2; step 5 of five shots, .9; their mean."""
    one = [row(0, 0.5), row(0, 0.5, client=2), row(1, 0.4), row(1, 0.8, client=2), row(5, 0.1), row(5, 0.9, client=2)]
    five = [row(0, 0.2, shots=5), row(5, 0.9, shots=5)]
    ignored = [row(0, 1.0, round=4), row(0, 1.0, phase="test"), row(0, 1.0, "accuracy"), row(0, 9.0, "loss")]
    found = score([one + five + ignored])
    assert found.value == pytest.approx((0.6 + 0.9) / 2)
    assert found.steps == {"new_user/1": 1, "new_user/5": 5}


def test_a_step_at_which_somebody_overflowed_is_not_chosen_by_the_others() -> None:
    """At step 5 the error of the second person was no number, and there is no row of it."""
    rows = [row(0, 0.9, "mse"), row(0, 0.7, "mse", client=2), row(1, 0.8, "mse"), row(1, 0.6, "mse", client=2)]
    found = score([[*rows, row(5, 0.1, "mse")]])
    assert (found.value, found.steps) == (pytest.approx(-0.7), {"new_user/1": 1})


def test_who_wears_two_devices_counts_once() -> None:
    """Over people step 1 is .7 and step 0 .65; over devices they would be .6 and .633."""
    twice = [row(0, 0.6, client=c, user="p1") for c in (1, 2)] + [row(1, 0.4, client=c, user="p1") for c in (1, 2)]
    found = score([[*twice, row(0, 0.7, client=3), row(1, 1.0, client=3)]])
    assert (found.value, found.steps) == (pytest.approx(0.7), {"new_user/1": 1})


def test_a_loss_counts_negatively_and_nothing_is_no_score() -> None:
    rows = [row(0, 2.0, "mse"), row(5, 0.5, "mse"), row(5, 0.1, "mae")]
    assert score([rows]).value == -0.5
    assert score([[]]).value is None
    assert score([[row(0, 1.0, phase="test")]]).value is None
    assert score([[row(0, 1e308, "mse"), row(0, 1e308, "mse", client=2)]]).value is None


def test_one_step_is_chosen_for_all_seeds_together() -> None:
    """Step 5 is best for the second seed alone; for both together it is step 1, and its scores by seed are told."""
    first, second = [row(1, 0.8), row(5, 0.4)], [row(1, 0.6), row(5, 0.7)]
    found = score([first, second])
    assert found.value == pytest.approx(0.7)
    assert found.by_seed == pytest.approx((0.8, 0.6))
    assert found.steps == {"new_user/1": 1}


def test_who_loses_people_has_failed() -> None:
    """Trial 1 is right about the one person it could answer for; trial 2 did not end; trial 3 answered for none."""
    both = [row(0, 0.5), row(0, 0.6, client=2)]
    found = judge({0: [both], 1: [[row(0, 1.0)]], 2: [None], 3: [[]]})
    assert plain_scores(found) == {0: pytest.approx(0.55), 1: None, 2: None, 3: None}
    assert plain_scores(judge({0: [None]})) == {0: None}


def test_who_fails_with_one_seed_has_failed() -> None:
    found = judge({0: [[row(0, 0.5)], [row(0, 0.5)]], 1: [[row(0, 1.0)], None], 2: [[row(0, 1.0)], []]})
    assert plain_scores(found) == {0: pytest.approx(0.5), 1: None, 2: None}


def test_a_bad_rate_is_tuned_away(tmp_path: Path) -> None:
    """Twelve people's activities: a rate too small to learn anything in ten rounds loses to what is drawn."""
    sections: dict[str, Any] = {
        "source": {"name": "wearables", "users": 12, "devices": ["watch"], "executions": 2, "windows": 3},
        "split": {"validation": 0.25, "test": 0.25},
        "model": {"name": "mlp", "hidden": [16]},
        "learner": {"name": "fedavg", "inner_lr": 1e-6, "inner_steps": 20, "batch_size": 0},
    }
    table = resolved(make("fedavg", "fedavg", "wearables", 10, **sections))
    space = read_space({"learner.inner_lr": {"low": 0.01, "high": 0.3, "log": True}}, table)
    asked = Study("people", "fedavg", space, 10, (1,), TuningSettings(trials=4, eta=2, fraction=0.5))
    found: list[Scores] = []
    while trials := asked.trials(found):
        rows = {}
        for trial in trials:
            path = tmp_path / f"{len(found)}-{trial.number}"
            run_experiment(build_config(merge(json.loads(json.dumps(table)), trial.change)), path)
            rows[trial.number] = [RunFolder(path).metrics()]
        found.append(plain_scores(judge(rows)))
    values = [value for value in found[0].values() if value is not None]
    assert [len(scores) for scores in found] == [4, 2]
    assert len(values) == 4
    assert asked.chosen(found)["learner.inner_lr"] >= 0.01
    assert max(values) > values[0] + 0.2
