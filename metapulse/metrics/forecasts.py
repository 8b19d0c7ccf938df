"""Metrics of forecasts over a stack of clients: in the target's unit, and relative to the value itself."""

from __future__ import annotations

import torch

from metapulse.episodes import PerClient
from metapulse.losses import masked_mean, squared_error
from metapulse.metrics.answers import Answers


def root_mean_squared_error(answers: Answers) -> PerClient:
    """√ mean (ŷ − y)² over each client's samples and outputs, in the target's unit."""
    return squared_error(answers.predictions, answers.y, answers.mask).sqrt()


def mean_absolute_relative_difference(answers: Answers) -> PerClient:
    """Mean of 100 · |v̂ − v| / v over each client's samples and outputs, in per cent of the value v that came true.

    Returns:
        NaN for a client one of whose values is not positive: of nothing there is no share.
    """
    real = answers.mask.unsqueeze(2) > 0
    true = answers.true
    known = torch.where(real, true, 1.0)
    share = 100.0 * (answers.predicted - true).abs() / known
    found = masked_mean(share.mean(2), answers.mask)
    return found.masked_fill((known <= 0).any(2).any(1), torch.nan)
