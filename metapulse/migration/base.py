"""What a map between two devices is: readings of the old device in, what the new one would have shown out, with a band.

A map is of one metric and one direction. It is offline: for the value at one moment it may look at the old device's
readings around it, so a history is given to it whole.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float64, Int64, Num

from metapulse.errors import DataError
from metapulse.files import write_atomic
from metapulse.migration.tables import numbers, open_table, times_us, with_columns
from metapulse.registry import resolve
from metapulse.sealed import sealed_json, unsealed_json

Times = Int64[np.ndarray, " n"]
Values = Float64[np.ndarray, " n"]

LEVEL = 0.9  # nominal share of new readings inside [lower, upper]
VERSION = 2
#: Kinds of maps that can be loaded, and where they are. A new kind is one line here.
KINDS: dict[str, str] = {
    "learned": "metapulse.migration.learned:LearnedMap",
    "weeks": "metapulse.migration.without_overlap:WeeksMap",
}


@dataclass(frozen=True)
class Mapped:
    """What the new device would have shown; NaN where the map refuses.

    Args:
        value: in the metric's unit.
        lower, upper: limits of the band that holds a new reading with probability ``LEVEL``.
    """

    value: Values
    lower: Values
    upper: Values


@dataclass(frozen=True)
class MapCard:
    """What a map was learned on, and how wrong it was where it could be checked.

    Args:
        kind: what the map is made of, in words.
        metric: name of the metric, "" where the table did not tell.
        people: who wore both devices in the population that it was learned on; 0: a published prior.
        pairs: readings of both devices in that population.
        overlap: pairs of the person's own; 0: the population's map.
        overlap_hours: between the first and the last of them.
        rmse: error of the value on people held out, with as much overlap as this map had or the next less; the
            metric's unit. None: not measured.
        rmse_identity: of the old reading itself, on the same moments.
        coverage: share of held-out readings inside the band.
        explained: share of the variance of the new device's readings that the map accounts for; too little is refused.
        chosen: what was compared, and what it came to, in words.
        refused: why the map gives no values; "": it does.
        notes: anything else that a user must know.
    """

    kind: str
    metric: str = ""
    people: int = 0
    pairs: int = 0
    overlap: int = 0
    overlap_hours: float = 0.0
    rmse: float | None = None
    rmse_identity: float | None = None
    coverage: float | None = None
    explained: float | None = None
    chosen: str = ""
    refused: str = ""
    notes: tuple[str, ...] = ()


def read_card(values: Mapping[str, Any]) -> MapCard:
    """The card that ``asdict`` wrote; a TypeError or ValueError if it is none."""
    known = {one.name: values[one.name] for one in fields(MapCard) if one.name in values}
    return MapCard(**(known | {"notes": tuple(map(str, known.get("notes", ())))}))


class Map(ABC):
    """One person's map from an old device's readings to a new device's."""

    kind: ClassVar[str]
    card: MapCard

    @abstractmethod
    def at(self, time_us: Times, old: Values) -> Mapped:
        """What the new device would have shown.

        Args:
            time_us: µs since 1970 in UTC, in any order.
            old: readings of the old device, the metric's unit; NaN where there is none.

        Returns:
            One row for each reading, in the same order.
        """

    def apart(self, time_us: Times, old: Values, new: Values) -> Values:
        """new − value: how far the map errs where both devices were read; NaN where it refuses."""
        errors: Values = new - self.at(time_us, old).value
        return errors

    @abstractmethod
    def state(self) -> tuple[dict[str, Any], dict[str, Num[np.ndarray, "..."]]]:
        """What the map is, as plain values for JSON and as arrays."""

    @classmethod
    @abstractmethod
    def from_state(cls, card: MapCard, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Map:
        """The map of that state; a KeyError, TypeError or ValueError if it is none."""

    def apply(self, table: Any) -> Any:
        """The table with the columns ``value``, ``lower`` and ``upper``.

        Args:
            table: polars, pandas or Arrow, with ``time`` (UTC) and ``old``; it is the history of one person.

        Raises:
            DataError: a column is missing or of another type.
        """
        frame = open_table(table, ("time", "old"), "the history")
        mapped = self.at(times_us(frame, "time", "the history"), numbers(frame, "old", "the history"))
        return with_columns(frame, {"value": mapped.value, "lower": mapped.lower, "upper": mapped.upper})

    def save(self, folder: str | Path) -> None:
        """Write ``map.json`` and ``map.safetensors``.

        Raises:
            RunError: the folder cannot be written.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        values, arrays = self.state()
        folder.mkdir(parents=True, exist_ok=True)
        data = save({k: np.ascontiguousarray(a) for k, a in arrays.items()})
        write_atomic(folder / "map.safetensors", data)
        text = {"version": VERSION, "kind": self.kind, "card": asdict(self.card), "values": values}
        write_atomic(folder / "map.json", sealed_json(text, data))


def load_map(folder: str | Path) -> Map:
    """The map that ``Map.save`` wrote.

    Raises:
        DataError: there is none, it is damaged, or of another version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    folder = Path(folder)
    try:
        data = (folder / "map.safetensors").read_bytes()
        text = unsealed_json((folder / "map.json").read_bytes(), VERSION, data)
        if text["kind"] not in KINDS:
            raise ValueError(f"kind {text['kind']!r}")
        card = read_card(text["card"])
        made: type[Map] = resolve(KINDS[text["kind"]], "map.kind")
        return made.from_state(card, text["values"], load(data))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        said = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        raise DataError(f"{folder}: no map can be read from it ({' '.join(str(said).split())[:200]})") from None
