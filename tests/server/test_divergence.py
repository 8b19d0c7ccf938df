"""A run that ran away is no result."""

import pytest

from metapulse.server.divergence import divergence
from metapulse.sim import experiment
from metapulse.sim.cells import Cell
from metapulse.sim.comparison_runner import ComparisonRunner
from metapulse.sim.runner import run_cell
from tests.lab import SPEC, Ear, spec, tables_only
from tests.runs import make


def told(*losses):
    return [{"kind": "round", "loss": loss} for loss in losses]


def rows(*means, metric="mse"):
    where = {"round": 3, "phase": "test", "scenario": "new_user", "shots": 5, "metric": metric}
    return [{**where, "step": step, "value": value} for step, value in enumerate(means)]


@pytest.mark.parametrize(
    ("events", "scores"),
    [
        (told(2.0, 3.0), rows(2.0, 1900.0)),
        (told(2.0, 3.0), rows(3e32, 5.0)),  # one of the steps is sound; which one is used is for who compares
        (told(2.0, 1999.0), rows(1999.0)),
        (told(2.0, 1.0), []),
        (told(2.0, 1.0), rows(1e9, metric="accuracy")),
        ([{"kind": "round"}], rows(1e30)),  # the loss at the start is unknown
    ],
)
def test_a_loss_that_only_rises_is_a_result(events, scores):
    assert divergence(events, scores, {}) == ""


@pytest.mark.parametrize(
    ("events", "scores", "said"),
    [
        (told(2.0, 2001.0), [], "clients' mean loss was 2 in the first round and ends at 2e+03"),
        (told(2.0, None), [], "clients' mean loss was 2 in the first round and is no number"),
        (told(2.0, 2.0), rows(3.7e32, 2e5), "held-out people's mean loss was 2 in the first round and ends at 2e+05"),
    ],
)
def test_a_thousand_times_the_first_loss_is_none(events, scores, said):
    found = divergence(events, scores, {"learner": {"inner_lr": 9.0}, "strategy": {}})
    assert said in found
    assert "learner.inner_lr = 9.0" in found


def test_a_diverged_run_fails_with_a_line(tmp_path):
    config = make("fedavg", "fedavg", "sine", 6, strategy={"lr": 30.0}, learner={"inner_lr": 0.1})
    outcome = run_cell(Cell("wild", config, tmp_path / "wild"))
    assert outcome.code == 1
    assert outcome.error.startswith("training diverged: ")
    assert "strategy.lr = 30.0" in outcome.error
    assert experiment.run_experiment(make("fedavg", "fedavg", "sine", 3), tmp_path / "tame").get("diverged") is None


WILD = """[methods.wild]
strategy = { name = "fedavg", cohort = 3, lr = 30.0 }
learner = { name = "fedavg", inner_lr = 0.1 }
"""


def test_in_a_comparison_it_is_a_failure_again_and_again(tmp_path):
    text = SPEC.replace("seeds = [0, 1]", "seeds = [0]").replace("rounds = 4", "rounds = 8")
    asked = spec(tmp_path, text + WILD)
    for _ in range(2):
        with tables_only():
            said, failures = ComparisonRunner(asked, tmp_path / "out", 0, lambda *batch: Ear()).run()
        failed = {(failure.cell.dataset, failure.cell.method) for failure in failures}
        assert failed
        assert {method for _, method in failed} == {"wild"}
        assert all("training diverged" in failure.error for failure in failures)
        assert not failed & {(score.dataset, score.method) for score in said.scores}
        lasts = {(ranking.dataset, ranking.methods[-1]) for ranking in said.rankings}
        assert failed <= lasts
