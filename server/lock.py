"""One process at a time: in a run's folder, and in all copies of one run on this machine.

The folder's lock is ``.lock`` in it. A copy of a folder is the same run, with the same identity: devices know it by
that, and a privacy budget is spent by each of them. So the identity is locked too, in a folder of the user's own among
the system's temporary files.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from metapulse.errors import RunError
from metapulse.lock import locked

LOCK = ".lock"


@contextmanager
def alone(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold a folder; it is made if need be, and removed again if nothing came into it.

    Args:
        folder: of a run, a suite or a comparison.
        wait: until it is free, instead of being refused.

    Raises:
        RunError: another process works in it, or it cannot be made or locked.
    """
    made = not folder.exists()
    _make(folder)
    refusal = f"{folder} is in use by {{}}; wait until that has ended, or end it"
    try:
        with locked(folder / LOCK, f"process {os.getpid()}", refusal, wait):
            yield
    finally:
        if made:
            with suppress(OSError):  # it holds something
                folder.rmdir()


@contextmanager
def only_copy(identity: str, folder: Path) -> Iterator[None]:
    """Hold a run, wherever its folder has been copied to on this machine.

    Args:
        folder: where it goes on.

    Raises:
        RunError: another process goes on with it, in this folder or in a copy.
    """
    place = Path(tempfile.gettempdir()) / f"metapulse-{os.getuid() if hasattr(os, 'getuid') else 'runs'}"
    _make(place, 0o700)
    owner = place.stat().st_uid
    if place.is_symlink() or (hasattr(os, "getuid") and owner != os.getuid()):
        raise RunError(f"{place} belongs to another user: set TMPDIR to a folder of your own")
    said = f"process {os.getpid()} in {folder.resolve()}"
    refusal = f"{folder} is a copy of a run that is in use by {{}}; wait until that has ended, or end it"
    with locked(place / f"{identity}.lock", said, refusal):
        yield


def _make(folder: Path, mode: int = 0o777) -> None:
    try:
        folder.mkdir(mode, parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make {folder}: {error.strerror or error}") from None
