"""Ray, started quietly and for this machine alone, or an existing cluster by its address."""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from metapulse.errors import ConfigError, EngineError
from metapulse.sim.stopping import SIGNALS, Stopped

LOOPBACK = "127.0.0.1"
PER_CORE, WORKER_BYTES = 4, 300 * 10**6  # processes on one core at most, and the memory that each has to have
DIRECT = 2**20  # bytes of an argument or a result that travel in the call: the object store costs milliseconds
_ENV = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # "0": Ray takes the loopback address for this machine's


def check_workers(workers: int, key: str = "engine.workers") -> None:
    """Refuse more processes than this machine can carry, before the first of them is started.

    Args:
        workers: that are asked for, on this machine.
        key: the setting that asks for them.

    Raises:
        ConfigError: names the bound.
    """
    cores, pages = os.cpu_count() or 1, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    held = max(1, pages // WORKER_BYTES)
    bounds = [(PER_CORE * cores, f"{PER_CORE} for each of {cores} cores"), (held, f"{WORKER_BYTES // 10**6} MB each")]
    most, why = min(bounds)
    if workers > most:
        raise ConfigError(key, workers, f"must be ≤ {most} on this machine ({why})")


def start_ray(cores: int, address: str = "") -> bool:
    """Make sure that this process is connected to Ray; whether it was not before.

    A cluster started here listens on the loopback address only, because a Ray port lets anyone who reaches it run code.

    Args:
        cores: of a cluster started here, ≥ 1.
        address: an existing cluster ("": start one on this machine).

    Raises:
        EngineError: there is no cluster at the address, or none could be started.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of a simulation leaves the machine unless asked to
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's coming default, and no advice about it
    os.environ.setdefault("RAY_max_direct_call_object_size", str(DIRECT))  # of a cluster that is started here
    os.environ.setdefault("RAY_task_events_report_interval_ms", "0")  # no history of calls that grows with the rounds
    import ray

    if ray.is_initialized():
        return False
    shared: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "runtime_env": {"env_vars": {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}},
    }
    try:
        with interrupt_sets(threading.Event()):
            if address:
                host = _knock(address)
                with _loopback() if host in ("localhost", LOOPBACK) else nullcontext():
                    ray.init(address=address, **shared)
            else:
                with _loopback():
                    ray.init(num_cpus=cores, include_dashboard=False, _node_ip_address=LOOPBACK, **shared)
    except KeyboardInterrupt:
        stop_ray()
        raise
    except SystemExit:  # how Ray, while it starts, answers SIGTERM
        stop_ray()
        raise Stopped(signal.SIGTERM) from None
    except (OSError, RuntimeError, ValueError, OverflowError) as error:
        raise EngineError(f"no Ray cluster at {address or 'this machine'}: {first(str(error))}") from None
    return True


@contextmanager
def interrupt_sets(stopped: threading.Event) -> Iterator[None]:
    """A signal (Ctrl-C, SIGTERM, SIGHUP) sets ``stopped`` and is raised when the block has ended in good order.

    A second one is raised at once.

    Raised while Ray starts, it would crash the process at its end; raised while Flower's runtime works, it would leave
    threads waiting for ever for a Ray that is gone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> None:
        asked.append(signum)
        if stopped.is_set():
            raise Stopped(signum)
        stopped.set()

    before = {s: handler for s in SIGNALS if (handler := signal.getsignal(s)) is not signal.SIG_IGN}
    for one in before:
        signal.signal(one, stop)
    try:
        yield
    finally:
        for one, handler in before.items():  # Ray has put its own in the place of some
            signal.signal(one, handler)
    if asked:
        raise Stopped(asked[0])


def ray_session() -> Path | None:
    """The folder of a Ray that this process has started; None where it has started none."""
    import ray

    node: Any = ray._private.worker._global_node
    return Path(node.get_session_dir_path()) if node is not None and node.is_head() else None


def stop_ray() -> None:
    """End the Ray of this process, and what it would leave behind."""
    import ray

    session = ray_session()
    ray.shutdown()
    if session is not None:
        sweep(session)


def sweep(session: Path) -> None:
    """End the agents that outlive a Ray, and remove its folder of logs and sockets."""
    import ray  # noqa: F401 (it brings psutil)

    psutil: Any = importlib.import_module("psutil")
    running = psutil.process_iter(["cmdline"])
    left = [p for p in running if any(session.name in part for part in p.info["cmdline"] or ())]
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=10.0)
    shutil.rmtree(session, ignore_errors=True)
    latest = session.with_name("session_latest")
    if latest.is_symlink() and not latest.exists():
        latest.unlink(missing_ok=True)


def _knock(address: str) -> str:
    """The host of host:port, after a process has answered there: Ray itself would wait for minutes.

    Raises:
        OSError: no process answers.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10.0).close()
    return host


def first(text: str) -> str:
    """The first line of a message."""
    return next(iter(text.strip().splitlines()), "")


@contextmanager
def _loopback() -> Iterator[None]:
    """While a cluster starts, its programs take the loopback address for the machine's own (on Linux as elsewhere)."""
    from ray._private import ray_constants

    constants: Any = ray_constants
    kept, before = getattr(constants, "ENABLE_RAY_CLUSTER", True), os.environ.get(_ENV)
    constants.ENABLE_RAY_CLUSTER, os.environ[_ENV] = False, "0"
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = kept
        if before is None:
            del os.environ[_ENV]
        else:
            os.environ[_ENV] = before
