"""Every program in examples/ runs as a user runs it, in its own process, and stays short."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests.processes import PATIENCE

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@cache
def run(path: Path) -> str:
    """Standard output of a program started in an empty folder; each runs once."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(path)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_runs_and_prints_something(path: Path) -> None:
    assert run(path).strip()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_is_numbered_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text()
    assert re.match(r"\d\d_[a-z_0-9]+\.py$", path.name)
    assert len(text.splitlines()) <= 120
    assert text.startswith('"""')


def table(out: str) -> dict[str, list[float]]:
    """The rows of an example's table, below its heading."""
    return {line[:14].strip(): [float(x) for x in line[14:].split()] for line in out.splitlines()[1:]}


@pytest.mark.parametrize("name", ["01_reptile_by_hand.py", "02_reptile_with_metapulse.py"])
def test_reptile_learns_to_adapt(name: str) -> None:
    """Published for this network and these tasks, mean over tasks after 0/1/8/32 steps: 4.04/.66/.11/.12.

    The examples train a third of that; adapted, they must still beat their own start and an untrained start by far.
    """
    rows = table(run(ROOT / "examples" / name))
    untrained, reptile = rows["random start"], rows["Reptile"]
    assert reptile[2] < 0.2 * reptile[0]
    assert reptile[3] < 0.2 * reptile[0]
    assert reptile[2] < 0.2 * untrained[2]
    assert reptile[3] < 0.5 * untrained[3]


def test_by_hand_and_through_metapulse_are_one_experiment() -> None:
    """Same settings, other draws: the same tables to the spread of one run (the second is judged on fewer points)."""
    by_hand, through = (
        table(run(ROOT / "examples" / name)) for name in ("01_reptile_by_hand.py", "02_reptile_with_metapulse.py")
    )
    assert by_hand.keys() == through.keys()
    for name, values in by_hand.items():
        assert through[name] == pytest.approx(values, rel=0.5)


def test_strategies_of_ones_own_change_what_is_learned() -> None:
    rows = table(run(ROOT / "examples" / "03_your_own_strategy.py"))
    assert list(rows) == ["FedAvg", "FedTrimmedAvg", "Heavy, below"]
    assert len({tuple(values) for values in rows.values()}) == 3
    assert all(value > 0.4 for values in rows.values() for value in values)  # six classes: chance is .17


def test_a_module_of_ones_own_learns_and_comes_back() -> None:
    out = run(ROOT / "examples" / "04_your_own_module.py")
    accuracy = [float(x) for x in re.findall(r"steps: ([\d.]+)", out)]
    before, after = (float(x) for x in re.findall(r"([\d.]+) (?:before five|after$)", out, re.MULTILINE))
    assert len(accuracy) == 3
    assert min(accuracy) > 0.4
    assert after < before
