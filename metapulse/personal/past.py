"""The old device of a record that has two, mapped into the new one's space: a person's history, moved along.

Which map: one that is given; else the population's prior over maps, given or published, with the moments that both
devices told of in this very record as the person's overlap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from metapulse.errors import ConfigError
from metapulse.migration.base import LEVEL, Map, load_map
from metapulse.migration.errors_in_time import NO_ERRORS, ErrorProcess, fit_errors
from metapulse.migration.pairs import HOUR_US, read_pairs
from metapulse.migration.prior import MapPrior, load_prior
from metapulse.migration.published import PUBLISHED, published
from metapulse.personal.walk import ALWAYS
from metapulse.record.mapped import nearest_index, within_us
from metapulse.record.recipes.base import NO_ROWS, MetricRows, Questions, Recipe
from metapulse.rng import generator

DRAWS = 4  # of a history: their windows count for a quarter each
POPULATION_MIN = 1440.0  # minutes of a person's own overlap that the population's errors weigh as much as
NORMAL = {0.9: 1.6449}[LEVEL]  # half a band of LEVEL in standard deviations, if errors were normal

#: One device's rows by metric, of several devices by model.
Devices = Mapping[str, Mapping[str, MetricRows]]


@dataclass(frozen=True)
class PastDevice:
    """What the old device saw, mapped into the new one's space.

    Args:
        device: its model.
        draws: windows of mapped readings, each time with other errors of the map put back (multiple imputation, Rubin
            1987): the mean alone is smoother than what the new device shows, and would teach to trust every trend.
        map: that mapped them.
        known_from: moment in µs since 1970 at which the map had seen all that it was learned on.
    """

    device: str
    draws: tuple[Questions, ...]
    map: Map
    known_from: int = ALWAYS


def read_maps(given: Path | Map | MapPrior) -> Map | MapPrior:
    """A map or a prior over maps, from the folder that ``save`` wrote, or as it is.

    Raises:
        DataError: the folder holds neither.
    """
    if isinstance(given, (Map, MapPrior)):
        return given
    if (given / "prior.json").exists():
        return load_prior(given)
    return load_map(given)


def past_device(
    devices: Devices,
    recipe: Recipe,
    new: str,
    begins: int,
    old: str = "",
    overlap: Any = None,
    maps: Path | Map | MapPrior | None = None,
) -> tuple[tuple[PastDevice, ...], str]:
    """The history of a device worn before, and if there is none that can be used, why.

    Where the overlap reaches into the time that is forecast, the history comes twice: by the map that knows nothing of
    the overlap, and, from the overlap's end on, by the map that does.

    Args:
        devices: of the record.
        recipe: what is forecast.
        new: device model that is worn now.
        begins: moment of its first forecast, µs since 1970.
        old: device model of the history; "": the other one with most readings before the new device's last.
        overlap: table of ``time``, ``old`` and ``new``; None: moments that both told of in the record;
            False: none.
        maps: a map, or the population's prior over maps; None: published agreement.

    Returns:
        The history by each map that can be used, in order of ``known_from``; and why the last of them cannot, or "".

    Raises:
        ConfigError: the record has no such old device.
        DataError: maps or overlap cannot be read.
    """
    metric, others = recipe.metrics[0], {name: rows for name, rows in devices.items() if name != new}
    if old and old not in others:
        raise ConfigError("old", old, f"must be one of {', '.join(others) or 'no other device of the record'}")
    if not others:
        return (), ""
    old = old or max(others, key=lambda name: len(others[name].get(metric, NO_ROWS)))
    if len(recipe.metrics) > 1:
        return (), f"history of {old} is not used: the recipe reads several metrics, and a map is of one"
    if maps is None and metric not in PUBLISHED:
        return (), f"history of {old} is not used: no prior over maps of {metric} is published, and none was given"
    prior = published(metric) if maps is None else read_maps(maps)
    before, now = others[old].get(metric, NO_ROWS), devices[new][metric]
    table = shared_moments(before, now, metric) if overlap is None else overlap
    table = None if table is False else table
    until = _last_moment(table, metric)
    pasts, why = [], ""
    for known_from, seen in [(ALWAYS, table)] if until <= begins else [(ALWAYS, None), (until, table)]:
        made = prior if isinstance(prior, Map) else prior.personal(seen)
        errors = map_errors(made, prior.errors if isinstance(prior, MapPrior) else NO_ERRORS, seen)
        draws, why = _windows(recipe, metric, before, made, errors)
        if not why:
            pasts.append(PastDevice(old, draws, made, known_from))
    return tuple(pasts), f"history of {old} is not used: {why}" if why else ""


def _last_moment(overlap: Any, metric: str) -> int:
    """Of an overlap, in µs since 1970; ``ALWAYS`` if it has none."""
    people = () if overlap is None else read_pairs(overlap, "the overlap", metric).people.values()
    return max((round(float(one.hours[-1]) * HOUR_US) for one in people if len(one)), default=ALWAYS)


def _windows(
    recipe: Recipe, metric: str, before: MetricRows, map: Map, errors: ErrorProcess
) -> tuple[tuple[Questions, ...], str]:
    """Windows of an old device's readings by a map, and if they cannot be used, why."""
    if map.card.refused:
        return (), map.card.refused
    rows, half = rows_mapped(before, map)
    if not len(rows):
        return (), "the map gives no value"
    if float(np.median(half)) >= NORMAL * float(np.std(rows.value)):
        band = f"its band of ±{np.median(half):.3g} is as wide as the readings' own ±{NORMAL * np.std(rows.value):.3g}"
        return (), f"the map is too uncertain ({band})"
    draws = drawn_questions(recipe, metric, rows, errors)
    return draws, "" if len(draws[0]) else draws[0].lacks


