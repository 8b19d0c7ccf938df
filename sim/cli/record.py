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
    from metapulse.record.reading import Progress
    from metapulse.record.tally import Tally

WIDTH = 120  # of a table where there is no terminal
FILES = 20  # that are shown one by one; of more the formats are

app = typer.Typer(help="A person's record: exports of wearables in, one Parquet file out.", no_args_is_help=True)


def _input(text: str) -> Path:
    """A path that is told; of a shell variable that is not set there would be all of this folder."""
    from metapulse.errors import ConfigError

    if not text:
        raise ConfigError("input", text, "a file, a zip or a folder")
    return Path(text)


Files = Annotated[
    list[Path],
    typer.Argument(metavar="INPUT…", help="Export files, zips or folders, of any vendors.", parser=_input),
]
Zone = Annotated[str, typer.Option("--timezone", metavar="ZONE", help="For local times without a zone: Europe/Berlin.")]
Order = Annotated[
    str, typer.Option("--date-order", metavar="ORDER", help="Of dates such as 04/05/2024: dmy, mdy or ymd.")
]


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

    _named_record(out)
    with _shown() as progress:
        tally = import_files(inputs, out, _options(timezone, date_order), progress)
    console = _console()
    console.print(tally.table() if len(tally.files) <= FILES else tally.by_format())
    if len(tally.files) > FILES and (remarks := tally.remarks(FILES)):
        console.print(remarks)
    if reasons := tally.reasons():
        console.print(reasons)
    if assumed := 0 if timezone else tally.flagged("zone_assumed"):
        print(
            f"{assumed} local times were read as UTC: for another zone import anew, with --timezone and another --out"
        )
    again = f"; {tally.again} were there already, from another export" if tally.again else ""
    print(f"{out}: {tally.records} records, {tally.duplicates} of them repeats{again}")
    _say_what_is_odd(tally)


@app.command()
def show(
    record: Annotated[Path, typer.Argument(metavar="FILE", help="The record: person.parquet.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="PAGE", help="The page; beside the record unless told.")
    ] = None,
) -> None:
    """A page to look at, one HTML file: what is in a record, what can be trusted, what is missing."""
    from metapulse.errors import ConfigError
    from metapulse.sim.report import write_record_page

    page = out or record.with_suffix(".html")
    if page.resolve() == record.resolve():
        raise ConfigError("out", str(page), "another file than the record")
    if page.suffix.lower() not in (".html", ".htm"):
        raise ConfigError("out", str(page), "a file that is named .html")
    write_record_page(record, page)
    print(f"{page}: {page.stat().st_size / 1e6:.1f} MB, open it in a browser")


@app.command()
def fake(
    devices: Annotated[
        str,
        typer.Option(
            metavar="NAME[,NAME…]", help="Formats, as --list shows them; NAME:FIRST-LAST is worn on these days alone."
        ),
    ] = "apple",
    days: Annotated[int, typer.Option(help="How many.")] = 90,
    seed: Annotated[int, typer.Option(help="Another seed is another person.")] = 0,
    timezone: Annotated[str, typer.Option(metavar="ZONE", help="Where the person lives.")] = "Europe/Berlin",
    traps: Annotated[bool, typer.Option("--traps/--no-traps", help="With the oddities of real exports.")] = True,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A folder for each format goes into it.")] = Path("fake"),
    records: Annotated[
        int,
        typer.Option(metavar="PEOPLE", help="Write the records of so many people, PERSON.parquet, and no exports."),
    ] = 0,
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
    if records:
        from metapulse.sim.fake.records import fake_records

        with _shown(days=True) as progress:
            count = fake_records(names, days, records, out, seed, timezone, progress)
        print(f"{out}: records of {records} people, {count} rows")
        return
    with _shown(days=True) as progress:
        written = exports.fake_exports(names, days, out, seed, timezone, traps, progress)
    _console().print(Rows([row._asdict() for row in written], exports.Written._fields))
    for line in exports.reading_lines(names, out, timezone):
        print(line)


@app.command(name="export")
def export_record_command(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="The record: person.parquet.")],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="fhir, openmhealth or csv.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help=".ndjson: an object a line; .zip: packed.")],
    mapped: Annotated[bool, typer.Option("--mapped", help="With rows mapped from another device, marked.")] = False,
) -> None:
    """Write a record as a standard has it. What the standard cannot say is told, and survives reading it again."""
    from metapulse.record.writers import export_record

    _no_record(out)
    with _shown() as progress:
        exported = export_record(record, out, to, progress, mapped)
    if reasons := exported.reasons():
        _console().print(reasons)
    print(f"{out}: {exported.written} of {exported.rows} records")


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

    _named_record(out)
    with _shown() as progress:
        table = merge_records(inputs, out, prefer or (), _options(timezone, date_order), progress)
    _console().print(table)
    count = {name: sum(row[name] for row in table) for name in ("rows", "repeats", "shifted", "covered")}
    print("{}: {rows} records, {repeats} repeats, {shifted} at shifted times, {covered} covered".format(out, **count))
    _say_what_is_odd(table.tally)


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
    if out is not None:
        _named_record(out)
    if out is not None and undo:
        print(f"{out}: {undo_correction(record, out)} rows moved back")
    elif out is not None:
        found, moved = correct_clock(record, out, correct)
        _console().print(clock_table([found]))
        print(f"{out}: {moved} rows moved")
    else:
        compared = check_clocks(load_record(record))
        if compared:
            _console().print(clock_table(compared))
        else:
            print(f"{record}: no two devices that saw the same heart rate, steps, glucose or sleep")


