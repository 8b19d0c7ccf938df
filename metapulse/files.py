"""Atomic files: written beside their place, synced, then moved into it.

What is written beside has a name of its own, so that two writers of one file do not meet, and is locked meanwhile: one
that is not locked was left by a process that died, and goes with the next write of that file.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from metapulse.errors import RunError
from metapulse.lock import try_lock


def write_atomic(path: Path, data: bytes, lasting: bool = False) -> None:
    """Replace ``path`` by ``data`` in one step; a crash leaves the old file or the new one, never half of one.

    Args:
        path: of the file.
        data: all of it.
        lasting: return only when the new one would be there after a loss of power too.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    replace_with(path, lambda stream: stream.write(data))
    if lasting:
        try:
            sync_folder(path.parent)
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror or error}") from None


def sync_folder(folder: Path) -> None:
    """Wait until the disk knows which files a folder has; nothing where folders cannot be opened."""
    if os.name != "posix":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def replace_with(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """``write_atomic`` for what need not be in memory all at once: ``fill`` writes it.

    Raises:
        RunError: the disk is full, the folder cannot be written, or a pipe or a device is there.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise RunError(f"cannot write {path}: it is a pipe or a device, and no file")
    try:
        _sweep(path)
        temporary, stream = _beside(path)
        try:
            with stream:
                fill(stream)
                stream.flush()
                os.fsync(stream.fileno())
                if os.name == "posix":  # before it is closed, and with that unlocked
                    temporary.replace(path)
            if os.name != "posix":  # which moves no open file
                temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from None


def _beside(path: Path) -> tuple[Path, BinaryIO]:
    """A new file beside ``path``, open and locked."""
    while True:
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        stream = temporary.open("xb")
        if os.name != "posix":
            return temporary, stream
        with suppress(OSError):  # a file system without locks
            try_lock(stream.fileno())
        if os.fstat(stream.fileno()).st_nlink:
            return temporary, stream
        stream.close()  # another writer took it for one left behind, before it was locked


def _sweep(path: Path) -> None:
    """Remove what dead processes left beside ``path``."""
    if os.name != "posix":
        return
    with os.scandir(path.parent) as entries:
        found = [e.name for e in entries if e.name.startswith(f".{path.name}.") and e.name.endswith(".tmp")]
    for left in (path.with_name(name) for name in found):
        with suppress(OSError), left.open("rb") as stream:
            if try_lock(stream.fileno()):
                left.unlink()
