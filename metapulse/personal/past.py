"""The old device of a record that has two, mapped into the new one's space: a person's history, moved along.

Which map: one that is given; else the population's prior over maps, given or published, with what both devices told of
in this very record as the person's overlap. A recipe that reads several metrics names those that maps are of; what it
forecasts must be mapped, and other inputs are where agreement is published, and else taken as recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metapulse.errors import ConfigError
from metapulse.migration.base import Map, load_map
from metapulse.migration.prior import MapPrior, load_prior
from metapulse.migration.published import PUBLISHED, published
from metapulse.personal.moved import Moved, moved
from metapulse.personal.shared import Shared, given_overlap, shared
from metapulse.personal.walk import ALWAYS
from metapulse.record.recipes.base import NO_ROWS, MetricRows, Questions, Recipe
from metapulse.rng import generator

DRAWS = 4  # of a history: their windows count for a quarter each

#: One device's rows by metric, of several devices by model.
Devices = Mapping[str, Mapping[str, MetricRows]]


@dataclass(frozen=True)
class PastDevice:
    """What the old device saw, mapped into the new one's space.

    Args:
        device: its model.
        draws: windows of mapped readings, each time with other errors of the map put back (multiple imputation, Rubin
            1987): the mean alone is smoother than what the new device shows, and would teach to trust every trend.
        map: that mapped what is forecast.
        known_from: moment in µs since 1970 at which the maps had seen all that they were learned on.
        mapped: metrics that were.
        recorded: metrics that were taken as recorded.
    """

    device: str
    draws: tuple[Questions, ...]
    map: Map
    known_from: int = ALWAYS
    mapped: tuple[str, ...] = ()
    recorded: tuple[str, ...] = ()


def read_maps(given: Path | Map | MapPrior) -> Map | MapPrior:
    """A map or a prior over maps, from the folder that ``save`` wrote, or as it is.

    Raises:
        ConfigError: it is something else.
        DataError: the folder holds neither.
    """
    if isinstance(given, (Map, MapPrior)):
        return given
    if not isinstance(given, Path):
        raise ConfigError("maps", given, "must be a map, a prior over maps, or the folder of one")
    if (given / "prior.json").exists():
        return load_prior(given)
    return load_map(given)


def past_device(
    devices: Devices,
    recipe: Recipe,
    new: str,
    forecasts: tuple[int, int],
    old: str = "",
    overlap: Any = None,
    maps: Path | Map | MapPrior | None = None,
) -> tuple[tuple[PastDevice, ...], str]:
    """The history of a device worn before, and if there is none that can be used, why.

    Only what the old device told before the first forecast is history. Where the overlap reaches into the time that is
    forecast, the history comes several times: by the maps of what was known at the first forecast, and from the moments
    on at which more was known, by the maps that were learned from that. The last of them is for forecasts to come.

    Args:
        devices: of the record.
        recipe: what is forecast.
        new: device model that is worn now.
        forecasts: moments of its first and of its last forecast, µs since 1970.
        old: device model of the history; "": the other one that told most of what is forecast before the first one.
        overlap: table of ``time``, ``old`` and ``new`` of what is forecast; None: what both told of in the record;
            False: none, of no metric.
        maps: a map of what is forecast, or the population's prior over such maps; None: published agreement.

    Returns:
        The history by the maps of each time that can be used, in order of ``known_from``; and why the last of them
        cannot, or "".

    Raises:
        ConfigError: the record has no such old device, or the map is of another metric.
        DataError: maps or overlap cannot be read.
    """
    metric, others = recipe.mapped_metric, {name: rows for name, rows in devices.items() if name != new}
    if old and old not in others:
        raise ConfigError("old", old, f"must be one of {', '.join(others) or 'no other device of the record'}")
    if not others:
        return (), ""
    begins, ends = forecasts
    told = {name: {key: one.where(one.end <= begins) for key, one in rows.items()} for name, rows in others.items()}
    told = {name: {key: one for key, one in rows.items() if len(one)} for name, rows in told.items()}
    series = {name: recipe.series(rows) for name, rows in told.items()}
    old = old or max(series, key=lambda name: len(series[name].get(metric, NO_ROWS)))
    before = series[old]
    if metric not in before:
        return (), f"history of {old} is not used: it tells nothing from before {new}"
    if maps is None and metric not in PUBLISHED:
        return (), f"history of {old} is not used: no prior over maps of {metric} is published, and none was given"
    priors = {metric: published(metric) if maps is None else read_maps(maps)}
    if priors[metric].card.metric not in ("", metric, recipe.forecasts):
        raise ConfigError("maps", priors[metric].card.metric, f"must be of {metric}, as what is forecast is")
    priors |= {name: published(name) for name in before if name in PUBLISHED and name != metric}
    whole, now = recipe.series(others[old]), recipe.series(devices[new])
    both = {name: shared(whole[name], now.get(name, NO_ROWS), name) for name in priors if overlap is not False}
    if overlap is not None and overlap is not False:
        both[metric] = given_overlap(overlap, metric, before[metric])
    pasts, why = [], ""
    for known_from, moment in _moments(both, metric, begins, ends):
        tables = {name: one.by(moment).table for name, one in both.items()}
        made = {name: moved(before[name], prior, tables.get(name)) for name, prior in priors.items()}
        if not (why := made[metric].why):
            used = {name: one for name, one in made.items() if not one.why}
            draws = drawn_questions(recipe, told[old], used)
            why = "" if len(draws[0]) else draws[0].lacks
        if not why:
            recorded = tuple(name for name in before if name not in used)
            pasts.append(PastDevice(old, draws, made[metric].map, known_from, tuple(used), recorded))
    return tuple(pasts), f"history of {old} is not used: {why}" if why else ""


def _moments(both: Mapping[str, Shared], metric: str, begins: int, ends: int) -> list[tuple[int, int]]:
    """From when on a map is used, and what it knows: all that was known then. The last is for forecasts to come."""
    turns = both.get(metric, Shared()).turns(begins, ends)
    last = turns[-1] if turns else begins
    more = any(len(one.by(ends).known) > len(one.by(last).known) for one in both.values())
    return [(ALWAYS, begins), *((moment, moment) for moment in turns), *([(ends + 1, ends)] if more else [])]


def drawn_questions(recipe: Recipe, rows: Mapping[str, MetricRows], maps: Mapping[str, Moved]) -> tuple[Questions, ...]:
    """Windows of a mapped history, ``DRAWS`` times with other errors put back; once if the maps make none.

    Args:
        recipe: what is forecast.
        rows: of the old device, by metric.
        maps: what was mapped, what is forecast first.
    """
    turns = range(DRAWS if any(one.errors.any for one in maps.values()) else 1)
    draws = []
    for turn in turns:
        rng, mapped = generator(0, "map/errors", turn), {}
        for name, one in maps.items():
            mapped[name] = replace(one.rows, value=one.rows.value + one.errors.draw(one.rows.start, rng))
        draws.append(recipe.questions(recipe.with_series(rows, mapped)))
    return tuple(draws)
