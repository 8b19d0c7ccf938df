"""What a process and its descendants cost, read from Linux's /proc; needs nothing but Python."""

from __future__ import annotations

import os
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """A process and all its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += children.get(pid, [])
    return found


def cpu_seconds() -> float:
    """CPU time of this process and of its descendants, the dead ones that were waited for included."""
    others = 0.0
    for pid in tree(os.getpid())[1:]:
        fields = _stat(pid)
        if fields:
            others += sum(int(ticks) for ticks in fields[11:15]) / _TICKS
    dead = os.times()
    return time.process_time() + dead.children_user + dead.children_system + others


def peak_megabytes() -> float:
    """Memory of this process and its descendants at their worst.

    The proportional set size of each (a page shared by k processes counts 1/k), plus what each has already given back.
    """
    kilobytes = 0
    for pid in tree(os.getpid()):
        held = _fields(f"/proc/{pid}/status")
        if "VmHWM" in held:  # a process that has just ended has none
            pss = _fields(f"/proc/{pid}/smaps_rollup").get("Pss", 0)
            kilobytes += pss + held["VmHWM"] - held["VmRSS"]
    return kilobytes / 1024


def own_megabytes() -> float:
    """What this process and its descendants hold now: proportional set size without pages of files.

    Those (libraries) count for less while other processes use them too, and so change with whatever else runs.
    """
    return sum(own_kilobytes(pid) for pid in tree(os.getpid())) / 1024


def own_kilobytes(pid: int) -> int:
    """That of one process; 0 for one that is gone."""
    held = _fields(f"/proc/{pid}/smaps_rollup")
    return held.get("Pss_Anon", 0) + held.get("Pss_Shmem", 0)


def age_seconds() -> float:
    """Wall time since this process was started, before its first import."""
    fields = _stat(os.getpid())
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / _TICKS


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on (state, parent, …); none for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _fields(path: str) -> dict[str, int]:
    """The lines ``name: number kB`` of a file."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {name: int(rest.split()[0]) for name, rest in pairs}
