"""Spaces of one kind of setting are joined; the reference has more trials."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.errors import ConfigError
from metapulse.methods.maml import MAML
from metapulse.sim.lab.sharing import union
from metapulse.sim.lab.space import Choices, Range
from metapulse.sim.lab.tune import studies
from tests.lab import SPEC, spec

UNIONS = {
    "overlap": (Range(0.1, 0.5), Range(0.3, 0.9), Range(0.1, 0.9)),
    "apart": (Range(0.001, 0.01, log=True), Range(0.1, 1.0, log=True), Range(0.001, 1.0, log=True)),
    "one scale": (Range(0.1, 0.5), Range(0.01, 0.2, log=True), Range(0.01, 0.5, log=True)),
    "no logarithm of 0": (Range(0.0, 0.5), Range(0.01, 0.2, log=True), Range(0.0, 0.5)),
    "whole": (Range(1, 5), Range(3, 20), Range(1, 20)),
    "steps": (Range(2, 8, step=2), Range(4, 16, step=2), Range(2, 16, step=2)),
    "other steps": (Range(2, 8, step=2), Range(3, 9, step=3), Range(2, 9)),
    "choices": (Choices((1, 5)), Choices((5, 10, 20)), Choices((1, 5, 10, 20))),
    "range and choices": (Range(0.01, 0.1, log=True), Choices((0.05, 1.0)), Range(0.01, 1.0, log=True)),
    "choices and range": (Choices((5, 20)), Range(1, 10), Range(1, 20)),
    "words": (Choices(("sgd", "adam")), Choices(("adam", "yogi")), Choices(("sgd", "adam", "yogi"))),
    "truth is no number": (Choices((True, False)), Range(1, 5), Choices((True, False, 5))),
}


@pytest.mark.parametrize("case", UNIONS)
def test_unions_by_hand(case):
    a, b, both = UNIONS[case]
    assert union(a, b) == both


ranges = st.builds(
    lambda low, wide, log: Range(low, low + wide, log), st.floats(0.001, 9.0), st.floats(0.01, 9.0), st.booleans()
)


@given(a=ranges, b=ranges, c=ranges)
def test_a_union_holds_both_and_the_order_does_not_matter(a, b, c):
    both = union(a, b)
    assert both == union(b, a)
    assert (both.low, both.high) == (min(a.low, b.low), max(a.high, b.high))
    assert union(both, c) == union(a, union(b, c))
    assert union(a, a) == a


RATES = """
[methods.fedavg_ft.space]
"learner.inner_lr" = { low = 0.001, high = 0.01, log = true }
"strategy.lr" = { low = 0.5, high = 2.0 }
[methods.maml.space]
"learner.inner_lr" = { low = 0.05, high = 0.5, log = true }
"strategy.lr" = { low = 0.0005, high = 0.02, log = true }
"learner.inner_steps" = { choices = [1, 5] }
[methods.meta_sgd]
learner = { name = "meta_sgd" }
strategy = { name = "fedmaml", cohort = 3 }
[methods.meta_sgd.space]
"strategy.lr" = { low = 0.001, high = 0.1, log = true }
"learner.inner_steps" = { choices = [1, 2] }
[tuning]
trials = 4
"""


def test_rates_of_one_kind_are_the_same_for_all(tmp_path):
    """Both descend by the same setting, so they share its rates; Adam's outer rate is none of plain descent; the steps
    of Meta-SGD are a setting of its own class."""
    asked = spec(tmp_path, SPEC + RATES)
    ft, maml, meta = (asked.space("few", name) for name in ("fedavg_ft", "maml", "meta_sgd"))
    assert ft["learner.inner_lr"] == maml["learner.inner_lr"] == Range(0.001, 0.5, log=True)
    assert ft["strategy.lr"] == Range(0.5, 2.0)
    assert maml["strategy.lr"] == meta["strategy.lr"] == Range(0.0005, 0.1, log=True)
    assert (maml["learner.inner_steps"], meta["learner.inner_steps"]) == (Choices((1, 5)), Choices((1, 2)))
    assert asked.untouched("few", "fedavg_ft") == ("learner.inner_steps",)
    assert asked.untouched("few", "maml") == ()
    apart = spec(tmp_path, SPEC + RATES + "shared = false\n")
    assert apart.space("few", "fedavg_ft")["learner.inner_lr"] == Range(0.001, 0.01, log=True)


def test_a_method_that_is_not_tuned_stays_so_and_lends_nothing(tmp_path):
    text = SPEC + RATES.split("[methods.maml.space]")[0] + "[tuning]\ntrials = 4\n"
    asked = spec(tmp_path, text)
    assert (asked.space("few", "maml"), asked.untouched("few", "maml")) == ({}, ())
    assert asked.space("few", "fedavg_ft")["learner.inner_lr"] == Range(0.001, 0.01, log=True)
    left_out = spec(tmp_path, SPEC + RATES.replace("[methods.meta_sgd]", "[methods.meta_sgd]\non.few = false"))
    assert left_out.space("few", "maml")["strategy.lr"] == Range(
        0.0005, 0.02, log=True
    )  # who is not there lends nothing
    assert left_out.space("many", "maml")["strategy.lr"] == Range(0.0005, 0.1, log=True)


@dataclass(frozen=True)
class Careful(MAML):
    """Its rate is the setting of all who descend, but may not be large."""

    def __post_init__(self):
        if self.inner_lr > 0.1:
            raise ConfigError("inner_lr", self.inner_lr, "must be ≤ 0.1")


def test_a_value_that_a_method_cannot_have_says_whose_and_what_to_do(tmp_path):
    text = SPEC + RATES + f'[methods.careful]\nlearner = {{ name = "{__name__}:Careful", inner_lr = 0.01 }}\n'
    text += 'space = { "learner.inner_lr" = { low = 0.01, high = 0.1 } }\n'
    with pytest.raises(ConfigError) as caught:
        spec(tmp_path, text)
    said = str(caught.value)
    assert said.startswith("methods.careful.space.learner.inner_lr = 0.5: must be ≤ 0.1; another method may try it")
    assert "tuning.shared = false" in said
    apart = spec(tmp_path, text.replace("trials = 4", "trials = 4\nshared = false"))
    assert apart.space("few", "careful")["learner.inner_lr"] == Range(0.01, 0.1)


def test_the_reference_has_more_trials(tmp_path):
    asked = spec(tmp_path, SPEC + RATES)
    found = studies(asked)
    assert {method: len(study.proposed) for (_, method), study in found.items()} == {
        "fedavg_ft": 8,
        "maml": 4,
        "meta_sgd": 4,
    }
    assert {study.seeds for study in found.values()} == {(2, 3, 4)}
    more = studies(spec(tmp_path, SPEC + RATES + "reference_trials = 3\nseeds = 1\n"))
    assert len(more["few", "fedavg_ft"].proposed) == 12
    assert more["few", "fedavg_ft"].proposed[:8] == found["few", "fedavg_ft"].proposed  # more of the same sequence
    assert more["few", "maml"].seeds == (2,)
    other = spec(tmp_path, (SPEC + RATES).replace('reference = "fedavg_ft"', 'reference = "maml"'))
    assert len(studies(other)["few", "maml"].proposed) == 8
