"""How an importer says how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]  # (done, in all)


def silent(done: int, total: int) -> None:
    """Say nothing."""
