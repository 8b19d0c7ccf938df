"""Readings of a sensor: closed forms of merging, resampling and cutting."""

import numpy as np

from metapulse.sim.importers.readings import merge_duplicates, motion_windows


def test_readings_with_one_stamp_are_averaged():
    t, v = merge_duplicates(np.array([3.0, 1.0, 3.0]), np.array([[2.0, 0.0], [7.0, 1.0], [4.0, 4.0]]))
    assert t.tolist() == [1.0, 3.0]
    assert v.tolist() == [[7.0, 1.0], [3.0, 2.0]]


def test_a_linear_signal_is_resampled_exactly():
    """Interpolation is exact on a straight line, whatever the stamps: x(t) = 3 t − 1 and −t."""
    rng = np.random.default_rng(0)
    t = np.sort(rng.uniform(0, 4000, 500))
    t[0] = 0.0
    x, y, t0 = motion_windows(t, np.stack([3 * t - 1, -t], 1), np.zeros(500, int), 64, 32, 20.0)
    assert t0.tolist() == (640.0 * np.arange(len(t0))).tolist()
    assert len(t0) == (int(t[-1] // 20) + 1 - 64) // 32 + 1
    assert not y.any()
    grid = t0[:, None] + 20.0 * np.arange(64)
    np.testing.assert_allclose(x[:, 0], 3 * grid - 1, atol=1e-3)  # float32 of values up to 12 000
    np.testing.assert_allclose(x[:, 1], -grid, atol=1e-3)


def test_a_window_needs_the_share_of_its_commonest_label():
    """100 readings on the grid, label 0 for the first 25, then 1: windows of 20 every 10, so starts 10 and 20 mix."""
    t = 20.0 * np.arange(100)
    labels = (np.arange(100) >= 25).astype(int)
    cut = lambda purity: motion_windows(t, np.ones((100, 1)), labels, 20, 10, 20.0, purity)  # noqa: E731
    # Start 10 holds 15 zeros of 20 (0.75), start 20 holds 15 ones of 20 (0.75).
    _, y, t0 = cut(0.75)
    assert (t0 / 20).tolist() == [0, 10, 20, 30, 40, 50, 60, 70, 80]
    assert y.tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 1]
    _, y, t0 = cut(0.76)
    assert (t0 / 20).tolist() == [0, 30, 40, 50, 60, 70, 80]
    assert y.tolist() == [0, 1, 1, 1, 1, 1, 1]


def test_a_recording_shorter_than_a_window_gives_none():
    x, y, t0 = motion_windows(np.array([0.0, 20.0]), np.ones((2, 6)), np.zeros(2, int))
    assert x.shape == (0, 6, 64)
    assert len(y) == len(t0) == 0
    assert motion_windows(np.array([5.0]), np.ones((1, 6)), np.zeros(1, int))[0].shape == (0, 6, 64)
