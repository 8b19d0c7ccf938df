"""``metapulse run``, ``resume`` and ``report``: what makes a run's folder, and what reads it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from metapulse.sim.stopping import exit_code

if TYPE_CHECKING:
    from metapulse.sim.suite import Job, Outcome

WIDTH = 120  # of a table that goes to a file

ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG.toml", help="Configuration; 'metapulse config' prints one.")
]
Trackers = Annotated[
    list[str] | None, typer.Option("--track", metavar="NAME", help="tensorboard, wandb or mlflow; again for more.")
]
RunFolders = Annotated[list[Path], typer.Argument(metavar="DIR…", help="Folders of runs or suites.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command()(run)
    app.command()(resume)
    app.command()(report)


def run(
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
    from metapulse.sim.suite import jobs, new_folder, plan
    from metapulse.sim.tracking import chosen

    kinds = chosen(track or ())
    asked = plan(config, sets or (), _options(engine, workers, seed))
    folder = out or new_folder(asked)
    with alone(folder):
        _perform(jobs(asked, folder), folder, kinds)


def resume(
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
    from metapulse.sim.suite import held
    from metapulse.sim.tracking import chosen

    moved = {} if data is None else {"source": {"path": str(data.expanduser().absolute())}}
    todo = held(folder, {**moved, **_options(None, workers, None)})
    for line in other_versions(todo):
        print(f"metapulse: {line}", file=sys.stderr)
    with alone(folder):
        _perform(todo, folder, chosen(track or ()))


def other_versions(todo: Sequence[Job]) -> list[str]:
    """A line for every unfinished run that another version of this program began."""
    from metapulse.server.files import read_json
    from metapulse.server.folder import environment, version_of

    now, lines = version_of(environment()), []
    for job in todo:
        made = job.path / "environment.json"
        if made.exists() and not (job.path / "summary.json").exists() and (was := version_of(read_json(made))) != now:
            lines.append(f"{job.path} was begun with {was} and goes on with {now}; its numbers may be of neither")
    return lines


def report(
    folders: RunFolders,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Page; left out: report.html in DIR, or here for several.")
    ] = None,
) -> None:
    """Write one self-contained page about one or several runs."""
    from metapulse.sim.report import write_report
    from metapulse.sim.suite import held

    paths = [job.path for folder in folders for job in held(folder)]
    page = out or (folders[0] / "report.html" if len(folders) == 1 else Path("report.html"))
    write_report(paths, page)
    print(f"report: {page}")


def _perform(todo: Sequence[Job], folder: Path, kinds: Sequence[Any]) -> None:
    """Do the jobs, print their table, write their report; exits with the worst code."""
    from metapulse.sim.progress import watch
    from metapulse.sim.suite import perform
    from metapulse.sim.tracking import tracked

    console = Console(stderr=True)
    outcomes: list[Outcome] = []
    try:
        for outcome in perform(todo, tracked(lambda name: watch(name, console), todo, kinds)):
            outcomes.append(outcome)
            if outcome.error:
                where = f"{outcome.job.name}: " if len(todo) > 1 else ""
                print(f"metapulse: {where}{outcome.error}", file=sys.stderr)
    except KeyboardInterrupt as error:
        begun = any((path / name).exists() for path in (folder,) for name in ("config.json", "suite.json"))
        again = f"; continue with: metapulse resume {folder}" if begun else ""
        print(f"metapulse: interrupted{again}", file=sys.stderr)
        raise typer.Exit(exit_code(error)) from None
    done = [outcome for outcome in outcomes if outcome.summary is not None]
    if done:
        _show(done, folder)
    if code := max(outcome.code for outcome in outcomes):
        raise typer.Exit(code)


def _show(done: Sequence[Outcome], folder: Path) -> None:
    from metapulse.sim.data_facts import keep
    from metapulse.sim.report import write_report
    from metapulse.sim.scores import beside, score_table
    from metapulse.strategies.privacy.plan import sentence

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    console.print(score_table({outcome.job.name: outcome.summary or {} for outcome in done}, console.width))
    for outcome in done:
        for line in beside(outcome.summary or {}):
            print(f"{outcome.job.name}: {line}" if len(done) > 1 else line)
        if spent := (outcome.summary or {}).get("privacy"):
            print(f"{outcome.job.name}: {sentence(spent)}" if len(done) > 1 else sentence(spent))
    for outcome in done:
        keep(outcome.job.config, outcome.job.path)
    write_report([outcome.job.path for outcome in done], folder / "report.html")
    print(f"report: {folder / 'report.html'}")


def _options(engine: str | None, workers: int | None, seed: int | None) -> dict[str, dict[str, Any]]:
    """Command-line options as a change of the configuration."""
    change: dict[str, dict[str, Any]] = {"engine": {"name": engine, "workers": workers}, "run": {"seed": seed}}
    given = {section: {k: v for k, v in keys.items() if v is not None} for section, keys in change.items()}
    return {section: keys for section, keys in given.items() if keys}


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
