"""A program that kills runs with SIGKILL and resumes them: ``python -m tests.e2e.killing METHOD HOW FOLDER``.

It has one thread and loads everything once; every life of a run is a fork of it, so a life costs what the run costs.
Moments are counted in calls of functions, not in seconds: a faster or busier machine kills at the same places.
Prints one JSON line: how many kills landed, and what differed from the run that was left alone.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metapulse.server.config import Config
from metapulse.server.events import EventLog
from metapulse.server.folder import RunFolder
from metapulse.sim import experiment
from tests import thorough
from tests.runs import make

#: Learner and strategy: moments of ours, numbers of a stock strategy, and what devices keep.
METHODS = {"adam": ("maml", "fedmaml"), "stock": ("maml", "stock-adam"), "devices": ("ditto", "fedavg")}
TOLD_APART = ("events.jsonl", "state.json", "environment.json")  # clocks, and the state of the working tree
ONCE = thorough.of(5, 12)  # runs killed at one moment each
FILE_EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree")


def config(method: str, rounds: int) -> Config:
    """Checkpoints every second round and a meta-test every third, so that they meet and miss each other.

    One method also looks at a validation person after every round, and has θ of the best one to keep.
    """
    looks = method == "devices"
    evaluation = {"every": 3, "steps": [0, 1], "scenarios": ["known_user", "new_user"], "validation_every": int(looks)}
    return make(
        *METHODS[method],
        "sine",
        rounds,
        split={"test": 0.34, "validation": 0.17 if looks else 0.0},
        checkpoint={"every": 2, "keep": 2},
        evaluation=evaluation,
    )


def fork(life: Callable[[], object]) -> int:
    """The process id of a child that lives it."""
    pid = os.fork()
    if pid == 0:
        life()
        os._exit(0)
    return pid


def live(job: Config, path: Path, before: Callable[[], None] = lambda: None) -> int:
    """Fork a life of the run: begin it, or resume it where there is something to resume; the child's process id."""

    def life() -> None:
        before()
        experiment.run_experiment(job, path, resume=(path / "config.json").exists())

    return fork(life)


def wait(pid: int) -> bool:
    """Whether the life ended by itself.

    Raises:
        RuntimeError: it ended with an error, which is neither.
    """
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    if status:
        raise RuntimeError(f"a life ended with status {status}")
    return True


class Calls:
    """Counts the calls of functions, Python's and C's, of the process that installs it.

    Args:
        last: the call before which the process is killed; 0: it lives.
    """

    def __init__(self, last: int = 0) -> None:
        self._left, self.seen = last, 0

    def install(self) -> None:
        """From here on."""
        sys.setprofile(self._count)

    def _count(self, frame: Any, event: str, argument: Any) -> None:
        if event in ("call", "c_call"):
            self.seen += 1
            if self.seen == self._left:
                os.kill(os.getpid(), signal.SIGKILL)


def calls_of(life: Callable[[], object], into: Path) -> int:
    """How many calls a life makes that comes to its end."""
    calls = Calls()

    def counted() -> None:
        calls.install()
        life()
        sys.setprofile(None)
        into.write_text(str(calls.seen))

    if not wait(fork(counted)):
        raise RuntimeError("killed by another process")
    return int(into.read_text())


def kill_before(life: Callable[[], object], call: int) -> bool:
    """Kill a life immediately before its ``call``-th call; whether it made as many."""

    def counted() -> None:
        Calls(max(call, 1)).install()
        life()

    return not wait(fork(counted))


def kill_at(job: Config, path: Path, call: int) -> bool:
    """Kill a life immediately before its ``call``-th operation on a file of the run; whether there was one."""

    def before() -> None:
        left = call

        def hook(event: str, args: tuple[Any, ...]) -> None:
            nonlocal left
            if event in FILE_EVENTS and str(path) in str(args[0]):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)

    return not wait(live(job, path, before))


