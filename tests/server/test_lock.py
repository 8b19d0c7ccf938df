"""One process in a folder, and with a run: others are refused, and a process that dies opens what it held."""

import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from metapulse.errors import RunError
from metapulse.lock import locked
from metapulse.server.folder import RunFolder
from metapulse.server.lock import alone, only_copy
from metapulse.sim.experiment import resume_experiment, run_experiment
from tests.runs import make

HOLD = "import sys, pathlib; from metapulse.server.lock import alone, only_copy\n"
HOLD += "with {}: print('in', flush=True); sys.stdin.read()"


def holder(what):
    """Another process, which holds something until its input ends."""
    command = [sys.executable, "-c", HOLD.format(what)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "in\n"
    return process


def test_another_process_is_refused_until_the_holder_ends(tmp_path):
    other = holder(f"alone(pathlib.Path({str(tmp_path / 'run')!r}))")
    with (
        pytest.raises(RunError, match=rf"run is in use by process {other.pid}; wait until that has ended"),
        alone(tmp_path / "run"),
    ):
        pass
    with pytest.raises(RunError, match=f"in use by process {other.pid}"):
        run_experiment(make("maml", "fedmaml", "sine", 1), tmp_path / "run")
    other.communicate("")
    assert not (tmp_path / "run").exists()  # nothing came into it
    with alone(tmp_path / "run"):
        pass


def test_a_killed_holder_leaves_nothing_locked(tmp_path):
    other = holder(f"alone(pathlib.Path({str(tmp_path / 'run')!r}))")
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert (tmp_path / "run" / ".lock").exists()
    with alone(tmp_path / "run"):
        pass
    assert not list((tmp_path / "run").iterdir())


def test_code_of_the_holder_goes_in_and_out_and_another_thread_does_not(tmp_path):
    said = []

    def other():
        try:
            with alone(tmp_path):
                said.append("in")
        except RunError as error:
            said.append(str(error))

    with alone(tmp_path):
        with alone(tmp_path / "." / "../" / tmp_path.name):
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert said == [f"{tmp_path} is in use by process {os.getpid()}; wait until that has ended, or end it"]


def test_who_waits_comes_in_when_the_holder_has_gone(tmp_path):
    came = []

    def other():
        with alone(tmp_path, wait=True):
            came.append("other")

    with alone(tmp_path):
        threads = [threading.Thread(target=other) for _ in range(3)]
        for thread in threads:
            thread.start()
        came.append("holder")
    for thread in threads:
        thread.join()
    assert came == ["holder", "other", "other", "other"]
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_holds_nothing(tmp_path):
    with alone(tmp_path):
        child = os.fork()
        if child == 0:
            try:
                with alone(tmp_path):
                    os._exit(1)
            except RunError:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert (tmp_path / ".lock").exists()


def test_a_run_and_its_copy_do_not_go_on_together(tmp_path):
    run_experiment(make("maml", "fedmaml", "sine", 2), tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    identity = RunFolder(tmp_path / "run").identity
    with only_copy(identity, tmp_path / "run"):
        outcome = []

        def other():
            try:
                resume_experiment(tmp_path / "copy")
            except RunError as error:
                outcome.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    where = f"process {os.getpid()} in {tmp_path / 'run'}"
    assert outcome == [
        f"{tmp_path / 'copy'} is a copy of a run that is in use by {where}; wait until that has ended, or end it"
    ]
    resume_experiment(tmp_path / "copy")


@pytest.mark.parametrize("name", ["folder", "gone/file"])
def test_what_cannot_be_locked_is_one_line(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(RunError, match=r"cannot lock .*: (Is a directory|No such file or directory)"),
        locked(tmp_path / name, "", ""),
    ):
        pass


def test_a_run_is_not_begun_over_what_is_left_of_another(tmp_path):
    run_experiment(make("maml", "fedmaml", "sine", 2), tmp_path / "run")
    (tmp_path / "run" / "config.json").unlink()
    with pytest.raises(RunError, match="holds what is left of a run"):
        run_experiment(make("maml", "fedmaml", "sine", 1), tmp_path / "run")


def test_two_runs_begun_at_once_in_one_folder_are_one_run(tmp_path):
    gate, outcomes = threading.Barrier(2), []

    def begin(seed):
        gate.wait()
        try:
            outcomes.append(
                run_experiment(make("maml", "fedmaml", "sine", 3, run={"seed": seed}), tmp_path / "run")["seed"]
            )
        except RunError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=begin, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    folder = RunFolder(tmp_path / "run")
    (seed,) = (o for o in outcomes if isinstance(o, int))
    assert folder.config()[0]["run"]["seed"] == seed
    assert [e["round"] for e in folder.events() if e["kind"] == "round"] == [1, 2, 3]
    (said,) = (o for o in outcomes if isinstance(o, str))
    assert "in use by" in said or "holds a run already" in said
