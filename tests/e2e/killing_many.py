"""Several processes at once on one run, killed at named points: ``python -m tests.e2e.killing_many KILLS FOLDER``.

A third argument and more: the kinds of runs, of plain, private and workers. How far it is stands in FOLDER/out.

Two or five processes are let go at the same moment, on one folder or on copies of it, to run or to resume it. Most are
to be killed before an operation on a file, each of its own; a process that is refused comes to none. A refusal is one
line; rounds stand in the log once each, and where there is a privacy budget, each folder's ledger has every round that
has begun there. Every process is a fork of this one, which has loaded everything and has one thread.

Which process is first, and so which are refused and how many are killed, is the scheduler's: trials go on until enough
have been killed and each end has been seen.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from metapulse.errors import MetapulseError
from metapulse.server.config import Config
from metapulse.server.folder import RunFolder
from metapulse.server.privacy import LEDGER, Budget
from metapulse.sim.cli import main as command
from metapulse.sim.experiment import resume_experiment, run_experiment
from tests.e2e.killing import FILE_EVENTS
from tests.runs import make

DONE, REFUSED, WRONG = 0, 2, 1
ROUNDS = 6
KINDS = ("plain", "private")  # and "workers": a Ray for each life takes seconds


def config(kind: str) -> Config:
    """Six rounds with a checkpoint every second, and one look at one person.

    Noise is secret, and nothing rests on it: rounds are counted, and Adam's steps of 0.001 stay small in any noise.
    """
    private = {"mechanism": "central", "clip": 1.0, "noise_multiplier": 2.0, "delta": 1e-5}
    sections: dict[str, dict[str, Any]] = {"checkpoint": {"every": 2, "keep": 2}}
    sections |= {"evaluation": {"every": 6, "scenarios": ["new_user"], "steps": [0]}, "split": {"test": 0.17}}
    sections |= {"privacy": private} if kind == "private" else {}
    sections |= {"engine": {"workers": 2}} if kind == "workers" else {}
    return make("maml", "fedmaml", "sine", ROUNDS, **sections)


def begun(path: Path) -> Path:
    """The file beside a run's folder that is told every round that begins there."""
    return path.with_name(f"{path.name}.begun")


def life(job: Config, path: Path, call: int, gate: int) -> None:
    """What a process does: wait for the gate, go on with the run; every round that begins is told to a file."""
    left, whole = call, Budget.begin
    points = os.open(path.parent / "points", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        if left and event in FILE_EVENTS and str(path) in str(args[0]):
            left -= 1
            if left == 0:
                name = str(args[0]).removeprefix(str(path))
                os.write(points, f"{event} {re.sub('[0-9]+-[0-9a-f]{8}|[0-9]{6}', '*', name)}\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)

    def begin(self: Budget, *args: Any) -> list[int]:
        with begun(path).open("ab", buffering=0) as told:
            people = whole(self, *args)
            told.write(b"x")
        return people

    Budget.begin = begin  # type: ignore[method-assign]
    sys.addaudithook(hook)
    os.read(gate, 1)  # ends when the parent closes it
    try:
        if (path / "config.json").exists():
            if call % 10 == 9:  # the command also writes a report
                os._exit(command(["resume", str(path)]))
            resume_experiment(path)
        else:
            run_experiment(job, path)
    except MetapulseError as error:
        print(f"metapulse: {error}", file=sys.stderr)
        sys.stderr.flush()
        os._exit(REFUSED if "\n" not in str(error) else WRONG)
    except BaseException:
        os._exit(WRONG)
    os._exit(DONE)


def together(lives: list[Callable[[int], None]]) -> list[int]:
    """Forks let go at once; their exit codes, −9 for one that was killed."""
    gate, opened = os.pipe()
    pids = []
    for one in lives:
        if not (pid := os.fork()):
            os.close(opened)
            one(gate)
        pids.append(pid)
    os.close(opened)
    os.close(gate)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def trial(kind: str, path: Path, draw: random.Random) -> tuple[Counter[int], list[str]]:
    """One run from its beginning to its end, several processes at a time, one of them to be killed."""
    job, codes, wrong = config(kind), Counter[int](), []
    begun(path).touch()
    for _ in range(50):
        count, copied = draw.choice((2, 5)), draw.random() < 0.3 and (path / "config.json").exists()
        places = [path] * count
        if copied:
            places[-1] = path.with_suffix(".copy")
            shutil.copytree(path, places[-1])
            shutil.copy(begun(path), begun(places[-1]))
        calls = [draw.randrange(1, 60) if draw.random() < 0.7 else 0 for _ in places]
        where = zip(places, calls, strict=True)
        came = together([lambda gate, p=p, c=c: life(job, p, c, gate) for p, c in where])
        codes.update(came)
        if copied:  # what was begun in it is in its own ledger, and not in the run's
            wrong += unaccounted(places[-1], codes[-9]) if kind == "private" else []
            shutil.rmtree(places[-1])
        wrong += [f"{path.name}: exit {code}" for code in came if code not in (DONE, REFUSED, -9)]
        if (path / "summary.json").exists():
            break
    folder = RunFolder(path)
    rounds = [event["round"] for event in folder.events() if event["kind"] == "round"]
    if rounds != list(range(1, ROUNDS + 1)):
        wrong.append(f"{path.name}: rounds {rounds}")
    if kind == "private":
        wrong += unaccounted(path, codes[-9])
    folder.final()
    return codes, wrong


def unaccounted(path: Path, killed: int) -> list[str]:
    """What is wrong if the ledger lacks a round that began, or has more than one for each process that was killed."""
    began, ledger = len(begun(path).read_bytes()), path / LEDGER
    counted = len(ledger.read_bytes().splitlines()) if ledger.exists() else 0
    right = began <= counted <= began + killed
    return [] if right else [f"{path.name}: {began} rounds began, {counted} are accounted for"]


def main(kills: int, folder: Path, kinds: Sequence[str]) -> None:
    """Trials until so many processes have been killed, and some have finished and some were refused."""
    folder.mkdir(parents=True, exist_ok=True)
    os.dup2(os.open(folder / "out", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    said, codes, wrong = os.dup(1), Counter[int](), []
    os.dup2(2, 1)
    for i in range(10_000):
        kind = kinds[i % len(kinds)]
        more, failed = trial(kind, folder / f"{kind}-{i}", random.Random(i))
        codes, wrong = codes + more, wrong + failed
        print(f"{kind}-{i}: killed {codes[-9]}, finished {codes[DONE]}, refused {codes[REFUSED]}, {wrong=}", flush=True)
        if codes[-9] >= kills and codes[DONE] and codes[REFUSED]:
            break
    traces = (folder / "out").read_text().count("Traceback")
    told = {"killed": codes[-9], "finished": codes[DONE], "refused": codes[REFUSED], "wrong": wrong, "traces": traces}
    told["points"] = Counter((folder / "points").read_text().splitlines())
    os.write(said, json.dumps(told).encode() + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or KINDS)
