"""Every program in examples/ runs as a user runs it, in its own process, and stays short."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

pytestmark = pytest.mark.e2e


@cache
def run(path: Path) -> str:
    """Standard output of a program started in an empty folder; each runs once."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(path)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
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


def test_reptile_by_hand_learns_to_adapt() -> None:
    """Published for this network and these tasks, mean over tasks after 0/1/8/32 steps: 4.04/.66/.11/.12.

    The example trains a third of that; adapted, it must still beat its own start and an untrained start by far.
    """
    out = run(ROOT / "examples" / "01_reptile_by_hand.py")
    rows = {line[:14].strip(): [float(x) for x in line[14:].split()] for line in out.splitlines()[1:]}
    untrained, reptile = rows["random start"], rows["Reptile"]
    assert reptile[2] < 0.2 * reptile[0]
    assert reptile[3] < 0.2 * reptile[0]
    assert reptile[2] < 0.2 * untrained[2]
    assert reptile[3] < 0.5 * untrained[3]
