"""kill -9 of a coordinator under secure aggregation: no device gives a round two vectors that could be told apart.

The killing is done by ``tests.e2e.killing_secure``, in a process of its own, at named points of the second of three
rounds; six devices with folders of their own outlive it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.runs import CLIENTS

#: Vectors that had left when the coordinator died, by point.
GIVEN = {"share keys 3": 0, "masked vectors 1": 1, "masked vectors 4": 4, "unmask 5": 6, "summed 0": 6}


def kill(how: str, folder: Path) -> dict[str, Any]:
    """What came of it, by point."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.killing_secure", how, str(folder)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert {name: one["killed"] for name, one in found.items()} == {"alone": False} | dict.fromkeys(GIVEN, True)
    return found


def test_a_device_whose_vector_has_left_declines_the_repeated_round(tmp_path: Path) -> None:
    """The others go on without it; where too few are left, the round is given up, and the run goes on."""
    found = kill("plain", tmp_path)
    assert found["alone"]["dropped"] == []
    for point, given in GIVEN.items():
        one = found[point]
        assert max(Counter((round, node) for round, _, node in one["vectors"]).values()) == 1
        declined = [client for round, client, reason in one["dropped"] if "round 2 was answered in session 1" in reason]
        assert declined == list(range(given))
        goes_on = CLIENTS - given >= 4  # a majority opens
        assert one["moved"] == {"1": True, "2": goes_on, "3": True}
        assert (one["dropped"][-1:] and one["dropped"][-1][1] == -1) == (not goes_on if given else [])
        assert (one["summary"]["dropped"], one["summary"]["given_up"]) == (given, int(not goes_on))


def test_under_noise_of_their_own_devices_answer_again_and_each_session_is_accounted_for(tmp_path: Path) -> None:
    found = kill("private", tmp_path)
    assert found["alone"]["ledger"] == 3
    for point, given in GIVEN.items():
        one = found[point]
        sessions = {(round, session) for round, session, _ in one["vectors"]}
        assert max(Counter(map(tuple, one["vectors"])).values()) == 1
        assert len(one["vectors"]) == 3 * CLIENTS + given
        assert len(sessions) == 3 + (given > 0)
        assert one["ledger"] == 4 == one["summary"]["privacy"]["rounds"]
        assert one["moved"] == {"1": True, "2": True, "3": True}
