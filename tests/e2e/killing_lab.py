"""A program that kills comparisons with SIGKILL and runs them again.

    python -m tests.e2e.killing_lab FOLDER [KILLS]

Every life is a fork, as in ``tests.e2e.killing``; a method's runs are done as one. With a number it goes on with new
comparisons until so many kills have landed. Prints one JSON line: how many kills landed, which files differed
from those of the comparison that was left alone, and which cells were finished twice.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import torch._dynamo  # noqa: F401 (counting costs needs it: loaded once, for all lives)

from metapulse.sim.comparison_runner import ComparisonRunner
from metapulse.sim.lab.spec import ComparisonSpec
from tests import thorough
from tests.e2e.killing import calls_of, fork, kill_before, wait
from tests.lab import Ear, spec

#: What a comparison leaves behind that is not the wall clock.
TABLES = ("spec.json", "results.parquet")


def life(asked: ComparisonSpec, folder: Path) -> Callable[[], object]:
    """A life of the comparison: begin it, or go on."""
    return ComparisonRunner(asked, folder, 0, lambda batch, todo, done, at_once: Ear()).run


def finish(asked: ComparisonSpec, folder: Path) -> None:
    """The last start, which is not killed."""
    if not wait(fork(life(asked, folder))):
        raise RuntimeError("killed by another process")


def facts(folder: Path) -> dict[str, Any]:
    """The tables, and every cell's θ and scores."""
    summaries = {path.parent.name: path.read_bytes() for path in sorted(folder.glob("cells/*/summary.json"))}
    return {name: (folder / name).read_bytes() for name in TABLES} | summaries


def stamps(folder: Path) -> dict[str, int]:
    """When each finished cell was finished."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("cells/*/summary.json")}


def main(folder: Path, wanted: int = 0) -> None:
    """A comparison alone, then one (or three, or more) killed at random moments until it has come to its end."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = spec(folder)
    finish(asked, folder / "alone")
    whole = calls_of(life(asked, folder / "counted"), folder / "calls.txt")
    alone = facts(folder / "alone")
    draw, kills, wrong, twice = random.Random(5), 0, [], []
    for i in count():
        if i >= thorough.of(1, 3) and kills >= wanted:
            break
        path, done = folder / f"killed-{i}", dict[str, int]()
        for _ in range(10):
            killed = kill_before(life(asked, path), int(whole * draw.random() * 0.3))
            kills += killed
            twice += [key for key, stamp in done.items() if stamps(path)[key] != stamp]
            done = stamps(path)
            if not killed:
                break
        finish(asked, path)
        found = facts(path)
        wrong += [f"{path.name}: {key}" for key in alone if found.get(key) != alone[key]]
    print(json.dumps({"kills": kills, "wrong": wrong, "twice": twice, "cells": len(stamps(folder / "alone"))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:3]))
