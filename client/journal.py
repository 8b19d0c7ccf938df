"""Which training instructions a device has answered, so that none is answered twice or out of order.

Rounds of a run are answered in ascending order of (attempt, round): a coordinator that is killed and goes on counts an
attempt more and may ask rounds again that its last checkpoint has not seen. An instruction that comes a second time,
from a party that kept a copy, is refused. Under noise of the device's own that matters: two answers to one round, each
with fresh noise, say more than one. So those answers are counted over all runs, and end at the device's own limit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, RecordDict

from metapulse.errors import InstructionError, RunError
from metapulse.files import write_atomic
from metapulse.lock import in_turn

JOURNAL = "journal"
RUNS = 1000  # runs remembered; the longest unused are forgotten


@dataclass(frozen=True)
class TrainingRequest:
    """Identity and order of a training instruction.

    Args:
        attempt: how often the run was begun or continued.
        round: federated round, ≥ 1.
        checkpoint: round of the coordinator's last checkpoint.
        private: whether the answer carries noise of this device's own.
        session: whether it is of secure aggregation, whose sessions have an order of their own
            (``metapulse.client.secure.answered``).
    """

    run: str
    attempt: int
    round: int
    checkpoint: int
    private: bool
    session: bool = False


def admit(state: RecordDict, folder: Path | None, asked: TrainingRequest, most: int) -> None:
    """Record an instruction before it is followed.

    Args:
        state: Flower's, which lasts as long as the SuperNode does.
        folder: of the device, where it has one: what is written there lasts.
        most: answers under the device's own noise, all runs together.

    Raises:
        InstructionError: it was answered before, goes back behind a checkpoint, or is one private answer too many.
        RunError: the journal is damaged, or cannot be written.
    """
    if folder is None:
        record = state.config_records.setdefault(JOURNAL, ConfigRecord())
        record[JOURNAL] = json.dumps(_entered(_read(str(record.get(JOURNAL, "{}")), JOURNAL), asked, most))
        return
    path = folder / f"{JOURNAL}.json"
    with in_turn(folder, JOURNAL):
        try:
            text = path.read_text() if path.exists() else "{}"
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"{path} cannot be read: {error}") from None
        write_atomic(path, json.dumps(_entered(_read(text, str(path)), asked, most)).encode(), lasting=True)


def _entered(told: dict[str, Any], asked: TrainingRequest, most: int) -> dict[str, Any]:
    """The journal with one line more."""
    runs, answers = dict(told["runs"]), told["answers"]
    attempt, round, checkpoint = runs.pop(asked.run, (0, 0, 0))
    where = f"round {asked.round} of run {asked.run!r}"
    if asked.private and answers >= most:
        raise InstructionError(f"{where}: this device has given {answers} private answers; it allows {most}")
    if asked.session:
        return {**told, "answers": answers + asked.private}
    if (asked.attempt, asked.round) <= (attempt, round):
        raise InstructionError(f"{where}: answered before (attempt {attempt} has come to round {round})")
    if asked.round <= checkpoint:
        raise InstructionError(f"{where}: its coordinator has a checkpoint of round {checkpoint}, and goes on after it")
    runs[asked.run] = (asked.attempt, asked.round, max(checkpoint, asked.checkpoint))
    return {"runs": dict(list(runs.items())[-RUNS:]), "answers": answers + asked.private}


def _read(text: str, where: str) -> dict[str, Any]:
    try:
        told: dict[str, Any] = {"runs": {}, "answers": 0} | json.loads(text)
        lines = list(told["runs"].values())
        sound = type(told["answers"]) is int and all(len(line) == 3 and set(map(type, line)) == {int} for line in lines)
    except (ValueError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise RunError(f"{where} is damaged: it does not say what this device has answered")
    return told
