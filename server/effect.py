"""Settings that have no effect beside those of other sections: refused, or told of where a suite has them in common.

Within a section ``used_if`` says it where a setting is declared (``client.settings``), and ``unread`` where a class
inherits it; what depends on two sections, or on the task, is here. A setting at its default is never meant.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from client.data import Task
from client.errors import ConfigError
from client.registry import ATTACKS, LEARNERS
from client.settings import default_of
from strategies.base import OuterSettings
from strategies.registry import STRATEGIES

if TYPE_CHECKING:
    from server.config import Config

#: "section.key", and why it is idle.
Idle: TypeAlias = tuple[str, str]


def check_effect(config: Config) -> None:
    """Refuse settings that nothing reads because of what stands in another section.

    Raises:
        ConfigError: names the setting and why it has no effect.
    """
    for key, why in (*_split(config), *_evaluation(config), *_rounds(config)):
        _refuse(config, key, why)


def check_task(config: Config, task: Task) -> None:
    """Refuse settings that say nothing about such a task, and attacks on what it does not have.

    Raises:
        ConfigError: names the setting and why.
    """
    ATTACKS.make(config.attack).check(task)
    if task.kind == "regression":
        for key in ("evaluation.restrict", "evaluation.not_offered"):
            _refuse(config, key, "no class is offered or left out in regression")


def notes(config: Config) -> list[str]:
    """A line for each setting that the learner does not read; a suite has it for the other methods."""
    learner = LEARNERS[config.learner["name"]]
    if not learner.local:
        return []
    idle = [
        f"episodes.{key} = {value!r}" for key in ("shots", "query", "vary") if (value := _set(config.episodes, key))
    ]
    who = f"learner.name = {config.learner['name']!r} trains on all samples of a device"
    return [f"{', '.join(idle)}: no effect on the training, {who}"] if idle else []


def _split(config: Config) -> Iterator[Idle]:
    s = config.split
    if s.folds:
        yield "split.test", "split.folds says how many are tested"
    if s.test_users:
        yield "split.test", "split.test_users names them"
    if s.validation_users:
        yield "split.validation", "split.validation_users names them"
    if s.validation_users and s.test_users:
        yield "split.seed", "everybody is named, and nobody is drawn"


def _evaluation(config: Config) -> Iterator[Idle]:
    e = config.evaluation
    if "new_device_history" not in e.scenarios:
        yield "evaluation.history_steps", "it is for the scenario new_device_history"
    if not any(scenario.startswith("new_device") for scenario in e.scenarios):
        for key in ("devices", "validation_devices"):
            yield f"evaluation.{key}", "it is for the scenarios new_device and new_device_history"
    if not e.validation_every and e.phase == "test":
        yield "evaluation.validation_devices", "no validation people are asked without evaluation.validation_every"
    if set(e.scenarios) == {"known_user"} and config.episodes.split == "held_out" != e.split:
        yield "evaluation.split", "known people are tested on what episodes.split = 'held_out' keeps apart"


def _rounds(config: Config) -> Iterator[Idle]:
    strategy, secure = STRATEGIES.make(config.strategy), config.secure_aggregation
    if secure.on and isinstance(strategy, OuterSettings) and strategy.weighting == "uniform":
        yield "secure_aggregation.max_weight", "strategy.weighting = 'uniform' has no weights"
    if not secure.on:
        yield "engine.masks", "nothing is masked without secure_aggregation.on"
    asked = math.ceil(strategy.cohort * (1.0 + config.faults.over_selection))
    if asked and isinstance(strategy, OuterSettings) and strategy.min_replies > asked:
        raise ConfigError("strategy.min_replies", strategy.min_replies, f"must be ≤ {asked}, the clients of a round")
    if not strategy.cohort:
        yield "faults.over_selection", "strategy.cohort = 0 asks everybody as it is"
    first, last, rounds = config.attack.get("first", 1), config.attack.get("last", 0), config.run.rounds
    if first > (last or rounds) > 0:
        yield "attack.first", f"no round is left: attack.last = {last}, run.rounds = {rounds}"


def _set(section: object, key: str) -> Any:
    """A setting's value where it is not the default, else None."""
    field = next(field for field in dataclasses.fields(section) if field.name == key)  # type: ignore[arg-type]
    value = getattr(section, key)
    return None if value == default_of(field) else value


def _refuse(config: Config, key: str, why: str) -> None:
    name, _, setting = key.partition(".")
    section = getattr(config, name)
    value = section.get(setting) if isinstance(section, dict) else _set(section, setting)
    if value is not None:
        raise ConfigError(key, list(value) if isinstance(value, tuple) else value, f"has no effect: {why}")
