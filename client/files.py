"""Files that are whole or not there: written beside their place, synced, then moved into it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from client.errors import RunError


def write_atomic(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step; a crash leaves the old file or the new one, never half of one.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    replace_with(path, lambda stream: stream.write(data))


def replace_with(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """``write_atomic`` for what need not be in memory all at once: ``fill`` writes it.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            fill(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(f"cannot write {path}: {error.strerror or error}") from None
