"""The report: one self-contained page about one run, or several compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from metapulse.errors import RunError
from metapulse.files import write_atomic


def write_report(paths: Sequence[Path], page: Path) -> None:
    """Write ``page`` about the runs in the given folders.

    Args:
        paths: folders of runs, finished or not.
        page: the HTML file, replaced in one step.

    Raises:
        RunError: no folder, one of them holds no run, a file in it is damaged, or the page cannot be written.
    """
    from metapulse.sim.report.page import render
    from metapulse.sim.report.runs import read_runs

    if not paths:
        raise RunError("a report needs at least one run")
    text = render(read_runs(paths))
    write_atomic(page, text.encode())
