"""Maps of the weeks before and after a change: what each way finds, and when its assumption does not hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.errors import ConfigError, DataError
from metapulse.migration.base import MapCard, load_map
from metapulse.migration.ways import WAYS, Weeks, carried
from metapulse.migration.without_overlap import WeeksMap, placebo, without_overlap
from metapulse.rng import generator

START = datetime(2024, 1, 1, tzinfo=UTC)


def table(hours: np.ndarray, value: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"time": [START + timedelta(hours=float(h)) for h in hours], "value": value})


def life(days: int, seed: int, drift: float = 0.0, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A reading every two hours: a rhythm of the day and the week, and noise."""
    hours = np.arange(first * 24, (first + days) * 24, 2.0)
    rhythm = 15 * np.sin(2 * np.pi * hours / 24) + 8 * (((hours // 24) % 7) >= 5)
    return hours, 100 + rhythm + drift * hours / 24 + 6 * generator(seed, "life").standard_normal(len(hours))


@pytest.mark.parametrize("by", sorted(WAYS))
def test_a_line_between_devices_is_found_where_life_goes_on(by: str) -> None:
    if by == "transport":
        pytest.importorskip("ot")
    hours, lived = life(112, 1)
    old, new = (hours < 84 * 24), (hours >= 84 * 24)
    made = without_overlap(
        table(hours[old], lived[old]), table(hours[new], 0.8 * lived[new] + 30), by, metric="glucose"
    )
    assert not made.card.refused
    assert made.card.metric == "glucose"
    told = made.at(np.zeros(3, np.int64), np.array([85.0, 100.0, 115.0]))
    np.testing.assert_allclose(told.value, 0.8 * np.array([85.0, 100.0, 115.0]) + 30, atol=2.5)
    assert 0 < made.half < 8
    assert "over 3 changes that never were" in made.card.chosen


@pytest.mark.parametrize("by", ["matched", "quantile", "coral"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), slope=st.floats(0.5, 1.5), offset=st.floats(-30, 30))
def test_a_map_never_falls_and_goes_on_beyond_its_knots(by: str, seed: int, slope: float, offset: float) -> None:
    hours, lived = life(56, seed)
    knots = WAYS[by](Weeks(hours[:336], lived[:336]), Weeks(hours[336:], slope * lived[336:] + offset))
    x = np.linspace(0, 300, 601)
    y = carried(knots, x)
    assert (np.diff(y) >= -1e-9).all()
    np.testing.assert_allclose(y[-1] - y[-2], x[-1] - x[-2])
    np.testing.assert_allclose(y[1] - y[0], x[1] - x[0])


def test_a_change_that_never_was_tells_the_error() -> None:
    """Without drift the ways err little; where a person's level moves day by day, by about as much over the weeks."""
    calm, moving = (Weeks(*life(140, 2, drift)) for drift in (0.0, 0.5))
    for way in ("matched", "quantile", "coral"):
        still, moved = (placebo(WAYS[way], weeks, 28 * 24, 28 * 24) for weeks in (calm, moving))
        assert still.changes == moved.changes == 7
        assert still.rmse < 2.5
        assert 10 < moved.rmse < 18  # 28 days of 0.5
        assert moved.half >= moved.rmse


def test_a_map_that_is_no_better_than_the_populations_is_refused(tmp_path: Path) -> None:
    hours, lived = life(168, 3, drift=0.5)
    cut = hours < 140 * 24
    tables = table(hours[cut], lived[cut]), table(hours[~cut], lived[~cut] - 20)
    population = WeeksMap(MapCard("weeks", rmse=9.0), np.zeros(1), np.zeros(1), 0.0)
    made = without_overlap(*tables, "coral", population)
    assert "the population's map errs by 9: it is no better" in made.card.refused
    assert np.isnan(made.at(np.zeros(1, np.int64), np.array([100.0])).value).all()
    made.save(tmp_path)
    loaded = load_map(tmp_path)
    assert loaded.card == made.card
    assert loaded.state()[0] == made.state()[0]
    np.testing.assert_array_equal(loaded.state()[1]["old"], made.state()[1]["old"])
    assert not without_overlap(*tables, "coral").card.refused


def test_too_little_is_refused_and_says_what_is_missing() -> None:
    hours, lived = life(42, 4)
    cut = hours < 28 * 24
    made = without_overlap(table(hours[cut], lived[cut]), table(hours[~cut], lived[~cut]))
    assert made.card.refused.startswith("the old device's own weeks hold 1 changes")
    with pytest.raises(ConfigError, match="must be one of best, matched"):
        without_overlap(table(hours, lived), table(hours, lived), "magic")
    with pytest.raises(DataError, match="the new device has 3 readings"):
        without_overlap(table(hours, lived), table(hours[:3] + 9999, lived[:3]))
    with pytest.raises(DataError, match="1 readings of the new device are after"):
        without_overlap(table(hours, lived), table(hours, lived))


def test_the_best_way_is_the_one_that_errs_least_on_changes_that_never_were() -> None:
    hours, lived = life(196, 5)
    cut = hours < 168 * 24
    best = without_overlap(table(hours[cut], lived[cut]), table(hours[~cut], lived[~cut] + 9), "best")
    each = [
        without_overlap(table(hours[cut], lived[cut]), table(hours[~cut], lived[~cut] + 9), way)
        for way in ("matched", "quantile", "coral")
    ]
    assert best.card.rmse is not None
    assert best.card.rmse <= min(one.card.rmse for one in each if one.card.rmse is not None)
