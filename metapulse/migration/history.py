"""A record's history rewritten into a new device's space, beside the raw rows, and taken out again to the byte.

    mapped = map_record(Path("person.parquet"), Path("whole.parquet"), a_map, "glucose", "Libre", "Dexcom")
    unmap_record(Path("whole.parquet"), Path("back.parquet"))  # back.parquet is person.parquet

What the map refuses gives no row and is counted. ``metapulse.record.mapped.as_new_device`` is how a mapped history is
used; everything else passes over it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from metapulse.errors import ConfigError, DataError
from metapulse.migration.base import Map, Mapped
from metapulse.migration.overlap import named_sources, readings
from metapulse.record.frame import load_record, without
from metapulse.record.mapped import FORMAT, map_words, mapped_rows
from metapulse.record.overlap import with_source
from metapulse.record.rewrite import rewrite_record
from metapulse.record.schema import DERIVED, MAPPED, Device, Row, check_version
from metapulse.record.store import metadata, write_rows
from metapulse.record.tally import FileTally

if TYPE_CHECKING:
    import polars as pl

    Frame: TypeAlias = pl.DataFrame


@dataclass(frozen=True)
class Rewritten:
    """What became of a history.

    Args:
        map_id: under which the record knows the map.
        old: name of the source that was mapped.
        new: name of the source in whose space the values are.
        rows: that were mapped.
        refused: readings for which the map has no value.
    """

    map_id: str
    old: str
    new: str
    rows: int
    refused: int


def map_record(path: Path, out: Path, mapping: Map, metric: str, old: str, new: str) -> Rewritten:
    """Write a record with the old device's readings of one metric as the new device would have shown them.

    Args:
        path: the record.
        out: where the larger one goes; may be the same.
        mapping: from the old device's readings to the new one's.
        metric: of the readings; its canonical unit is the map's.
        old: a part of the old device's name.
        new: of the new device's.

    Raises:
        ConfigError: no such metric or device, or its history is mapped already.
        DataError: no record, nothing to map, or the map refuses all of it.
    """
    rows = load_record(path)
    names = named_sources(rows, metric, {"from": old, "to": new})
    there = mapped_rows(rows)
    if len(there.filter((there["metric"] == metric) & (there["old_by"] == names["from"]))):
        raise ConfigError("from", old, f"a device whose {metric} is not mapped yet: take it out first (record unmap)")
    given = readings(rows, metric, names["from"])
    if not len(given):
        raise DataError(f"{path}: no readings of {metric} by {names['from']}")
    told = mapping.at(given["start"].dt.epoch("us").to_numpy(), given["value"].to_numpy())
    kept = np.isfinite(told.value)
    if not kept.any():
        raise DataError(
            f"{path}: the map refuses all {len(given)} readings ({mapping.card.refused or 'no reason told'})"
        )
    name = map_id(mapping, metric, names["from"], names["to"])
    made = _rows(given, told, metric, name, names["from"], device_of(rows, metric, names["to"]))
    account = FileTally(f"map {name}", FORMAT, f"{metric}: {names['from']} → {names['to']}; {card_words(mapping)}")
    if refused := int((~kept).sum()):
        account.note("the map refuses", refused)
    with tempfile.TemporaryDirectory(prefix="metapulse-") as folder:
        more = Path(folder) / "mapped.parquet"
        write_rows(made, more, account)
        rewrite_record(path, out, more=[more])
    return Rewritten(name, names["from"], names["to"], int(kept.sum()), refused)


def unmap_record(path: Path, out: Path) -> int:
    """Write the record as it was before any map; the number of rows that are gone.

    Raises:
        DataError: no record.
    """
    count = 0

    def measured(rows: Frame) -> Frame:
        nonlocal count
        kept = without(rows, (MAPPED,))
        count += len(rows) - len(kept)
        return kept

    check_version(metadata(path).get("version"), str(path))
    rewrite_record(path, out, measured, without_formats=[FORMAT])
    return count


def map_id(mapping: Map, metric: str, old: str, new: str) -> str:
    """Twelve hexadecimal digits that tell a map from every other: of its state, its metric and its devices."""
    values, arrays = mapping.state()
    facts = {"kind": mapping.kind, "card": asdict(mapping.card), "values": values, "of": [metric, old, new]}
    found = sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for key in sorted(arrays):
        found.update(key.encode() + np.ascontiguousarray(arrays[key]).tobytes())
    return found.hexdigest()[:12]


def card_words(mapping: Map) -> str:
    """A map's card in a line: kind, people, own overlap, error, notes."""
    card = mapping.card
    error = "" if card.rmse is None else f", error {card.rmse:.3g} where it could be checked"
    notes = "".join(f"; {note}" for note in card.notes)
    return f"{card.kind}, of {card.people} people and {card.overlap} pairs of one's own{error}{notes}"


def device_of(rows: Frame, metric: str, by: str) -> Device:
    """The device of a source as its newest reading has it: a mapped row is in the space of the firmware of now."""
    import polars as pl

    own = with_source(without(rows, (MAPPED,))).filter(pl.col("by") == by)
    here = own.filter(pl.col("metric") == metric)
    last = (here if len(here) else own).sort("start", maintain_order=True)["device"].to_list()[-1]
    return Device(**(last or {}))


def _rows(given: Frame, told: Mapped, metric: str, name: str, old: str, device: Device) -> Iterator[Row]:
    start, end = (given[column].dt.epoch("us").to_list() for column in ("start", "end"))
    offset, code, unit, before = (given[column].to_list() for column in ("offset_min", "code", "unit", "value"))
    marks = given["quality"].to_list()
    bands = zip(told.value.tolist(), told.lower.tolist(), told.upper.tolist(), strict=True)
    for i, (value, lower, upper) in enumerate(bands):
        if not np.isfinite(value):
            continue
        kept = {mark for mark in marks[i] if mark not in DERIVED}
        yield Row(
            metric, start[i], value, unit[i], i + 1, end[i], offset[i], code[i], device, tuple(sorted({*kept, MAPPED})),
            map_words(name, lower, upper, before[i], old),
        )  # fmt: skip
