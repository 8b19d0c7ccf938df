"""``metapulse data``: which data sets there are, and bringing one in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

app = typer.Typer(help="Data sets: what there is, and bringing one in.", no_args_is_help=True)


@app.command(name="list")
def list_() -> None:
    """What there is, its licence and citation, where to get it, and whether it has been imported."""
    from metapulse.sim.sources.catalogue import catalogue

    console = Console() if sys.stdout.isatty() else Console(width=160)
    table = Table(title="Data sets", title_justify="left", show_lines=True)
    for column in ("name", "what it is", "people", "devices", "licence", "cite", "get it from", "here"):
        table.add_column(column, overflow="fold", no_wrap=column == "name")
    for entry in catalogue():
        here = str(entry.path or "no") if entry.read else entry.where
        where = f"{entry.where} ({entry.layout})" if entry.read else entry.where
        cells = (entry.name, entry.title, entry.users, entry.devices, entry.licence, entry.citation, where, here)
        table.add_row(*map(Text, cells))
    console.print(table)


@app.command()
def show(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.toml", help="A configuration; its data are looked at.")],
    sets: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As for 'run'.")] = None,
) -> None:
    """People, devices, classes, samples, gaps, what is left out, and what a test episode holds; nothing is run."""
    from metapulse.sim.data_facts import data_facts, fact_lines
    from metapulse.sim.suite import read_suite

    asked = read_suite(config, sets or ())
    for name, text in fact_lines(data_facts(next(iter(asked.configs.values())))):
        print(f"{name}: {text}")


@app.command(name="import")
def import_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Data set, as in 'metapulse data list'.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The publisher's zip, folder or file.")],
) -> None:
    """Read what the publisher ships, check it, and keep it compactly in the cache."""
    from metapulse.sim.sources.catalogue import import_dataset

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"reading {path.name}", total=None)
        made = import_dataset(name, path, progress=lambda done, total: bar.update(task, completed=done, total=total))
    print(f"imported {name}: {made}")


@app.command()
def records(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Data set: cgm_open or fitbit_33.")],
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder, for one record a person.")],
) -> None:
    """A published data set as a folder of people's records, for ``[source] name = "records"``."""
    from metapulse.sim.as_records import write_records

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"writing {out.name}", total=None)
        people = write_records(name, out, lambda done, total: bar.update(task, completed=done, total=total))
    print(f"{out}: records of {people} people")
