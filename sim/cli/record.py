"""``metapulse record``: what an export is, and exports into one record."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from metapulse.record.readers.base import Options
    from metapulse.record.store import Progress

WIDTH = 120  # of a table where there is no terminal

app = typer.Typer(help="A person's record: exports of wearables in, one Parquet file out.", no_args_is_help=True)

Files = Annotated[list[Path], typer.Argument(metavar="INPUT…", help="Export files, zips or folders, of any vendors.")]
Zone = Annotated[str, typer.Option("--timezone", metavar="ZONE", help="For local times without a zone: Europe/Berlin.")]
Order = Annotated[str, typer.Option("--date-order", metavar="ORDER", help="Of dates such as 04/05/2024: dmy or mdy.")]


@app.command()
def inspect(inputs: Files, timezone: Zone = "", date_order: Order = "") -> None:
    """What files are, how that was recognised, and what is in them; nothing is written."""
    from metapulse.record.look import look

    with _shown() as progress:
        found = look(inputs, _options(timezone, date_order), progress)
    console = _console()
    console.print(found.files())
    if found.metrics:
        console.print(found.contents())


@app.command(name="import")
def import_record_command(
    inputs: Files,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The record; one that is there is added to.")
    ] = Path("person.parquet"),
    timezone: Zone = "",
    date_order: Order = "",
) -> None:
    """Read exports into a record. Every row is in it, or counted under a reason; reading twice changes nothing."""
    from metapulse.record.store import import_files

    with _shown() as progress:
        tally = import_files(inputs, out, _options(timezone, date_order), progress)
    console = _console()
    console.print(tally.table())
    if reasons := tally.reasons():
        console.print(reasons)
    print(f"{out}: {tally.records} records, {tally.duplicates} of them repeats")
    for failure in tally.failures:
        print(f"metapulse: {failure}", file=sys.stderr)
    if tally.failures:
        raise typer.Exit(1)  # as for any fault of the program's; what the others gave is in the record


@app.command()
def fake(
    devices: Annotated[str, typer.Option(metavar="NAME[,NAME…]", help="Formats, as --list shows them.")] = "apple",
    days: Annotated[int, typer.Option(help="How many.")] = 90,
    seed: Annotated[int, typer.Option(help="Another seed is another person.")] = 0,
    timezone: Annotated[str, typer.Option(metavar="ZONE", help="Where the person lives.")] = "Europe/Berlin",
    traps: Annotated[bool, typer.Option("--traps/--no-traps", help="With the oddities of real exports.")] = True,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A folder for each format goes into it.")] = Path("fake"),
    formats: Annotated[bool, typer.Option("--list", help="Show the formats, and write nothing.")] = False,
) -> None:
    """Exports of a person who does not exist, as every vendor writes them: for tests, demonstrations and tutorials."""
    from metapulse.rows import Rows
    from metapulse.sim.fake import exports
    from metapulse.sim.fake.formats import formats as known

    if formats:
        rows = [{"name": f.name, "what": f.title, "metrics": len(f.metrics)} for f in known().values()]
        _console().print(Rows(rows, ("name", "what", "metrics")))
        return
    names = [name.strip() for name in devices.split(",") if name.strip()]
    with _shown(days=True) as progress:
        written = exports.fake_exports(names, days, out, seed, timezone, traps, progress)
    _console().print(Rows([row._asdict() for row in written], exports.Written._fields))
    for line in exports.reading_lines(names, out, timezone):
        print(line)


def _options(timezone: str, date_order: str) -> Options:
    from metapulse.record.clock import zone
    from metapulse.record.readers.base import Options

    return Options(zone(timezone) if timezone else None, date_order)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


@contextmanager
def _shown(days: bool = False) -> Iterator[Progress]:
    """A bar with the time left, on a terminal; gone when it is done. Of bytes that are read, or of days written."""
    from rich import progress as rich

    amounts = (rich.MofNCompleteColumn(),) if days else (rich.DownloadColumn(), rich.TransferSpeedColumn())
    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), *amounts, rich.TimeRemainingColumn())
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("writing" if days else "reading", total=None)

        def show(name: str, done: int, total: int) -> None:
            bar.update(task, description=name.rsplit("/", 1)[-1][:40], completed=done, total=total)

        yield show
