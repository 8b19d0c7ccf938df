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
from pathlib import Path
from typing import Any

from client.errors import MetapulseError
from server.folder import RunFolder, digest
from server.run import Run
from sim.experiment import run
from sim.progress import Quiet
from sim.report.runs import read_run
from sim.suite import held, perform
from tests.runs import make

ROUNDS, STOP = 5, 4  # rounds in all; the round that an interrupted run does not begin


class Stop(Exception):
    """In the place of a kill."""


def bases(folder: Path) -> dict[str, Path]:
    """Runs: finished, interrupted between two checkpoints, the same with states of devices, and one of another seed."""
    looks = {"evaluation": {"every": 2, "validation_every": 1}, "split": {"test": 0.34, "validation": 0.17}}
    made = {}
    for name, (learner, seed) in {"maml": ("maml", 1), "ditto": ("ditto", 1), "other": ("maml", 2)}.items():
        strategy = "fedavg" if learner == "ditto" else "fedmaml"
        saved = {"every": 2, "keep": 2}
        config = make(learner, strategy, "sine", ROUNDS, run={"seed": seed}, checkpoint=saved, **looks)
        made[f"{name}-done"] = folder / f"{name}-done"
        run(config, made[f"{name}-done"])
        made[name] = folder / name
        _interrupted(config, made[name])
    return made


def _interrupted(config: Any, path: Path) -> None:
    whole = Run._round

    def stopped(self: Run, round: int, arrays: Any) -> Any:
        if round == STOP:
            raise Stop
        return whole(self, round, arrays)

    Run._round = stopped  # type: ignore[method-assign]
    try:
        run(config, path)
    except Stop:
        pass
    finally:
        Run._round = whole  # type: ignore[method-assign]


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
    checkpoints = sorted((path / "checkpoints").iterdir())
    if kind == 0:
        a, b = draw.sample(files, 2)
        a.rename(path / "swap")
        b.rename(a)
        (path / "swap").rename(b)
        return f"swap {a.name} {b.name}"
    if kind == 1:
        name = draw.choice(files).relative_to(path)
        if (other / name).is_file():
            shutil.copy(other / name, path / name)
        return f"foreign {name}"
    if kind == 2:
        shutil.rmtree(chosen := draw.choice([*checkpoints, path / "checkpoints"]))
        return f"rmtree {chosen.name}"
    if kind == 3:
        name = draw.choice(["000009", "000004", "9", "000000", "x", "²"])
        shutil.copytree(draw.choice([*checkpoints, *(other / "checkpoints").iterdir()]), path / "checkpoints" / name,
                        dirs_exist_ok=True)  # fmt: skip
        return f"copy to {name}"
    if kind == 4:
        chosen = draw.choice(files)
        shutil.copy(chosen, chosen.with_name(draw.choice(["more.npy", f"{chosen.stem}2{chosen.suffix}"])))
        return f"more {chosen.name}"
    chosen, how = draw.choice(files), draw.choice(IN_FILE)
    how(chosen, draw)
    return f"{getattr(how, '__name__', '')} {chosen.relative_to(path)}"


def facts(path: Path) -> dict[str, Any]:
    """What must be the same: θ, scores, rows and events, but for the clock."""
    folder = RunFolder(path)
    events = [{k: v for k, v in e.items() if k not in ("seconds", "spent", "time")} for e in folder.events()]
    theta = digest(folder.final()[1])
    return {"summary": folder.summary(), "rows": folder.metrics(), "events": events, "theta": theta}


def shown(path: Path) -> Any:
    """What a report shows."""
    seen = read_run(path)
    return seen.config, seen.scores, seen.rows, [e["round"] for e in seen.rounds], len(seen.dropped), seen.finished


def outcome(path: Path, whole: dict[str, Any], report: Any) -> str:
    """ "same", "refused", or what is wrong."""
    said = []
    try:
        finished, shows = (path / "summary.json").exists(), shown(path)
        wrong = [i for i, (a, b) in enumerate(zip(shows, report, strict=True)) if a != b]
        if wrong and finished == report[-1]:
            said.append(f"report shows another {wrong}")
    except (MetapulseError, OSError):
        pass
    try:
        outcomes = list(perform(held(path), lambda name: Quiet()))
    except (MetapulseError, OSError) as error:
        return "; ".join(said) or ("refused" if "\n" not in str(error) else f"two lines: {error}")
    if (code := outcomes[0].code) == 0:
        try:
            found = facts(path)
            said += [f"another {name}" for name in whole if found[name] != whole[name]]
        except MetapulseError as error:
            # a finished run is not done again: what else is in its folder is refused when it is read
            said += [] if outcomes[0].summary == whole["summary"] else [str(error)]
    elif code != 2 or "\n" in outcomes[0].error:
        said.append(outcomes[0].error)
    return "; ".join(said) or ("same" if code == 0 else "refused")


def attempt(count: int, folder: Path, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """Damage so many copies; how many were the same or refused, and what went wrong."""
    made = bases(folder)
    names = [name for name in made if not name.startswith("other")]
    whole, report = {}, {}
    for name in names:
        report[name] = shown(made[name])
        shutil.copytree(made[name], folder / "whole")
        list(perform(held(folder / "whole"), lambda name: Quiet()))
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
