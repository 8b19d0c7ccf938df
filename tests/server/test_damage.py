"""A damaged folder never gives another θ, another score or a log with lines missing: the same, or refused in one line.

``python -m tests.damage 2000 FOLDER`` tries more of them.
"""

import shutil

import pytest

from metapulse.errors import RunError
from metapulse.server.folder import RunFolder
from metapulse.sim.experiment import resume_experiment
from tests import thorough
from tests.damage import attempt, bases, facts

pytestmark = pytest.mark.long


def test_damaged_folders_are_the_same_or_refused(tmp_path):
    counts, wrong = attempt(thorough.of(60, 2000), tmp_path)
    assert wrong == []
    assert min(counts["same"], counts["refused"]) > 10


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs to be copied before they are damaged."""
    return bases(tmp_path_factory.mktemp("bases"))


def test_every_flipped_byte_of_theta_is_refused_with_the_way_back(made, tmp_path):
    path = shutil.copytree(made["maml"], tmp_path / "maml")
    theta = path / "checkpoints" / "000002" / "theta.safetensors"
    content = theta.read_bytes()
    theta.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RunError, match=r"000002 is damaged: the checksum of theta\.safetensors does not fit; to go on"):
        resume_experiment(path)
    theta.parent.rename(path / "aside")
    resume_experiment(path)
    assert facts(path)["theta"] == RunFolder(made["maml-done"]).summary()["theta"]


@pytest.mark.parametrize("keep", [0, 0.5])
def test_an_event_log_that_lost_lines_is_refused(made, tmp_path, keep):
    for name in ("maml", "maml-done"):
        path = shutil.copytree(made[name], tmp_path / name)
        log = path / "events.jsonl"
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(lines[: int(len(lines) * keep)]))
        (path / "summary.json").unlink(missing_ok=True)
        with pytest.raises(RunError, match=r"events\.jsonl is damaged: lines are missing"):
            resume_experiment(path)