def tear_event(job: Config, path: Path, call: int) -> bool:
    """Kill a life in the middle of writing its ``call``-th event; whether there was one."""

    def before() -> None:
        whole, left = EventLog.append, call

        def torn(self: EventLog, round: int, kind: str, **facts: Any) -> None:
            nonlocal left
            left -= 1
            whole(self, round, kind, **facts)
            if left == 0:
                os.truncate(path / "events.jsonl", (path / "events.jsonl").stat().st_size - 20)
                os.kill(os.getpid(), signal.SIGKILL)

        EventLog.append = torn  # type: ignore[method-assign]

    return not wait(live(job, path, before))


def facts(path: Path) -> dict[str, Any]:
    """Everything a run left behind that is not the wall clock."""
    folder = RunFolder(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    bits = {str(p.relative_to(path)): p.read_bytes() for p in files if p.name not in TOLD_APART}
    states = [json.loads(p.read_bytes()) for p in files if p.name == "state.json"]
    for state in states:
        for name in ("events", "log", "run", "checksum"):  # of clocks, and who it is
            del state[name]
    events = [{k: v for k, v in event.items() if k not in ("seconds", "spent", "time")} for event in folder.events()]
    return {"files": [str(p.relative_to(path)) for p in files], **bits, "states": states, "events": events}


def differences(path: Path, alone: dict[str, Any]) -> list[str]:
    """What a killed and resumed run left that differs from the one left alone."""
    found = facts(path)
    return [f"{path.name}: {key}" for key in alone if found.get(key) != alone[key]]


def finish(job: Config, path: Path) -> None:
    """The last start, which is not killed."""
    if not wait(live(job, path)):
        raise RuntimeError("killed by another process")


def at_moments(job: Config, folder: Path, alone: dict[str, Any]) -> tuple[int, list[str]]:
    """Runs killed once, each in another part of their life; and one killed up to fifteen times."""

    def life(path: Path) -> None:
        experiment.run_experiment(job, path, resume=(path / "config.json").exists())

    draw, whole = random.Random(7), calls_of(lambda: life(folder / "counted"), folder / "calls.txt")
    kills, wrong = 0, []
    for i in range(ONCE):
        path = folder / f"once-{i}"
        # Two lives differ by some calls, of caches and clocks: the last twentieth is left out.
        kills += kill_before(lambda at=path: life(at), int(0.95 * whole * (i + draw.random()) / ONCE))
        finish(job, path)
        wrong += differences(path, alone)
    path = folder / "often"
    for _ in range(15):
        if not kill_before(lambda: life(path), int(whole * draw.random() * 0.25)):
            break
        kills += 1
    finish(job, path)
    return kills, wrong + differences(path, alone)


def at_calls(job: Config, folder: Path, alone: dict[str, Any], stride: int) -> tuple[int, list[str]]:
    """Killed before every ``stride``-th operation on a file, and again before some operation of the life after."""
    draw = random.Random(11)
    kills, wrong = 0, []
    for call in range(1, 10_000, stride):
        path = folder / f"call-{call}"
        if not kill_at(job, path, call):
            break
        kills += 1 + kill_at(job, path, draw.randint(1, 60))
        finish(job, path)
        wrong += differences(path, alone)
    return kills, wrong


def in_events(job: Config, folder: Path, alone: dict[str, Any]) -> tuple[int, list[str]]:
    """Killed in the middle of every line of the event log."""
    kills, wrong = 0, []
    for call in range(1, 10_000):
        path = folder / f"event-{call}"
        if not tear_event(job, path, call):
            break
        kills += 1
        finish(job, path)
        wrong += differences(path, alone)
    return kills, wrong


def main(method: str, how: str, folder: Path) -> None:
    """Run it alone, then kill it in one of the ways."""
    job = config(method, 12 if how == "moments" else 5)
    finish(job, folder / "alone")
    alone = facts(folder / "alone")
    if how == "moments":
        kills, wrong = at_moments(job, folder, alone)
    elif how == "calls":
        kills, wrong = at_calls(job, folder, alone, thorough.of(4 if method == "adam" else 8, 1))
    else:
        kills, wrong = in_events(job, folder, alone)
    kept = [name for name in alone["files"] if "/devices/" in name]
    print(json.dumps({"kills": kills, "wrong": wrong, "events": len(alone["events"]), "kept": len(kept)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
