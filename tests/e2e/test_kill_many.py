"""Several processes at once on one run and its copies, some of them killed: one goes on, the others are refused.

``python -m tests.e2e.killing_many 200 FOLDER plain private workers`` kills more.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import PATIENCE

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_one_goes_on_and_every_round_that_begins_is_accounted_for(tmp_path):
    command = [sys.executable, "-m", "tests.e2e.killing_many", "6", str(tmp_path / "runs")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["wrong"], told["traces"]) == ([], 0)
    assert told["killed"] >= 6
