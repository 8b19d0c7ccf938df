"""A run without a result is no success, and says why."""

import pytest

from metapulse.server.result import failure
from metapulse.sim import experiment
from metapulse.sim.cells import Cell
from metapulse.sim.runner import run_cell
from tests.runs import CLIENTS, make


def outcome(config, path):
    found = run_cell(Cell(path.name, config, path))
    return found


BULYAN = {"name": "stock", "reference": "flwr.serverapp.strategy:Bulyan", "options": {"num_malicious_nodes": 1}}


def test_theta_that_never_moved_is_no_result(tmp_path):
    found = outcome(make("fedavg", "fedavg", "sine", 2, strategy={**BULYAN, "cohort": 3}), tmp_path / "still")
    assert found.code == 1
    assert found.error.startswith("no round of 2 had a usable outcome; most often (2 times): round given up by the ")


def test_where_nobody_could_be_judged_the_commonest_reason_is_told(tmp_path):
    """The two held-out people have nothing to give: no samples, and not a number among them."""
    source = {"name": "tests.runs:Faulty", "clients": CLIENTS}
    people = {"test": 0.0, "test_users": ["sine-1", "sine-2"]}
    found = outcome(make("fedavg", "fedavg", "sine", 1, source=source, split=people), tmp_path / "empty")
    assert found.code == 1
    assert found.error.startswith("no client could be judged of 2 who were asked; most often (1 times): ")
    assert "client 1 has no samples" in found.error
    (asked,) = found.summary["people"]
    assert (asked["asked"], asked["answered"], sum(asked["reasons"].values())) == (2, 0, 2)


@pytest.mark.parametrize("rate", [1e3, 1e30])
def test_a_rate_that_is_far_too_large_is_no_result(rate, tmp_path):
    config = make("fedavg_ft", "fedavg", "wearables", 2, learner={"inner_lr": rate, "inner_steps": 20})
    found = outcome(config, tmp_path / "wild")
    assert (found.code, bool(found.error)) == (1, True)


def test_a_run_with_a_result_has_no_failure(tmp_path):
    summary = experiment.run_experiment(make("fedavg", "fedavg", "sine"), tmp_path / "run")
    assert failure(summary) == ""
    assert [(one["asked"], one["answered"], one["diverged"], one["reasons"]) for one in summary["people"]] == [
        (2, 2, 0, {})
    ]
