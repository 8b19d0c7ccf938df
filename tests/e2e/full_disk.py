"""Commands on a disk that is full: ``python -m tests.e2e.full_disk FOLDER SIZES…``.

Every command is a fork of this program whose files may hold so many bytes (RLIMIT_FSIZE). Then there is room again, and
the same command, or a resume, ends well. Prints a JSON line: a table of what came of each command at each size.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from metapulse.errors import MetapulseError
from metapulse.server.config import resolved
from metapulse.server.config_text import to_toml
from metapulse.server.folder import RunFolder
from metapulse.sim.cli import main as command
from tests.damage import interrupt
from tests.runs import make

LOOKS = {"every": 4, "scenarios": ["new_user"], "steps": [0, 1]}
COMMANDS = ("run", "resume", "report", "audit")


def told(words: Sequence[str], size: int = 0) -> tuple[int, list[str]]:
    """Exit code and lines on stderr of a command whose files may hold so many bytes; 0: any number."""
    read, write = os.pipe()
    if not (pid := os.fork()):
        sys.stdout, sys.stderr = Path(os.devnull).open("w"), os.fdopen(write, "w")  # noqa: SIM115
        if size:
            sys.dont_write_bytecode = True  # of a module that does not fit Python would keep the half
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        code = command(words)
        sys.stderr.flush()
        os._exit(code)
    os.close(write)
    with os.fdopen(read) as stream:
        lines = [line for line in stream.read().splitlines() if line.strip()]
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), lines


def apart(work: Callable[[], Any]) -> str:
    """What it comes to, as JSON, in a fork.

    This program stays free of threads that know Python: those of Arrow, which let go of what they have read later, can
    be at it when the next command is forked, which then waits for them without end.
    """
    read, write = os.pipe()
    if not (pid := os.fork()):
        with os.fdopen(write, "w") as stream:
            json.dump(work(), stream)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        text = stream.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return text


def outcome(path: Path) -> Any:
    """What a run came to; None where it did not."""
    try:
        folder = RunFolder(path)
        return [folder.summary(), folder.metrics(), [event["kind"] for event in folder.events()]]
    except MetapulseError:
        return None


def main(folder: Path, sizes: Sequence[int]) -> None:
    """Every command at every size."""
    config = make("maml", "fedmaml", "sine", 4, evaluation=LOOKS, checkpoint={"every": 2, "keep": 2})
    folder.mkdir(parents=True, exist_ok=True)
    toml, half, whole = folder / "run.toml", folder / "half", folder / "whole"
    toml.write_text(to_toml(resolved(config)))
    apart(lambda: interrupt(config, half))
    told(["run", str(toml), "--out", str(whole)])
    (whole / "report.html").unlink()
    expected, found = apart(lambda: outcome(whole)), []
    for name, size in ((name, size) for size in sizes for name in COMMANDS):
        out = folder / f"{name}-{size}"
        if name != "run":
            shutil.copytree(half if name == "resume" else whole, out)
        words = [name, str(toml), "--out", str(out)] if name == "run" else [name, str(out)]
        code, lines = told(words, size)
        said = [line for line in lines if not line.startswith("run: ")]  # progress
        left = [p.name for p in out.rglob("*") if p.name.endswith(".tmp") or p.name in ("report.html", "audit.html")]
        again, _ = told(["resume", str(out)] if (out / "config.json").exists() and name == "run" else words)
        row = {"name": name, "size": size, "code": code, "said": said, "left": left, "again": again}
        found.append(row | {"same": apart(lambda at=out: outcome(at)) == expected})
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(size) for size in sys.argv[2:]])
