"""A scale that is learnt from people before round 1: what it is, on which engine, and that no client is asked twice."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from metapulse.client.executor import ClientExecutor
from metapulse.client.scaling import COUNT, MEAN, SQUARE
from metapulse.client.spec import to_json
from metapulse.client.wire import array_record
from metapulse.errors import ConfigError, NoResultError, RunError
from metapulse.server.client_sampler import ClientSampler
from metapulse.server.config import Config, build_config
from metapulse.server.directory import handshake
from metapulse.server.folder import RunFolder
from metapulse.server.grid import PollingGrid
from metapulse.server.privacy import Budget, make_plan
from metapulse.server.run import Run
from metapulse.server.scaler import LEARNT, channel_scale, implausible, learned
from metapulse.sim import experiment
from metapulse.sim.audit.audited_run import read_audited_run
from metapulse.sim.engines.cohort import CohortGrid, SourceDirectory
from metapulse.strategies.privacy import accounting
from metapulse.strategies.privacy.accounting import Release
from metapulse.transforms import Global
from tests.direct import Direct
from tests.levels import SOURCE, Levels, moments
from tests.processes import PATIENCE

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("addressed"),  # whether a noisy count of nine people can be used rests on the draw
]
PRIVACY = {"mechanism": "central", "noise_multiplier": 1.0, "delta": 1e-3, "clip": 0.1}


def config(transform: dict[str, Any] | None = None, **sections: Any) -> Config:
    """Two rounds of linear regression over twelve people, three of whom are tested."""
    table: dict[str, Any] = {
        "run": {"rounds": 2, "seed": 1},
        "source": SOURCE,
        "split": {"test": 0.25, "validation": 0.0},
        "model": {"name": "mlp", "hidden": []},
        "learner": {"name": "fedavg", "inner_lr": 0.1, "inner_steps": 5},
        "strategy": {"name": "fedavg", "cohort": 4, "weighting": "uniform"},
        "episodes": {"split": "samples", "shots": 4},
        "evaluation": {"split": "samples", "shots": [4], "steps": [0, 2], "episodes": 1},
        "checkpoint": {"every": 1, "keep": 9},
    }
    if transform:
        table["transform"] = transform
    for name, section in sections.items():
        table[name] = {**table.get(name, {}), **section}
    return build_config(table)


def told(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / LEARNT).read_text())
    return found


def trained(path: Path, chosen: Config) -> list[int]:
    return Run(chosen, CohortGrid(12), SourceDirectory(Levels()), path).sampler.cohort(1, 0)


def test_it_is_mean_and_sd_of_training_people_alone(tmp_path: Path) -> None:
    """Bug: no such transform: "transform.name = 'global': must be one of fixed, motion, none, standardise"."""
    chosen = config({"name": "global"})
    summary = experiment.run_experiment(chosen, tmp_path / "run")
    mean, sd = moments(trained(tmp_path / "x", chosen))
    found = told(tmp_path / "run")
    np.testing.assert_allclose(found["centre"], mean, rtol=1e-12)
    np.testing.assert_allclose(found["scale"], [sd[0], 1.0], rtol=1e-9)  # one that never moves is divided by one
    assert (found["floored"], found["people"]) == ([1], 9)
    assert summary["dropped"] == 0
    events = RunFolder(tmp_path / "run").events()
    (event,) = [e for e in events if e["kind"] == "transform"]
    assert (event["centre"], event["scale"]) == (found["centre"], found["scale"])
    fixed = config({"name": "fixed", "centre": found["centre"], "scale": found["scale"]})
    assert experiment.run_experiment(fixed, tmp_path / "fixed")["theta"] == summary["theta"]
    assert read_audited_run(tmp_path / "run").config.transform == fixed.transform


def test_one_device_is_asked_of_each_person(tmp_path: Path) -> None:
    chosen = build_config(
        {
            "run": {"rounds": 0},
            "source": {"name": "wearables", "users": 6, "devices": ["phone", "watch"], "executions": 2, "windows": 3},
            "split": {"test": 0.34, "validation": 0.0},
            "transform": {"name": "global"},
            "model": {"name": "cnn1d", "channels": [4]},
            "strategy": {"name": "fedreptile", "cohort": 2},
            "evaluation": {"shots": [2], "steps": [0], "episodes": 1},
        }
    )
    experiment.run_experiment(chosen, tmp_path / "run")
    assert told(tmp_path / "run")["people"] == 4
    assert len(told(tmp_path / "run")["scale"]) == 6


def test_a_run_that_goes_on_asks_nobody_again(tmp_path: Path) -> None:
    chosen = config({"name": "global"})
    whole = experiment.run_experiment(chosen, tmp_path / "whole")
    experiment.run_experiment(chosen, tmp_path / "cut")
    for name in ("000001", "000002"):
        shutil.rmtree(tmp_path / "cut" / "checkpoints" / name)
    (tmp_path / "cut" / "summary.json").unlink()
    before = (tmp_path / "cut" / LEARNT).read_bytes()
    again = experiment.resume_experiment(tmp_path / "cut")
    assert (again["theta"], again["scores"]) == (whole["theta"], whole["scores"])
    assert (tmp_path / "cut" / LEARNT).read_bytes() == before
    (tmp_path / "cut" / "summary.json").unlink()
    (tmp_path / "cut" / LEARNT).write_bytes(before.replace(b'"people": 9', b'"people": 8'))
    with pytest.raises(RunError, match=r"transform.json is damaged"):
        experiment.resume_experiment(tmp_path / "cut")
    (tmp_path / "cut" / LEARNT).write_bytes((tmp_path / "whole" / LEARNT).read_bytes())
    with pytest.raises(RunError, match=r"transform.json is of another run"):
        experiment.resume_experiment(tmp_path / "cut")
    (tmp_path / "cut" / LEARNT).unlink()
    with pytest.raises(RunError, match=r"transform.json is gone"):
        experiment.resume_experiment(tmp_path / "cut")


class Nodes(Direct):
    """Devices that answer through the ClientApp, the last of them first; liars' moments times a factor."""

    def __init__(self, liars: Collection[int] = (), factor: float = 1.0) -> None:
        allowed = {"allow": "tests.levels:Levels", "limits": "{}"}
        super().__init__({100 + i: {"partition-id": i, **allowed} for i in range(12)})
        self._liars, self._factor = liars, factor

    def pull_messages(self, message_ids: Any) -> list[Message]:
        replies = sorted(super().pull_messages(message_ids), key=lambda m: -m.metadata.src_node_id)
        for reply in replies:
            if reply.metadata.src_node_id - 100 in self._liars and not reply.has_error():
                for record in reply.content.array_records.values():
                    if MEAN in record:
                        record.update(array_record({k: a.numpy() * self._factor for k, a in record.items()}))
        return replies


