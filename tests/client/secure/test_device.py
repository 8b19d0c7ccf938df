"""A device that is asked what it must not answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, RecordDict

from metapulse.client.limits import Limits
from metapulse.client.secure.answered import ContextAnswerRecord, FolderAnswerRecord, SumRequest
from metapulse.client.secure.device import (
    ALIVE,
    AROUND,
    GONE,
    KEYS,
    OWNERS,
    SEALED,
    SECURE,
    SENDERS,
    SESSION,
    STAGE,
    TERMS,
    answer,
)
from metapulse.client.secure.quantise import STAGES, SumTerms
from metapulse.errors import ClientError, InstructionError, RunError
from metapulse.settings import plain

SHARED = SumTerms(levels=100, threshold=2)
ENTRIES = np.arange(5, dtype=np.int64)
IDS = [4, 7, 9]


class Group:
    """Three devices and the messages between them."""

    def __init__(self) -> None:
        self.memory = {c: ConfigRecord() for c in IDS}
        self.answered = {c: ContextAnswerRecord(ConfigRecord()) for c in IDS}
        self.keys: list[bytes] = []
        self.sealed: dict[int, list[bytes]] = {}

    def ask(
        self,
        client: int,
        stage: str,
        session: str = "run/1/1",
        terms: SumTerms = SHARED,
        limits: Limits | None = None,
        **told: Any,
    ) -> RecordDict:
        asked = ConfigRecord({STAGE: stage, SESSION: session, TERMS: json.dumps(plain(terms)), **told})
        return answer(self.memory[client], asked, client, lambda terms: ENTRIES, self.answered[client], limits)

    def set_up(self) -> None:
        for c in IDS:
            self.keys += self.ask(c, "set-up").config_records[SECURE][KEYS]

    def share(self, clients: Iterable[int] = IDS) -> None:
        for c in clients:
            self.sealed[c] = self.ask(c, "share keys", around=IDS, keys=self.keys).config_records[SECURE][SEALED]

    def parcels(self, client: int) -> dict[str, Any]:
        others = [c for c in IDS if c != client]
        return {SENDERS: others, SEALED: [self.sealed[o][[c for c in IDS if c != o].index(client)] for o in others]}

    def mask(self) -> None:
        for c in IDS:
            self.ask(c, "masked vectors", **self.parcels(c))


def refused(reason: str, call: Callable[[], object]) -> None:
    with pytest.raises(ClientError, match=rf"round 1, client 4, secure aggregation: {reason}"):
        call()


def test_stages_come_in_turn_and_once() -> None:
    group = Group()
    for stage in STAGES[1:]:
        refused("out of turn", lambda stage=stage: group.ask(4, stage))
    group.set_up()
    refused("out of turn", lambda: group.ask(4, "share keys", session="another/1/1", around=IDS, keys=group.keys))
    refused("out of turn", lambda: group.ask(4, "share keys", around=IDS, keys=group.keys))  # it has forgotten them
    whole = Group()
    for step in (whole.set_up, whole.share, whole.mask):
        step()
    assert len(whole.ask(4, "unmask", alive=IDS, gone=[]).config_records[SECURE][OWNERS]) == 3
    refused("out of turn", lambda: whole.ask(4, "unmask", alive=[4, 7], gone=[9]))  # the other half of the secrets
    assert not whole.memory[4]


def test_a_set_up_begins_anew() -> None:
    """A coordinator that died does the round again; what the devices had of it is gone."""
    group = Group()
    group.set_up()
    before = dict(group.memory[4])
    group.keys = []
    group.set_up()
    assert set(group.memory[4]) == set(before)
    assert group.memory[4][KEYS] != before[KEYS]
    group.share()


def whole(group: Group) -> None:
    """A session up to its vectors."""
    group.set_up()
    group.share()
    group.mask()


def test_no_session_is_answered_twice() -> None:
    """Not by a replay, nor in a new session of the same round, which has other keys and another rounding."""
    group = Group()
    whole(group)
    refused("round 1 was answered in session 1", lambda: group.ask(4, "set-up"))
    again = replace(SHARED, attempt=2)
    refused("round 1 was answered in session 1", lambda: group.ask(4, "set-up", terms=again, session="run/1/2"))
    group.ask(4, "set-up", session="other/1/1")  # another run's round is another round


def test_a_session_is_what_its_terms_say() -> None:
    for session in ("run/2/1", "run/1/2", "run/1", "../run/1/1", "/1/1", "r" * 65 + "/1/1"):
        refused("a session is RUN/ROUND/ATTEMPT", lambda session=session: Group().ask(4, "set-up", session=session))


def test_two_sessions_side_by_side_give_one_vector() -> None:
    """Both have passed the set-up when the first vector leaves."""
    one, other = Group(), Group()
    other.answered = one.answered
    for group in (one, other):
        group.set_up()
        group.share()
    one.mask()
    refused("round 1 was answered in session 1", lambda: other.ask(4, "masked vectors", **other.parcels(4)))


def test_terms_hold_for_a_whole_session() -> None:
    """A threshold that falls after the shares are made would let few open what many were to."""
    group = Group()
    group.set_up()
    group.share()
    fewer = replace(SHARED, threshold=3)
    refused(
        "the terms are not those of the set-up",
        lambda: group.ask(4, "masked vectors", terms=fewer, **group.parcels(4)),
    )


@pytest.mark.parametrize(
    ("limits", "told", "reason"),
    [
        ({"neighbours": 2}, {}, "3 neighbours with 6 keys, two each; limits.neighbours of this device is 2"),
        ({"threshold": 0.7}, {}, "2 of 3 open a secret; limits.threshold of this device is 0.7"),
        ({}, {KEYS: [b"x"] * 5}, "3 neighbours with 5 keys, two each"),
        ({"text": 40}, {}, "terms has .* characters; at most 40 are allowed"),
        ({"neighbours": 3, "threshold": 0.6}, {}, ""),
    ],
)
def test_a_device_limits_the_circle_it_is_in(limits: dict[str, Any], told: dict[str, Any], reason: str) -> None:
    group = Group()
    group.set_up()
    asked = {AROUND: IDS, KEYS: group.keys, **told}
    if not reason:
        group.ask(4, "share keys", limits=Limits(**limits), **asked)
        return
    with pytest.raises(InstructionError, match=reason):
        group.ask(4, "share keys", limits=Limits(**limits), **asked)


ROUND_2 = SumRequest("run", 2, 1, noisy=False)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (SumRequest("run", 3, 1, noisy=False), ""),
        (SumRequest("other", 1, 1, noisy=False), ""),
        (ROUND_2, "round 2 was answered in session 1"),
        (SumRequest("run", 2, 2, noisy=False), "round 2 was answered in session 1"),
        (SumRequest("run", 2, 2, noisy=True), ""),
        (SumRequest("run", 2, 1, noisy=True), "round 2 was answered in session 1"),
        (SumRequest("run", 1, 5, noisy=True), "round 1 comes after round 2 was answered"),
    ],
)
def test_what_is_declined(asked: SumRequest, reason: str, tmp_path: Path) -> None:
    """The same from memory and from disk, where it lasts."""
    FolderAnswerRecord(tmp_path / "device").enter(ROUND_2)
    kept = ContextAnswerRecord(ConfigRecord())
    kept.enter(ROUND_2)
    for answered in (FolderAnswerRecord(tmp_path / "device"), kept):
        if reason:
            for call in (answered.check, answered.enter):
                with pytest.raises(ValueError, match=reason):
                    call(asked)
        else:
            answered.check(asked)
            answered.enter(asked)


def test_a_device_without_a_folder_declines_a_repeated_round(tmp_path: Path) -> None:
    """It may have answered it in another life."""
    repeated = SumRequest("run", 2, 2, noisy=False)
    FolderAnswerRecord(tmp_path).check(repeated)
    ContextAnswerRecord(ConfigRecord()).check(replace(repeated, noisy=True))
    with pytest.raises(ValueError, match="has no folder that says what it answered"):
        ContextAnswerRecord(ConfigRecord()).check(repeated)


@pytest.mark.parametrize("text", ["", "[]", '{"run": 3}', '{"run": [1]}', '{"run": [1, true]}', "\u00ff"])
def test_a_damaged_record_is_no_permission(text: str, tmp_path: Path) -> None:
    (tmp_path / "answered.json").write_text(text)
    for call in (FolderAnswerRecord(tmp_path).check, FolderAnswerRecord(tmp_path).enter):
        with pytest.raises(RunError, match=r"answered\.json is damaged"):
            call(ROUND_2)


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({ALIVE: [4, 7], GONE: [7]}, "asked for what would open a vector"),
        ({ALIVE: [4, 4, 7], GONE: []}, "asked for what would open a vector"),
        ({ALIVE: [4, 7, 8], GONE: []}, "asked for what would open a vector"),
        ({ALIVE: [4], GONE: [7, 9]}, "1 neighbours, 2 are needed"),
        ({ALIVE: [7, 9], GONE: [4]}, "asked for what would open a vector"),  # its own, which has arrived
    ],
)
def test_what_would_open_a_vector_is_not_given(told: dict[str, list[int]], reason: str) -> None:
    group = Group()
    group.set_up()
    group.share()
    group.mask()
    refused(reason, lambda: group.ask(4, "unmask", **told))
    assert not group.memory[4]


def test_keys_that_are_not_what_they_should_be() -> None:
    for change, reason in (
        (lambda keys: [keys[2], *keys[1:]], "keys are not as they were sent"),  # another's in the place of its own
        (lambda keys: [*keys[:4], *keys[2:4]], "keys are not as they were sent"),  # one party twice
    ):
        group = Group()
        group.set_up()
        refused(
            reason, lambda group=group, change=change: group.ask(4, "share keys", around=IDS, keys=change(group.keys))
        )


def test_too_few_neighbours() -> None:
    group = Group()
    group.set_up()
    refused("1 neighbours, 2 are needed", lambda: group.ask(4, "share keys", **{AROUND: [4], KEYS: group.keys[:2]}))
    group = Group()
    group.set_up()
    group.share()
    refused("1 neighbours, 2 are needed", lambda: group.ask(4, "masked vectors", **{SENDERS: [], SEALED: []}))


def test_a_parcel_for_somebody_else_is_not_taken() -> None:
    """Client 4 gets what client 7 sealed for client 9: it masks with 7, and cannot help to open it."""
    group = Group()
    group.set_up()
    group.share()
    told = group.parcels(4)
    told[SEALED][0] = group.parcels(9)[SEALED][1]
    group.ask(4, "masked vectors", **told)
    opened = group.ask(4, "unmask", alive=IDS, gone=[]).config_records[SECURE]
    assert opened[OWNERS] == [4, 9]
