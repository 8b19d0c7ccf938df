"""People's records as a source: a recipe says what is learned, each (person, device) is a client.

In a simulation it is a folder of records; on a device one file, the person's own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from metapulse.data import Outline, Samples, Task
from metapulse.errors import ConfigError, DataError
from metapulse.record.recipes import Recipe, Taken, make_recipe, take_record
from metapulse.settings import setting
from metapulse.sim.importers.compact import modified_ns
from metapulse.sim.sources.table import ClientList, InMemoryData, InMemorySource

PERSON = "person"  # name of a record in a folder that has the person's name
MAX_PEOPLE = 100_000
SHOWN = 5  # people in an error

#: (person, device model) and what the recipe made of it.
ClientTaken = tuple[str, str, Taken]


@dataclass(frozen=True)
class Records(InMemorySource):
    """People's records; one client per (person, device model) that has samples by the recipe."""

    path: str = setting("", "a folder of records, PERSON.parquet or PERSON/person.parquet; or one record")
    recipe: str | Mapping[str, Any] = setting(
        "glucose_30min", "what is learned: a recipe's name, or a table of its name and settings"
    )
    device: str = setting("", "this device model alone, as 'metapulse data show' names it; empty: every one")

    def __post_init__(self) -> None:
        self.made  # noqa: B018  # a wrong recipe is refused before any record is read

    @cached_property
    def made(self) -> Recipe:
        """The recipe."""
        return make_recipe(self.recipe, "source.recipe")

    @property
    def outline(self) -> Outline:
        """As the recipe says."""
        return Outline(self.made.task.kind, len(self.made.task.features))

    @property
    def task(self) -> Task:
        """As the recipe says; no record is read."""
        return self.made.task

    def files(self) -> Mapping[str, Path]:
        """The folder, or the one record."""
        if not self.path:
            raise ConfigError("source.path", "", "must name a folder of people's records, or one record")
        return {"path": Path(self.path).expanduser()}

    def load_data(self) -> InMemoryData:
        """Samples of every client, made once per process and again when a record has changed."""
        records = find_records(self.files()["path"])
        stamp = tuple((label, str(path), modified_ns(path)) for label, path in records)
        return _load(json.dumps(self.recipe, sort_keys=True), self.device, stamp)

    def remarks(self) -> tuple[str, ...]:
        """What was left out, a line each."""
        held = self._held
        return held.remarks if isinstance(held, RecordClients) else ()

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in super().__getstate__().items() if key != "made"}


@dataclass(frozen=True)
class RecordClients:
    """What a recipe made of all records."""

    task: Task
    client_list: ClientList
    taken: tuple[Samples, ...]
    remarks: tuple[str, ...]

    def samples(self, index: int) -> Samples:
        """All samples of one client, in order of time."""
        return self.taken[index]


def find_records(path: Path) -> list[tuple[str, Path]]:
    """(person, record) of a folder, sorted by the parts of the path; of a single record, the one.

    A person is called by the path below the folder: STUDY/PERSON, of STUDY/PERSON.parquet or of a folder so called.
    Files and folders whose name begins with a point are no records: programs keep unfinished copies there.

    Raises:
        DataError: there is none, or there are too many.
    """
    if path.is_file():
        return [(path.parent.resolve().name if path.stem == PERSON else path.stem, path)]
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder")
    found: dict[tuple[str, ...], Path] = {}
    for file in _records(path):
        if (same := found.setdefault(_label(file.relative_to(path)), file)) != file:
            raise DataError(f"{file} and {same} are records of one person; put them into one: metapulse record import")
    if not found:
        raise DataError(f"{path}: holds no record; expected PERSON.parquet or PERSON/person.parquet")
    return [("/".join(label), found[label]) for label in sorted(found)]


def _records(path: Path) -> Iterator[Path]:
    visible = (
        file
        for file in sorted(path.rglob("*.parquet"))
        if not file.is_dir() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    for number, file in enumerate(visible):
        if number >= MAX_PEOPLE:
            raise DataError(f"{path}: holds more than {MAX_PEOPLE} records; that is the most allowed")
        yield file


def _label(file: Path) -> tuple[str, ...]:
    parts = (*file.parent.parts, file.stem)
    return parts[:-1] if len(parts) > 1 and file.stem == PERSON else parts


@lru_cache(maxsize=4)
def _load(recipe: str, device: str, records: Sequence[tuple[str, str, int]]) -> RecordClients:
    made = make_recipe(json.loads(recipe))
    found: list[ClientTaken] = []
    broken: list[str] = []
    for person, path, _ in records:
        try:
            taken = take_record(Path(path), made) or {"no device": _nothing(made)}
        except DataError as error:
            broken.append(str(error))
        else:
            found += [(person, name, one) for name, one in taken.items()]
    usable = [one for one in found if one[2].samples is not None and device in ("", one[1])]
    if not usable:
        raise DataError("; ".join([_why_none(found, device)] * bool(found) + _unreadable(broken)))
    labels = [person for person, _, _ in records]
    devices = sorted({name for _, name, _ in usable})
    place = {label: number for number, label in enumerate(labels)}
    usable.sort(key=lambda one: (place[one[0]], one[1]))
    pairs = [(place[person], devices.index(name)) for person, name, _ in usable]
    samples = tuple(taken.samples for _, _, taken in usable if taken.samples is not None)
    return RecordClients(
        made.task, ClientList.of(pairs, labels, devices), samples, (*_remarks(found, device), *_unreadable(broken))
    )


def _nothing(recipe: Recipe) -> Taken:
    return Taken(None, lacks=f"no {' or '.join(recipe.metrics[:3])} that can be used")


def _remarks(found: Sequence[ClientTaken], device: str) -> tuple[str, ...]:
    """One line a reason, and one for those who have no samples."""
    said: Counter[str] = Counter()
    for _, name, taken in found:
        if device in ("", name):
            said.update(taken.left_out)
    lines = [f"left out: {count} {reason}" for reason, count in sorted(said.items())]
    if other := sum(device not in ("", name) for _, name, _ in found):
        lines.append(f"left out: {other} devices that are not {device}")
    without = [one for one in found if one[2].samples is None and device in ("", one[1])]
    if without:
        lines.append(f"left out: {len(without)} people with a device that have no sample ({_lacking(without)})")
    return tuple(lines)


def _unreadable(broken: Sequence[str]) -> list[str]:
    """One line on files that are no records, damaged, or of another version; [] if there are none."""
    if len(broken) <= 1:
        return [f"left out: {line}" for line in broken]
    more = f"; and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
    return [f"left out: {len(broken)} files that cannot be read ({'; '.join(broken[:SHOWN])}{more})"]


def _why_none(found: Sequence[ClientTaken], device: str) -> str:
    names = sorted({name for _, name, _ in found})
    if device and device not in names:
        return f"source.device = {device!r}: no record has it; there are {', '.join(names[:SHOWN])}"
    asked = [one for one in found if device in ("", one[1])]
    return f"no record has enough to learn from ({_lacking(asked)})"


def _lacking(found: Sequence[ClientTaken]) -> str:
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(f"{person}, {name}: {taken.lacks}" for person, name, taken in found[:SHOWN]) + more
