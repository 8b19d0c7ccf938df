"""The program itself, as a process: start-up, pipes, signals, limits of the system."""

import os
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from metapulse.sim.cli import main
from tests.commands import PAIR, TINY
from tests.processes import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "metapulse.sim.cli"]


@pytest.fixture
def here(tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "pair.toml").write_text(PAIR)
    return tmp_path


def environment():
    """Python's own cache of modules is left alone: under a limit on files it would keep the half of a module."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": "1"}


def call(here, *argv, **more):
    return subprocess.run(
        [*PROGRAM, *argv],
        cwd=here,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        **more,
    )


def test_help_loads_none_of_the_heavy_packages(here):
    heavy = "import sys; from metapulse.sim.cli import main; main(['run', '--help']); "
    code = heavy + "print([m for m in ('torch', 'flwr', 'ray', 'plotly', 'pyarrow', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=here, env=environment(), capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_whole_run_from_the_outside(here):
    done = call(here, "run", "tiny.toml", "--out", "out")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert done.stdout.splitlines()[-1] == "report: out/report.html"
    assert all(line.startswith("tiny: round ") for line in done.stderr.splitlines())


#: ``metapulse`` whose second run is interrupted after the checkpoint of round 18, as by Ctrl-C in that moment.
INTERRUPTED = """
import os, signal, sys
from metapulse.server.events import EventLog
whole = EventLog.append
def append(self, round, kind, **facts):
    whole(self, round, kind, **facts)
    if self.path.parent.name == "fast" and (round, kind) == (18, "checkpoint"):
        os.kill(os.getpid(), signal.SIGINT)
EventLog.append = append
from metapulse.sim.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_says_how_to_go_on_and_resume_ends_as_if_nothing_had_happened(here, monkeypatch):
    sets = ["--set", "run.rounds=40", "--set", "checkpoint.every=9"]
    begun = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, "run", "pair.toml", "--out", "cut", *sets],
        cwd=here,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (begun.returncode, begun.stdout) == (130, "")
    assert begun.stderr.splitlines()[-1] == "metapulse: interrupted; continue with: metapulse resume cut"
    assert "Traceback" not in begun.stderr
    assert not (here / "cut" / "fast" / "summary.json").exists()
    monkeypatch.chdir(here)
    assert main(["resume", "cut"]) == 0
    assert main(["run", "pair.toml", "--out", "whole", *sets]) == 0
    for name in ("slow", "fast"):
        for file in ("summary.json", "metrics.parquet"):
            assert (here / "cut" / name / file).read_bytes() == (here / "whole" / name / file).read_bytes()


def test_a_reader_that_goes_away_is_no_error(here):
    with subprocess.Popen(
        [*PROGRAM, "config", "--all"], cwd=here, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as begun:
        begun.stdout.close()
        assert begun.stderr.read() == b""
        assert begun.wait(PATIENCE) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_one_line(here):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PROGRAM, "config", "--all"],
            cwd=here,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("metapulse: ")
    assert "No space left on device" in done.stderr


def test_a_file_that_may_not_grow_is_one_line_and_nothing_is_half_written(here):
    """The system's own limit of 20 kB a file: the report does not fit."""
    done = call(
        here,
        *("run", "tiny.toml", "--out", "out"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "metapulse: cannot write out/report.html: File too large"
    assert not list((here / "out").glob(".*"))
    assert (here / "out" / "summary.json").exists()  # the run itself is finished; its page can be had again
    assert main(["report", str(here / "out")]) == 0


LONG = "run.rounds=100000"


def started(here, *argv):
    """A command that runs, until its run has begun."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    job = subprocess.Popen([*PROGRAM, *argv], cwd=here, env=environment(), **pipes)
    while not (here / "out" / "checkpoints" / "000000").exists():
        assert job.poll() is None
        time.sleep(0.05)
    return job


@pytest.mark.parametrize(("sign", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_ends_a_run_with_its_code_and_the_way_to_go_on(here, sign, code):
    job = started(here, "run", "tiny.toml", "--out", "out", "--set", LONG)
    job.send_signal(getattr(signal, sign))
    _, err = job.communicate()
    assert job.returncode == code
    assert err.splitlines()[-1] == "metapulse: interrupted; continue with: metapulse resume out"
    assert not list((here / "out").glob(".*"))


@pytest.mark.ray
def test_sigterm_with_workers_is_no_success_and_leaves_nothing_of_ray(here):
    """Ray puts a handler of its own in place, which would end the program with 0."""
    job = started(here, "run", "tiny.toml", "--out", "out", "--workers", "2", "--set", LONG)
    job.send_signal(signal.SIGTERM)
    _, err = job.communicate()
    assert (job.returncode, err.splitlines()[-1][:23]) == (143, "metapulse: interrupted;"), err
    assert not list((Path(tempfile.gettempdir()) / "ray").glob(f"session_*_{job.pid}"))
    told = [p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not [line for line in told if f"_{job.pid}/".encode() in line and b"session_" in line]


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(here, closed):
    """The exit code tells how the run ended, the second time that its folder is taken."""
    command = ["sh", "-c", f"{shlex.join(PROGRAM)} run tiny.toml --out out {closed}"]
    for code in (0, 2):
        done = subprocess.run(command, cwd=here, env=environment(), capture_output=True, text=True, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert (here / "out" / "report.html").exists()
