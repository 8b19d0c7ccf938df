"""Which map a person's record gets: by overlap, by the population's prior, or by the weeks before and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from metapulse.errors import ConfigError
from metapulse.migration.base import Map
from metapulse.migration.learn import learn
from metapulse.migration.overlap import named_sources, pairs_of, readings
from metapulse.migration.prior import load_prior
from metapulse.migration.published import PUBLISHED, published
from metapulse.migration.without_overlap import without_overlap

if TYPE_CHECKING:
    import polars as pl

    Frame: TypeAlias = pl.DataFrame

FEWEST = 3  # pairs of one's own, to learn a map from nothing else


def map_of(rows: Frame, metric: str, old: str, new: str, prior: Path | None = None, by: str = "") -> Map:
    """A person's map from one device to another, from what the record holds.

    Args:
        rows: of a record.
        metric: of the readings.
        old, new: parts of the devices' names.
        prior: folder of a population's prior; None: a published one, if there is one for the metric.
        by: a way without overlap (``metapulse.migration.without_overlap``); "": of the moments that both recorded.

    Raises:
        ConfigError: no such metric or device; or neither overlap nor prior.
        DataError: the prior cannot be read, or there are too few readings.
    """
    given = load_prior(prior) if prior is not None else published(metric) if metric in PUBLISHED else None
    if by:
        names = named_sources(rows, metric, {"from": old, "to": new})
        tables = (readings(rows, metric, names[key]).select(value="value", time="start") for key in ("from", "to"))
        return without_overlap(*tables, by, given.personal() if given else None, metric)
    pairs = pairs_of(rows, metric, old, new)
    if given is not None:
        return given.personal(pairs)
    if len(pairs) < FEWEST:
        raise ConfigError(
            "prior", "", f"a population's prior, or --by: the devices have {len(pairs)} moments of {metric} in common"
        )
    return learn(pairs, metric).personal()
