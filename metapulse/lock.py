"""A lock that one process holds on a file: the operating system opens it when the process ends, ``kill -9`` included.

Within a process the holder is whatever runs in the context that took it (``contextvars``): code called from there goes
in and out freely, another thread is refused like another process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from metapulse.errors import RunError

_MINE: ContextVar[frozenset[Path]] = ContextVar("locks held", default=frozenset())
_OPEN: set[int] = set()  # descriptors of locks that are held

if sys.platform == "win32":
    import msvcrt

    _PLACE = 2**30  # the byte that is locked: beyond the text, which others may read

    def _lock(handle: int, wait: bool) -> bool:
        os.lseek(handle, _PLACE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError:
            return wait and _lock(handle, wait)  # it gives up after ten tries
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
        return True
else:
    import fcntl

    def _lock(handle: int, wait: bool) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def _leave() -> None:
        """A forked child is another process: it holds nothing, and keeps nothing locked when its parent dies."""
        for handle in _OPEN:
            os.close(handle)
        _OPEN.clear()
        _MINE.set(frozenset())

    os.register_at_fork(after_in_child=_leave)


def try_lock(handle: int) -> bool:
    """Lock an open file until it is closed; False if another has locked it.

    Raises:
        OSError: the file system has no locks.
    """
    return _lock(handle, wait=False)


@contextmanager
def locked(path: Path, said: str, refusal: str, wait: bool = False) -> Iterator[None]:
    """Hold the lock on a file, which is made for it and removed with it.

    Args:
        path: of the file; its folder exists.
        said: what the file says meanwhile, one line, for those who are refused.
        refusal: the message for them; "{}" stands for what the holder said.
        wait: until it is free, instead of being refused.

    Raises:
        RunError: another process or thread holds it, or the file cannot be locked.
    """
    place = path.parent.resolve() / path.name
    if place in _MINE.get():
        yield
        return
    try:
        handle = _take(place, wait)
    except OSError as error:
        raise RunError(f"cannot lock {path}: {error.strerror or error}") from None
    if handle is None:
        raise RunError(refusal.format(_read(place)))
    _OPEN.add(handle)
    mine = _MINE.set(_MINE.get() | {place})
    try:
        os.truncate(handle, 0)
        os.write(handle, said.encode())
        yield
    finally:
        _MINE.reset(mine)
        if handle in _OPEN:  # not in a forked child, to which the lock does not belong
            _OPEN.discard(handle)
            with suppress(OSError):  # Windows removes no file that is open
                place.unlink()
            os.close(handle)


@contextmanager
def in_turn(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock of one record of a device, waiting for another process of the same device.

    Args:
        folder: of the device; made if need be.
        name: of the record.

    Raises:
        RunError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write into {folder}: {error.strerror or error}") from None
    with locked(folder / f"{name}.lock", f"process {os.getpid()}", "{}", wait=True):
        yield


def _take(path: Path, wait: bool) -> int | None:
    """The descriptor of the locked file; None if it is another's."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            if not _lock(handle, wait):
                os.close(handle)
                return None
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), path.stat()):
                    return handle
        except BaseException:
            with suppress(OSError):
                os.close(handle)
            raise
        os.close(handle)  # its holder has removed it: what is locked has no name any more


def _read(path: Path) -> str:
    """What the holder said."""
    try:
        return path.read_text().strip() or "another process"
    except (OSError, ValueError):
        return "another process"
