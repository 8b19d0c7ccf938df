"""What inputs are and what is in them, without keeping any of it: ``metapulse record inspect``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metapulse.record.clock import moment
from metapulse.record.containers import ContainerLimits, Inputs
from metapulse.record.readers.base import Options
from metapulse.record.reading import Progress, Read, untold
from metapulse.record.schema import MAPPED, Device, Row
from metapulse.record.tally import SHOWN, FileTally
from metapulse.rows import Rows

DEVICES = 1000  # told apart


@dataclass
class Found:
    """What is in the rows of one metric.

    Args:
        rows: how many.
        first: earliest start, µs.
        last: latest start, µs.
        devices: what measured.
        mapped: rows besides, that were mapped from another device's.
    """

    rows: int = 0
    first: int = 2**62
    last: int = -(2**62)
    devices: set[Device] = field(default_factory=set)
    mapped: int = 0

    def add(self, row: Row) -> None:
        """One row more."""
        if MAPPED in row.quality:
            self.mapped += 1
            return
        self.rows += 1
        self.first, self.last = min(self.first, row.start), max(self.last, row.start)
        if len(self.devices) < DEVICES:
            self.devices.add(row.device)


@dataclass
class Look:
    """What was found.

    Args:
        tallies: the account of every file.
        metrics: by metric.
    """

    tallies: list[FileTally] = field(default_factory=list)
    metrics: dict[str, Found] = field(default_factory=dict)

    def files(self) -> Rows:
        """What each file is, and why."""
        order = sorted(self.tallies, key=lambda t: (len(self.tallies) > SHOWN and not t.format, t.file))
        rows = [
            {"file": t.file, "format": t.format or "not recognised", "because": t.error or t.why, "rows": t.seen}
            for t in order[:SHOWN]
        ]
        if more := order[SHOWN:]:
            seen = sum(t.seen for t in more)
            rows.append({"file": f"and {len(more)} files more", "format": "", "because": "", "rows": seen})
        return Rows(rows, ("file", "format", "because", "rows"))

    def contents(self) -> Rows:
        """What is in them, by metric."""
        rows = [
            {
                "metric": name,
                "rows": found.rows,
                "mapped": found.mapped,
                "from": moment(found.first, False) if found.rows else "",
                "to": moment(found.last, False) if found.rows else "",
                "devices": ", ".join(sorted({name_of(device) for device in found.devices})),
            }
            for name, found in sorted(self.metrics.items())
        ]
        mapped = any(found.mapped for found in self.metrics.values())
        return Rows(rows, ("metric", "rows", *["mapped"] * mapped, "from", "to", "devices"))


def look(
    inputs: Sequence[Path],
    options: Options = Options(),  # noqa: B008  # frozen
    progress: Progress = untold,
    limits: ContainerLimits = ContainerLimits(),  # noqa: B008  # frozen
) -> Look:
    """Read inputs and say what is in them.

    Raises:
        DataError: an input is missing or cannot be opened.
    """
    found, read = Look(), Read(options, progress)
    with Inputs([Path(path) for path in inputs], limits) as given:
        for _, batches in read.files(given):
            for row in (row for rows in batches for row in rows):
                found.metrics.setdefault(row.metric, Found()).add(row)
    found.tallies = [*read.held.in_order(), *read.accounts()]
    return found


def name_of(device: Device) -> str:
    """A device in a few words: the most telling parts that it has."""
    what = device.hardware or device.model or device.manufacturer or ""
    if not device.app or f"{device.app} ".startswith(f"{what} "):  # "Garmin Connect" says "Garmin"
        return device.app or what or "unknown"
    return f"{what} ({device.app})".strip()
