"""No setting without effect: what a learner inherits and never reads, it says so, and says nothing else."""

from __future__ import annotations

import dataclasses
from itertools import islice
from typing import Any

import pytest
import torch

from metapulse.errors import ConfigError
from metapulse.methods.base import Learner
from metapulse.models.mlp import MLP
from metapulse.registry import LEARNERS
from metapulse.rng import generator
from metapulse.settings import build
from tests.cases import classification, episode, keys, regression
from tests.runs import CURVES

OTHERS: dict[str, Any] = {"inner_lr": 0.3, "batch_size": 2, "optimizer": "adam", "order": "sequential"}
TASKS = {True: regression(3), False: classification(3)}


def outcome(learner: Learner, curves: bool) -> list[torch.Tensor]:
    """Everything that comes of a learner: two rounds of three clients, and four points of adaptation."""
    task = TASKS[curves]
    model = MLP(hidden=(4,), activation="tanh", task=task)
    ep = episode(task, (5, 2, 3), (2, 4, 1))
    meta = learner.init(model, generator(0, "init"))
    report = learner.update(model, meta, {}, ep, keys(range(3), 1))
    moved = {name: p - report.update[name].mean(0) for name, p in meta.items()}
    again = learner.update(model, moved, report.state, ep, keys(range(3), 2))
    path = islice(learner.path(model, moved, again.state, ep.support, keys(range(3), 0)), 4)
    found = [learner.predict(model, phi, ep.query.x) for phi in path]
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
    "snail": {"length"},  # with more samples than it reaches
}


def other(kind: type[Learner], field: dataclasses.Field[Any]) -> Any:
    """Another value than the default, of the same kind."""
    value, choices = field.default, field.metadata["choices"]
    if field.name in OTHERS:
        return OTHERS[field.name]
    if choices:
        return next(choice for choice in choices if choice != value)
    if isinstance(value, tuple):
        return (*value[:-1], 5)
    if isinstance(value, str):
        return f"{value}x"
    return not value if isinstance(value, bool) else value + 2 if isinstance(value, int) else 0.7 * value + 0.05


def unread(name: str) -> set[str]:
    """The settings that change nothing, found by changing one at a time."""
    kind, curves, found = LEARNERS[name], name in CURVES, set()
    for field in dataclasses.fields(kind):
        drawn = field.name == "order" or (field.name == "inner_steps" and kind.local)
        beside = {"batch_size": 2} if drawn else {}
        try:
            after = outcome(kind(**beside, **{field.name: other(kind, field)}), curves)
        except ConfigError:  # refused, with a reason of its own
            continue
        if same(outcome(kind(**beside), curves), after):
            found.add(field.name)
    return found


@pytest.mark.parametrize("name", sorted(LEARNERS))
def test_a_learner_says_what_it_does_not_read(name: str) -> None:
    assert unread(name) - ELSEWHERE.get(name, set()) == LEARNERS[name].unread


@pytest.mark.parametrize("name", sorted(n for n in LEARNERS if LEARNERS[n].unread))
def test_what_is_not_read_is_refused_unless_it_is_the_default(name: str) -> None:
    kind = LEARNERS[name]
    for field in dataclasses.fields(kind):
        if field.name in kind.unread:
            build(kind, {field.name: field.default}, "learner")
            with pytest.raises(ConfigError, match=f"learner.{field.name} = .*has no effect"):
                build(kind, {field.name: other(kind, field)}, "learner")
