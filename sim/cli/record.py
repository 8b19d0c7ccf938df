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
    again = f"; {tally.again} were there already, from another export" if tally.again else ""
    print(f"{out}: {tally.records} records, {tally.duplicates} of them repeats{again}")
    for failure in tally.failures:
        print(f"metapulse: {failure}", file=sys.stderr)
    if tally.failures:
        raise typer.Exit(1)  # as for any fault of the program's; what the others gave is in the record


@app.command(name="merge")
def merge_command(
    inputs: Files,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The record; one that is there is merged too.")],
    prefer: Annotated[
        list[str] | None,
        typer.Option("--prefer", metavar="SOURCE", help="Part of a source's name; repeat it for the next preferred."),
    ] = None,
    timezone: Zone = "",
    date_order: Order = "",
) -> None:
    """Records and exports of one person into one: overlapping sources by a rule for each metric; nothing is deleted."""
    from metapulse.record.merge import merge_records

    with _shown() as progress:
        table = merge_records(inputs, out, prefer or (), _options(timezone, date_order), progress)
    _console().print(table)
    count = {name: sum(row[name] for row in table) for name in ("rows", "repeats", "shifted", "covered")}
    print("{}: {rows} records, {repeats} repeats, {shifted} at shifted times, {covered} covered".format(out, **count))


@app.command(name="clocks")
def clocks_command(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="person.parquet")],
    correct: Annotated[str, typer.Option("--correct", metavar="SOURCE", help="Part of the name of a source.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take every correction back.")] = False,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where the changed record goes.")] = None,
) -> None:
    """Whether the clocks of a person's devices agree, from what two of them saw; and correct one that is off."""
    from metapulse.errors import ConfigError
    from metapulse.record.clock_check import check_clocks, clock_table
    from metapulse.record.clock_correct import correct_clock, undo_correction
    from metapulse.record.frame import load_record

    if (bool(correct) + undo > 0) != (out is not None) or (correct and undo):
        raise ConfigError("out", str(out or ""), "a file, with either --correct SOURCE or --undo")
    if out is not None and undo:
        print(f"{out}: {undo_correction(record, out)} rows moved back")
    elif out is not None:
        _console().print(clock_table([correct_clock(record, out, correct)]))
    else:
        _console().print(clock_table(check_clocks(load_record(record))))


def _options(timezone: str, date_order: str) -> Options:
    from metapulse.record.clock import zone
    from metapulse.record.readers.base import Options

    return Options(zone(timezone) if timezone else None, date_order)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


@contextmanager
def _shown() -> Iterator[Progress]:
    """A bar with the time left, on a terminal; gone when it is done."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def show(name: str, done: int, total: int) -> None:
            bar.update(task, description=name.rsplit("/", 1)[-1][:40], completed=done, total=total)

        yield show
