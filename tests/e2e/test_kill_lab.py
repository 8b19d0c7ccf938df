"""kill -9 a comparison at any moment, run it again: the same tables to the bit, and nothing done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import SPEC
from tests.processes import PATIENCE

ROOT = Path(__file__).parents[2]


#: ``metapulse`` that dies once a worker has done a round of any cell: told by its own poll, or by a cell's end.
DIES = """
import os, signal, sys
from metapulse.sim import runner
rounds = runner._rounds
def told(path):
    if rounds(path):
        os.kill(os.getpid(), signal.SIGKILL)
    return 0
runner._rounds = told
runner._result = lambda ray, reference, cell: os.kill(os.getpid(), signal.SIGKILL)
from metapulse.sim.cli import main
sys.exit(main(sys.argv[1:]))
"""


def program(*arguments: str | Path, cwd: Path = ROOT, how: str = "-m") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, how, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_at_random_moments(tmp_path: Path) -> None:
    job = program("tests.e2e.killing_lab", tmp_path)
    out, err = job.communicate(timeout=PATIENCE)
    assert job.returncode == 0, err[-3000:]
    said = json.loads(out.splitlines()[-1])
    assert (said["wrong"], said["twice"], said["cells"]) == ([], [], 8)
    assert said["kills"] >= 3  # of ten, each before three tenths of a life's calls


@pytest.mark.ray
def test_killed_with_its_workers_at_work(tmp_path: Path) -> None:
    """The whole program is killed, not its workers, which may go on for a moment: the next life waits for them."""
    (tmp_path / "spec.toml").write_text(SPEC.replace("rounds = 4", "rounds = 40"))
    alone = program("metapulse.sim.cli", "compare", "spec.toml", "--out", "alone", cwd=tmp_path)
    _, err = alone.communicate(timeout=PATIENCE)
    assert alone.returncode == 0, err
    job = program(DIES, "compare", "spec.toml", "--out", "killed", "--workers", "2", cwd=tmp_path, how="-c")
    _, err = job.communicate(timeout=PATIENCE)
    assert job.returncode == -signal.SIGKILL, err
    assert list(tmp_path.glob("killed/cells/*/events.jsonl"))
    assert len(list(tmp_path.glob("killed/cells/*/summary.json"))) < 8
    last = program("metapulse.sim.cli", "compare", "spec.toml", "--out", "killed", cwd=tmp_path)
    _, err = last.communicate(timeout=PATIENCE)
    assert last.returncode == 0, err
    assert (tmp_path / "killed/results.parquet").read_bytes() == (tmp_path / "alone/results.parquet").read_bytes()
