"""Follow a source with a person's model: forecasts out, the state on the disk, and on from there after any kill.

    folder/stream/state.safetensors    position in the source, length of the output, and all that is remembered
    folder/stream/input-N              what was taken from a pipe since the last state

A piece of the source (16 kB of lines) is one step: its forecasts are written and synced, then the state
replaces the one before. A process that is killed leaves a state and, perhaps, forecasts beyond it; the next one cuts
these off and makes them again, the same to the byte.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from metapulse.errors import DataError, RunError
from metapulse.lock import locked
from metapulse.personal.person import TENSORS, PersonModel
from metapulse.personal.stream import PersonStream
from metapulse.personal.stream_sources import ANEW, FileSource, PipeSource, RecordSource, Source
from metapulse.personal.stream_state import Line, Reading, StreamState, counted
from metapulse.personal.stream_store import load_state, save_state

FOLDER, STATE = "stream", "state.safetensors"
WAIT_S = 0.5  # between two looks at a file that grows


def follow(folder: Path, source: str, out: Path | None, grows: bool) -> Mapping[str, int]:
    """Forecast at every reading of a source until it ends; how many there were of what.

    Args:
        folder: of the person's model.
        source: a record, a CSV or NDJSON file, or "-" for standard input.
        out: NDJSON, appended to; None: standard output, where a killed process's last lines may come once more.
        grows: whether the file is waited on for more, for ever.

    Raises:
        ConfigError: the model's recipe cannot be followed.
        DataError: the model, the state or the source is damaged.
        RunError: the source or the output is another than before, or cannot be read or written.
    """
    stream = PersonStream(PersonModel.load(folder))
    metric, model = stream.recipe.metrics[0], blake2b((folder / TENSORS).read_bytes(), digest_size=16).hexdigest()
    place = folder / FOLDER
    try:
        place.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"{place}: cannot be made: {error.strerror or error}") from None
    with locked(place / "lock", f"process {os.getpid()}", f"{place} is in use by {{}}"):
        state, beside = stream.begin(), dict[str, Any]()
        if (place / STATE).exists():
            state, beside = load_state(place / STATE, state)
        facts = {"model": model, "source": source if source == "-" else str(Path(source).resolve())}
        for name, value in facts.items():
            if beside and beside.get(name) != value:
                raise RunError(f"{place}: was begun with another {name} ({beside.get(name)}); {ANEW}")
        opened = _opened(place, source, metric, grows, beside.get("position", {}))
        with closing(opened) as readings, _output(out, beside.get("out", {})) as written:
            keeper = _Keeper(place / STATE, facts, readings, written, out)
            keeper.keep(state)  # before the first line: what is beyond it is known to be ours
            for found in iter(readings.read, None):
                state, lines = _stepped(stream, state, found)
                if found:
                    keeper.keep(state, lines)
                elif grows:
                    time.sleep(WAIT_S)
            return state.counts


@dataclass(frozen=True)
class _Keeper:
    """Writes what there is to say, and then the state that has said it."""

    path: Path
    facts: dict[str, Any]
    source: Source
    written: IO[bytes]
    out: Path | None

    def keep(self, state: StreamState, lines: Sequence[Line] = ()) -> None:
        self.written.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())
        self.written.flush()
        place = {}
        if self.out is not None:
            os.fsync(self.written.fileno())
            place = {"path": str(self.out.resolve()), "length": self.written.tell()}
        save_state(self.path, state, {**self.facts, "position": self.source.position(), "out": place})
        self.source.saved()


def _stepped(stream: PersonStream, state: StreamState, found: list[Reading | str]) -> tuple[StreamState, list[Line]]:
    lines = []
    for one in found:
        if isinstance(one, str):
            state = counted(state, one) if one else state
        else:
            state, said = stream.step(state, one)
            lines += said
    return state, lines


def _opened(place: Path, source: str, metric: str, grows: bool, position: Mapping[str, Any]) -> Source:
    if source == "-":
        return PipeSource(place, metric, position)
    path = Path(source)
    if not path.is_file():
        raise DataError(f"{path}: no such file; name a record, a CSV or NDJSON of readings, or - for standard input")
    kind = RecordSource if path.suffix == ".parquet" else FileSource
    return kind(path, metric, grows, position)


def _output(out: Path | None, before: Mapping[str, Any]) -> IO[bytes]:
    """The output as the state knows it: what a killed process wrote beyond that is cut off.

    Args:
        out: the file; None: standard output.
        before: its path and length in the state.
    """
    if out is None:
        return os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    known = before.get("path") == str(out.resolve())
    length = before["length"] if known else 0
    try:
        file = out.open("r+b" if out.exists() else "x+b")
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {error.strerror or error}") from None
    size = file.seek(0, os.SEEK_END)
    if size < length or (size and not known):
        file.close()
        what = f"is shorter than what was written into it; {ANEW}" if known else "is there already; name another file"
        raise RunError(f"{out}: {what}")
    file.truncate(length)
    file.seek(length)
    return file
