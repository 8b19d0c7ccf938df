"""Settings without effect because of other sections: refused, or reported where several runs share them.

Within a section ``used_if`` says it where a setting is declared (``metapulse.settings``); what depends on two sections,
or on the task, is here. Settings at their default are ignored.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from metapulse.data import Task
from metapulse.episodes import EpisodePlan
from metapulse.errors import ConfigError
from metapulse.metrics.chosen import check_metrics
from metapulse.registry import ATTACKS, LEARNERS, SOURCES
from metapulse.server.evaluation import EvaluationSettings
from metapulse.server.method import Sections, conflicts
from metapulse.server.simulated import FaultSettings
from metapulse.settings import default_of
from metapulse.strategies.registry import STRATEGIES
from metapulse.strategies.secure import SecureSettings

REGISTERED = {"source": SOURCES, "learner": LEARNERS}
#: Settings of a descent that nothing reads where no step of it is judged.
INNER_LOOP = frozenset({"inner_lr", "inner_steps", "batch_size", "order", "optimizer"})
#: "section.key", and why it is idle.
Idle: TypeAlias = tuple[str, str]


@runtime_checkable
class _Sections(Sections, Protocol):
    """What is read of a configuration, which is built on this file."""

    @property
    def run(self) -> Any: ...
    @property
    def source(self) -> Mapping[str, Any]: ...
    @property
    def split(self) -> Any: ...
    @property
    def episodes(self) -> EpisodePlan: ...
    @property
    def secure_aggregation(self) -> SecureSettings: ...
    @property
    def attack(self) -> Mapping[str, Any]: ...
    @property
    def faults(self) -> FaultSettings: ...
    @property
    def evaluation(self) -> EvaluationSettings: ...
    @property
    def checkpoint(self) -> Any: ...


def check_effect(config: _Sections) -> None:
    """Refuse settings that nothing reads because of what stands in another section.

    Raises:
        ConfigError: names the setting and why it has no effect.
    """
    for key, why in (*_scenarios(config), *_rounds(config)):
        if (value := _value(config, key)) is not None:
            raise ConfigError(key, value, f"has no effect: {why}")
    for key, why in _adapted(config):
        raise ConfigError(f"evaluation.adapt.{key}", config.evaluation.adapt[key], f"has no effect: {why}")


def check_data(config: _Sections, task: Task, devices: Sequence[str]) -> None:
    """Refuse settings that say nothing about such data, and attacks and metrics of what it does not have.

    Raises:
        ConfigError: names the setting and why.
    """
    ATTACKS.make(config.attack).check(task)
    check_metrics(config.evaluation.metrics, task)
    if unknown := sorted(set(config.faults.speed) - set(devices)):
        raise ConfigError("faults.speed", unknown, f"must be among {', '.join(devices)}")
    for key in ("evaluation.restrict", "evaluation.not_offered"):
        if task.kind == "regression" and (value := _value(config, key)) is not None:
            raise ConfigError(key, value, "has no effect: regression has no classes that could be left out")


def notes(config: _Sections) -> list[str]:
    """A line for each setting that this run does not read, and that others may share with it."""
    there = ((key, _value(config, key), why) for key, why in (*_named(config), *_shared(config)))
    own = [f"{key} = {value!r} {why} (method.free)" for key, value, why in conflicts(config)]
    return (
        [f"{key} = {value!r} has no effect: {why}" for key, value, why in there if value is not None]
        + own
        + _late(config)
    )


def idle(config: _Sections) -> dict[str, str]:
    """Settings that nothing reads because of what stands in other sections: "section.key" → why."""
    return dict((*_named(config), *_scenarios(config), *_rounds(config), *_shared(config)))


def _late(config: _Sections) -> list[str]:
    """What is asked for every so many rounds, of which the run has fewer."""
    rounds = config.run.rounds
    asked = {
        "evaluation.every": (config.evaluation.every, "people are asked at the end alone"),
        "checkpoint.every": (config.checkpoint.every, "there is a checkpoint at the end alone"),
    }
    late = {key: one for key, one in asked.items() if one[0] > rounds > 0}
    return [f"{key} = {every} is more than run.rounds = {rounds}: {what}" for key, (every, what) in late.items()]


def _named(config: _Sections) -> Iterator[Idle]:
    s = config.split
    if s.test_users and s.test:
        yield "split.test", "split.test_users names them"
    if s.validation_users and s.validation:
        yield "split.validation", "split.validation_users names them"
    if s.validation_users and s.test_users:
        yield "split.seed", "all people are named, and none is drawn"


def _scenarios(config: _Sections) -> Iterator[Idle]:
    e = config.evaluation
    if "new_device_history" not in e.scenarios:
        yield "evaluation.history_steps", "it is for the scenario new_device_history"
    if set(e.scenarios) == {"known_user"} and config.episodes.split == "held_out" != e.split:
        yield "evaluation.split", "known people are tested on what episodes.split = 'held_out' keeps apart"


def _adapted(config: _Sections) -> Iterator[Idle]:
    """Settings of ``evaluation.adapt`` that are another value than in training, and that no test reads."""
    e, learner = config.evaluation, LEARNERS.make(config.learner)
    history = any(scenario.endswith("_history") for scenario in e.scenarios) and e.history_steps
    for key, value in e.adapt.items():
        if value == getattr(learner, key, value):  # a key that it lacks is refused where the trial is built
            continue
        if key in learner.rounds_only:
            rounds = f"learner.name = {config.learner['name']!r} reads it in training rounds alone"
            steps = "; evaluation.steps says after how many steps people are judged" if key == "inner_steps" else ""
            yield key, rounds + steps
        elif key in INNER_LOOP and not any(e.steps) and not history:
            yield key, f"evaluation.steps = {list(e.steps)} judges people before any step"


def _rounds(config: _Sections) -> Iterator[Idle]:
    strategy = STRATEGIES.make(config.strategy)
    if not config.secure_aggregation.on:
        yield "engine.masks", "nothing is masked without secure_aggregation.on"
    asked = math.ceil(strategy.cohort * (1.0 + config.faults.over_selection))
    if asked and strategy.min_replies > asked:
        raise ConfigError("strategy.min_replies", strategy.min_replies, f"must be ≤ {asked}, the clients of a round")
    if not strategy.cohort:
        yield "faults.over_selection", "strategy.cohort = 0 asks all people as it is"


def _shared(config: _Sections) -> Iterator[Idle]:
    """What stands in a common part of suites and comparisons, or is written once for several scenarios."""
    e, strategy, learner = config.evaluation, STRATEGIES.make(config.strategy), config.learner["name"]
    if not LEARNERS[learner].uses_query_set:
        for key in ("shots", "query", "vary"):
            yield f"episodes.{key}", f"learner.name = {learner!r} trains on all samples of a device"
    if "known_user" not in e.scenarios:  # devices keep their α, and no person who has one is judged
        yield "learner.adaptive", "people who are new to the run start from learner.alpha"
    if config.split.folds:
        yield "split.test", "split.folds says how many are tested"
    if not any(scenario.startswith("new_device") for scenario in e.scenarios):
        for key in ("devices", "validation_devices"):
            yield f"evaluation.{key}", "it is for the scenarios new_device and new_device_history"
    elif not e.validation_every and e.phase == "test":
        yield "evaluation.validation_devices", "no validation people are asked without evaluation.validation_every"
    if config.secure_aggregation.on and strategy.weighting == "uniform":
        yield "secure_aggregation.max_weight", "strategy.weighting = 'uniform' has no weights"
    for key, why in getattr(SOURCES.make(config.source), "unread", {}).items():
        yield f"source.{key}", why


def _value(config: _Sections, key: str) -> Any:
    """A setting's value where it is not the default, else None."""
    name, _, setting = key.partition(".")
    section = getattr(config, name)
    if name in REGISTERED:
        section = REGISTERED[name].make(section)
    field = next((field for field in dataclasses.fields(section) if field.name == setting), None)
    value = None if field is None else getattr(section, setting)
    same = field is None or value == default_of(field)
    return None if same else list(value) if isinstance(value, tuple) else value
