"""The walk of one round: which files three Reptile clients and their server pass, and how often the file changes.

    python docs/dev/walk.py [--list]

Counted are calls of functions of the package while round 2 of a run on the cohort engine is done (what is read once,
such as the configuration, is read by then). A change of file is a call or a return from one file of ours to another.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import metapulse
from metapulse.server.config import build_config
from metapulse.server.run import Run
from metapulse.sim import experiment

ROOT = Path(metapulse.__file__).resolve().parent.parent
FOLDERS = ("metapulse", "client", "strategies", "server", "sim")
CONFIG = {
    "run": {"rounds": 3},
    "source": {"name": "sine", "clients": 12},
    "model": {"name": "sine"},
    "learner": {"name": "reptile", "inner_steps": 2, "batch_size": 5},
    "strategy": {"name": "fedreptile", "cohort": 3},
    "evaluation": {"scenarios": []},
    "checkpoint": {"every": 3},
}


def ours(frame: FrameType, known: dict[str, str | None]) -> str | None:
    """A frame's file, from the root of the repository; None where it is not of the package."""
    name = frame.f_code.co_filename
    if name not in known:
        path = Path(name).resolve()
        inside = path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in FOLDERS
        known[name] = path.relative_to(ROOT).as_posix() if inside else None
    return known[name]


def walk() -> tuple[Counter[str], int]:
    """Calls by file, and changes of file, of one round."""
    files, moves, at = Counter[str](), 0, [""]
    known: dict[str, str | None] = {}
    counting = [False]

    def step(path: str) -> None:
        nonlocal moves
        if path != at[0]:
            moves += bool(at[0])
            at[0] = path

    def trace(frame: FrameType, event: str, _: Any) -> None:
        if not counting[0] or event not in ("call", "return"):
            return
        path = ours(frame, known)
        if path is None:
            return
        if event == "call":
            files[path] += 1
            step(path)
        else:
            back = frame.f_back
            while back is not None and ours(back, known) is None:
                back = back.f_back
            if back is not None:
                step(str(ours(back, known)))

    original = Run._round

    def round_two(run: Run, round: int, *more: Any) -> Any:
        counting[0] = round == 2
        try:
            return original(run, round, *more)
        finally:
            counting[0] = False

    Run._round = round_two  # type: ignore[method-assign]
    sys.setprofile(trace)
    try:
        with tempfile.TemporaryDirectory() as folder:
            experiment.run(build_config(CONFIG), Path(folder) / "run")
    finally:
        sys.setprofile(None)
        Run._round = original  # type: ignore[method-assign]
    return files, moves


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="the files, with the calls into each")
    options = parser.parse_args()
    files, moves = walk()
    print(f"{len(files)} files, {moves} changes of file")
    for path, calls in files.most_common() if options.list else ():
        print(f"{calls:5d} {path}")
