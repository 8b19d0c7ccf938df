"""One person's stream for a million readings: does memory stay flat, how long does a reading take, what do kills cost?

    python benchmarks/stream.py [--readings 1000000] [--kills 200] [--updates 1000000]

A made-up person's glucose every five minutes, with silences, through ``metapulse stream`` as a user runs it: lines of a
CSV in, NDJSON out, the state on the disk. Time is CPU time of one core: of a forecast, of the settling of outcomes
(judging, learning, drift), and of a line with all that belongs to it, the state's files included. For the kills, a
process that follows 5 000 readings is killed with SIGKILL at random moments and begun again until it has been killed so
often; its output is compared, byte for byte, with that of a process left alone. The updates are of a head alone, with
forgetting, and their outcome is compared with that of all samples at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

import torch  # noqa: E402

from metapulse.gaussian_head import GaussianHead  # noqa: E402
from metapulse.personal import follow as following  # noqa: E402
from metapulse.personal import stream_sources  # noqa: E402
from metapulse.personal.online import absorb, coordinates, loosen, unseen  # noqa: E402
from metapulse.personal.stream import PersonStream  # noqa: E402
from metapulse.personal.stream_state import iso  # noqa: E402
from tests.streams import glucose, made_up_model  # noqa: E402

KILLED = 5_000  # readings of the stream that is killed
MARKS = (1_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--updates", type=int, default=1_000_000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.updates:
        updated(given.updates)
    with tempfile.TemporaryDirectory() as scratch:
        if given.readings:
            measured(Path(scratch) / "long", given.readings)
        if given.kills:
            killed(Path(scratch) / "killed", given.kills)


def updated(updates: int, piece: int = 10_000) -> None:
    """Rounding after so many updates of a head, relative to its largest number."""
    width, kept, weight = 17, 0.9999, 1 / 6
    eye = torch.eye(width, dtype=torch.float64)
    prior = GaussianHead(torch.zeros(1, width, 1, dtype=torch.float64), 0.5 * eye[None], torch.ones(1, 1).double())
    at = coordinates(prior)
    head, gram, moment = unseen(at), eye.clone(), torch.zeros(width, 1, dtype=torch.float64)
    fading = weight * kept ** torch.arange(piece - 1, -1, -1, dtype=torch.float64)[:, None]
    for first in range(0, updates, piece):
        draw = torch.Generator().manual_seed(first)
        x = torch.randn(piece, 1, width, generator=draw, dtype=torch.float64)
        y = x[:, :, :1] + torch.randn(piece, 1, 1, generator=draw, dtype=torch.float64)
        for each, target in zip(x, y[:, :, 0], strict=True):
            head = absorb(at, loosen(head, kept), each, target, weight)
        z, left = x[:, 0] @ at.root[0], kept**piece
        gram = left * gram + (1.0 - left) * eye + (fading * z).T @ z
        moment = left * moment + (fading * z).T @ y[:, 0]
    learned = torch.linalg.solve(head.precision[0], head.moment[0])
    pairs = (head.precision[0], gram), (head.moment[0], moment), (learned, torch.linalg.solve(gram, moment))
    off = [float((one - other).abs().max() / other.abs().max()) for one, other in pairs]
    print(f"{updates} updates: precision off by {off[0]:.0e}, moment by {off[1]:.0e}, head by {off[2]:.0e}", flush=True)


def prepared(folder: Path, readings: int) -> Path:
    """A person's model in ``me`` and a file of readings, every 500th of which begins a silence of an hour."""
    folder.mkdir()
    made_up_model().save(folder / "me")
    path = folder / "readings.csv"
    with path.open("w") as file:
        file.write("time,metric,value,unit\n")
        for at, one in enumerate(glucose(readings)):
            if at % 500 >= 12:
                file.write(f"{iso(one.time)},glucose,{one.value},mg/dL\n")
    return path


