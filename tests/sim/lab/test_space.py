"""Search spaces: what is refused, and what is drawn."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from metapulse.errors import ConfigError
from metapulse.server.config import build_config, merge
from metapulse.sim.lab.space import Choices, Range, Space, draw, nested_table, read_space

TABLE: dict[str, Any] = {"learner": {"name": "fedprox"}, "strategy": {"name": "fedmaml"}, "model": {"name": "mlp"}}
RAW: dict[str, Any] = {
    "learner.inner_lr": {"low": 0.001, "high": 1, "log": True},
    "learner.mu": {"low": 0, "high": 4},
    "learner.inner_steps": {"low": 1, "high": 20, "log": True},
    "strategy.lr": {"low": 0.5, "high": 1.0, "step": 0.25},
    "strategy.cohort": {"low": 4, "high": 16, "step": 4},
    "model.hidden": {"choices": [[32], [64, 32], []]},
    "evaluation.adapt.inner_lr": {"low": 0.01, "high": 0.1},
}


def space() -> Space:
    return read_space(RAW, TABLE)


def test_a_range_holds_what_its_setting_holds() -> None:
    """Whole numbers for a setting that is whole; a whole end of another's range is only a way to write it."""
    read = space()
    assert read["learner.mu"] == Range(0.0, 4.0)
    assert not read["learner.mu"].whole
    assert read["learner.inner_steps"] == Range(1, 20, log=True)
    assert read["learner.inner_steps"].whole
    assert read["model.hidden"] == Choices(([32], [64, 32], []))
    assert not read["evaluation.adapt.inner_lr"].whole


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "section": ({"run.rounds": {"low": 1, "high": 9}}, r"space.run.rounds = .*must be a setting of learner"),
    "people": ({"split.test": {"low": 0.1, "high": 0.2}}, r"space.split.test"),
    "question": ({"evaluation.shots": {"choices": [[1], [5]]}}, r"space.evaluation.shots"),
    "no section": ({"inner_lr": {"low": 0.1, "high": 0.2}}, r"must be a setting of"),
    "name": ({"learner.name": {"choices": ["maml", "anil"]}}, r"space.learner.name"),
    "misspelt": ({"learner.inner_rate": {"low": 0.1, "high": 0.2}}, r"no such setting \(there are: .*inner_lr"),
    "another learner's": ({"learner.lam": {"low": 0.1, "high": 0.2}}, r"space.learner.lam"),
    "adapt": ({"evaluation.adapt.rate": {"low": 0.1, "high": 0.2}}, r"space.evaluation.adapt.rate"),
    "no table": ({"learner.mu": 3}, r"space.learner.mu = 3"),
    "no end": ({"learner.mu": {"low": 0.1}}, r"space.learner.mu.*high"),
    "unknown": ({"learner.mu": {"low": 0.1, "high": 1, "base": 2}}, r"space.learner.mu.base = 2: unknown key"),
    "text": ({"learner.mu": {"low": "a", "high": 1}}, r"space.learner.mu.low = 'a'"),
    "order": ({"learner.mu": {"low": 2, "high": 1}}, r"space.learner.mu.high = 1: must be > low"),
    "logarithm of 0": ({"learner.mu": {"low": 0, "high": 1, "log": True}}, r"space.learner.mu.log"),
    "log and step": ({"learner.mu": {"low": 1, "high": 3, "log": True, "step": 1}}, r"space.learner.mu.log"),
    "fraction": ({"learner.inner_steps": {"low": 1, "high": 2.5}}, r"space.learner.inner_steps = 2.5: expected an int"),
    "fractional step": ({"learner.inner_steps": {"low": 1, "high": 3, "step": 0.5}}, r"inner_steps.step = 0.5"),
    "out of range": ({"learner.inner_lr": {"low": 0.0, "high": 1.0}}, r"space.learner.inner_lr = 0.0: must be > 0"),
    "one choice": ({"learner.mu": {"choices": [1.0]}}, r"space.learner.mu.choices = \[1.0\]"),
    "wrong choice": ({"learner.optimizer": {"choices": ["sgd", "lion"]}}, r"space.learner.optimizer = 'lion'"),
    "a switch": ({"learner.optimizer": {"low": 0, "high": 1}}, r"space.learner.optimizer = 0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_name_their_key(mistake: str) -> None:
    raw, message = MISTAKES[mistake]
    with pytest.raises(ConfigError, match=message):
        read_space(raw, TABLE)


def test_every_draw_is_in_its_range_and_makes_a_configuration() -> None:
    read = space()
    for point in draw(read, 40, seed=3):
        assert list(point) == list(RAW)
        for key, values in read.items():
            if isinstance(values, Choices):
                assert point[key] in values.choices
            else:
                assert values.low <= point[key] <= values.high
                assert isinstance(point[key], int if values.whole else float)
        assert point["strategy.lr"] in (0.5, 0.75, 1.0)
        assert point["strategy.cohort"] in (4, 8, 12, 16)
        made = build_config(merge(copy.deepcopy(TABLE), nested_table(point)))
        assert made.learner["inner_lr"] == point["learner.inner_lr"]
        assert made.evaluation.adapt == {"inner_lr": point["evaluation.adapt.inner_lr"]}


def test_draws_cover_a_range_evenly_on_its_own_scale() -> None:
    """16 of 17 points are a Sobol sequence (the first is drawn apart): one in each sixteenth, here of three decades."""
    rates = [point["learner.inner_lr"] for point in draw(space(), 17, seed=0)]
    sixteenths = sorted(int(16 * (math.log10(rate) + 3) / 3) for rate in rates)
    assert set(sixteenths) == set(range(16))


def test_draws_have_an_address() -> None:
    a, b, c = draw(space(), 5, 1), draw(space(), 5, 1), draw(space(), 5, 2)
    assert a == b
    assert a != c
    assert draw(space(), 3, 1) == a[:3]


def test_keys_become_nested_tables() -> None:
    assert nested_table({"a.b": 1, "a.c.d": 2, "e.f": [3]}) == {"a": {"b": 1, "c": {"d": 2}}, "e": {"f": [3]}}
