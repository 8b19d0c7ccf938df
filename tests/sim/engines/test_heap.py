"""Memory that a round drops is there for the next: the kernel makes no page for it again."""

import os
import subprocess
import sys

import pytest

from metapulse.sim.engines.heap import OWN_CHOICE, keep_heap

ROUNDS = """
import resource, sys
import torch
from metapulse.sim.engines.heap import keep_heap
from metapulse.sim.engines.workers import LocalPool

if sys.argv[1] == "pool":
    LocalPool()
def a_round():
    stack = [torch.ones(125, 1761) for _ in range(4)]
    parts = [torch.cat([one, one]) for one in stack]
a_round(), a_round()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    a_round()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 50)
"""


def faults(environ: dict[str, str], how: str) -> float:
    told = subprocess.run([sys.executable, "-c", ROUNDS, how], env=environ, capture_output=True, text=True, check=True)
    return float(told.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts pages as Linux does")
def test_a_pool_keeps_what_a_round_dropped():
    plain = {name: value for name, value in os.environ.items() if name not in OWN_CHOICE}
    dropped = faults(plain, "nothing")
    if dropped < 100:
        pytest.skip("malloc is not glibc's here: it keeps memory by itself")
    assert faults(plain, "pool") < dropped / 10
    assert faults({**plain, "MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "131072"}, "pool") > 100


def test_a_choice_in_the_environment_stands(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    keep_heap.cache_clear()
    try:
        assert not keep_heap()
    finally:
        keep_heap.cache_clear()
