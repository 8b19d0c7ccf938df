"""``metapulse record fake --records``: records of people who do not exist, as reading their exports would give them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from metapulse.errors import ConfigError, RunError
from metapulse.record.schema import Row
from metapulse.record.store import write_rows
from metapulse.record.tally import FileTally
from metapulse.sim.fake.exports import check_person, spans
from metapulse.sim.fake.formats.base import Format
from metapulse.sim.fake.life import Life
from metapulse.sim.fake.wear import worn_rows

MOST_PEOPLE = 10_000


def fake_records(
    names: Sequence[str],
    days: int,
    people: int,
    out: Path,
    seed: int = 0,
    zone: str = "Europe/Berlin",
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> int:
    """Write one record a person, ``out/PERSON.parquet``; person i is that of seed ``seed`` + i.

    Args:
        names: of formats; "NAME:FIRST-LAST" is worn on these days alone, numbered from 1.
        days: from the first on, 1 to 730.
        people: how many, 1 to 10 000.
        out: a folder; one that holds anything is refused.
        seed: of the first person, ≥ 0.
        zone: where they live.
        progress: told ("people", people done, people in all).

    Returns:
        Rows of all records.

    Raises:
        ConfigError: a setting is none that is allowed.
        RunError: the folder is not empty, or cannot be written.
    """
    chosen = spans(names, days)
    check_person(seed, zone)
    if not 1 <= people <= MOST_PEOPLE:
        raise ConfigError("records", people, f"1 to {MOST_PEOPLE} people")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} is there already and not an empty folder; name another with --out")
    count = 0
    try:
        out.mkdir(parents=True, exist_ok=True)
        for number in range(people):
            account = FileTally(f"{number:04d}", "made up", "a person who does not exist")
            rows = _rows(Life(seed + number, zone), chosen, zone)
            count += write_rows(rows, out / f"{number:04d}.parquet", account).records
            progress("people", number + 1, people)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror or error}") from None
    return count


def _rows(life: Life, chosen: dict[Format, range], zone: str) -> Iterator[Row]:
    number = 0
    for format, worn in chosen.items():
        for day in worn_rows(life, format, worn):
            for seen in day:
                if (row := format.said(seen, zone)) is not None:
                    yield row._replace(row=number)
                    number += 1
