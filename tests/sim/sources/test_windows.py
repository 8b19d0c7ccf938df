"""Windows: closed forms of forecasting, and the laws that keep the future out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metapulse.data import Task
from metapulse.sim.sources.table import SampleTable, number_runs
from metapulse.sim.sources.windows import SeriesTable
from metapulse.windows import Horizon, SeriesScaling


def test_runs_number_bouts():
    user, label = np.array([1, 1, 1, 1, 2, 2]), np.array([0, 0, 1, 0, 0, 0])
    assert number_runs(user, label).tolist() == [0, 0, 1, 2, 3, 3]


HORIZON = Horizon(points=4, step=5.0, ahead=10.0, max_gap=20.0, day=1440.0)


def test_anchors_need_an_unbroken_past_and_future_within_a_day():
    t = np.concatenate([5.0 * np.arange(8), 100 + 5.0 * np.arange(3), 1425 + 5.0 * np.arange(8)])
    # Piece 1: 0…35, anchors 15…25. Piece 2 spans 10 < 25 needed. Piece 3: 1425…1460, midnight at 1440: anchors need
    # begin = t − 15 ≥ 1425 and end = t + 10 on the same side: t = 1440 → begin 1425 (day 0), end 1450 (day 1): no;
    # t = 1445 and 1450 → begin 1430, 1435 (day 0): no.
    assert t[HORIZON.anchors(t)].tolist() == [15.0, 20.0, 25.0]


def test_two_owners_are_two_series():
    t = np.concatenate([5.0 * np.arange(6), 30 + 5.0 * np.arange(6)])
    owner = np.repeat([0, 1], 6)
    assert t[HORIZON.anchors(t, owner)].tolist() == [15.0, 45.0]
    assert t[HORIZON.anchors(t)].tolist() == (15.0 + 5 * np.arange(7)).tolist()  # one series: 0 … 55


@given(
    gaps=st.lists(st.integers(1, 30), min_size=10, max_size=80),
    seed=st.integers(0, 2**32 - 1),
    points=st.integers(1, 6),
)
def test_the_history_ends_in_a_reading_and_knows_nothing_of_the_future(gaps, seed, points):
    horizon = Horizon(points, 5.0, 10.0, 20.0, 1440.0)
    t = np.cumsum(np.array(gaps, float))
    value = np.random.default_rng(seed).normal(size=len(t))
    anchor = np.flatnonzero(horizon.anchors(t))
    history, future = horizon.cut(t, value, anchor)
    for row, a in enumerate(anchor):
        assert history[row, -1] == value[a]
        changed = np.where(t > t[a], value + 100.0, value)
        assert np.array_equal(horizon.cut(t, changed, anchor[row : row + 1])[0][0], history[row])
        # The definition, one window at a time.
        past = [np.interp(t[a] - 5.0 * k, t[: a + 1], value[: a + 1]) for k in range(points - 1, -1, -1)]
        np.testing.assert_allclose(history[row], past, atol=1e-12)
        np.testing.assert_allclose(future[row], np.interp(t[a] + 10.0, t, value), atol=1e-12)
        inside = (t >= t[a] - 5.0 * (points - 1)) & (t <= t[a] + 10.0)
        assert np.diff(t[inside]).max(initial=0) <= 20.0


def test_windows_of_different_days_share_no_reading():
    """Readings every 5 minutes for three days; every window's readings lie within its group's day."""
    t = 5.0 * np.arange(3 * 288)
    table = _table(t, max_windows=10_000)
    samples = table.samples(0)
    per_day = 288 - 3 - 2  # of 288 starts, the history needs 3 earlier and the target 2 later readings
    assert np.bincount(samples.group).tolist() == [per_day] * 3
    # value = t, so a history's values are its stamps.
    assert np.array_equal(samples.x[:, 0].min(1) // 1440, samples.group)
    assert np.array_equal((samples.x[:, 0, -1] + samples.y[:, 0]) // 1440, samples.group)


def test_max_windows_are_spread_over_everything():
    t = 5.0 * np.arange(10 * 288)
    samples = _table(t, max_windows=20).samples(0)
    assert len(samples) == 20
    assert set(samples.group.tolist()) == set(range(10))
    everything = _table(t, max_windows=10**6).samples(0)
    assert samples.x[0, 0, -1] == everything.x[0, 0, -1]
    assert samples.x[-1, 0, -1] == everything.x[-1, 0, -1]


def test_scaling_is_undone_by_hand():
    t = 5.0 * np.arange(20)
    samples = _table(t, 100, SeriesScaling(centre=10.0, spread=2.0, target_spread=4.0)).samples(0)
    present = samples.x[:, 0, -1] * 2 + 10
    assert present.tolist() == t[3:-2].tolist()
    assert (samples.y[:, 0] * 4).tolist() == [10.0] * len(samples)  # value = t: it rises by 10 in 10


def test_a_series_too_short_is_left_out_and_counted():
    t = np.concatenate([5.0 * np.arange(10), 5.0 * np.arange(2), 5.0 * np.arange(10)])
    owner = np.repeat([0, 1, 2], [10, 2, 10])
    table = SeriesTable.of(
        Task("regression", (1, 4), 1),
        t,
        t,
        owner,
        [(0, 0), (1, 0), (2, 1)],
        ["a", "b", "c"],
        ["old", "new"],
        HORIZON,
        SeriesScaling(),
        100,
    )
    assert table.left_out == 1
    assert [(c.user, c.device, c.label) for c in table.client_list.clients] == [(0, "old", "a"), (1, "new", "c")]
    assert np.array_equal(table.samples(0).x, table.samples(1).x)


def test_a_table_keeps_the_order_within_a_client():
    x = np.arange(6, dtype=np.float32)[:, None]
    table = SampleTable.of(
        Task("classification", (1,), 2),
        x,
        np.array([0, 1, 0, 1, 0, 1]),
        np.array([1, 0, 1, 0, 1, 0]),
        np.array([0, 0, 1, 0, 0, 1]),
        np.arange(6),
        ["p", "q"],
        ["phone", "watch"],
    )
    assert [(c.label, c.device) for c in table.client_list.clients] == [
        ("p", "phone"), ("p", "watch"), ("q", "phone"), ("q", "watch"),
    ]  # fmt: skip
    assert [table.samples(i).x[:, 0].tolist() for i in range(4)] == [[1.0, 3.0], [5.0], [0.0, 4.0], [2.0]]


def _table(t, max_windows, scaling=None):
    return SeriesTable.of(
        Task("regression", (1, 4), 1),
        t,
        t,
        np.zeros(len(t), int),
        [(0, 0)],
        ["a"],
        ["sensor"],
        HORIZON,
        scaling or SeriesScaling(),
        max_windows,
    )
