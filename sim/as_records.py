"""Published data sets as a folder of people's records: ``metapulse data records``.

The sets tell local times without a zone, so every row is marked ``zone_assumed``: the wall clock reads as UTC.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from metapulse.errors import DataError
from metapulse.record.clock import DAY, MINUTE
from metapulse.record.schema import Device, Row
from metapulse.record.store import write_rows
from metapulse.record.tally import FileTally
from metapulse.registry import SOURCES
from metapulse.sim.datasets.cgm_open import sensor_models
from metapulse.sim.importers.compact import read_npz
from metapulse.sim.importers.files import Progress, silent
from metapulse.sim.sources.recorded import as_names

LOCAL = ("zone_assumed",)
FITBIT = Device("Fitbit")
#: Arrays of a day → metric; the file tells no times of nights.
DAILY = {"TotalSteps": "steps_daily", "TotalMinutesAsleep": "sleep_duration", "TotalTimeInBed": "time_in_bed"}


def write_records(name: str, out: Path, progress: Progress = silent) -> int:
    """Write one record a person, ``out/STUDY/PERSON.parquet`` or ``out/PERSON.parquet``.

    Args:
        name: "cgm_open" or "fitbit_33".
        out: a folder; one that holds anything is refused.
        progress: called with (people done, people in all).

    Returns:
        Number of people.

    Raises:
        DataError: no such set, it is not here, or the folder is not empty.
    """
    if name not in SETS:
        raise DataError(f"data set {name!r}: must be one of {', '.join(SETS)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: is there already and not an empty folder; name another")
    folks = SETS[name]()
    for number, (person, rows) in enumerate(sorted(folks.items())):
        file = out.joinpath(*person).with_name(f"{person[-1]}.parquet")
        file.parent.mkdir(parents=True, exist_ok=True)
        write_rows(rows(), file, FileTally("/".join(person), name, f"the published set {name}"))
        progress(number + 1, len(folks))
    return len(folks)


#: Rows of each person, by the parts of the person's name.
RowsOfPeople = Mapping[tuple[str, ...], Callable[[], Iterator[Row]]]


def _cgm_open() -> RowsOfPeople:
    path = SOURCES["cgm_open"].dataset.require()
    data = read_npz(path, ("dataset", "dataset_names", "user", "user_names", "t_min", "mg_dl"))
    studies, persons = as_names(data["dataset_names"]), as_names(data["user_names"])
    key = data["dataset"].astype(np.int64) * len(persons) + data["user"]
    order = np.lexsort((data["t_min"], key))
    keys, first = np.unique(key[order], return_index=True)
    bounds = np.append(first, len(key))
    names = [(studies[k // len(persons)], persons[k % len(persons)]) for k in keys.tolist()]
    devices = [Device(model=model) for model in sensor_models(names, data, path)]

    def rows(number: int) -> Iterator[Row]:
        own = order[bounds[number] : bounds[number + 1]]
        values = zip(own.tolist(), data["t_min"][own].tolist(), data["mg_dl"][own].tolist(), strict=True)
        for row, minute, value in values:
            yield Row("glucose", minute * MINUTE, value, None, row, device=devices[number], quality=LOCAL)

    return {name: (lambda number=number: rows(number)) for number, name in enumerate(names)}


def _fitbit_33() -> RowsOfPeople:
    folder = Path(os.environ.get("METAPULSE_DATA", ".")) / "fitbit_33"
    minutes = read_npz(folder / "minute.npz", ("user", "t_min", "steps", "hr"))
    days = read_npz(folder / "daily.npz", ("user", "date_min", *DAILY))

    def rows(user: int) -> Iterator[Row]:
        own = np.flatnonzero(minutes["user"] == user)
        columns = (own, *(minutes[name][own] for name in ("t_min", "steps", "hr")))
        for row, minute, steps, pulse in zip(*(column.tolist() for column in columns), strict=True):
            start = minute * MINUTE
            if steps == steps:
                yield Row("steps", start, steps, None, row, start + MINUTE, device=FITBIT, quality=LOCAL)
            if pulse == pulse:
                yield Row("heart_rate", start, pulse, None, row, start + MINUTE, device=FITBIT, quality=LOCAL)
        for row in np.flatnonzero(days["user"] == user).tolist():
            start = int(days["date_min"][row]) * MINUTE
            for name, metric in DAILY.items():
                if np.isfinite(value := float(days[name][row])):
                    marks = (*LOCAL, "date_only")
                    yield Row(metric, start, value, None, row, start + DAY, device=FITBIT, quality=marks)

    users = np.unique(days["user"]).tolist()
    return {(str(user),): (lambda user=user: rows(user)) for user in users}


SETS: Mapping[str, Callable[[], RowsOfPeople]] = {"cgm_open": _cgm_open, "fitbit_33": _fitbit_33}
