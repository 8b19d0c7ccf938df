"""Samples that reach from one moment to another: what of an old device's, or of another one's, meets the query."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from metapulse.data import Samples
from metapulse.history import apart
from metapulse.record.recipes import make_recipe
from metapulse.record.recipes.base import MetricRows
from metapulse.reserve import trainable
from metapulse.sim.sources.own import Own

DAY, HOUR = 86_400_000_000, 3_600_000_000


def told(samples, rows):
    return {samples.x[row].tobytes() + samples.y[row].tobytes() for row in rows}


@pytest.fixture(scope="module")
def worn_at_once(tmp_path_factory):
    """One series on two devices, whose clocks are fourteen hours apart: the samples of each."""
    path = tmp_path_factory.mktemp("own") / "readings.csv"
    value = 120 + np.cumsum(np.random.default_rng(0).normal(0, 3, 288 * 6))
    start, lines = datetime(2024, 3, 1, tzinfo=UTC), ["user,device,time,value"]
    for i, v in enumerate(value):
        for name, hours in (("old", 9), ("new", -5)):
            at = (start + timedelta(minutes=5 * i)).astimezone(timezone(timedelta(hours=hours)))
            lines.append(f"p,{name},{at.isoformat()},{v:.2f}")
    path.write_text("\n".join(lines) + "\n")
    source = Own(path=str(path), kind="forecasting", y="value")
    found = {source.client(c).device: source.samples(c) for c in source.clients_of(0)}
    return found["old"], found["new"]


def test_readings_of_two_clocks_are_compared_as_instants(worn_at_once):
    """Bug: the number of the day on each device's own clock was, and half of the query stood in the history."""
    old, new = worn_at_once
    for day in np.unique(new.group):
        query = np.flatnonzero(new.group == day)
        left = apart(old, new, query)
        begin, end = new.span[query, 0].min(), new.span[query, 1].max()
        assert not told(old, left) & told(new, query)
        assert ((old.span[left, 1] < begin) | (old.span[left, 0] > end)).all()
        meets = (old.span[:, 1] >= begin) & (old.span[:, 0] <= end)
        assert len(left) + meets.sum() == len(old)


def test_no_device_trains_on_what_another_one_keeps_whatever_its_clock(worn_at_once):
    old, new = worn_at_once
    devices = {
        c: Samples(**{**vars(s), "held_out": s.group % 2 == s.group.min() % 2}) for c, s in enumerate((old, new))
    }
    free = trainable(devices)
    for client, rows in free.items():
        other = devices[1 - client]
        assert not told(devices[client], rows) & told(other, np.flatnonzero(other.held_out))


def test_no_input_of_a_history_of_days_holds_the_day_that_is_asked_for():
    """Bug: a week's inputs reach further than two days, which was all that was left out."""
    steps = np.random.default_rng(1).integers(2000, 15000, 40)
    start = ((19_800 + np.arange(40))[:, None] * DAY + np.arange(8, 22) * HOUR).ravel()
    n, no = len(start), np.zeros(40 * 14, bool)
    rows = MetricRows(
        start, start + HOUR, np.zeros(n, np.int64), np.repeat(steps / 14, 14), np.full(n, "", object), no, no
    )
    recipe = make_recipe("steps_tomorrow")
    samples = recipe.take({"steps": rows}).samples
    (row,) = (i for i, name in enumerate(recipe.task.names) if name == "steps")
    for query in range(len(samples)):
        left = apart(samples, samples, np.array([query]))
        asked = samples.base[query, 0] + 4000 * samples.y[query, 0]
        seen = samples.x[left, row] * 4000 + samples.base[left]
        assert not np.isclose(seen, asked, atol=0.5).any()
        assert len(left) >= len(samples) - 2 * (recipe.days + 2) - 1
