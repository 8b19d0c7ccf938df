"""A Ray cluster of several nodes on this machine, on the loopback address: each node is a ``ray start`` of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bench.launch import VARIABLES
from benchmarks.bench.processes import tree

LOOPBACK = "127.0.0.1"
STORE = 256 * 2**20  # bytes of a node's object store
PATIENCE = 60.0  # seconds for a node to come, and to go

#: ``ray start`` that takes the loopback address for the machine's own: otherwise Ray listens on all interfaces, and
#: anyone who reaches its ports may run code.
START = """
import sys
from ray._private import services
services.get_node_ip_address = lambda *args, **kwargs: "127.0.0.1"
from ray.scripts.scripts import main
sys.argv[0] = "ray"
main()
"""
COUNT = """
import sys
from metapulse.sim.engines.cluster import start_ray
start_ray(1, sys.argv[1])
import ray
print(sum(node["Alive"] for node in ray.nodes()))
"""


@contextmanager
def cluster(nodes: int = 2) -> Iterator[str]:
    """A cluster with one core per node; its address.

    Every process of it is ended by its id, and the cluster has a temporary folder of its own: other clusters on the
    machine are neither found nor touched.

    Raises:
        RuntimeError: a node does not come up.
    """
    started: list[subprocess.Popen[bytes]] = []
    port = _free_port()
    address = f"{LOOPBACK}:{port}"
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        try:
            started.append(_start("--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false"))
            _wait(address)
            started += [_start(f"--address={address}") for _ in range(nodes - 1)]
            _count(address, nodes)
            yield address
        finally:
            end(started)


def _start(*options: str) -> subprocess.Popen[bytes]:
    ports = [f"--{name}={_free_port()}" for name in ("dashboard-agent-listen-port", "dashboard-agent-grpc-port")]
    if "--head" in options:
        ports.append(f"--ray-client-server-port={_free_port()}")
    command = [sys.executable, "-c", START, "start", "--block", f"--node-ip-address={LOOPBACK}"]
    command += ["--num-cpus=1", f"--object-store-memory={STORE}", "--min-worker-port=0", "--max-worker-port=0"]
    command += ["--disable-usage-stats", *ports, *options]
    variables = {**os.environ, **VARIABLES}
    return subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def end(started: list[subprocess.Popen[bytes]]) -> None:
    """End programs and all that they started: politely, then not."""
    pids = {pid for process in started for pid in tree(process.pid)}
    for process in started:
        process.send_signal(signal.SIGTERM)
    for process in started:
        try:
            process.wait(PATIENCE / 4)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pid in pids:
        if "ray" in _command(pid):  # not another process that has been given the number since
            os.kill(pid, signal.SIGKILL)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        port: int = one.getsockname()[1]
        return port


def _wait(address: str) -> None:
    host, _, port = address.rpartition(":")
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            socket.create_connection((host, int(port)), 1.0).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"no cluster came up at {address}")


def _count(address: str, nodes: int) -> None:
    """Wait until so many nodes are there, as a process of its own sees it: a program connects to one cluster only."""
    variables = {**os.environ, **VARIABLES, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        asked = [sys.executable, "-c", COUNT, address]
        done = subprocess.run(asked, capture_output=True, text=True, env=variables, timeout=PATIENCE, check=False)
        if done.stdout.strip() == str(nodes):
            return
    raise RuntimeError(f"fewer than {nodes} nodes at {address} after {PATIENCE:.0f} s: {done.stderr[-300:]}")
