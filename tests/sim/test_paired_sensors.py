"""Two sensors on one person: addressed draws, and the spreads that were published."""

from __future__ import annotations

import numpy as np

from metapulse.sim.paired_sensors import DAY, PairedSensors, invented_truths


def test_a_person_does_not_depend_on_who_else_is_there() -> None:
    truths, sensors = invented_truths(3, 5, 3), PairedSensors(days=3)
    many, few = sensors.pairs(3, truths), sensors.pairs(3, truths[:2])
    assert many.filter(many["person"] < "p002").equals(few)
    assert not sensors.pairs(4, truths[:2]).equals(few)
    assert all(np.array_equal(a, b) for a, b in zip(truths, invented_truths(3, 7, 3), strict=False))


def test_the_other_way_round_swaps_old_and_new() -> None:
    truths, sensors = invented_truths(0, 2, 2), PairedSensors(days=2)
    one, other = sensors.pairs(0, truths), sensors.pairs(0, truths, forward=False)
    assert one.rename({"old": "new", "new": "old"}).select("person", "time", "old", "new").equals(other)
    assert len(one) == 2 * 2 * DAY // 3
    assert (one["time"].diff().drop_nulls().dt.total_minutes().mode().item()) == 15


def test_slopes_intercepts_and_correlations_are_those_of_people() -> None:
    pairs = PairedSensors().pairs(0, invented_truths(0, 45))
    slopes, intercepts, correlations = [], [], []
    for (_,), one in pairs.group_by("person", maintain_order=True):
        slope, intercept = np.polyfit(one["old"], one["new"], 1)
        slopes.append(slope)
        intercepts.append(intercept)
        correlations.append(np.corrcoef(one["old"], one["new"])[0, 1])
    assert 0.6 < np.median(slopes) < 0.8  # 0.70 published
    assert min(slopes) < 0.4 < 1.0 < max(slopes) < 1.6  # 0.10 to 1.16
    assert min(intercepts) < 10.0 < 45.0 < max(intercepts)  # −17 to 111
    assert 0.6 < np.median(correlations) < 0.9  # 0.81
