"""``metapulse personalize``, ``predict``, ``explain`` and ``plan``: a person's own model, on their own machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    import polars as pl

    from metapulse.sim.personalize import Progress

WIDTH = 120  # of a table where there is no terminal
SHOWN = 12  # inputs of an explanation

Record = Annotated[
    Path, typer.Argument(metavar="RECORD", help="person.parquet, as 'metapulse record import' writes it.")
]
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a person's model.")]
Device = Annotated[str, typer.Option(metavar="NAME", help="Device model; left out: the one worn last.")]


def add_person_commands(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command("personalize")(personalize_command)
    app.command("predict")(predict_command)
    app.command("explain")(explain_command)
    app.command("plan")(plan_command)


def personalize_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run on people's records.")],
    record: Record,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the person's model goes.")] = Path("me"),
    device: Device = "",
    maps: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A map of what is forecast from the old device, or a prior over maps."),
    ] = None,
    old: Annotated[str, typer.Option(metavar="NAME", help="Old device model; left out: the record's other one.")] = "",
    data: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Where the run's records lie now, if they have moved.")
    ] = None,
) -> None:
    """Adapt a trained federated start to one person's record: a model that forecasts, and says how sure it is."""
    from metapulse.personal.person import check_folder
    from metapulse.sim.personalize import personalize
    from metapulse.sim.report import write_person_page

    check_folder(out)  # before minutes are spent
    with _progress() as progress:
        model = personalize(run, record, maps=maps, old=old, device=device, data=data, progress=progress)
    model.save(out)
    page = write_person_page(model, record, out)
    for line in card_lines(model.card):
        print(line)
    print(f"{page}: open it in a browser; metapulse predict {out} {record}")


def predict_command(
    model: Model,
    record: Record,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Every forecast: a .csv or .parquet file.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="Device model; left out: the model's own.")] = "",
) -> None:
    """Forecast every moment of a record from what was known then; the last ones are of times still to come."""
    from metapulse.errors import ConfigError
    from metapulse.personal.person import PersonModel

    if out is not None and out.suffix.lower() not in (".csv", ".parquet"):
        raise ConfigError("out", str(out), "must end with .csv or .parquet")
    if out is not None and out.resolve() == record.resolve():
        raise ConfigError("out", str(out), "another file than the record")
    known = PersonModel.load(model)
    table = known.predict(record, device)
    unit = known.card["unit"]
    _console().print(_shown(table.tail(6), unit))
    print(_summary(table, unit))
    if out is not None:
        _write(table, out)
        print(f"{out}: {len(table)} forecasts")


def explain_command(
    model: Model,
    record: Record,
    at: Annotated[
        str, typer.Option(metavar="TIME", help="Of the forecast, UTC unless it says; left out: the last.")
    ] = "",
    device: Annotated[str, typer.Option(metavar="NAME", help="Device model; left out: the model's own.")] = "",
) -> None:
    """What moved one forecast, and how much of it is the person's own experience."""
    from metapulse.personal.explain import driver_name
    from metapulse.personal.person import PersonModel
    from metapulse.rows import Rows

    known = PersonModel.load(model)
    found = known.explain(record, at, device)
    facts, unit = found.facts, known.card["unit"]
    if facts["abstained"]:
        print(f"{facts['time']:%Y-%m-%d %H:%M} UTC: no forecast ({facts['reason']})")
    else:
        print(
            f"{facts['time']:%Y-%m-%d %H:%M} UTC: {facts['value']:.0f} {unit} at {facts['due']:%Y-%m-%d %H:%M}, "
            f"between {facts['lower']:.0f} and {facts['upper']:.0f}; {facts['base']:.0f} if nothing changes"
        )
    rows = [
        {"what": driver_name(row), f"moves the forecast by, {unit}": f"{row['contribution']:+.1f}"}
        for row in [*found.drivers.head(SHOWN).to_dicts()]
    ]
    rows.append(
        {"what": "a typical window of the population", f"moves the forecast by, {unit}": f"{facts['typical']:+.1f}"}
    )
    _console().print(Rows(rows, tuple(rows[0])))
    print(
        f"change forecast: {facts['population']:+.1f} from what holds for people, {facts['own']:+.1f} from this "
        f"person's own record, which has removed {facts['known']:.0%} of what was unsure in such a window"
    )


