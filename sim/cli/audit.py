"""``metapulse audit``: attacks on a finished run, beside what is claimed of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def audit(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run; it is only read.")],
    canaries: Annotated[int, typer.Option(min=2, help="Made-up people, each in the run or not by a coin.")] = 1000,
    people: Annotated[int, typer.Option(min=4, help="Real people beside them, and under attack, at most.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what the attacks draw.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Page; left out: audit.html in RUN.")] = None,
) -> None:
    """Attack a run: do it again with canaries, test its mechanism, infer membership, invert updates."""
    import torch

    from sim.audit.audit import audit_run, lines
    from sim.audit.page import write_audit

    torch.set_num_threads(1)
    found = audit_run(folder, canaries, people, seed)
    page = out or folder / "audit.html"
    write_audit(found, page)
    for line in lines(found):
        print(line)
    print(f"page: {page}")
    if found.refuted:
        print("metapulse: the run's claim of privacy is refuted: " + "; ".join(found.refuted), file=sys.stderr)
        raise typer.Exit(2)
