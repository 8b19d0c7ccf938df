"""Files that are whole or not there: written beside their place, synced, then moved into it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from client.errors import RunError


def write_atomic(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step; a crash leaves the old file or the new one, never half of one.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(f"cannot write {path}: {error.strerror or error}") from None


def write_json(path: Path, value: Any) -> None:
    """``value`` as readable JSON, atomically; NaN and infinity become null."""
    text = json.dumps(finite(value), indent=1, sort_keys=True, allow_nan=False)
    write_atomic(path, text.encode() + b"\n")


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise RunError(f"{path} does not exist") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}") from None


def finite(value: Any) -> Any:
    """The same structure with None for every number JSON has no word for."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