def over_devices(path: Path, chosen: Config, nodes: Nodes) -> dict[str, Any]:
    prompt = PollingGrid(nodes)
    directory = handshake(prompt, to_json(chosen.client_config()), 12, PATIENCE)
    return Run(chosen, prompt, directory, path).start()


def test_devices_give_the_same_numbers_in_any_order(tmp_path: Path) -> None:
    chosen = config({"name": "global"})
    ours = experiment.run_experiment(chosen, tmp_path / "cohort")
    theirs = over_devices(tmp_path / "devices", chosen, Nodes())
    np.testing.assert_allclose(told(tmp_path / "devices")["centre"], told(tmp_path / "cohort")["centre"], rtol=1e-14)
    np.testing.assert_allclose(told(tmp_path / "devices")["scale"], told(tmp_path / "cohort")["scale"], rtol=1e-9)
    np.testing.assert_allclose(
        [s["mean"] for s in theirs["scores"]], [s["mean"] for s in ours["scores"]], rtol=1e-4, atol=1e-5
    )


def test_an_answer_that_no_samples_give_is_dropped_named_and_counted(tmp_path: Path) -> None:
    chosen = config({"name": "global"})
    liar = trained(tmp_path / "x", chosen)[2]
    summary = over_devices(tmp_path / "run", chosen, Nodes([liar], 7.0))
    (dropped,) = [e for e in RunFolder(tmp_path / "run").events() if e["kind"] == "dropped" and e["round"] == 0]
    assert (dropped["client"], dropped["reason"]) == (liar, "a person counts once")
    assert summary["dropped"] >= 1
    mean, _ = moments([c for c in trained(tmp_path / "y", chosen) if c != liar])
    np.testing.assert_allclose(told(tmp_path / "run")["centre"], mean, rtol=1e-12)


def test_what_moments_can_be() -> None:
    def answer(count: float, mean: float, square: float) -> dict[str, np.ndarray]:
        return {COUNT: np.array([count]), MEAN: np.array([mean]), SQUARE: np.array([square])}

    assert implausible(answer(1, 0.5, 0.3), True) == ""
    assert implausible(answer(1, 50.0, 3000.0), False) == ""
    assert "below the square" in implausible(answer(1, 0.5, 0.2), True)
    assert "beyond" in implausible(answer(1, 2.0, 5.0), True)
    assert "once" in implausible(answer(3, 0.5, 0.3), True)


