"""The compact cache: one ``.npz`` per data set, without pickle, written whole or not at all.

It is looked for in this order: the cache folder (``METAPULSE_CACHE``, else ``~/.cache/metapulse``), then
``$METAPULSE_DATA/<name>/<name>.npz``, where a laboratory may keep prepared copies for all its users.
"""

from __future__ import annotations

import math
import os
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metapulse.errors import DataError

MAX_BYTES = 4 << 30  # of one compact file, unpacked: four times the largest one we know how to make


def cache_folder() -> Path:
    """Where imported data sets live: ``METAPULSE_CACHE``, else ``~/.cache/metapulse``."""
    given = os.environ.get("METAPULSE_CACHE", "")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "metapulse"


def candidates(name: str, prepared: Iterable[str] = ()) -> list[Path]:
    """Every place where the compact form of ``name`` may be, in the order in which they are tried.

    Args:
        name: data set, for example "spsw_har".
        prepared: further paths below ``METAPULSE_DATA``, for example "omniglot_small/omniglot_small.npz".
    """
    places = [cache_folder() / f"{name}.npz"]
    root = os.environ.get("METAPULSE_DATA", "")
    if root:
        places += [Path(root) / relative for relative in (f"{name}/{name}.npz", *prepared)]
    return places


def find_imported(name: str, prepared: Iterable[str] = ()) -> Path | None:
    """The compact file of a data set, or None if it has not been imported."""
    return next((path for path in candidates(name, prepared) if path.is_file()), None)


def modified_ns(path: Path) -> int:
    """When a file was last written, ns, 0 if it is not there: part of the key of what is kept in memory."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def write_npz(path: Path, arrays: Mapping[str, Any]) -> Path:
    """Write arrays to ``path`` in one step: a reader sees the old file or the whole new one.

    Raises:
        DataError: the folder cannot be written, or the disk is full; nothing is left behind.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **dict(arrays))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        if temporary and Path(temporary).exists():
            Path(temporary).unlink()
    return path


def read_npz(path: Path, required: Iterable[str] = (), limit: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Read every array of an ``.npz``; its size is known before anything is allocated.

    Args:
        path: the file.
        required: arrays that must be there.
        limit: largest total size, bytes unpacked.

    Raises:
        DataError: missing, not an ``.npz``, damaged, holding pickled objects, too large, or lacking an array.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(item.file_size for item in archive.infolist())
            if total > limit:
                raise DataError(f"{path}: {total} bytes unpacked; allowed are at most {limit}")
            for item in archive.infolist():
                _check_header(archive, item)
        with np.load(path, allow_pickle=False) as loaded:
            arrays = {key: loaded[key] for key in loaded.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a readable .npz ({reason})") from None
    missing = [key for key in required if key not in arrays]
    if missing:
        raise DataError(f"{path}: lacks {', '.join(missing)}; it has {', '.join(arrays) or 'nothing'}")
    return arrays


def _check_header(archive: zipfile.ZipFile, item: zipfile.ZipInfo) -> None:
    """Refuse a member that is no array, or whose own header claims more than is there: numpy would allocate it."""
    formats = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with archive.open(item) as file:
        version = np.lib.format.read_magic(file)
        if version not in formats:
            raise ValueError(f"{item.filename} has array format {version}")
        shape, _, dtype = formats[version](file)
    size = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or size > item.file_size:
        raise ValueError(f"{item.filename} claims {size} bytes of {dtype} and holds {item.file_size}")
