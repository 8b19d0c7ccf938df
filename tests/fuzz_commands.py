"""The fuzzer's commands: suites, comparisons and engines, as a user calls them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import random
import tempfile
import time
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metapulse.settings import is_setting
from metapulse.sim.cli import main
from metapulse.sim.lab.spec import CompareSettings
from metapulse.sim.lab.tuning import TuningSettings
from tests.commands import PAIR, TINY
from tests.fuzzing import LIMIT_S, Count, Outcome, SlowError, limited, values
from tests.lab import SPEC

SUITE = [
    ("run", "rounds", [0, 1, -1, "x", 10**400]),
    ("learner", "inner_lr", [0.3, 1e30, 1e300, -1.0, "x", 10**400]),
    ("learner", "name", ["fomaml", "protonet", "no such", "", 3, "a:b", "..:x"]),
    ("strategy", "name", ["fedavg", "fedmaml", "krum", "median", "stock", "no such"]),
    ("strategy", "outer", ["adam", "x", 1]),
    ("strategy", "cohort", [0, 1, 10, 2**31, -1]),
    ("evaluation", "steps", [[], [0], [1, 1], [100001], "x"]),
    ("evaluation", "scenarios", [[], ["known_user"], ["new_device"], ["x"]]),
    ("model", "hidden", [[], [1], [0], [2**16, 2**16], [1] * 65]),
    ("source", "clients", [1, 2, 3, 2**31, 2**63]),
    ("", "", ["x = 1", "[learner]", "=", "a.b.c=1", "learner.name.x=1", "methods.slow.learner.inner_lr=0.5"]),
    ("methods.slow.learner", "name", ["maml", "majority", "no such"]),
    ("methods.none.learner", "name", ["maml"]),
]
ENGINES = [
    ["engine.name=flower"],
    ["engine.name=flower", "engine.cpus_per_client=1.0"],
    ["engine.name=flower", "strategy.cohort=0"],
    ["engine.name=flower", "engine.cpus_per_client=1000.0"],
    ["engine.name=flower", "engine.timeout_s=1e-9"],
    ["engine.name=flower", "engine.chunk=2"],
    ["engine.name=flower", "learner.name=protonet"],
    ["engine.workers=2"],
    ["engine.workers=100000"],
    ["engine.workers=1", "engine.address=127.0.0.1:1"],
]


def toml(value: Any) -> str | None:
    """A value as TOML writes it; None where it has none."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        inner = [toml(v) for v in value]
        return None if None in inner else f"[{', '.join(map(str, inner))}]"
    if value is None or isinstance(value, dict):
        return None
    return json.dumps(value) if isinstance(value, (bool, str)) else str(value)


def command(argv: list[str], folder: Path, made: str, seconds: float = LIMIT_S) -> Outcome:
    """One command in this process: its exit code against what it says and leaves.

    Args:
        argv: after the program's name.
        folder: where it writes.
        made: a file that is there after success.
        seconds: that it may take.
    """
    said = io.StringIO()
    try:
        with limited(seconds), contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main(argv)
    except SlowError:
        return Outcome("find", f"more than {seconds:g} s")
    except Exception as error:
        return Outcome("find", f"{type(error).__name__}: {str(error)[:200]}")
    text = said.getvalue()
    if "unexpected" in text or "Traceback" in text:
        return Outcome("find", text.strip().splitlines()[-1][:300])
    if code == 0:
        there = list(folder.glob(f"**/{made}"))
        return Outcome("result") if there else Outcome("find", f"exit 0 and no {made}")
    if "metapulse: " not in text:
        return Outcome("find", f"exit {code} without a line: {text[-200:]!r}")
    return Outcome("refused" if code == 2 else "failed", text)


def suites() -> Iterator[list[str]]:
    """``--set`` of runs and suites."""
    for section, key, tried in SUITE:
        for value in tried:
            yield [f"{section}.{key}={toml(value)}" if key else value]


def specs() -> Iterator[str]:
    """Specifications with one setting of [compare] or [tuning] changed, and some whose tables are odd."""
    for name, cls in (("compare", CompareSettings), ("tuning", TuningSettings)):
        hints = typing.get_type_hints(cls)
        for one in dataclasses.fields(cls):
            for value in values(hints[one.name], one) if is_setting(one) else ():
                if (written := toml(value)) is None or len(written) > 4000 or "\\u0000" in written:
                    continue
                lines = [
                    line for line in SPEC.splitlines() if name != "compare" or not line.startswith(one.name + " =")
                ]
                head = "[compare]" if name == "compare" else "[base]"
                added = f"{one.name} = {written}"
                at = lines.index(head)
                lines[at : at + 1] = ["[compare]", added] if name == "compare" else ["[tuning]", added, "[base]"]
                yield "\n".join(lines)
    for extra in (
        "[methods]",
        "[datasets.few.source]",
        "[methods.maml.space]\nx = 1",
        "[methods.a b]",
        "[datasets]\nx = 3",
    ):
        yield SPEC + extra + "\n"
    yield ""


def walk_commands(count: Count, rng: random.Random, most: int, until: float, engines: bool) -> None:
    """Suites, comparisons (``--dry`` but for some), and engines."""
    todo: list[tuple[str, Any]] = [("run", s) for s in suites()] + [("suite", s) for s in suites()]
    todo += [("compare", s) for s in specs()]
    rng.shuffle(todo)
    todo = [("engine", s) for s in ENGINES if engines] + todo[:most]
    for number, (kind, what) in enumerate(todo):
        if time.monotonic() > until:
            return
        with tempfile.TemporaryDirectory(prefix="fuzz") as name:
            folder, file = Path(name), Path(name) / "x.toml"
            file.write_text(what if kind == "compare" else PAIR if kind == "suite" else TINY, encoding="utf-8")
            if kind == "compare":
                dry = ["--dry"] if number % 8 else []
                argv, made = (
                    ["compare", str(file), "--out", str(folder / "out"), *dry],
                    "x.toml" if dry else "report.html",
                )
            else:
                argv, made = ["run", str(file), "--out", str(folder / "out")], "summary.json"
                argv += [part for one in what for part in ("--set", one)]
            began = time.perf_counter()
            outcome = command(argv, folder, made, 60.0 if kind in ("engine", "compare") else LIMIT_S)
        count.add(
            f"{kind} {str(what)[-120:] if kind != 'compare' else _changed(what)}", outcome, time.perf_counter() - began
        )


def _changed(text: str) -> str:
    return "; ".join(line[:80] for line in text.splitlines() if line not in SPEC.splitlines())
