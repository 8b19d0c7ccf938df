"""``metapulse record fake``: the exports of one synthetic person, a folder for each format."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from metapulse.errors import ConfigError, RunError
from metapulse.record.clock import zone as zone_of
from metapulse.record.schema import Row
from metapulse.rng import generator
from metapulse.sim.fake.formats import formats
from metapulse.sim.fake.formats.base import Format, Making
from metapulse.sim.fake.life import Life
from metapulse.sim.fake.wear import worn_rows

MOST = 730  # days: some thousand rows each are in memory


class Written(NamedTuple):
    """What was written of one format: rows that the devices saw, rows that the format says, files, bytes."""

    format: str
    seen: int
    rows: int
    files: int
    bytes: int


def fake_exports(
    names: Sequence[str],
    days: int,
    out: Path,
    seed: int = 0,
    zone: str = "Europe/Berlin",
    traps: bool = True,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> list[Written]:
    """Write what a synthetic person's devices would export. The same call writes the same bytes.

    Args:
        names: of formats; "NAME:FIRST-LAST" is worn on these days alone, numbered from 1.
        days: from the first on, 1 to 730; day 40 is the same whether 60 or 90 days are asked for.
        out: a folder; ``out/NAME`` must not be there yet.
        seed: of the person, ≥ 0.
        zone: where they live.
        traps: with the oddities of real exports.
        progress: told (format, days done, days of all formats).

    Raises:
        ConfigError: a format, the zone, the seed or the number of days is none that is allowed.
        RunError: a format's folder is there already, or cannot be written.
    """
    chosen = spans(names, days)
    check_person(seed, zone)
    for format in chosen:
        if (out / format.name).exists():
            raise RunError(f"{out / format.name} is there already; name another folder with --out")
    life, written = Life(seed, zone), list[Written]()
    done, whole = 0, sum(map(len, chosen.values()))
    for format, worn in chosen.items():
        rows = list[Row]()
        for day in worn_rows(life, format, worn):
            rows += day
            done += 1
            progress(format.name, done, whole)
        rows.sort(key=lambda row: row.start)
        rng = generator(seed, f"fake/traps/{format.name}")
        written.append(_write(format, rows, out, Making(out, zone, traps, rng)))
    return written


def spans(names: Sequence[str], days: int) -> dict[Format, range]:
    """The formats that are asked for, and the days of each, numbered from 0.

    Args:
        names: "NAME", or "NAME:FIRST-LAST" with days numbered from 1; of a name that comes twice the last counts.
        days: how many there are, 1 to 730.

    Raises:
        ConfigError: a format or a span of days is none that is allowed, or there is none.
    """
    if not 1 <= days <= MOST:
        raise ConfigError("days", days, f"1 to {MOST}")
    if not names:
        raise ConfigError("devices", "", f"some of {', '.join(formats())}")
    found = {}
    for given in names:
        name, _, span = given.partition(":")
        first, _, last = span.partition("-") if span else ("1", "", str(days))
        if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last) <= days):
            raise ConfigError("devices", given, f"NAME, or NAME:FIRST-LAST with days from 1 to {days}")
        found[_format(name)] = range(int(first) - 1, int(last))
    return found


def check_person(seed: int, zone: str) -> None:
    """Refuse a seed or a zone that no person can have.

    Raises:
        ConfigError: names it.
    """
    if not 0 <= seed < 2**63:
        raise ConfigError("seed", seed, "0 or more")
    zone_of(zone)


def _format(name: str) -> Format:
    try:
        return formats()[name]
    except KeyError:
        raise ConfigError("devices", name, f"some of {', '.join(formats())}") from None


def _write(format: Format, rows: list[Row], out: Path, making: Making) -> Written:
    """Into a folder beside its place, which is then moved there: nothing half-written is found."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fake-", dir=out) as beside:
            folder = Path(beside) / format.name
            folder.mkdir()
            format.write(rows, replace(making, folder=folder))
            files = [path for path in folder.rglob("*") if path.is_file()]
            size = sum(path.stat().st_size for path in files)
            folder.rename(out / format.name)
    except OSError as error:
        raise RunError(f"cannot write {out / format.name}: {error.strerror or error}") from None
    said = sum(format.says(row) is not None for row in rows)
    return Written(format.name, len(rows), said, len(files), size)


def reading_lines(names: Sequence[str], out: Path, zone: str) -> list[str]:
    """The calls that read what was written: one, or one for each order of dates that has to be told."""
    by_order: dict[str, list[str]] = {}
    for name in dict.fromkeys(name.partition(":")[0] for name in names):
        by_order.setdefault(formats()[name].options(zone).date_order, []).append(str(out / name))
    told = ((" ".join(folders), f" --date-order {order}" if order else "") for order, folders in by_order.items())
    return [f"metapulse record import {folders} --timezone {zone}{order}" for folders, order in told]
