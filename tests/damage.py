"""Damaged run folders: ``python -m tests.damage COUNT FOLDER`` tries so many and prints what came of them.

A copy of a folder is damaged in one place, read as a report reads it, and resumed as ``metapulse resume`` does. Either
everything is as without the damage (θ, scores, events), or it is refused in one line.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from metapulse.errors import MetapulseError
from metapulse.server.folder import RunFolder, digest
from metapulse.server.privacy import LEDGER
from metapulse.server.run import Run
from metapulse.sim.experiment import run_experiment
from metapulse.sim.report.runs.run_data import read_run
from metapulse.sim.runner import run_cells
from metapulse.sim.suite import Suite, new_cells, saved_cells
from tests.runs import make

ROUNDS, STOP = 4, 4  # rounds in all; the round that an interrupted run does not begin
PRIVATE = {"mechanism": "central", "clip": 1.0, "noise_multiplier": 2.0, "delta": 1e-5, "noise_seed": 3}
COUNTING = ("begun", "events", "summary")  # facts in which the number of private rounds stands
#: Learner, strategy, seed, and what else there is.
KINDS: dict[str, tuple[str, str, int, dict[str, Any]]] = {
    "maml": ("maml", "fedmaml", 1, {}),
    "ditto": ("ditto", "fedavg", 1, {}),
    "private": ("maml", "fedmaml", 1, {"privacy": PRIVATE}),
    "other": ("maml", "fedmaml", 2, {"privacy": PRIVATE}),
}


class Stop(Exception):
    """In the place of a kill."""


def bases(folder: Path) -> dict[str, Path]:
    """Runs: finished, interrupted between two checkpoints, with states of devices, private, and of another seed.

    And a suite whose first method is finished and whose second was interrupted.
    """
    looks = {"every": 2, "validation_every": 1, "scenarios": ["new_user"], "steps": [0, 1]}
    made = {}
    for name, (learner, strategy, seed, more) in KINDS.items():
        sections = {"evaluation": looks, "split": {"test": 0.34, "validation": 0.17}, "run": {"seed": seed}}
        saved = {"every": 2, "keep": 2}
        config = make(learner, strategy, "sine", ROUNDS, checkpoint=saved, **sections, **more)
        made[f"{name}-done"] = folder / f"{name}-done"
        run_experiment(config, made[f"{name}-done"])
        made[name] = folder / name
        interrupt(config, made[name])
        if name == "maml":
            methods = {"a": config, "b": replace(config, run=replace(config.run, name="b"))}
            made["suite"] = folder / "suite"
            first, second = new_cells(Suite("suite", seed, methods, nested=True), made["suite"])
            run_experiment(first.config, first.path)
            interrupt(second.config, second.path)
    return made


def interrupt(config: Any, path: Path) -> None:
    """Begin a run that ends before round STOP, as by a kill."""
    whole = Run.round

    def stopped(self: Run, round: int, arrays: Any) -> Any:
        if round == STOP:
            raise Stop
        return whole(self, round, arrays)

    Run.round = stopped  # type: ignore[method-assign]
    try:
        run_experiment(config, path)
    except Stop:
        pass
    finally:
        Run.round = whole  # type: ignore[method-assign]


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file())


def _flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes() or b"x")
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(bytes(content))


def _cut(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content) + 1)])


def _garbage(path: Path, draw: random.Random) -> None:
    path.write_bytes(draw.randbytes(draw.randrange(1, 200)))


def _twice(path: Path, draw: random.Random) -> None:
    path.write_bytes(path.read_bytes() * 2)


def _folder(path: Path, draw: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _number(path: Path, draw: random.Random) -> None:
    """One digit of a text becomes another, as in an edit by hand."""
    content = bytearray(path.read_bytes())
    if places := [i for i, byte in enumerate(content) if 48 <= byte < 58]:
        content[draw.choice(places)] = 48 + draw.randrange(10)
    path.write_bytes(bytes(content))


def _line(path: Path, draw: random.Random) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    if lines:
        chosen = draw.randrange(len(lines))
        lines[chosen : chosen + 1] = draw.choice(([], [lines[chosen]] * 2))
    path.write_bytes(b"".join(lines))


IN_FILE: tuple[Callable[[Path, random.Random], object], ...] = (
    _flip,
    _flip,
    _flip,
    _number,
    _cut,
    _garbage,
    _twice,
    _folder,
    _line,
    lambda path, draw: path.write_bytes(b""),
    lambda path, draw: path.unlink(),
)


def damage(path: Path, other: Path, draw: random.Random) -> str:
    """Damage a folder in one place; what was done.

    Args:
        path: of the copy.
        other: a run of another seed.
        draw: what and where.
    """
    files, kind = _files(path), draw.randrange(16)
    run = draw.choice(runs) if (runs := [p.parent for p in path.glob("*/checkpoints")]) else path
    checkpoints = sorted((run / "checkpoints").iterdir())
    if kind == 0:
        a, b = draw.sample(files, 2)
        a.rename(path / "swap")
        b.rename(a)
        (path / "swap").rename(b)
        return f"swap {a.name} {b.name}"
    if kind == 1:
        name = draw.choice(_files(run)).relative_to(run)
        if (other / name).is_file():
            shutil.copy(other / name, run / name)
        return f"foreign {name}"
    if kind == 2:
        shutil.rmtree(chosen := draw.choice([*checkpoints, run / "checkpoints"]))
        return f"rmtree {chosen.name}"
    if kind == 3:
        name = draw.choice(["000009", "000004", "9", "000000", "x", "²"])
        chosen, into = (
            draw.choice([*checkpoints, *sorted((other / "checkpoints").iterdir())]),
            run / "checkpoints" / name,
        )
        if chosen != into:
            shutil.copytree(chosen, into, dirs_exist_ok=True)
        return f"copy to {name}"
    if kind == 4:
        chosen = draw.choice(files)
        shutil.copy(chosen, chosen.with_name(draw.choice(["more.npy", f"{chosen.stem}2{chosen.suffix}"])))
        return f"more {chosen.name}"
    chosen, how = draw.choice(files), draw.choice(IN_FILE)
    how(chosen, draw)
    return f"{getattr(how, '__name__', '')} {chosen.relative_to(path)}"


def facts(path: Path) -> dict[str, Any]:
    """What must be the same: θ, scores, rows and events, but for the clock; and how many rounds the ledger knows of."""
    if (path / "suite.json").exists():
        return {f"{cell.name}: {key}": value for cell in saved_cells(path) for key, value in facts(cell.path).items()}
    folder = RunFolder(path)
    events = [{k: v for k, v in e.items() if k not in ("seconds", "spent", "time")} for e in folder.events()]
    theta = digest(folder.final()[1])
    ledger = (path / LEDGER).read_bytes().count(b"\n") if (path / LEDGER).exists() else 0
    return {"summary": folder.summary(), "rows": folder.metrics(), "events": events, "theta": theta, "begun": ledger}


def shown(path: Path) -> list[Any]:
    """What a report shows of every run; the last is whether it is finished."""
    seen = [read_run(cell.path) for cell in saved_cells(path)]
    return [[s.config, s.scores, s.rows, [e["round"] for e in s.rounds], len(s.dropped), s.finished] for s in seen]


def differs(shows: list[Any], report: list[Any]) -> str:
    """What a report shows otherwise and says nothing of; of a run that goes on, later rounds may not be there yet."""
    for now, then in zip(shows, report, strict=True):
        if now[-1] != then[-1]:
            continue  # it says so
        if not now[-1]:
            now[3] += then[3][len(now[3]) :]
        if wrong := [i for i, (a, b) in enumerate(zip(now, then, strict=True)) if a != b]:
            return f"report shows another {wrong}"
    return ""


def outcome(path: Path, whole: dict[str, Any], report: list[Any]) -> str:
    """ "same", "refused", or what is wrong."""
    said = []
    try:
        if wrong := differs(shown(path), report):
            said.append(wrong)
    except (MetapulseError, OSError):
        pass
    try:
        outcomes = list(run_cells(saved_cells(path)))
    except (MetapulseError, OSError) as error:
        return "; ".join(said) or ("refused" if "\n" not in str(error) else f"two lines: {error}")
    if not (code := max(outcome.code for outcome in outcomes)):
        try:
            found = facts(path)
            # a private run that goes on from an earlier checkpoint does rounds again, and counts them
            counts = COUNTING if found.get("begun", 0) > whole.get("begun", 0) else ()
            said += [f"another {name}" for name in whole if name not in counts and found[name] != whole[name]]
        except MetapulseError as error:
            # a finished run is not done again: what else is in its folder is refused when it is read
            summaries = [value for key, value in whole.items() if key.endswith("summary")]
            said += [] if [outcome.summary for outcome in outcomes] == summaries else [str(error)]
    said += [o.error for o in outcomes if o.code not in (0, 2) or "\n" in o.error]
    return "; ".join(said) or ("same" if code == 0 else "refused")


def attempt(count: int, folder: Path, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """Damage so many copies; how many were the same or refused, and what went wrong."""
    made = bases(folder)
    names = [name for name in made if not name.startswith("other")]
    whole, report = {}, {}
    for name in names:
        report[name] = shown(made[name])
        shutil.copytree(made[name], folder / "whole")
        list(run_cells(saved_cells(folder / "whole")))
        whole[name] = facts(folder / "whole")
        shutil.rmtree(folder / "whole")
    counts, wrong = Counter[str](), []
    for i in range(count):
        draw, name = random.Random(seed * 10**6 + i), names[i % len(names)]
        path = folder / "copy"
        shutil.copytree(made[name], path)
        done = damage(path, made["other" + "-done" * name.endswith("-done")], draw)
        came = outcome(path, whole[name], report[name])
        counts[came if came in ("same", "refused") else "wrong"] += 1
        if came not in ("same", "refused"):
            wrong.append(f"{i} {name}: {done}: {came}"[:400])
        shutil.rmtree(path)
    return counts, wrong


if __name__ == "__main__":
    counted, failures = attempt(int(sys.argv[1]), Path(sys.argv[2]), int((sys.argv[3:] or ["0"])[0]))
    print("\n".join(failures))
    print(json.dumps(counted))
