"""Who listens on which address, read from Linux's /proc."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path


def descendants() -> list[int]:
    """Process ids of this process and its descendants."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


def sockets(pid: int) -> list[int]:
    """Inodes of a process's sockets."""
    found = []
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = str(link.readlink())
                if target.startswith("socket:["):
                    found.append(int(target[8:-1]))
    return found


def listening() -> list[tuple[int, str]]:
    """Inode and address of every TCP socket that listens."""
    found = []
    for name, family, size in (("tcp", socket.AF_INET, 4), ("tcp6", socket.AF_INET6, 16)):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            raw = bytes.fromhex(words[1].split(":")[0])
            packed = b"".join(raw[i : i + 4][::-1] for i in range(0, size, 4))
            if words[3] == "0A":
                found.append((int(words[9]), socket.inet_ntop(family, packed)))
    return found
