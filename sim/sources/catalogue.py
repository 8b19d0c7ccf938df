"""What data there is: every source says of its own where it comes from, and ``metapulse data`` lists and imports it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metapulse.errors import DataError
from metapulse.registry import SOURCES
from metapulse.sim.importers.compact import cache_folder, candidates, find_imported, write_npz
from metapulse.sim.importers.files import Progress, silent

#: Sources of people's own data: they describe themselves.
OWN_DATA = ("own", "pairs", "records")


@dataclass(frozen=True)
class Dataset:
    """One data set or generator: the attribute ``dataset`` of its source.

    Args:
        name: as in ``[source]``, and of the compact file.
        title: what it is, one line.
        citation: authors, year, venue, identifier.
        users: number of people, or "any".
        devices: device models.
        licence: the publisher's.
        where: the publisher's own page.
        layout: what ``metapulse data import`` expects at PATH.
        read: the publisher's zip, folder or file, and how to tell progress → arrays of the compact file; None for
            a generator, which has nothing to import.
        prepared: where a prepared compact copy may also be, relative to ``METAPULSE_DATA``.
    """

    name: str
    title: str
    citation: str
    users: str = "any"
    devices: str = "none"
    licence: str = "Apache-2.0"
    where: str = "built in"
    layout: str = ""
    read: Callable[[Path, Progress], dict[str, Any]] | None = None
    prepared: tuple[str, ...] = ()

    @property
    def path(self) -> Path | None:
        """The compact file, or None if it has not been imported."""
        return find_imported(self.name, self.prepared) if self.read else None

    def require(self) -> Path:
        """The compact file.

        Raises:
            DataError: not imported yet; says where to get the data and what to type.
        """
        path = self.path
        if path is None:
            looked = ", ".join(str(place) for place in candidates(self.name, self.prepared))
            raise DataError(
                f"{self.name} has not been imported (looked for {looked}): get {self.layout} from {self.where}, "
                f"then run: metapulse data import {self.name} PATH"
            )
        return path


def catalogue() -> tuple[Dataset, ...]:
    """Generators, then published data sets, that a configuration can name; ``OWN_DATA`` data describe themselves."""
    entries = [SOURCES[name].dataset for name in SOURCES if name not in OWN_DATA]
    return tuple(sorted(entries, key=lambda entry: entry.read is not None))


def import_dataset(name: str, path: Path, cache: Path | None = None, progress: Progress | None = None) -> Path:
    """Read what the publisher ships, check it, and write ``<cache>/<name>.npz`` in one step.

    Args:
        name: data set of the catalogue, for example "spsw_har".
        path: the publisher's zip, folder or file.
        cache: folder to write to; None: ``METAPULSE_CACHE``, else ``~/.cache/metapulse``.
        progress: called with (done, in all) while it reads; both count files or characters.

    Returns:
        The compact file.

    Raises:
        DataError: unknown name, or data that cannot be used; one line, and nothing is written.
    """
    published = {entry.name: entry.read for entry in catalogue() if entry.read}
    if name not in published:
        raise DataError(f"data set {name!r}: must be one of {', '.join(published)}")
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    return write_npz((cache or cache_folder()) / f"{name}.npz", published[name](path, progress or silent))