def drawn_questions(recipe: Recipe, metric: str, mapped: MetricRows, errors: ErrorProcess) -> tuple[Questions, ...]:
    """Windows of a mapped history, ``DRAWS`` times with other errors put back; once if the map makes none."""
    turns = range(DRAWS if errors.autocovariance(np.zeros(1))[0] > 0 else 1)
    drawn = [mapped.value + errors.draw(mapped.start, generator(0, "map/errors", turn)) for turn in turns]
    return tuple(recipe.questions({metric: replace(mapped, value=value)}) for value in drawn)


def map_errors(map: Map, population: ErrorProcess, overlap: Any) -> ErrorProcess:
    """How a person's map errs over time: as the population's do, and as it does in the person's own overlap.

    Args:
        map: the person's.
        population: of people's maps.
        overlap: table of ``time``, ``old`` and ``new``; None: there is none.
    """
    people = () if overlap is None else read_pairs(overlap, "the overlap", map.card.metric).people.values()
    series = []
    for one in people:
        apart = map.apart((one.hours * HOUR_US).round().astype(np.int64), one.old, one.new)
        known = np.isfinite(apart)
        series.append((60.0 * one.hours[known], apart[known]))
    own = fit_errors(series)
    return own.joined(population, POPULATION_MIN if population is not NO_ERRORS else 0.0)


def shared_moments(old: MetricRows, new: MetricRows, metric: str) -> Any:
    """Readings of two devices that are the nearest of each other: a polars table of ``time``, ``old`` and ``new``.

    Args:
        old, new: rows, in order of time.
        metric: says how near they must be.
    """
    import polars as pl

    old, new = (one.where(~np.isnan(one.value) & ~one.censored & (one.code == "")) for one in (old, new))
    if not len(old) or not len(new):
        return None
    to, back = nearest_index(old.start, new.start), nearest_index(new.start, old.start)
    near = (back[to] == np.arange(len(old))) & (np.abs(new.start[to] - old.start) <= within_us(metric))
    if not near.any():
        return None
    time = pl.Series(old.start[near]).cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame({"time": time, "old": old.value[near], "new": new.value[to][near]})


def rows_mapped(rows: MetricRows, map: Map) -> tuple[MetricRows, Float64[np.ndarray, " n"]]:
    """An old device's readings as the new one would have shown them, and half the width of the map's band.

    What the map refuses is left out.
    """
    rows = rows.where((rows.code == "") & ~np.isnan(rows.value))
    made = map.at(rows.start, rows.value)
    kept = np.isfinite(made.value)
    return replace(rows.where(kept), value=made.value[kept]), (0.5 * (made.upper - made.lower))[kept]
