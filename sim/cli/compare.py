"""``metapulse compare``: methods × data sets × seeds, run once each, and what may be said about them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from metapulse.sim.cli.runs import Trackers
from metapulse.sim.stopping import exit_code

if TYPE_CHECKING:
    from metapulse.sim.comparison_runner import ComparisonRunner


def compare_command(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="Methods, data sets and seeds; see docs/lab.md.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the comparison; left out: compare/NAME.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Runs at once, one core each; 0 and 1: this process.")] = 0,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Only runs that fit DATASET/METHOD/SEED, with * for any; again for more."),
    ] = None,
    track: Trackers = None,
    dry: Annotated[bool, typer.Option("--dry", help="List the runs and stop.")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what the finished runs, as a pilot, tell of seeds and people needed.")
    ] = False,
) -> None:
    """Compare methods: run what has not been run yet, then write tables and report."""
    import torch

    torch.set_num_threads(1)
    from metapulse.sim.comparison_runner import ComparisonRunner
    from metapulse.sim.lab.spec import read_spec
    from metapulse.sim.progress import display
    from metapulse.sim.tracking import chosen

    chosen(track or ())  # refused before anything runs
    console = Console(stderr=True)
    asked = read_spec(spec)
    folder = out or Path("compare") / asked.name
    runner = ComparisonRunner(asked, folder, workers, lambda *batch: display(*batch, console=console), track or ())
    if dry:
        _list(runner, only or ())
        return
    if plan:
        _plan(runner)
        return
    try:
        said, failures = runner.run(only or ())
    except KeyboardInterrupt as error:
        print(
            f"metapulse: interrupted; continue with: {_again(spec, out, workers, only or (), track or ())}",
            file=sys.stderr,
        )
        raise typer.Exit(exit_code(error)) from None
    if said is not None:
        print("\n".join([*said.words, f"report: {folder / 'report.html'}"]))
    if failures:
        print(f"metapulse: runs that failed: {len(failures)}; {failures[0]}", file=sys.stderr)
        raise typer.Exit(max(failure.code for failure in failures))


def _list(runner: ComparisonRunner, only: Sequence[str]) -> None:
    """Every run with its address, and whether it is done."""
    from metapulse.sim.cells import distinct
    from metapulse.sim.lab.cells import select

    cells, untuned = runner.cells()
    table = Table(title_justify="left")
    for column in ("data set", "method", "seed", "rounds", "address", ""):
        table.add_column(column, no_wrap=True)
    chosen = select(cells, only)
    for cell in chosen:
        tuned = (cell.dataset, cell.method) not in untuned
        state = "done" if cell.finished else "begun" if cell.path.exists() else ""
        address = (cell.key, state) if tuned else ("", "to be tuned")
        table.add_row(cell.dataset, cell.method, str(cell.seed), str(cell.config.run.rounds), *address)
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(table)
    different = distinct(chosen)
    left = sum(not cell.finished for cell in different)
    print(f"{len(chosen)} runs, {len(different)} of them different, {left} to do")


def _plan(runner: ComparisonRunner) -> None:
    """How large a difference each question finds, and how many seeds or people smaller ones would take."""
    from metapulse.rows import Rows
    from metapulse.sim.lab.power import WANTED
    from metapulse.sim.scores import scenario_title, shots_name

    plans, seconds = runner.plan()
    rows = [
        {
            "data set": one.dataset,
            "question": f"{scenario_title(one.scenario)}, {shots_name(one.shots)}",
            "seeds": str(one.seeds),
            "people": str(one.people),
            "finds": f"{one.detectable:.3f}",
            "seeds for " + ", ".join(f"{d:g}" for d in WANTED): _numbers(one.more_seeds),
            "or people": _numbers(one.more_people),
        }
        for one in plans
    ]
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(Rows(rows, tuple(rows[0])))
    print(
        "finds: the difference from the reference found with probability 0.8 after the family's correction, median"
        " over methods; of errors, as log ratios. –: no number does, the other one has to grow."
    )
    print(
        f"rounds of one seed, all methods and data sets: {seconds:.0f} s of one core; 30 seeds: {seconds / 2:.0f} min"
    )


def _numbers(needed: Sequence[int | None]) -> str:
    return ", ".join("–" if n is None else str(n) for n in needed)


def _again(spec: Path, out: Path | None, workers: int, only: Sequence[str], track: Sequence[str]) -> str:
    """The command line that goes on."""
    parts = ["metapulse compare", str(spec)]
    parts += [f"--out {out}"] if out else []
    parts += [f"--workers {workers}"] if workers else []
    parts += [f"--only '{pattern}'" for pattern in only]
    return " ".join(parts + [f"--track {name}" for name in track])