class Timed(PersonStream):
    """Tells what a step took, and what the process holds at some of them."""

    spent: np.ndarray  # ms of a forecast, of settling
    begun: float
    count: int = 0

    def forecast(self, *args: Any) -> Any:
        """The first of the two that are timed."""
        return self._timed(0, super().forecast, *args)

    def settle(self, *args: Any) -> Any:
        """The second."""
        return self._timed(1, super().settle, *args)

    def _timed(self, what: int, function: Callable[..., Any], *args: Any) -> Any:
        begin = time.process_time()
        answer = function(*args)
        Timed.spent[what, Timed.count] = 1e3 * (time.process_time() - begin)
        if what == 0:
            Timed.count += 1
            if Timed.count in MARKS:
                report()
        return answer


def report() -> None:
    """One row of the table."""
    n = Timed.count
    cells = [f"{n:,}", f"{resident():.1f}"]
    for spent in Timed.spent[:, :n]:
        cells += [f"{np.percentile(spent, 50):.2f} / {np.percentile(spent, 99):.2f} / {spent.max():.1f}"]
    print(f"| {' | '.join([*cells, f'{1e3 * (time.process_time() - Timed.begun) / n:.2f}'])} |", flush=True)


def measured(folder: Path, readings: int) -> None:
    """Follow a long file."""
    path = prepared(folder, readings)
    Timed.spent = np.full((2, readings), -1.0, np.float32)  # touched, so that it does not look like growth
    Timed.begun = time.process_time()
    following.PersonStream = Timed
    print("| readings | MB resident | forecast, ms: p50 / p99 / max | settling, ms | all of a line, ms, mean |")
    print("|---|---|---|---|---|", flush=True)
    counts = following.follow(folder / "me", str(path), folder / "out.ndjson", grows=False)
    report()
    state = folder / "me" / following.FOLDER / following.STATE
    print(f"\nstate on the disk: {state.stat().st_size / 1e3:.0f} kB; {dict(counts)}", flush=True)
    following.PersonStream = PersonStream


def resident() -> float:
    """MB of this process that are in memory."""
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def killed(folder: Path, kills: int) -> None:
    """Kill a process that follows a file, until it has been killed so often and is done."""
    path, draw = prepared(folder, KILLED), np.random.default_rng(0)
    made_up_model().save(folder / "alone")
    stream_sources.CHUNK = 1024  # bytes of a step: some twenty-five readings
    begin = time.monotonic()
    assert ended(forked(folder / "alone", path, folder / "alone.ndjson"), None)
    step = (time.monotonic() - begin) * stream_sources.CHUNK / path.stat().st_size
    done, wait, ends = 0, 8.0 * step, 0
    while done < kills:
        if ended(forked(folder / "me", path, folder / "out.ndjson"), float(draw.uniform(0.0, wait))):
            ends += 1  # it had come to its end before: once more from the beginning
            same(folder)
            (folder / "out.ndjson").unlink()
            for left in (folder / "me" / following.FOLDER).iterdir():
                left.unlink()
        else:
            done += 1
    assert ended(forked(folder / "me", path, folder / "out.ndjson"), None)
    print(
        f"\n{kills} kills in {ends + 1} streams of {KILLED} readings: {same(folder)} lines each, the same to the byte"
    )


def same(folder: Path) -> int:
    """Lines of the output, which is that of a process left alone."""
    text = (folder / "out.ndjson").read_bytes()
    if text != (folder / "alone.ndjson").read_bytes():
        raise SystemExit("the output of a killed process differs")
    return text.count(b"\n")


def forked(model: Path, path: Path, out: Path) -> int:
    """A process of its own that follows the file; it shares what is imported, so that no time is lost with that."""
    child = os.fork()
    if child:
        return child
    try:
        following.follow(model, str(path), out, grows=False)
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)


def ended(child: int, after_s: float | None) -> bool:
    """Whether the process has come to its end by itself; after some time it is killed."""
    if after_s is not None:
        until = time.monotonic() + after_s
        while time.monotonic() < until:
            if os.waitpid(child, os.WNOHANG)[0]:
                return True
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a follower failed")
    return not os.WIFSIGNALED(status)


if __name__ == "__main__":
    main()
