"""Sessions of a round: each has a number of its own, on disk before it is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from metapulse.errors import RunError
from metapulse.server.secure.aggregation import SecureAggregation
from metapulse.server.secure.sessions import SessionCounter
from metapulse.sim.engines.cohort import CohortGrid
from metapulse.strategies.secure import SecureSettings
from tests.secure import content

ON = SecureSettings(on=True)


def test_a_round_that_begins_again_is_another_session(tmp_path: Path) -> None:
    """However far back a coordinator goes, and in every life of it."""
    assert [SessionCounter(tmp_path).begin(round) for round in (1, 2, 3)] == [1, 1, 1]
    assert [SessionCounter(tmp_path).begin(round) for round in (3, 2, 3, 4)] == [2, 3, 4, 1]


def test_the_question_for_a_scale_is_counted_apart(tmp_path: Path) -> None:
    """To devices it is a run of its own: those without a folder would decline a first round that counts as repeated."""
    rounds = SessionCounter(tmp_path)
    scale = rounds.beside("scale-sessions.json")
    assert [scale.begin(1), scale.begin(1), rounds.begin(1), rounds.begin(2)] == [1, 2, 1, 1]
    assert not SessionCounter(None).beside("scale-sessions.json").counted


def test_devices_that_end_with_their_coordinator_have_seen_no_session_twice(tmp_path: Path) -> None:
    assert [SessionCounter(None).begin(1), SessionCounter(None).begin(1)] == [1, 1]


def test_the_circle_of_real_devices_is_drawn_in_secret(tmp_path: Path) -> None:
    """Partition ids are the devices' own claim: who could draw the circle beforehand could sit around a victim."""
    nodes = {client: client for client in range(60)}

    def circle(sessions: SessionCounter, round: int) -> list[int]:
        session = SecureAggregation(ON, "samples", 5, CohortGrid(1), 60.0, sessions)._begin(content(round), nodes)
        order: list[int] = session.ring._order.tolist()
        return order

    (tmp_path / "b").mkdir()
    counted = [circle(SessionCounter(folder), 1) for folder in (tmp_path, tmp_path / "b")]
    drawn = [circle(SessionCounter(None), 1) for _ in range(2)]  # simulated: addressed, as everything is
    assert drawn[0] == drawn[1] != counted[0] != counted[1]
    assert sorted(counted[0]) == list(nodes)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"round": 1}', '{"round": 1, "repeats": -1}', '{"round": "1", "repeats": 0}']
)
def test_a_damaged_count_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "sessions.json").write_text(text)
    with pytest.raises(RunError, match=r"sessions\.json (does not say|cannot be read)"):
        SessionCounter(tmp_path).begin(1)
