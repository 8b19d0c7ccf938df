"""What the page about a person's model shows: forecasts and what came, the old device before and after its map."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from metapulse.errors import DataError
from metapulse.personal.explain import Explanation
from metapulse.personal.person import PersonModel
from metapulse.record.clock import DAY
from metapulse.record.recipes.base import MetricRows, device_rows
from metapulse.sim.report.record.courses import UNITS

if TYPE_CHECKING:
    from metapulse.migration.base import Mapped

AROUND = 3 * DAY  # of a change of device, before and after it


@dataclass(frozen=True)
class PersonView:
    """One person's model, and the record that it is looked at with."""

    model: PersonModel
    record: Path

    @cached_property
    def forecasts(self) -> pl.DataFrame:
        """Every forecast, as ``PersonModel.predict`` has them."""
        return self.model.predict(self.record)

    @cached_property
    def judged(self) -> pl.DataFrame:
        """Forecasts that were given and whose outcome came, with ``error``, ``inside`` and ``unchanged``."""
        base = self.model.questions(self.record).base
        return (
            self.forecasts.with_columns(base=pl.Series(base))
            .filter(~pl.col("abstained") & pl.col("came").is_not_null())
            .with_columns(
                error=pl.col("came") - pl.col("value"),
                unchanged=pl.col("came") - pl.col("base"),
                inside=pl.col("came").is_between("lower", "upper"),
            )
        )

    @cached_property
    def why(self) -> Explanation | None:
        """What moved the last forecast; None: there is none."""
        try:
            return self.model.explain(self.record)
        except DataError:
            return None

    @cached_property
    def devices(self) -> dict[str, MetricRows]:
        """What is mapped of what is forecast, by device: readings, or values of days."""
        recipe = self.model.made
        found, _ = device_rows(self.record, recipe)
        series = {name: recipe.series(rows) for name, rows in found.items()}
        return {name: one[recipe.mapped_metric] for name, one in series.items() if recipe.mapped_metric in one}

    @cached_property
    def seam(self) -> Seam | None:
        """The change from the old device; None: there is no other."""
        new = self.devices.get(self.device)
        others = {name: rows for name, rows in self.devices.items() if name != self.device and len(rows)}
        if new is None or not len(new) or not others:
            return None
        name = str(self.model.card.get("old_device") or max(others, key=lambda one: len(others[one])))
        if name not in others:
            return None
        begins, usual = int(new.start[0]), float(np.median(np.diff(new.start))) if len(new) > 1 else DAY
        around = max(AROUND, int(30 * usual))  # of nights a month, of readings a few days
        old = others[name].where(np.abs(others[name].start - begins) < around)
        mapped = None if self.model.map is None else self.model.map.at(old.start, old.value)
        return Seam(name, begins, old, mapped, new.where(new.start < begins + around))

    @property
    def device(self) -> str:
        """The device that is forecast."""
        return str(self.model.card["device"])

    @property
    def unit(self) -> str:
        """Of the metric, as people write it."""
        unit = str(self.model.card["unit"])
        return UNITS.get(unit, unit)


@dataclass(frozen=True)
class Seam:
    """A change of device.

    Args:
        name: of the old device.
        begins: first reading of the new device, µs in UTC.
        old: readings of the old device around it.
        mapped: what the new device would have shown at these moments; None: there is no map.
        new: readings of the new device soon after.
    """

    name: str
    begins: int
    old: MetricRows
    mapped: Mapped | None
    new: MetricRows

    @property
    def levels(self) -> tuple[float, float, float]:
        """Means: old readings before the change, these mapped, new readings after it; NaN where there is none."""
        before = self.old.start < self.begins
        mapped = np.empty(0) if self.mapped is None else self.mapped.value[before]
        parts = (self.old.value[before], mapped, self.new.value)
        first, middle, last = (float(np.nanmean(p)) if np.isfinite(p).any() else float("nan") for p in parts)
        return first, middle, last
