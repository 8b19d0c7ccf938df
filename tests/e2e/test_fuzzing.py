"""A part of the fuzzer's walk, the same at every run; ``python -m tests.fuzzing`` does all of it."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from tests import fuzzing
from tests.fuzz_commands import walk_commands
from tests.fuzz_worlds import worlds, write_people
from tests.fuzzing import Count, combine, walk
from tests.processes import PATIENCE


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded machine is no find; by hand a trial has twenty seconds."""
    monkeypatch.setattr(fuzzing, "LIMIT_S", float(PATIENCE))


def test_single_settings_are_refused_or_have_an_effect(tmp_path: Path) -> None:
    count, rng = Count(), random.Random(1)
    there = {world.name: world for world in worlds(write_people(tmp_path / "people.csv"))}
    for name, most in (("main", 1), ("learner protonet", 2)):
        walk(there[name], count, most, rng, math.inf, {})
    assert count.finds == []
    assert count.kinds["refused"] > count.kinds["result"] > 20


def test_combinations_are_refused_or_have_a_result(tmp_path: Path) -> None:
    count = Count()
    combine(worlds(write_people(tmp_path / "people.csv")), count, 12, random.Random(2), math.inf)
    assert count.finds == []
    assert count.trials == 12


def test_suites_and_comparisons_end_with_a_line_or_a_result() -> None:
    count = Count()
    walk_commands(count, random.Random(3), 5, math.inf, engines=False)
    assert count.finds == []
    assert count.trials == 5
