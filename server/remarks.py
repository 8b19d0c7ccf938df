"""Remarks on a run's data, to be read before its numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from metapulse.data import RemarkingSource
from metapulse.server.directory import Directory
from metapulse.server.folder import RunFolder
from metapulse.server.progress import Progress


def remark(
    directory: Directory,
    folder: RunFolder,
    progress: Progress,
    log: bool,
    more: Sequence[str] = (),
    private: bool = False,
) -> None:
    """Say on the terminal what was used of the data, what was left out, and who is refused.

    Args:
        progress: told every line.
        log: whether the lines go into the event log as well; a resumed run has them there.
        more: further lines.
        private: whether the run is: what is exact about its data, and names people, then stays off the log.
    """
    about = directory.remarks() if isinstance(directory, RemarkingSource) else ()
    for line in (*about, *more):
        progress.note(line)
    for line in (*(() if private else about), *more) if log else ():
        folder.event(0, "data", remark=line)


def noting(folder: RunFolder, progress: Progress) -> Callable[[str], None]:
    """What a strategy tells people: on the terminal and in the log."""

    def note(text: str) -> None:
        progress.note(text)
        folder.event(0, "note", text=text)

    return note
