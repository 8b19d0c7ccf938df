"""``metapulse stream``: a person's own model on readings as they come."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def stream_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a person's model.")],
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-",
            help="person.parquet, or CSV or NDJSON lines of time, metric, value, unit; -: from a pipe.",
        ),
    ],
    follow: Annotated[bool, typer.Option("--follow", help="Wait for what is appended to the file, for ever.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="NDJSON that forecasts are appended to.")
    ] = None,
) -> None:
    """Forecast at every new reading, learn as outcomes come, tell changes; a killed stream goes on where it was."""
    from metapulse.personal.follow import follow as followed
    from metapulse.rows import printable

    counts = followed(model, source, out, follow)
    for what, count in sorted(counts.items(), key=lambda pair: -pair[1]):
        print(f"{count:>9} {printable(what)}", file=sys.stderr)
