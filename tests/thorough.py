"""How many examples a law is asked for: few in ``make test``, many with ``METAPULSE_THOROUGH=1`` in the environment."""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("METAPULSE_THOROUGH"))


def of(usual: int, thorough: int) -> int:
    """The number of examples."""
    return thorough if THOROUGH else usual
