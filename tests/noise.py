"""Noise with an address, for tests whose outcome rests on what is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

#: Where what is secret is asked for.
PLACES = ("metapulse.client.privacy", "metapulse.server.privacy", "metapulse.strategies.flower.private")


@contextmanager
def addressed() -> Iterator[None]:
    """Within it what is secret is one number: the people and the noise of a private run are the same every time.

    A given ``privacy.noise_seed`` does that too, and costs the promise: ε is infinite then. That nothing is the same
    without either is asked in tests/client/test_privacy.py and tests/server/test_private_runs.py.
    """
    with pytest.MonkeyPatch.context() as patch:
        for place in PLACES:
            patch.setattr(f"{place}.secret", lambda: 2**255 + 19)
        yield
