"""The model of the cost: its closed forms, and that it finds the constants that made the numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.model import Load, Machine, calibrate, mlp_flops, mlp_parameters, predict

MACHINE = Machine((4e-7,), (1e-11, 5e-5, 3e-4), (1e-6, 2e-3, 1e-3, 2e-9), (4e-4, 1e-9, 5e-9))


def test_the_size_of_workload_w():
    """6 438 parameters and 4.77 MFLOP: 5 steps · 32 samples · 2 · (2·64·64 + 3·64·32 + 3·32·6)."""
    assert mlp_parameters([64, 64, 32, 6]) == 64 * 64 + 64 + 64 * 32 + 32 + 32 * 6 + 6 == 6438
    assert mlp_flops([64, 64, 32, 6]) == 5 * 32 * 2 * (2 * 64 * 64 + 3 * 64 * 32 + 3 * 32 * 6) == 4_771_840


def test_a_round_by_hand():
    load = Load(1000, 4e6, 6000, workers=2)  # 20 chunks, 10 each; 48 kB down, 480 kB up
    assert (load.chunks, load.busiest, load.own, load.down, load.up) == (20, 10, 500, 48_000, 480_000)
    assert predict(MACHINE, load) == pytest.approx(
        {
            "sampling": 4e-4,
            "compute": 500 * (4e-5 + 5e-5) + 10 * 3e-4,
            "transfer": 1e-3 + 2e-3 + 2e-3 + 528_000 * 2e-9,
            "aggregate": 4e-4 + 500 * 6000 * 1e-9 + 20 * 6000 * 5e-9,
        }
    )


def test_nothing_travels_within_a_process():
    load = Load(100, 4e6, 6000)
    assert load.down == load.up == 0
    assert predict(MACHINE, load)["transfer"] == pytest.approx(1e-4)


@given(clients=st.integers(1, 10_000), chunk=st.integers(1, 200), workers=st.integers(1, 64))
def test_the_busiest_worker_has_what_the_engine_gives_it(clients, chunk, workers):
    """Chunk i goes to worker ⌊i W / n⌋ (``metapulse.sim.engines.workers``)."""
    load = Load(clients, 1.0, 1, workers, chunk)
    runs = np.bincount([i * workers // load.chunks for i in range(load.chunks)], minlength=workers)
    assert load.busiest == runs.max()


@given(st.integers(1, 5000), st.integers(0, 8))
def test_more_clients_never_cost_less(clients, workers):
    small, large = (sum(predict(MACHINE, Load(c, 4e6, 6000, workers)).values()) for c in (clients, clients + 1))
    assert large > small


def test_calibration_finds_the_constants_that_made_the_numbers():
    loads = [Load(c, f, p, w) for c in (30, 430, 1010) for f, p in ((1e6, 2000), (9e6, 50_000)) for w in (0, 1, 2, 3)]
    found = calibrate([(load, predict(MACHINE, load)) for load in loads])
    for stage in ("sampling", "compute", "transfer", "aggregate"):
        assert getattr(found, stage) == pytest.approx(getattr(MACHINE, stage), rel=1e-6)


def test_a_network_adds_its_latency_and_bounds_the_rate():
    load = Load(1000, 4e6, 6000, workers=4)
    there = predict(MACHINE.with_network(5e-4, 1e8), load)["transfer"]
    assert there == pytest.approx(1e-3 + 2e-3 + 4 * 1.5e-3 + (load.down + load.up) / 1e8)
    assert predict(MACHINE.with_network(0.0, 1e12), load) == predict(MACHINE, load)  # no faster than measured
