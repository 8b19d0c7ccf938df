"""A learner reads every setting that it has, and has no part of the inner loop that its paper lacks."""

from __future__ import annotations

import dataclasses
from itertools import islice
from typing import Any, get_type_hints

import pytest
import torch

from metapulse.errors import ConfigError
from metapulse.methods.base import Learner
from metapulse.models.mlp import MLP
from metapulse.registry import LEARNERS
from metapulse.rng import generator
from metapulse.settings import build, choices
from metapulse.trees import Stacked
from tests.cases import classification, episode, keys, regression
from tests.runs import CURVES

OTHERS: dict[str, Any] = {"inner_lr": 0.3, "batch_size": 2, "optimizer": "adam", "order": "sequential"}
TASKS = {True: regression(3), False: classification(3)}


def answers(learner: Learner, model: MLP, phi: Stacked, x: torch.Tensor) -> list[torch.Tensor]:
    """What a learner answers, and how sure it is, where it tells that."""
    return [learner.predict(model, phi, x), *(learner.predictive(model, phi, x) or ())]


def outcome(learner: Learner, curves: bool) -> list[torch.Tensor]:
    """Everything that comes of a learner: two rounds of three clients, and four points of adaptation."""
    task = TASKS[curves]
    model = MLP(hidden=(4,), activation="tanh", task=task)
    ep = episode(task, (5, 2, 3), (2, 4, 1))
    meta = learner.init(model, generator(0, "init"))
    report = learner.update(model, meta, {}, ep, keys(range(3), 1))
    moved = {name: p - report.update[name].mean(0) for name, p in meta.items()}
    again = learner.update(model, moved, report.state, ep, keys(range(3), 2))
    path = islice(learner.adaptation_trajectory(model, moved, again.state, ep.support, keys(range(3), 0)), 4)
    found = [answer for phi in path for answer in answers(learner, model, phi, ep.query.x)]
    for one in (report, again):
        found += [*one.update.values(), *one.state.values(), *one.metrics.values(), one.weight]
    return found


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(
        p.shape == q.shape and torch.equal(p.nan_to_num(), q.nan_to_num()) for p, q in zip(a, b, strict=True)
    )


#: Read under other settings than the defaults, or with more samples than here.
ELSEWHERE = {
    "class_mean": {"reads"},  # of samples with an axis of time
    "fednova": {"epochs", "inner_steps"},  # a share of one pass is one step, and 100 are a bound
    "local_norm": {"layers"},  # of models that have such
    "mann": {"decay"},  # with more samples than slots
    "per_fedavg": {"delta"},  # of the variant without Hessians
    "pooled_ridge": {"freedom"},  # of regressions, which have variances
    "random_effects": {"freedom"},
    "snail": {"length"},  # with more samples than it reaches
}


def other(kind: type[Learner], field: dataclasses.Field[Any]) -> Any:
    """Another value than the default, of the same kind."""
    value, words = field.default, choices(get_type_hints(kind)[field.name])
    if field.name in OTHERS:
        return OTHERS[field.name]
    if words:
        return next(word for word in words if word != value)
    if isinstance(value, tuple):
        return (*value[:-1], 5)
    if isinstance(value, str):
        return f"{value}x"
    return not value if isinstance(value, bool) else value + 2 if isinstance(value, int) else 0.7 * value + 0.05


def unread(name: str) -> set[str]:
    """The settings that change nothing, found by changing one at a time."""
    kind, curves, found = LEARNERS[name], name in CURVES, set()
    for field in dataclasses.fields(kind):
        drawn = field.name == "order" or (field.name == "inner_steps" and not kind.uses_query_set)
        beside = {"batch_size": 2} if drawn else {}
        try:
            after = outcome(kind(**beside, **{field.name: other(kind, field)}), curves)
        except ConfigError:  # refused, with a reason of its own
            continue
        if same(outcome(kind(**beside), curves), after):
            found.add(field.name)
    return found


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_a_learner_reads_every_setting_that_it_has(name: str) -> None:
    assert unread(name) - ELSEWHERE.get(name, set()) == set()


def judged(kind: type[Learner], settings: dict[str, Any], curves: bool) -> list[torch.Tensor]:
    """Answers at six points of adaptation with settings that differ from those of the round before."""
    task = TASKS[curves]
    model, ep = MLP(hidden=(4,), activation="tanh", task=task), episode(task, (5, 2, 3), (2, 4, 1))
    trained, learner = kind(), kind(**settings)
    meta = trained.init(model, generator(0, "init"))
    report = trained.update(model, meta, {}, ep, keys(range(3), 1))
    moved = {name: p - report.update[name].mean(0) for name, p in meta.items()}
    path = islice(learner.adaptation_trajectory(model, moved, report.state, ep.support, keys(range(3), 0)), 6)
    return [answer for phi in path for answer in answers(learner, model, phi, ep.query.x)]


#: Read in tests by people who kept nothing, under other settings than the defaults, or where further steps would hurt.
IN_TESTS = {"apfl": {"alpha"}, "fedem": {"components"}, "fedprox": {"stragglers"}, "meta_sgd": {"inner_steps"}}


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_a_learner_says_what_only_its_rounds_read(name: str) -> None:
    kind, curves, idle = LEARNERS[name], name in CURVES, set()
    for field in dataclasses.fields(kind):
        beside = {"batch_size": 2} if field.name == "order" else {}
        try:
            after = judged(kind, {**beside, field.name: other(kind, field)}, curves)
        except (ConfigError, RuntimeError, KeyError, TypeError):  # refused, or θ would have another shape
            continue
        if same(judged(kind, beside, curves), after):
            idle.add(field.name)
    hidden = ELSEWHERE.get(name, set()) | IN_TESTS.get(name, set())
    assert idle - hidden == (kind.rounds_only & {field.name for field in dataclasses.fields(kind)}) - hidden


#: The settings of the inner loop that learners do not have, because their papers have no such thing.
PARTS = ("inner_lr", "inner_steps", "batch_size", "order", "optimizer")
WITHOUT: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("anil", "apfl", "boil", "cavia", "fedem", "fednova", "imaml", "maml", "maml_pp"), ("optimizer",)),
    **dict.fromkeys(("meta_curvature", "meta_lstm", "scaffold"), ("optimizer",)),
    **dict.fromkeys(("class_mean", "cnp", "majority", "mann", "matching", "persistence", "protonet", "r2d2"), PARTS),
    **dict.fromkeys(("alpaca", "pooled_ridge", "random_effects", "recurrent", "relation", "snail"), PARTS),
    "local_only": ("inner_steps",),
    "meta_sgd": ("inner_lr", "optimizer"),
    "per_fedavg": ("inner_steps", "optimizer"),
}


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_a_part_of_the_inner_loop_that_a_method_does_not_have_is_an_unknown_key(name: str) -> None:
    kind = LEARNERS[name]
    has = {field.name for field in dataclasses.fields(kind)}
    assert tuple(part for part in PARTS if part not in has) == WITHOUT.get(name, ())
    for part in WITHOUT.get(name, ()):
        with pytest.raises(ConfigError, match=f"^learner.{part} = .*: unknown key"):
            build(kind, {part: OTHERS.get(part, 3)}, "learner")
