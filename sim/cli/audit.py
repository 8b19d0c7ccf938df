"""``metapulse audit``: attacks on a finished run, beside what is claimed of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def audit_command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run; nothing in it changes.")],
    canaries: Annotated[int, typer.Option(min=2, help="Made-up people, each in the run or not by a coin.")] = 1000,
    people: Annotated[int, typer.Option(min=4, help="Real people beside them, and under attack, at most.")] = 100,
    draws: Annotated[int, typer.Option(min=2, help="Rounds whose people are drawn again.")] = 500,
    shadows: Annotated[int, typer.Option(min=0, help="Shadow runs for likelihood ratios, beside one attacked.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what the attacks draw.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Page (HTML; its numbers go to the same name with .json); left out: audit.html and audit.json in RUN.",
        ),
    ] = None,
) -> None:
    """Attack a run: do it again with canaries, add a person, test its mechanism, infer membership, invert updates.

    Two files are written, a page and its numbers; the exit code is 2 where the run's claim of privacy is refuted.
    """
    import torch

    from metapulse.errors import ConfigError
    from metapulse.sim.audit.audit import audit_lines, audit_run
    from metapulse.sim.audit.page import write_audit

    page = out or folder / "audit.html"
    if page.suffix == ".json":
        raise ConfigError("--out", str(page), "must not end in .json: the numbers are written beside the page")
    torch.set_num_threads(1)
    found = audit_run(folder, canaries, people, seed, draws, shadows)
    write_audit(found, page)
    for line in audit_lines(found):
        print(line)
    print(f"page: {page}, numbers: {page.with_suffix('.json')}")
    if found.refuted:
        print("metapulse: the run's claim of privacy is refuted: " + "; ".join(found.refuted), file=sys.stderr)
        raise typer.Exit(2)
