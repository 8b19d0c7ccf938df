"""A full disk is one line and an exit code, nothing half-written stays, and with room again everything goes on.

``python -m tests.e2e.full_disk FOLDER 300 1000 3000 6000 20000`` tries more sizes.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import PATIENCE

pytest.importorskip("resource", reason="no limits on files on this system")
ROOT = Path(__file__).parents[2]


def test_commands_on_a_full_disk(tmp_path):
    command = [sys.executable, "-m", "tests.e2e.full_disk", str(tmp_path), "1000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(done.stdout.splitlines()[-1])
    assert [row["name"] for row in rows] == ["run", "resume", "report", "audit"]
    for row in rows:
        (line,) = row["said"]
        assert line.startswith("metapulse: cannot write ")
        assert line.endswith(": File too large")
        assert (row["code"], row["left"], row["again"], row["same"]) == (2, [], 0, True), row
