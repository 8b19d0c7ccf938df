"""The yardstick: how fast one core multiplies matrices right now.

Run as a program it waits in a process of its own, bound to one core, and measures once for every line it reads.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import TracebackType

SIZE = 1024


def measure(seconds: float = 0.25) -> float:
    """GFLOP per CPU-second of a 1024³ float32 product on one thread: the median of as many as fit into ``seconds``.

    By CPU time, as the systems' updates are: another process on the core slows both down, and neither figure.
    """
    import torch

    torch.set_num_threads(1)
    a, b = torch.rand(SIZE, SIZE), torch.rand(SIZE, SIZE)
    out, taken, began = torch.empty(SIZE, SIZE), [], time.perf_counter()
    while time.perf_counter() - began < seconds or len(taken) < 3:
        start = time.thread_time()
        torch.mm(a, b, out=out)
        taken.append(time.thread_time() - start)
    return 2 * SIZE**3 / sorted(taken)[len(taken) // 2] / 1e9


class Yardstick:
    """The waiting process.

    Args:
        core: where it measures.
        environment: its environment variables.
    """

    def __init__(self, core: int, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "benchmarks.bench.sgemm", str(core)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def gflops(self) -> float:
        """Measure now."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def __enter__(self) -> Yardstick:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    for _ in sys.stdin:
        print(measure(), flush=True)
