"""How often a run was begun or continued; a real device answers each round of an attempt once."""

from __future__ import annotations

from pathlib import Path

from metapulse.errors import RunError
from metapulse.server.files import read_json, write_json

ATTEMPTS = "attempts.json"
MOST = 2**31


def count_attempt(folder: Path) -> int:
    """Count an attempt, on disk before a device is asked.

    Raises:
        RunError: the count is damaged.
    """
    path = folder / ATTEMPTS
    told = read_json(path) if path.exists() else {"attempts": 0}
    count = told.get("attempts") if isinstance(told, dict) else None
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < MOST:
        raise RunError(f"{path} does not say how often the run was begun or continued")
    write_json(path, {"attempts": count + 1}, lasting=True)
    return count + 1
