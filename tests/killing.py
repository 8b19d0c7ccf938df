"""Follow a stream in processes that die at addressed points, as from ``kill -9``; each goes on where the last one was.

    python -m tests.killing FOLDER file|pipe

The processes are forked from this one, so that what is imported is not imported each time. Says how often one died.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch

from metapulse.personal import follow as following
from metapulse.personal import stream_sources
from metapulse.personal.stream_state import iso
from tests.streams import glucose, made_up_model

READINGS = 90
SIGKILL = 9
#: Functions in which a process dies: before the call or after it, the first time or a later one.
PLACES = {
    "state": (following, "save_state"),
    "position": (None, "position"),
    "saved": (None, "saved"),
}
POINTS = [*product(PLACES, ("before", "after"), (1, 2, 4)), ("lines", "before", 1), ("lines", "after", 3)]


def text() -> bytes:
    """Readings of two metrics, with lines that are none."""
    lines = ["time,metric,value,unit"]
    for at, one in enumerate(glucose(READINGS)):
        lines += [f"{iso(one.time)},glucose,{one.value},mg/dL", *(["nonsense", "1,2,3,4"] if at % 9 == 0 else [])]
    return ("\n".join(lines) + "\n").encode()


def dying(home: Any, name: str, when: str, at: int) -> None:
    """Put a function in the place of another that ends the process in its call number ``at``."""
    real: Callable[..., Any] = getattr(home, name)
    count = 0

    def call(*args: Any) -> Any:
        nonlocal count
        count += 1
        if count == at and when == "before":
            os._exit(SIGKILL)
        answer = real(*args)
        if count == at:
            os._exit(SIGKILL)
        return answer

    setattr(home, name, call)


def run(folder: Path, kind: str, handle: int, point: tuple[str, str, int] | None) -> bool:
    """One process; whether it died."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, SIGKILL), code
        return code == SIGKILL
    try:
        stream_sources.CHUNK = 700
        source = stream_sources.FileSource if kind == "file" else stream_sources.PipeSource
        if point is not None:
            place, when, at = point
            home, name = (stream_sources, "_readings") if place == "lines" else PLACES[place]
            dying(home or source, name, when, at)
        os.dup2(handle, 0)
        following.follow(folder / "me", str(folder / "in.csv") if kind == "file" else "-", folder / "out", grows=False)
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)


def main(folder: Path, kind: str) -> None:
    torch.set_num_threads(1)
    outputs, died = [], 0
    for name, points in (("alone", []), ("killed", POINTS)):
        here = folder / name
        here.mkdir(parents=True)
        made_up_model().save(here / "me")
        (here / "in.csv").write_bytes(text())
        reader, writer = os.pipe()
        os.write(writer, text())  # what fits into a pipe
        os.close(writer)
        for point in points:
            died += run(here, kind, reader, point)
            if (here / "me" / following.FOLDER / following.STATE).exists():  # before that, nothing is written
                with (here / "out").open("ab") as torn:
                    torn.write(b'{"time": "20')
        assert not run(here, kind, reader, None)
        outputs.append((here / "out").read_bytes())
    assert outputs[0] == outputs[1], "the output differs"
    print(f"{died} died, {outputs[1].count(b'abstained')} lines")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
