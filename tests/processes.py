"""Programs that tests start: on free ports of the loopback address, logged, and ended by their process id."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]


#: Seconds after which a program is taken to hang, however slow and busy the machine: no other outcome is of the clock.
PATIENCE = 1800.0
PORTS = range(20_000, 30_000)  # below those that systems give to outgoing connections
_held: list[IO[str]] = []


def free_port() -> int:
    """A port without a listener, and this process's own until it ends: other tests find its file locked."""
    for port in PORTS:
        held = (Path(tempfile.gettempdir()) / f"metapulse-test-port-{port}").open("a")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            held.close()
        else:
            _held.append(held)
            return port
    raise AssertionError("no port is free")


class Program:
    """A program in a process group of its own, which ends with the ``with`` block.

    Args:
        command: program and arguments.
        log: file for what it says.
        environment: variables that differ.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self._command, self._log, self._environment = list(command), log, environment or {}

    def __enter__(self) -> Program:
        with self._log.open("wb") as stream:
            self._process = subprocess.Popen(
                self._command,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )
        return self

    def __exit__(self, *exc: object) -> None:
        group = self._process.pid
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(group, sign)
            except ProcessLookupError:
                break
            deadline = time.monotonic() + 10.0  # then the next signal, which cannot be ignored
            while time.monotonic() < deadline and _alive(group):
                self._process.poll()
                time.sleep(0.05)
        self._process.wait()

    @property
    def said(self) -> str:
        """Everything it has said."""
        return self._log.read_text(errors="replace")

    def listens(self, port: int, seconds: float = PATIENCE) -> None:
        """Wait until it takes connections on a port.

        Raises:
            AssertionError: it ended, or took too long.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self.said[-3000:]
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError(f"no process listens on {port} after {seconds} s: {self.said[-3000:]}")


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def flwr(*arguments: str, home: Path, seconds: float = PATIENCE) -> str:
    """What ``flwr …`` says, both streams."""
    done = subprocess.run(
        ["flwr", *arguments],
        cwd=home,
        env={**os.environ, "FLWR_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def connection(home: Path, port: int, security: str = "insecure = true") -> None:
    """Write Flower's configuration with one SuperLink, called "here"."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "127.0.0.1:{port}"\n{security}\n'
    )


def status(home: Path, run: str) -> dict[str, Any]:
    """What the SuperLink says of a run: ``flwr run --stream`` ends with 0 even if the run failed."""
    said = flwr("list", "here", "--format", "json", home=home)
    runs: list[dict[str, Any]] = json.loads(said[said.index("{") :])["runs"]
    return next(entry for entry in runs if entry["run-id"] == run)
