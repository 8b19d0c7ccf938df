"""A coordinator under secure aggregation, killed at named points: ``python -m tests.e2e.killing_secure HOW FOLDER``.

Its devices have folders of their own, which outlive it. Every life of the coordinator is a fork of this program.
Prints one JSON line: for each point what was done, and which vectors left which device in which session.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from flwr.app import Context, Message, RecordDict

from metapulse.client.secure.device import SECURE, SESSION, STAGE
from metapulse.client.secure.quantise import MASKED_VECTORS, SHARE_KEYS, UNMASK
from metapulse.server.app import app
from metapulse.server.config import Config, resolved
from metapulse.server.config_text import to_toml
from metapulse.server.events import EventLog
from metapulse.server.folder import RunFolder
from metapulse.strategies.privacy.accounting import package
from tests.direct import Direct
from tests.e2e.killing import fork, wait
from tests.runs import CLIENTS, make

ROUNDS, KILLED = 3, 2
#: Immediately before the n-th message of a stage of round 2 goes out; and after its sum, before the checkpoint.
POINTS: list[tuple[str, int]] = [
    (SHARE_KEYS, 3),
    (MASKED_VECTORS, 1),
    (MASKED_VECTORS, 4),
    (UNMASK, 5),
    ("summed", 0),
]
PRIVATE = {"mechanism": "client", "sampling": "fixed", "clip": 0.05, "noise_multiplier": 0.5, "delta": 1e-3}


def config(how: str) -> Config:
    """All clients in every round; devices that add noise of their own, or none.

    That noise is secret, and nothing rests on it: its sum has a deviation of 0.025, and 32 and more has room.
    """
    return make(
        "meta_sgd",
        "fedmaml",
        "sine",
        ROUNDS,
        split={"test": 0.0, "validation": 0.0},
        evaluation={"scenarios": []},
        strategy={"cohort": CLIENTS, "outer": "sgd", "lr": 0.1, "weighting": "uniform"},
        secure_aggregation={"on": True, "range": 32.0},
        **({"privacy": PRIVATE} if how == "private" else {}),
    )


class Watched(Direct):
    """Nodes that note every vector that leaves them, and a coordinator that dies at a point.

    Args:
        folder: of the nodes, and of the notes.
        point: stage and number of the message before which it dies; "": nowhere.
    """

    def __init__(self, folder: Path, point: tuple[str, int]) -> None:
        nodes = {
            1000 - 7 * i: {"partition-id": i, "num-partitions": CLIENTS, "state": str(folder / f"device-{i}")}
            for i in range(CLIENTS)
        }
        super().__init__(nodes)
        self._notes, self._point = folder / "vectors", point

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids: list[str] = []
        for number, message in enumerate(messages):
            told = message.content.config_records.get(SECURE)
            if told is None:
                ids += super().push_messages([message])
                continue
            session, stage = str(told[SESSION]).split("/"), str(told[STAGE])
            if (int(session[1]), session[2], stage, number) == (KILLED, "1", *self._point):
                os.kill(os.getpid(), signal.SIGKILL)
            ids += super().push_messages([message])
            if stage == MASKED_VECTORS and not self._replies[ids[-1]].has_error():
                with self._notes.open("a") as notes:
                    notes.write(json.dumps([*map(int, session[1:]), message.metadata.dst_node_id]) + "\n")
        return ids


def live(made: Config, folder: Path, point: tuple[str, int]) -> bool:
    """One life of the coordinator; whether it ended by itself."""

    def life() -> None:
        whole = EventLog.append

        def append(self: EventLog, round: int, kind: str, **facts: Any) -> None:
            if (point[0], round, kind) == ("summed", KILLED, "round"):
                os.kill(os.getpid(), signal.SIGKILL)
            whole(self, round, kind, **facts)

        EventLog.append = append  # type: ignore[method-assign]
        settings = {"config": to_toml(resolved(made)), "out": str(folder / "run"), "min-nodes": CLIENTS}
        app(Watched(folder, point), Context(4711, 1, {}, RecordDict(), settings))

    return wait(fork(_telling(life)))


def _telling(life: Callable[[], None]) -> Callable[[], None]:
    """A life whose error is its exit status."""

    def told() -> None:
        try:
            life()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)

    return told


def told(folder: Path) -> dict[str, Any]:
    """What a run left behind, and what its devices gave."""
    events = [e for e in RunFolder(folder / "run").events() if e["kind"] in ("round", "dropped")]
    ledger = folder / "run" / "privacy.jsonl"
    return {
        "summary": json.loads((folder / "run" / "summary.json").read_text()),
        "moved": {e["round"]: e["moved"] for e in events if e["kind"] == "round"},
        "dropped": [[e["round"], e["client"], e["reason"]] for e in events if e["kind"] == "dropped"],
        "vectors": [json.loads(line) for line in (folder / "vectors").read_text().splitlines()],
        "ledger": len(ledger.read_text().splitlines()) if ledger.exists() else None,
    }


def main(how: str, folder: Path) -> None:
    """Once undisturbed, then a kill at each point; the second life goes on to the end."""
    made, found = config(how), {}
    package()  # loaded once, for all lives
    for name, point in {"alone": ("", 0), **{f"{stage} {n}": (stage, n) for stage, n in POINTS}}.items():
        (folder / name).mkdir(parents=True)
        killed = not live(made, folder / name, point)
        if killed and not live(made, folder / name, ("", 0)):
            raise RuntimeError("killed by another process")
        found[name] = {"killed": killed, **told(folder / name)}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
