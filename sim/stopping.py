"""SIGTERM and SIGHUP end a command as Ctrl-C does: what was started is ended, and the exit code is 128 + the signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_asked: list[int] = []  # signals of this command: Ray's calls raise a plain KeyboardInterrupt in the place of any


class Stopped(KeyboardInterrupt):
    """A signal asked for the end."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def exit_code(error: BaseException) -> int:
    """128 + the signal's number: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
    for one in (error, error.__cause__, error.__context__):
        if isinstance(one, Stopped):
            return 128 + one.signum
    return 128 + (_asked[-1] if _asked else signal.SIGINT)


@contextmanager
def stoppable() -> Iterator[None]:
    """While the block runs, signals that would end the process at once raise ``Stopped``; ignored ones stay ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        _asked.append(signum)
        raise Stopped(signum)

    _asked.clear()
    mine = [s for s in SIGNALS if signal.getsignal(s) is signal.SIG_DFL]
    for one in mine:
        signal.signal(one, stop)
    try:
        yield
    finally:
        for one in mine:
            signal.signal(one, signal.SIG_DFL)
