"""The table of docs/wearables.md: what a model loses from one device to another, beside a recording."""

import numpy as np

from benchmarks.wearables_gap import REAL_HELD_OUT, recorded, simulated
from metapulse.sim.sources.wearables import Wearables


def test_a_model_of_phones_loses_on_watches_and_back():
    table = simulated(Wearables(users=40, devices=("phone", "watch")))[:, :, 0]
    for old, new in ((0, 1), (1, 0)):
        assert table[old, old] > 0.85  # people never seen, device known
        assert table[old, new] < table[old, old] - 0.25  # people never seen, device never seen


def test_the_gap_is_of_the_order_of_a_recorded_one(data_dir):
    """One classifier on both; the recording has other activities, so only the orders of magnitude can agree."""
    recorded_table = recorded(data_dir, [REAL_HELD_OUT])[0, :, :, 0]
    simulated_table = simulated(Wearables(users=40, devices=("phone", "watch")))[:, :, 0]
    assert np.abs(np.diag(recorded_table) - np.diag(simulated_table)).max() < 0.1
    assert (np.diag(recorded_table) - recorded_table[[0, 1], [1, 0]]).min() > 0.25
    lost = simulated_table[0, 0] - simulated_table[0, 1]
    assert 0.5 < lost / (recorded_table[0, 0] - recorded_table[0, 1]) < 1.5
