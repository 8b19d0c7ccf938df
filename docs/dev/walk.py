"""The walk of one round: which files three Reptile clients and their server pass, and how often the file changes.

    python docs/dev/walk.py [--list] [--edges]

Traced are the calls of functions of the package while round 2 of a run on the cohort engine is done: what is read once,
such as the configuration, is read by then, and two of the three clients are new, so their samples are made on the way.
Comprehensions and generator expressions count as functions of their own, as the interpreter counts them.

The changes of file are counted in two ways. A *walk* goes there and back: every call and every return from one file of
ours to another is a change, because that is what a reader who follows the round does. *Calls alone* compares each call
with the call before it and leaves the way back out: a count that others take, and about half as large.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import metapulse
from metapulse.server.config import build_config
from metapulse.server.run import Run
from metapulse.sim import experiment

ROOT = Path(metapulse.__file__).resolve().parent.parent
FOLDERS = ("metapulse", "client", "strategies", "server", "sim")
ROUND = 2
CONFIG = {
    "run": {"rounds": 3},
    "source": {"name": "sine", "clients": 12},
    "model": {"name": "sine"},
    "learner": {"name": "reptile", "inner_steps": 2, "batch_size": 5},
    "strategy": {"name": "fedreptile", "cohort": 3},
    "evaluation": {"scenarios": []},
    "checkpoint": {"every": 3},
}


@dataclass
class Walk:
    """What was passed: calls in their order as (file, function), and the file after each call and each return."""

    calls: list[tuple[str, str]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    edges: Counter[tuple[str, str]] = field(default_factory=Counter)  # calls from one file into another
    passed: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)  # which functions they were

    @property
    def files(self) -> Counter[str]:
        """Calls by file."""
        return Counter(file for file, _ in self.calls)

    @property
    def changes(self) -> int:
        """Changes of file on calls and returns."""
        return sum(a != b for a, b in pairwise(self.places))

    @property
    def changes_of_calls(self) -> int:
        """Changes of file from one call to the next."""
        return sum(a[0] != b[0] for a, b in pairwise(self.calls))


def tracer(walk: Walk) -> Callable[[FrameType, str, Any], None]:
    """The profile function that writes a walk down."""
    known: dict[str, str | None] = {}

    def ours(frame: FrameType | None) -> str | None:
        """A frame's file, from the root of the repository; None where it is not of the package."""
        if frame is None:
            return None
        name = frame.f_code.co_filename
        if name not in known:
            path = Path(name).resolve()
            inside = path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in FOLDERS
            known[name] = path.relative_to(ROOT).as_posix() if inside else None
        return known[name]

    def caller(frame: FrameType) -> str | None:
        back = frame.f_back
        while back is not None and ours(back) is None:
            back = back.f_back
        return ours(back)

    def trace(frame: FrameType, event: str, _: Any) -> None:
        if event not in ("call", "return") or (file := ours(frame)) is None:
            return
        outside = caller(frame)
        if event == "return":
            walk.places += [outside] if outside else []
            return
        walk.places.append(file)
        walk.calls.append((file, frame.f_code.co_qualname))
        if outside and outside != file:
            walk.edges[outside, file] += 1
            walk.passed.setdefault((outside, file), Counter())[frame.f_code.co_qualname] += 1

    return trace


@contextmanager
def watched(walk: Walk) -> Iterator[None]:
    """Inside, the round of every run is traced."""
    original, trace = Run.round, tracer(walk)

    def traced(run: Run, round: int, *more: Any) -> Any:
        sys.setprofile(trace if round == ROUND else None)
        try:
            return original(run, round, *more)
        finally:
            sys.setprofile(None)

    Run.round = traced  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Run.round = original  # type: ignore[method-assign]


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="the files, with the calls into each")
    parser.add_argument("--edges", action="store_true", help="from which file to which, how often, and what is called")
    options = parser.parse_args()
    walk = Walk()
    with watched(walk), tempfile.TemporaryDirectory() as folder:
        experiment.run_experiment(build_config(CONFIG), Path(folder) / "run")
    files, functions = walk.files, len(set(walk.calls))
    print(f"{len(files)} files, {functions} functions, {walk.changes} changes of file there and back", end="")
    print(f" ({walk.changes_of_calls} from call to call)")
    for file, calls in files.most_common() if options.list else ():
        print(f"{calls:5d} {file}")
    for (a, b), count in walk.edges.most_common() if options.edges else ():
        print(f"{count:5d} {a} -> {b}: {', '.join(f'{name} {n}' for name, n in walk.passed[a, b].most_common())}")


if __name__ == "__main__":
    main()
