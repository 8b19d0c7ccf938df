"""Metrics on a device: ours are computed, a function by its dotted name where the device allows that name alone."""

from __future__ import annotations

import numpy as np

from metapulse.client.wire import METRICS
from tests.client.test_hostile_instructions import NODE, asked, refused, tell

RAN: list[str] = []
HALVES = f"{__name__}:halves"


def halves(predictions: np.ndarray, targets: np.ndarray) -> float:
    """A metric that a device may allow."""
    RAN.append("halves")
    return 0.5


def test_a_device_computes_metrics_of_ours_and_functions_that_it_allows() -> None:
    RAN.clear()
    told = tell(**asked(metrics=["rmse", HALVES]), node=NODE | {"allow": HALVES})
    found = told.metric_records[METRICS]
    assert set(found) == {"num-examples", "mse", "mae", "rmse", HALVES}
    assert found[HALVES] == [0.5] * 8  # four episodes, before and after a step
    assert len(RAN) == 8


def test_a_function_that_is_not_on_the_list_is_refused_and_does_not_run() -> None:
    RAN.clear()
    for allow in ("", f"{__name__}:others"):
        reason = refused(**asked(metrics=["rmse", HALVES]), node=NODE | {"allow": allow})
        assert (
            reason == f"evaluation.metrics = '{HALVES}': this device's own configuration does not allow it (key allow)"
        )
    assert RAN == []
