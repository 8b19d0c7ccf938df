"""Priors over maps from published agreement between devices, for metrics of which no population of pairs is at hand.

Two devices that measure the same thing with errors of their own, and with the same spread, have a line between them
whose slope is their correlation; so slopes are centred on published correlations and not on one. Offsets are centred
on none, since the devices are not named, and spread as published biases do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from metapulse.errors import ConfigError
from metapulse.gaussian_head import GaussianHead
from metapulse.migration.base import MapCard
from metapulse.migration.errors_in_time import NO_ERRORS, ErrorProcess
from metapulse.migration.linear import Evidence
from metapulse.migration.prior import Choice, MapPrior
from metapulse.migration.terms import Terms
from metapulse.record.metrics import metrics

HEAVY = 2.1318 / 1.6449  # 95 % quantiles: of Student's t with 4 degrees of freedom, of a normal


@dataclass(frozen=True)
class Agreement:
    """Between two devices of different makers; the metric's unit.

    Args:
        usual, spread: of one person's old readings.
        slope, slope_spread: of the new reading on the old, over people and devices.
        offset_spread: of the new reading's mean at ``usual``, over people and devices.
        error: scale of a reading's error around the line, a Student's t with 4 degrees of freedom: its deviation / √2.
        source: of these figures.
    """

    usual: float
    spread: float
    slope: float
    slope_spread: float
    offset_spread: float
    error: float
    source: str


_SLEEP = "Chinoy and others 2021, Sleep 44:zsaa291 (sleep is told from wake well, stages inconsistently)"
#: Round figures of ours, in keeping with what the sources found; wide, so that a week of overlap outweighs them.
PUBLISHED = {
    "sleep_duration": Agreement(420.0, 60.0, 0.88, 0.10, 30.0, 18.0, _SLEEP),
    "sleep_deep": Agreement(75.0, 30.0, 0.50, 0.30, 30.0, 25.0, _SLEEP),
    "sleep_rem": Agreement(100.0, 30.0, 0.50, 0.30, 30.0, 25.0, _SLEEP),
    "sleep_light": Agreement(240.0, 45.0, 0.50, 0.30, 45.0, 37.0, _SLEEP),
    "resting_heart_rate": Agreement(58.0, 5.0, 0.95, 0.05, 2.0, 1.2, "nocturnal errors of 1.7 to 3.0 % (536 nights)"),
    "glucose": Agreement(
        120.0, 35.0, 0.85, 0.20, 15.0, 10.0, "Hanson and others (two sensors at once: MARD 8.9 and 13.6 %)"
    ),
    "steps_daily": Agreement(8000.0, 3500.0, 0.88, 0.10, 1000.0, 1300.0, "Bai and others 2021, PLoS One e0251975"),
}


def published(metric: str) -> MapPrior:
    """The prior over maps of a metric between two devices that are not named.

    Args:
        metric: of ``PUBLISHED``.

    Raises:
        ConfigError: there are no figures for it.
    """
    if metric not in PUBLISHED:
        raise ConfigError("metric", metric, f"published agreement is known of {', '.join(PUBLISHED)}")
    of = PUBLISHED[metric]
    terms = Terms((), of.usual, of.spread)
    spread = torch.tensor([of.offset_spread, of.slope_spread * of.spread], dtype=torch.float64) / of.error
    mean = torch.tensor([of.usual, of.slope * of.spread], dtype=torch.float64).reshape(1, 2, 1)
    noise = torch.full((1, 1), of.error**2, dtype=torch.float64)
    head = GaussianHead(mean, torch.diag(spread.square()).unsqueeze(0), noise)
    choice = Choice(0.0, terms, Evidence(0.0), head, compared="a line, from published agreement")
    return MapPrior((choice,), MapCard("", metric, notes=(f"prior: {of.source}",)), HEAVY, _errors(metric))


def _errors(metric: str) -> ErrorProcess:
    """Of values of a day or night, each for itself; of readings minutes apart, which err alike for hours, not known."""
    if metrics()[metric].merge == "mean":
        return NO_ERRORS
    return replace(NO_ERRORS, white=2.0 * PUBLISHED[metric].error ** 2)
