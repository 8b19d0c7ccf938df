"""Numbers of sessions. A repeated round is a new session, which devices that answered the old one decline."""

from __future__ import annotations

from pathlib import Path

from metapulse.errors import RunError
from metapulse.server.files import read_json, write_json

SESSIONS = "sessions.json"


class SessionCounter:
    """Counts the rounds that begin again, on disk before any device hears of one.

    Args:
        folder: of the run; None: the devices end with the coordinator, and have seen no session that is done again.
        name: of the file, one for what devices take for one run.
    """

    def __init__(self, folder: Path | None, name: str = SESSIONS) -> None:
        self._path = None if folder is None else folder / name

    def beside(self, name: str) -> SessionCounter:
        """A count of its own in the same folder."""
        return SessionCounter(None if self._path is None else self._path.parent, name)

    @property
    def counted(self) -> bool:
        """Whether devices outlive the coordinator."""
        return self._path is not None

    def begin(self, round: int) -> int:
        """1 for a round that has never begun; otherwise a number that no session of it has had.

        Raises:
            RunError: the count is damaged.
        """
        if self._path is None:
            return 1
        told = read_json(self._path) if self._path.exists() else {"round": 0, "repeats": 0}
        kept = [told.get(key) for key in ("round", "repeats")] if isinstance(told, dict) else [None]
        if not all(type(n) is int and n >= 0 for n in kept):
            raise RunError(f"{self._path} does not say which rounds have begun")
        last, repeats = (int(n) for n in kept if n is not None)
        repeats += round <= last
        write_json(self._path, {"round": max(round, last), "repeats": repeats}, lasting=True)
        return 1 + repeats if round <= last else 1