def test_a_bound_limits_what_one_person_moves(tmp_path: Path) -> None:
    """Values of 1e30 are cut to it; under a robust aggregator without a bound the median of people decides."""
    honest = config({"name": "global"})
    hostile = trained(tmp_path / "x", honest)[0]
    source = {"hostile": hostile}
    experiment.run_experiment(
        config({"name": "global", "centre": [60.0, 0.0], "bound": [50.0, 50.0]}, source=source), tmp_path / "b"
    )
    assert abs(told(tmp_path / "b")["centre"][1] - (8 * 5.0 + 50.0) / 9) < 1e-9
    robust = config({"name": "global"}, source=source, strategy={"name": "median", "weighting": "samples"})
    experiment.run_experiment(robust, tmp_path / "m")
    assert told(tmp_path / "m")["centre"][1] == 5.0


@pytest.mark.parametrize("section", ["privacy", "secure_aggregation"])
def test_protected_answers_need_a_bound(section: str) -> None:
    on = PRIVACY if section == "privacy" else {"on": True}
    key = "privacy.mechanism" if section == "privacy" else "secure_aggregation.on"
    with pytest.raises(ConfigError, match=rf"transform.bound = \[0.0\]: must be > 0 with {key}"):
        config({"name": "global"}, **{section: on})


def test_secure_aggregation_gives_the_same_numbers(tmp_path: Path) -> None:
    bounded = {"name": "global", "centre": [60.0, 5.0], "bound": [50.0]}
    strategy = {"cohort": 8}
    for name, on in (("plain", {}), ("sum", {"on": True, "drop_out": 0.1}), ("masked", {"on": True, "drop_out": 0.1})):
        chosen = config(bounded, secure_aggregation=on, strategy=strategy, engine={"masks": name == "masked"})
        experiment.run_experiment(chosen, tmp_path / name)
    assert told(tmp_path / "sum")["centre"] == told(tmp_path / "masked")["centre"]
    step = 50.0 * 9 / 2**31  # of one person's number: 1 / ⌊(2³¹ − 1) / 9⌋ of the bound
    for key, most in (("centre", step), ("scale", 1e-3)):
        np.testing.assert_allclose(told(tmp_path / "sum")[key], told(tmp_path / "plain")[key], rtol=0, atol=most)


def ledger(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "privacy.jsonl").read_text().splitlines()]


@pytest.mark.long
@pytest.mark.parametrize(("mechanism", "sigma"), [("central", 0.5), ("client", 0.5), ("local", 0.1)])
def test_it_is_one_release_with_a_line_of_its_own(mechanism: str, sigma: float, tmp_path: Path) -> None:
    """σ is such that the count of nine people stays ≥ 5 standard deviations above a refusal."""
    sampling = "poisson" if mechanism == "central" else "fixed"
    privacy = PRIVACY | {"mechanism": mechanism, "sampling": sampling, "noise_multiplier": sigma}
    bounded = {"name": "global", "centre": [60.0, 5.0], "bound": [50.0]}
    summary = experiment.run_experiment(config(bounded, privacy=privacy), tmp_path / "run")
    lines = ledger(tmp_path / "run")
    assert [line["round"] for line in lines] == [0, 1, 2]
    assert (lines[0]["cohort"], lines[0]["people"], lines[0]["noise_multiplier"]) == (9, 9, sigma)
    assert lines[0]["clip"] == math.sqrt(5.0)  # a count, two means and two mean squares, each at most 1
    how: Any = {"central": "poisson", "client": "fixed", "local": "none"}[mechanism]
    first: Any = "poisson" if mechanism == "central" else "none"
    expected = accounting.spent(((Release(sigma, 9, 9, first), 1), (Release(sigma, 4, 9, how), 2)), 1e-3)
    assert summary["privacy"]["epsilon"] == expected > accounting.epsilon(Release(sigma, 4, 9, how), 2, 1e-3)
    assert summary["privacy"]["rounds"] == 2
    assert "people" not in told(tmp_path / "run")
    assert told(tmp_path / "run")["dropped"] == []


