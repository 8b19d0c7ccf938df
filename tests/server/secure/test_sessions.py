"""Sessions of a round: each has a number of its own, on disk before it is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from metapulse.errors import RunError
from metapulse.server.secure.sessions import SessionCounter


def test_a_round_that_begins_again_is_another_session(tmp_path: Path) -> None:
    """However far back a coordinator goes, and in every life of it."""
    assert [SessionCounter(tmp_path).begin(round) for round in (1, 2, 3)] == [1, 1, 1]
    assert [SessionCounter(tmp_path).begin(round) for round in (3, 2, 3, 4)] == [2, 3, 4, 1]


def test_devices_that_end_with_their_coordinator_have_seen_no_session_twice(tmp_path: Path) -> None:
    assert [SessionCounter(None).begin(1), SessionCounter(None).begin(1)] == [1, 1]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"round": 1}', '{"round": 1, "repeats": -1}', '{"round": "1", "repeats": 0}']
)
def test_a_damaged_count_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "sessions.json").write_text(text)
    with pytest.raises(RunError, match=r"sessions\.json (does not say|cannot be read)"):
        SessionCounter(tmp_path).begin(1)