def plan_command(
    record: Record,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The plan as JSON.")] = None,
) -> None:
    """Next week's targets for activity and sleep, from own weeks and published ranges; no medical advice."""
    import json

    from metapulse.errors import ConfigError
    from metapulse.files import write_atomic
    from metapulse.personal.plan import weekly_plan

    if out is not None and out.suffix.lower() != ".json":
        raise ConfigError("out", str(out), "must end with .json")
    plan = weekly_plan(record)
    for line in plan.lines():
        print(line)
    if out is not None:
        write_atomic(out, json.dumps(plan.facts(), indent=1, ensure_ascii=False).encode() + b"\n")


def card_lines(card: Mapping[str, Any]) -> list[str]:
    """What a person must know of their model, a line each."""
    said = [f"{card['metric']} of {card['device']}, from a start learned on {card['people']} people"]
    said.append(f"{card['forecasts']} moments, {card['outcomes']} outcomes came")
    if card.get("old_device"):
        share = f"{card['power']:g} ({card['power_chosen_by']})"
        said.append(f"history of {card['old_device']}: {card['history']} outcomes, each counting for {share}")
        recorded = f"; taken as recorded: {card['as_recorded']}" if card["as_recorded"] else ""
        said.append(f"of it mapped to {card['device']}: {card['mapped']}{recorded}")
    if card.get("no_history"):
        said.append(card["no_history"])
    if card["coverage"] is None and card["outcomes"]:
        said.append("every forecast was withheld; 'metapulse predict' says why")
    if card["coverage"] is not None:
        unit = card["unit"]
        said.append(
            f"{card['coverage']:.1%} of outcomes inside the 90 % interval, mean width {card['width']:.3g} {unit}; "
            f"error {card['rmse']:.3g} {unit} (nothing changes: {card['rmse_unchanged']:.3g}); no forecast at "
            f"{card['abstained']:.1%} of moments"
        )
    return said


def _summary(table: pl.DataFrame, unit: str) -> str:
    import polars as pl

    given = table.filter(~pl.col("abstained") & pl.col("came").is_not_null())
    reasons = table.filter("abstained")["reason"].value_counts(sort=True).rows()
    withheld = "; ".join(f"{count} {why}" for why, count in reasons)
    said = f"{len(table)} forecasts" + (f", {table['abstained'].sum()} withheld ({withheld})" if withheld else "")
    if len(given):
        inside = given.select(pl.col("came").is_between("lower", "upper").mean()).item()
        error = given.select((pl.col("came") - pl.col("value")).pow(2).mean().sqrt()).item()
        said += f"; of {len(given)} whose outcome came {inside:.1%} were inside, error {error:.3g} {unit}"
    return said


def _shown(table: pl.DataFrame, unit: str) -> Any:
    from metapulse.rows import Rows

    def shown(value: Any) -> str:
        return "" if value is None else f"{value:.1f}" if isinstance(value, float) else f"{value:%Y-%m-%d %H:%M}"

    columns = ("time", "due", "value", "lower", "upper", "came")
    rows = [{c: shown(row[c]) for c in columns} | {"reason": row["reason"]} for row in table.to_dicts()]
    return Rows(rows, (*columns, "reason"))


def _write(table: pl.DataFrame, out: Path) -> None:
    from metapulse.files import replace_with

    replace_with(out, table.write_csv if out.suffix.lower() == ".csv" else table.write_parquet)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal, gone when it is done."""
    from rich import progress as rich

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with rich.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda what, now, all: bar.update(task, description=what, completed=now, total=all)
