"""Glucose: closed forms on small records, the person's clock, and what is not learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from metapulse.record.clock import HOUR, MINUTE
from metapulse.record.schema import Device, Row
from tests.metapulse.record.recipes.taking import DAY_0, WATCH, samples, taken


def glucose(values: Sequence[float], begin: int = DAY_0 + 8 * HOUR, **more: Any) -> list[Row]:
    return [
        Row("glucose", begin + 5 * i * MINUTE, value, device=WATCH, offset_min=0, **more)
        for i, value in enumerate(values)
    ]


SHORT = {"name": "glucose_30min", "history_min": 20, "target_scale": 1.0}


def test_glucose_is_its_change_from_now_and_its_past_in_fixed_units() -> None:
    found = samples(glucose([100.0 + 2 * i for i in range(12)]), SHORT)
    assert found.x.shape == (12 - 3 - 6, 1, 4)
    np.testing.assert_allclose(found.y[:, 0], 12.0, atol=1e-5)  # six steps of 2 mg/dL
    np.testing.assert_allclose(found.x[0, 0] * 50 + 140, [100, 102, 104, 106], atol=1e-4)
    assert found.group.tolist() == [19_800] * 3


def test_a_day_is_one_of_the_persons_clock_and_no_window_crosses_its_midnight() -> None:
    late = glucose([100.0] * 24, DAY_0 + 22 * HOUR)  # 22:00 to 23:55 in UTC; on the person's clock 00:00 to 01:55
    here = samples([row._replace(offset_min=120) for row in late], SHORT)
    assert set(here.group.tolist()) == {19_801}
    across = samples(glucose([100.0] * 40, DAY_0 + 22 * HOUR), SHORT)
    assert len(here) == 24 - 3 - 6
    assert len(across) == (24 - 3 - 6) + (16 - 3 - 6)


def test_a_clock_that_changes_breaks_the_series_and_moves_no_window() -> None:
    rows = glucose([100.0 + i for i in range(24)])
    rows = [row._replace(offset_min=0 if i < 12 else -60) for i, row in enumerate(rows)]
    found = samples(rows, SHORT)
    assert len(found) == 2 * (12 - 3 - 6)
    np.testing.assert_allclose(found.y[:, 0], 6.0, atol=1e-5)


@pytest.mark.parametrize("mark", ["superseded", "implausible", "sensor_error", "time_implausible", "interpolated"])
def test_doubtful_rows_are_not_learned_from_and_are_counted(mark: str) -> None:
    rows = glucose([100.0] * 12)
    rows[5] = rows[5]._replace(value=300.0, quality=(mark,))
    (made,) = taken(rows, SHORT).values()
    assert made.samples is not None
    assert np.allclose(made.samples.x * 50 + 140, 100)
    assert made.left_out[f"rows marked {mark}"] == 1
    kept = samples(rows, {**SHORT, "keep": [mark]})
    assert (kept.x * 50 + 140).max() > 150


def test_a_limit_enters_as_the_limit_and_a_scan_not_at_all() -> None:
    rows = glucose([100.0] * 12)
    rows[5] = rows[5]._replace(value=40.0, quality=("censored_low",))
    rows.append(rows[5]._replace(start=rows[5].start + MINUTE, value=250.0, code="scan", quality=()))
    found = samples(rows, SHORT)
    assert (found.x * 50 + 140).min() == pytest.approx(40.0, abs=1e-4)
    assert (found.x * 50 + 140).max() < 101


def test_each_device_model_is_by_itself() -> None:
    other = [row._replace(device=Device(manufacturer="Other"), value=90.0) for row in glucose([0.0] * 12)]
    found = taken([*glucose([100.0] * 12), *other], SHORT)
    assert list(found) == ["Other", "Watch 3"]
    assert [made.samples is not None for made in found.values()] == [True, True]
    no_run = taken(glucose([100.0] * 4), SHORT)["Watch 3"]
    assert (no_run.samples, no_run.lacks) == (None, "4 readings, never 45 min unbroken within one day")
