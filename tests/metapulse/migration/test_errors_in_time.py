"""How a map errs over time: covariances found again, draws that have them, and what they are for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter  # type: ignore[attr-defined]

from metapulse.errors import DataError
from metapulse.migration.errors_in_time import MINUTE_US, SCALES_MIN, ErrorProcess, fit_errors
from metapulse.rng import generator

TRUE = ErrorProcess(4.0, np.array([0.0, 0.0, 25.0, 0.0, 0.0, 36.0, 0.0]))
STEP = 5.0


def stretch(n: int, turn: int, step: float = STEP) -> tuple[np.ndarray, np.ndarray]:
    moments = step * np.arange(n)
    return moments, TRUE.draw((moments * MINUTE_US).astype(np.int64), generator(3, "errors", turn))


def test_draws_have_the_covariances_and_a_fit_finds_them_again() -> None:
    found = fit_errors([stretch(3000, turn) for turn in range(40)])
    lags = STEP * np.arange(60)
    expected = TRUE.autocovariance(lags)
    # Of 40 stretches of ten days, a lag's covariance is known to about √(2 · 6 h / 400 days) of the variance.
    assert np.abs(found.autocovariance(lags) - expected).max() < 4 * np.sqrt(2 * 6 / (400 * 24)) * expected[0]
    assert found.minutes == 40 * 3000 * STEP


def test_a_draw_is_of_its_moments_alone() -> None:
    moments = (STEP * np.arange(50) * MINUTE_US).astype(np.int64)
    there = TRUE.draw(moments, generator(3, "errors"))
    mixed = np.concatenate([moments[::-1], moments[:3]])
    back = TRUE.draw(mixed, generator(3, "errors"))
    np.testing.assert_array_equal(back, np.concatenate([there[::-1], there[:3]]))


def test_a_silence_parts_what_lies_around_it() -> None:
    far = np.array([0, 5, 60 * 24 * 400, 60 * 24 * 400 + 5], np.int64) * MINUTE_US
    drawn = np.stack([TRUE.draw(far, generator(4, "errors", turn)) for turn in range(400)])
    correlation = np.corrcoef(drawn.T)
    near = TRUE.autocovariance(np.array([5.0]))[0] / TRUE.autocovariance(np.array([0.0]))[0]
    assert correlation[0, 1] == pytest.approx(near, abs=4 / np.sqrt(400))
    assert abs(correlation[1, 2]) < 4 / np.sqrt(400)


def test_shrinkage_goes_from_the_populations_to_the_persons() -> None:
    own = fit_errors([stretch(288, 1)])
    assert own.joined(TRUE, 0.0).white == own.white
    half = own.joined(TRUE, own.minutes)
    np.testing.assert_allclose(half.variance, 0.5 * (own.variance + TRUE.variance))


def test_nothing_to_learn_from_is_no_error() -> None:
    for series in ([], [(np.empty(0), np.empty(0))], [(np.zeros(1), np.ones(1))]):
        found = fit_errors(series)
        assert found.autocovariance(np.zeros(1))[0] == 0.0
        assert not found.draw(np.array([0, MINUTE_US]), generator(0, "errors")).any()
    assert not len(TRUE.draw(np.empty(0, np.int64), generator(0, "errors")))
    with pytest.raises(DataError, match="finite"):
        fit_errors([(np.arange(3.0), np.array([0.0, np.nan, 1.0]))])


def test_a_slope_learned_from_drawn_history_is_the_new_devices() -> None:
    """The mean of a noisy device's readings teaches too steep a trend; readings drawn around it teach the right one."""
    rng = generator(8, "trend")
    truth = lfilter([1.0], [1.0, -0.995], rng.standard_normal(200_000))
    noise = ErrorProcess(3.0, np.zeros(len(SCALES_MIN)))
    moments = (STEP * np.arange(len(truth)) * MINUTE_US).astype(np.int64)

    def slope(shown: np.ndarray) -> float:
        """Of the change to come on the last change: what a forecast makes of a trend."""
        before, after = shown[1:-1] - shown[:-2], shown[2:] - shown[1:-1]
        return float(before @ after / (before @ before))

    measured = slope(truth + noise.draw(moments, rng))
    drawn = slope(truth + noise.draw(moments, generator(8, "another draw")))
    assert drawn == pytest.approx(measured, abs=0.01)
    assert slope(truth) > measured + 0.3