@app.command(name="map")
def map_command(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="person.parquet")],
    old: Annotated[str, typer.Option("--from", metavar="DEVICE", help="Part of the old device's name.")],
    new: Annotated[str, typer.Option("--to", metavar="DEVICE", help="Part of the new device's name.")],
    metric: Annotated[str, typer.Option("--metric", metavar="METRIC", help="glucose, sleep_duration, …")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The record with the mapped rows beside the raw.")],
    prior: Annotated[
        Path | None, typer.Option("--prior", metavar="FOLDER", help="A population's prior over maps, as it was saved.")
    ] = None,
    by: Annotated[
        str, typer.Option("--by", metavar="WAY", help="Without overlap: best, matched, quantile, coral or transport.")
    ] = "",
) -> None:
    """An old device's readings as the new one would have shown them: rows beside the raw ones, with a band."""
    from metapulse.migration.choose import map_of
    from metapulse.migration.history import card_words, map_record
    from metapulse.record.frame import load_record

    _named_record(out)
    made = map_of(load_record(record), metric, old, new, prior, by)
    told = map_record(record, out, made, metric, old, new)
    print(f"{out}: {told.rows} rows of {told.old} mapped to {told.new} (map {told.map_id}), {told.refused} refused")
    print(card_words(made))


@app.command(name="unmap")
def unmap_command(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="person.parquet")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The record without mapped rows.")],
) -> None:
    """Take every mapped row out again: the record of before, to the byte."""
    from metapulse.migration.history import unmap_record

    _named_record(out)
    print(f"{out}: {unmap_record(record, out)} mapped rows taken out")


def _say_what_is_odd(tally: Tally) -> None:
    """What a person has to know, on stderr; exit 1 where a file was not read, or not to its end."""
    from metapulse.rows import printable

    said = [f"{file}: read as UTC once and once in a zone, its rows are there twice" for file in tally.in_two_zones]
    said += [
        f"{file}: its dates were read in the usual order once and once as told, its rows may be there twice"
        for file in tally.read_twice("orders")
    ]
    said += [
        f"{file}: exports of it were read in {' and '.join(zone or 'UTC' for zone in zones)}; what two of them have is"
        " there twice, at two times, and a merge may find it: if the person did not move, begin another record"
        for file, zones in tally.accounts_in_zones().items()
    ]
    said += [
        f"{file}: exports of it were read with dates in {' and '.join(order or 'the usual order' for order in orders)};"
        " what two of them have may be there twice, at two dates: to read all in one order, begin another record"
        for file, orders in tally.accounts_in_orders().items()
    ]
    wrong = [*tally.failures, *tally.unread]
    for line in [*said, *wrong]:
        print(f"metapulse: {printable(line)}", file=sys.stderr)
    if wrong:
        files = "a file" if len(wrong) == 1 else f"{len(wrong)} files"
        print(f"metapulse: {files} could not be read, or not to the end; what the others gave is in", file=sys.stderr)
        raise typer.Exit(1)


def _named_record(out: Path) -> None:
    from metapulse.errors import ConfigError
    from metapulse.record.store import metadata

    if out.suffix.lower() != ".parquet":  # which an export may be named, that is there or not yet
        raise ConfigError("out", str(out), "a file that is named .parquet")
    if out.exists():
        metadata(out)  # before anything is read: what is no record is not written over


def _no_record(out: Path) -> None:
    from metapulse.errors import ConfigError

    if out.suffix.lower() == ".parquet":  # a slip of the hand would cost a person's record
        raise ConfigError("out", str(out), "a file that is not named .parquet, as records are")


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
    console = Console(stderr=True)  # without a terminal a bar would leave an empty line
    with rich.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("writing" if days else "reading", total=None)

        def show(name: str, done: int, total: int) -> None:
            bar.update(task, description=name.rsplit("/", 1)[-1][:40], completed=done, total=total)

        yield show
