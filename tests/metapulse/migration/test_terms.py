"""What a map looks at: pieces that add up, a lag that is found, readings that are not guessed over silences."""

from __future__ import annotations

import numpy as np
import pytest

from metapulse.migration.terms import Terms
from metapulse.rng import generator


def history(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    hours = np.arange(n) / 12.0  # every 5 minutes
    return hours, 120.0 + 30.0 * np.sin(hours) + 10.0 * np.sin(3.1 * hours)


def test_pieces_of_a_line_with_bends_add_up_to_the_reading() -> None:
    hours, old = history()
    bends = Terms(("bends",), 120.0, 30.0, (-0.5, 0.4)).of(hours, old)
    assert bends.shape == (400, 4)
    np.testing.assert_allclose(bends[:, 1:].sum(1), (old - 120.0) / 30.0)


@pytest.mark.parametrize("minutes", [0, 5, 12])
def test_a_lag_is_found_by_the_window(minutes: int) -> None:
    hours, old = history()
    terms = Terms(("window",), 120.0, 30.0)
    new = np.interp(hours - minutes / 60.0, hours, old)
    weights = np.linalg.lstsq(terms.of(hours, old)[12:-12], new[12:-12], rcond=None)[0]
    lag = terms.lag_min(weights)
    assert lag is not None
    assert lag == pytest.approx(minutes, abs=1.0)
    assert Terms().lag_min(weights[:2]) is None


def test_over_a_silence_the_window_says_nothing() -> None:
    hours, old = np.array([0.0, 0.25, 9.0, 9.25]), np.array([100.0, 130.0, 90.0, 95.0])
    window = Terms(("window",), 100.0, 10.0).of(hours, old)[1, 2:]
    np.testing.assert_allclose(window[:2], -3.0)  # 15 minutes before is a reading, 30 is no farther from it
    assert window[3] == 0.0  # the next is hours away


def test_width_is_that_of_what_is_computed() -> None:
    hours, old = history()
    for names in ((), ("bends",), ("slow",), ("window", "slow", "hour"), ("window", "slow", "bends", "hour")):
        terms = Terms(names, 120.0, 30.0, (0.0,) if "bends" in names else ())
        assert terms.of(hours, old).shape == (400, terms.width)


def test_the_day_around_is_a_plain_mean_within_twelve_hours() -> None:
    rng = generator(0, "test slow")
    hours, old = np.sort(rng.uniform(0.0, 60.0, 50)), rng.normal(100.0, 10.0, 50)
    slow = Terms(("slow",), 0.0, 1.0).of(hours, old)[:, 2]
    for place in range(50):
        assert slow[place] == pytest.approx(old[np.abs(hours - hours[place]) <= 12.0].mean())
