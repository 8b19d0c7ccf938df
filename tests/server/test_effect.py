"""Settings without effect are refused, with the reason; at their defaults they may stand anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metapulse.errors import ConfigError
from metapulse.server.config import build_config, resolved
from metapulse.server.effect import notes
from metapulse.sim.experiment import run_experiment
from tests.runs import make

HELD = {"episodes": {"split": "held_out"}, "evaluation": {"scenarios": ["known_user"], "split": "samples"}}
IDLE: list[tuple[str, dict[str, Any]]] = [
    ("strategy.beta1", {"strategy": {"name": "fedavg", "beta1": 0.5}}),
    ("strategy.beta2", {"strategy": {"name": "fedavg", "outer": "momentum", "beta2": 0.5}}),
    ("strategy.tau", {"strategy": {"name": "fedavg", "tau": 0.5}}),
    ("strategy.weighting", {"strategy": {"name": "median", "weighting": "uniform"}}),
    ("privacy.quantile", {"privacy": {"mechanism": "none", "quantile": 0.4}}),
    ("faults.outage_rounds", {"faults": {"outage_rounds": 2}}),
    ("faults.speed", {"faults": {"speed": {"watch": 2.0}}}),
    ("faults.night_h", {"faults": {"night_h": 7.0}}),
    ("faults.partial_least", {"faults": {"partial_least": 0.5}}),
    ("faults.over_selection", {"strategy": {"cohort": 0}, "faults": {"over_selection": 0.5}}),
    ("episodes.vary", {"episodes": {"shots": 0, "vary": True}}),
    ("evaluation.history_steps", {"evaluation": {"history_steps": 3}}),
    ("evaluation.not_offered", {"evaluation": {"restrict": False, "not_offered": "wrong"}}),
    ("evaluation.split", HELD),
    ("engine.masks", {"engine": {"masks": True}}),
    ("learner.order", {"learner": {"name": "fedavg", "order": "sequential"}}),
    ("evaluation.adapt.inner_steps", {"evaluation": {"adapt": {"inner_steps": 7}}}),
    ("evaluation.adapt.inner_lr", {"evaluation": {"adapt": {"inner_lr": 0.3}, "steps": [0]}}),
    ("evaluation.adapt.inner_lr", {"learner": {"name": "fedavg"}, "evaluation": {"adapt": {"inner_lr": 0.3}}}),
    ("evaluation.adapt.cg_steps", {"learner": {"name": "imaml"}, "evaluation": {"adapt": {"cg_steps": 9}}}),
    ("learner.delta", {"learner": {"name": "per_fedavg", "delta": 0.1}}),
]


#: Told of in a line, because methods, data sets or scenarios beside this one may read them.
SHARED: list[tuple[str, dict[str, Any]]] = [
    ("split.test", {"split": {"test": 0.3, "test_users": ["1"]}}),
    ("split.validation", {"split": {"validation": 0.3, "validation_users": ["1"]}}),
    ("split.seed", {"split": {"seed": 1, "validation_users": ["1"], "test_users": ["2"]}}),
    ("evaluation.devices", {"evaluation": {"devices": ["ring"]}}),
    ("evaluation.validation_devices", {"evaluation": {"scenarios": ["new_device"], "validation_devices": ["ring"]}}),
    ("split.test", {"split": {"test": 0.3, "folds": 3}}),
    ("source.points", {"source": {"name": "sine", "variant": "reptile", "points": 30}}),
    ("secure_aggregation.max_weight", {"secure_aggregation": {"on": True, "max_weight": 9.0}}),
    ("learner.adaptive", {"learner": {"name": "apfl", "adaptive": True}}),
    ("episodes.shots", {"episodes": {"shots": 3}}),
]


@pytest.mark.parametrize(("key", "table"), IDLE, ids=[key for key, _ in IDLE])
def test_setting_without_effect_is_refused(key: str, table: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"^{key} = .*has no effect"):
        build_config(table)


def test_settings_of_adaptation_are_taken_where_a_step_is_taken_before_people_are_judged() -> None:
    adapt: dict[str, Any] = {"adapt": {"inner_lr": 0.3}, "steps": [0]}
    history = {**adapt, "scenarios": ["new_device_history"]}
    for table in ({**adapt, "steps": [0, 1]}, history, {**adapt, "adapt": {"inner_lr": 0.01}}):
        build_config({"evaluation": table})
    build_config({"learner": {"name": "meta_sgd"}, "evaluation": {"adapt": {"inner_steps": 7}}})


def test_with_what_it_belongs_to_it_is_taken() -> None:
    build_config(
        {
            "strategy": {"name": "fedavg", "outer": "yogi", "beta1": 0.5, "beta2": 0.5, "tau": 0.5},
            "faults": {"outage": 0.1, "outage_rounds": 2, "deadline_s": 1.0, "speed": {"watch": 2.0}},
            "learner": {"name": "fedavg", "batch_size": 4, "order": "sequential"},
        }
    )


def test_defaults_written_out_are_no_mistake() -> None:
    config = make("fedavg", "fedavg")
    assert build_config(resolved(config)).digest() == config.digest()


def test_classes_say_nothing_about_regression(tmp_path: Path) -> None:
    config = make("reptile", "fedavg", "sine", evaluation={"restrict": False})
    with pytest.raises(ConfigError, match=r"^evaluation.restrict = False: has no effect"):
        run_experiment(config, tmp_path / "run")


@pytest.mark.parametrize(("key", "table"), SHARED, ids=[key for key, _ in SHARED])
def test_shared_setting_without_effect_is_told_of(key: str, table: dict[str, Any]) -> None:
    (line,) = notes(build_config(table))  # of fedreptile and reptile, the default
    assert line.startswith(f"{key} = ")
    assert "has no effect: " in line


@pytest.mark.parametrize("key", ["evaluation.every", "checkpoint.every"])
def test_what_falls_after_the_last_round_is_told_of(key: str) -> None:
    section = key.split(".")[0]
    (line,) = notes(build_config({"run": {"rounds": 3}, section: {"every": 4}}))
    assert line.startswith(f"{key} = 4 is more than run.rounds = 3: ")
    assert notes(build_config({"run": {"rounds": 3}, section: {"every": 3}})) == []


@pytest.mark.parametrize(
    "key",
    ["split.train_devices", "split.test_users", "split.validation_users", "evaluation.devices"],
)
def test_a_list_that_names_one_twice_is_refused(key: str) -> None:
    section, name = key.split(".")
    with pytest.raises(ConfigError, match=rf"^{key} = \['a', 'b', 'a'\]: each may be named once; named twice: a"):
        build_config({section: {name: ["a", "b", "a"]}})


@pytest.mark.parametrize(
    "section", [{"privacy": {"mechanism": "central", "noise_multiplier": 1.0}}, {"secure_aggregation": {"on": True}}]
)
def test_what_protection_refuses_is_shown_as_it_was_written(section: dict[str, Any]) -> None:
    strategy = {"strategy": {"name": "fedavg", "weighting": "uniform"}}
    with pytest.raises(ConfigError, match=r"^attack.name = 'ipm'"):
        build_config({**section, **strategy, "attack": {"name": "ipm"}})
    with pytest.raises(ConfigError, match=r"^strategy.name = 'stock'"):
        build_config({**section, "strategy": {"name": "stock"}})


def test_what_is_read_is_not_told_of() -> None:
    assert notes(make("fomaml", "fedmaml")) == []


def test_a_speed_of_a_device_that_nobody_wears_is_refused(tmp_path: Path) -> None:
    config = make("reptile", "fedavg", faults={"deadline_s": 1.0, "speed": {"wach": 2.0}})
    with pytest.raises(ConfigError, match=r"^faults.speed = \['wach'\]: must be among watch"):
        run_experiment(config, tmp_path / "run")


def test_a_layer_beyond_memory_is_refused_in_a_line(tmp_path: Path) -> None:
    config = make("reptile", "fedavg", "sine", model={"hidden": [16384, 16384]})
    with pytest.raises(ConfigError, match=r"^model = \[16384, 16384\]: a layer of this shape has more than"):
        run_experiment(config, tmp_path / "run")


def test_a_ridge_too_small_to_solve_is_no_crash(tmp_path: Path) -> None:
    config = make("r2d2", "fedmaml", learner={"ridge": 1e-30})
    assert "scores" in run_experiment(config, tmp_path / "run")