def test_noise_is_of_the_stated_size_and_floors_stay_above_it() -> None:
    bounded = Global(centre=(60.0,), bound=(50.0,))
    quiet = channel_scale(np.array([0.1]), np.array([0.05]), bounded)
    np.testing.assert_allclose(quiet["scale"], 50.0 * math.sqrt(0.05 - 0.01))
    noisy = channel_scale(np.array([0.1]), np.array([0.0101]), bounded, 0.04)
    np.testing.assert_allclose(noisy["scale"], 50.0 * math.sqrt(0.04 * math.sqrt(1.04)))
    assert noisy["floored"] == [0]


@pytest.mark.long
def test_a_killed_question_is_paid_for_twice(tmp_path: Path) -> None:
    bounded = {"name": "global", "centre": [60.0, 5.0], "bound": [50.0]}
    chosen = config(bounded, privacy=PRIVACY | {"noise_multiplier": 0.5})
    experiment.run_experiment(chosen, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    for name in ("summary.json", LEARNT):
        (tmp_path / "run" / name).unlink()
    (tmp_path / "run" / "events.jsonl").write_text("")
    lines = (tmp_path / "run" / "privacy.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "privacy.jsonl").write_text(lines[0])
    summary = experiment.resume_experiment(tmp_path / "run")
    assert [line["round"] for line in ledger(tmp_path / "run")] == [0, 0, 1, 2]
    releases = ((Release(0.5, 9, 9, "poisson"), 2), (Release(0.5, 4, 9, "poisson"), 2))
    assert summary["privacy"]["epsilon"] == accounting.spent(releases, 1e-3)


@pytest.mark.long
def test_a_budget_has_room_for_the_scale(tmp_path: Path) -> None:
    """σ is found for the rounds and the scale together."""
    bounded = {"name": "global", "centre": [60.0, 5.0], "bound": [50.0]}
    privacy = PRIVACY | {"noise_multiplier": 0.0, "epsilon": 12.0}
    summary = experiment.run_experiment(config(bounded, privacy=privacy), tmp_path / "run")
    assert 11.9 < summary["privacy"]["epsilon"] <= 12.0
    assert summary["rounds"] == 2


def test_a_question_that_leaves_no_round_is_not_asked(tmp_path: Path) -> None:
    """It is a release like a round, and is asked again after a kill or where no answer came."""
    bounded = {"name": "global", "centre": [60.0, 5.0], "bound": [50.0]}
    made = config(bounded, privacy=PRIVACY | {"epsilon": 25.0})
    sampler = ClientSampler(SourceDirectory(ClientExecutor(made.client_config()).source), made)
    plan = make_plan(made, sampler)
    assert plan is not None
    budget = Budget(plan, sampler, tmp_path)

    def ask_again_and_again() -> None:
        while True:
            budget.begin_scale(1.0)

    with pytest.raises(ConfigError, match=r"privacy\.epsilon = 25\.0: leaves no round after \d+ questions"):
        ask_again_and_again()
    asked = budget.scales
    assert asked >= 1
    assert plan.epsilon(1, times=asked) <= 25.0 < plan.epsilon(1, times=asked + 1)
    assert len(ledger(tmp_path)) == asked


def test_nobody_has_a_usable_answer(tmp_path: Path) -> None:
    with pytest.raises(
        NoResultError, match=r"transform.name = 'global': no client gave a usable answer: a person counts"
    ):
        over_devices(tmp_path / "run", config({"name": "global"}), Nodes(range(12), 7.0))


def mse(path: Path, transform: dict[str, Any] | None) -> float:
    chosen = config(transform, run={"rounds": 40}, checkpoint={"every": 0})
    scores = experiment.run_experiment(chosen, path)["scores"]
    return min(float(s["mean"]) for s in scores if s["metric"] == "mse")


def test_by_default_a_regression_keeps_levels(tmp_path: Path) -> None:
    """Bug: the default was ``standardise``, which left nothing of them: an mse of about the level's variance."""
    ours, bare = mse(tmp_path / "default", None), mse(tmp_path / "standardise", {"name": "standardise"})
    assert mse(tmp_path / "global", {"name": "global"}) == ours
    print(ours, bare)
    assert ours < 0.1 * bare
    events = RunFolder(tmp_path / "default").events()
    assert [e["chosen"] for e in events if e["kind"] == "transform" and "chosen" in e] == ["global"]


def test_by_default_protected_regression_is_told_what_it_loses(tmp_path: Path) -> None:
    experiment.run_experiment(config(privacy=PRIVACY), tmp_path / "run")
    (event,) = [e for e in RunFolder(tmp_path / "run").events() if e["kind"] == "transform"]
    assert event["chosen"] == "standardise"
    assert "takes each person's level away" in event["reason"]
    assert learned(config(), tmp_path / "run") == config()
