"""Metrics of forecasts against the same numbers by hand, with values that targets stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metapulse.data import Task
from metapulse.metrics.answers import Answers
from metapulse.metrics.forecasts import mean_absolute_relative_difference, root_mean_squared_error
from metapulse.metrics.grids import clarke_zones, share_within
from metapulse.rng import generator

COUNTS = (9, 4, 1)


def stack(unit: str = "mg/dL", scale: float = 50.0) -> tuple[Answers, list[tuple[np.ndarray, np.ndarray]]]:
    """Forecasts of changes, and predicted and true values client by client; what is masked would spoil all."""
    rng = generator(1, "forecasts")
    true, predicted, base = (rng.uniform(60, 300, (3, 9, 1)) for _ in range(3))
    mask = torch.arange(9) < torch.tensor(COUNTS).unsqueeze(1)
    predictions, y = ((torch.from_numpy(values - base) / scale) for values in (predicted, true))
    y[~mask], base[~mask.numpy()] = 0.0, 0.0
    task = Task("regression", (1,), 1, (), f"{scale:g} {unit}", (), scale, unit)
    answers = Answers(task, predictions, y, mask.double(), None, torch.from_numpy(base))
    return answers, [(p[:n, 0], t[:n, 0]) for p, t, n in zip(predicted, true, COUNTS, strict=True)]


def test_rmse_is_in_the_targets_unit():
    answers, values = stack()
    expected = [np.sqrt(np.mean((p - t) ** 2)) / 50.0 for p, t in values]
    np.testing.assert_allclose(root_mean_squared_error(answers), expected)


def test_mard_is_a_share_of_the_value_and_not_of_the_change():
    answers, values = stack()
    expected = [100.0 * np.mean(np.abs(p - t) / t) for p, t in values]
    np.testing.assert_allclose(mean_absolute_relative_difference(answers), expected)


def test_of_a_value_of_zero_there_is_no_share():
    task = Task("regression", (1,), 1, value_unit="steps")
    y = torch.tensor([[[100.0], [0.0]], [[100.0], [50.0]], [[100.0], [0.0]]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    found = mean_absolute_relative_difference(Answers(task, 1.1 * y, y, mask, None, torch.zeros_like(y)))
    assert found.isnan().tolist() == [True, False, False]
    assert found[1:].tolist() == pytest.approx([10.0, 10.0])


@pytest.mark.parametrize("unit", ["mg/dL", "mmol/L", " MG/DL"])
def test_zones_are_of_values_in_mg_dl_whatever_the_unit(unit):
    factor = 18.0156 if unit == "mmol/L" else 1.0
    answers, values = stack(unit)
    for last in (0, 1):
        expected = [
            np.mean([clarke_zones(*(factor * torch.tensor([v]) for v in pair)).item() <= last for pair in zip(t, p)])
            for p, t in values
        ]
        np.testing.assert_allclose(share_within(clarke_zones, last)(answers), expected)


def test_a_forecast_that_is_no_number_is_in_no_good_zone():
    answers, _ = stack()
    answers.predictions[0, 0] = torch.nan
    whole = share_within(lambda x, y: torch.zeros_like(x, dtype=torch.int64), 0)(answers)
    assert whole.tolist() == pytest.approx([8 / 9, 1.0, 1.0])
