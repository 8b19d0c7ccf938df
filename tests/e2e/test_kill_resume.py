"""kill -9 at any moment, resume, the same bits: θ, outer state, what devices keep, scores, summary, events.

The killing is done by ``tests.e2e.killing``, in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.killing import ONCE
from tests.processes import PATIENCE


def kill(method: str, how: str, folder: Path) -> dict[str, Any]:
    """What came of it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.killing", method, how, str(folder)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


@pytest.mark.parametrize("method", ["adam", "stock", "devices"])
def test_killed_at_random_moments(method: str, tmp_path: Path) -> None:
    said = kill(method, "moments", tmp_path)
    assert said["wrong"] == []
    assert said["kills"] > ONCE  # each of those, and the other one more than not at all
    assert bool(said["kept"]) is (method == "devices")


@pytest.mark.parametrize("method", ["adam", "stock", "devices"])
def test_killed_before_operations_on_files(method: str, tmp_path: Path) -> None:
    """Opening, renaming, removing: a run has seventy and more, of which every fourth (or eighth) is tried, and all
    by a thorough run. What is resumed is killed again.
    """
    said = kill(method, "calls", tmp_path)
    assert said["wrong"] == []
    assert said["kills"] >= 20


def test_killed_within_every_line_of_the_event_log(tmp_path: Path) -> None:
    said = kill("adam", "events", tmp_path)
    assert said["wrong"] == []
    assert said["kills"] == said["events"] == 11  # five rounds, two meta-tests, checkpoints 0, 2, 4 and 5
