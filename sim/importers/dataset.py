"""``metapulse data import``: a publisher's own layout → one compact file in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metapulse.errors import DataError
from metapulse.registry import resolve
from metapulse.sim.importers.compact import cache_folder, write_npz
from metapulse.sim.importers.files import Progress, silent

IMPORTERS = {
    "spsw_har": "metapulse.sim.importers.spsw_har:read_spsw_har",
    "aw_fitbit": "metapulse.sim.importers.aw_fitbit:read_aw_fitbit",
    "uci_har": "metapulse.sim.importers.uci_har:read_uci_har",
    "omniglot": "metapulse.sim.importers.omniglot:read_omniglot",
    "cgm_open": "metapulse.sim.importers.cgm_open:read_cgm_open",
}


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
    if name not in IMPORTERS:
        raise DataError(f"data set {name!r}: must be one of {', '.join(sorted(IMPORTERS))}")
    read = resolve(IMPORTERS[name], "importer")
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    arrays: dict[str, Any] = read(path, progress or silent)
    return write_npz((cache or cache_folder()) / f"{name}.npz", arrays)
