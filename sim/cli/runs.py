"""``metapulse run``, ``resume_command`` and ``report_command``: what makes a run's folder, and what reads it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from metapulse.sim.stopping import exit_code

if TYPE_CHECKING:
    from metapulse.sim.cells import Cell, CellResult

WIDTH = 120  # of a table that goes to a file

ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG.toml", help="Configuration; 'metapulse config METHOD' prints one.")
]
Trackers = Annotated[
    list[str] | None, typer.Option("--track", metavar="NAME", help="tensorboard, wandb or mlflow; again for more.")
]
RunFolders = Annotated[list[Path], typer.Argument(metavar="DIR…", help="Folders of runs or suites.")]


def add_run_commands(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command("run")(run_command)
    app.command("resume")(resume_command)
    app.command("report")(report_command)


def run_command(
    config: ConfigFile,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="section.key=value; again for more.")
    ] = None,
    engine: Annotated[Literal["cohort", "flower"] | None, typer.Option(help="Who calls the clients.")] = None,
    workers: Annotated[int | None, typer.Option(help="Ray actors of the cohort engine.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the run; left out: runs/NAME-SEED.")
    ] = None,
    track: Trackers = None,
) -> None:
    """Run a configuration, or every method of it, into a new folder."""
    _one_thread()
    from metapulse.server.lock import alone
    from metapulse.sim.suite import new_cells, new_folder, read_suite
    from metapulse.sim.tracking import chosen

    chosen(track or ())  # refused before anything is made
    suite = read_suite(config, sets or (), _options(engine, workers, seed))
    folder = out or new_folder(suite)
    with alone(folder):
        _run_all(new_cells(suite, folder), folder, track or ())


def resume_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an interrupted run or suite.")],
    data: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where source.path lies now; its content must be the same.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Ray actors of the cohort engine from now on.")] = None,
    track: Trackers = None,
) -> None:
    """Finish what was interrupted, to the same numbers as if it had never stopped."""
    _one_thread()
    from metapulse.server.lock import alone
    from metapulse.sim.suite import saved_cells

    moved = {} if data is None else {"source": {"path": str(data.expanduser().absolute())}}
    cells = saved_cells(folder, {**moved, **_options(None, workers, None)})
    for line in other_versions(cells):
        print(f"metapulse: {line}", file=sys.stderr)
    with alone(folder):
        _run_all(cells, folder, track or ())


def other_versions(cells: Sequence[Cell]) -> list[str]:
    """A line for every unfinished run that another version of this program began."""
    from metapulse.server.files import read_json
    from metapulse.server.folder import environment, version_of

    here, lines = environment(), []
    for cell in cells:
        made = cell.path / "environment.json"
        now = version_of({**here, "device": getattr(cell.config.engine, "device", "cpu")})
        if made.exists() and not cell.finished and (was := version_of(read_json(made))) != now:
            lines.append(f"{cell.path} was begun with {was} and goes on with {now}; its numbers may be of neither")
    return lines


def report_command(
    folders: RunFolders,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Page; left out: report.html in DIR, or here for several.")
    ] = None,
) -> None:
    """Write one self-contained page about one or several runs."""
    from metapulse.sim import api

    print(f"report: {api.report(*folders, out=out)}")


def _run_all(cells: Sequence[Cell], folder: Path, track: Sequence[str]) -> None:
    """Do the runs, print their table, write their report; exits with the worst code."""
    from metapulse.sim.progress import display
    from metapulse.sim.runner import run_cells

    console = Console(stderr=True)
    results: list[CellResult] = []
    try:
        for result in run_cells(cells, lambda *batch: display("", *batch, console=console, rounds=True), track=track):
            results.append(result)
            if result.error:
                print(f"metapulse: {result if len(cells) > 1 else result.error}", file=sys.stderr)
    except KeyboardInterrupt as error:
        begun = any((folder / name).exists() for name in ("config.json", "suite.json"))
        again = f"; continue with: metapulse resume {folder}" if begun else ""
        print(f"metapulse: interrupted{again}", file=sys.stderr)
        raise typer.Exit(exit_code(error)) from None
    if done := [result for result in results if result.summary is not None]:
        _show(done, folder)
    if code := max(result.code for result in results):
        raise typer.Exit(code)


def _show(done: Sequence[CellResult], folder: Path) -> None:
    from metapulse.sim.data_facts import keep
    from metapulse.sim.report import write_report
    from metapulse.sim.scores import beside, score_tables
    from metapulse.strategies.privacy.plan import sentence

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    summaries = {result.cell.name: result.summary or {} for result in done}
    for table in score_tables(summaries, console.width):
        console.print(table)
    for name, summary in summaries.items():
        spent = summary.get("privacy")
        for line in [*beside(summary), *([sentence(spent)] if spent else [])]:
            print(f"{name}: {line}" if len(done) > 1 else line)
    for result in done:
        keep(result.cell.config, result.cell.path)
    write_report([result.cell.path for result in done], folder / "report.html")
    print(f"report: {folder / 'report.html'}")


def _options(engine: str | None, workers: int | None, seed: int | None) -> dict[str, dict[str, Any]]:
    """Command-line options as a change of the configuration."""
    from metapulse.sim.api import laid_over

    return laid_over({}, {"engine": {"name": engine, "workers": workers}, "run": {"seed": seed}})


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
