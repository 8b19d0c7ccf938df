"""Open continuous glucose monitoring: one CSV of all people, or a folder with one CSV per person.

Two layouts. *One file*: columns ``user``, ``time`` or ``t_min`` and ``mg_dl``, optionally ``dataset``. *A folder or zip
of studies*, as the Glucose-ML collection has it: ``STUDY/…/PERSON.csv``, also in zips inside, with ``timestamp`` and
``glucose_value_mg_dl``; and ``STUDY/STUDY-metadata.csv`` with ``person_id`` and ``CGM_type``, or one
``participants.csv`` for all studies.

Source: Prioleau, Lu, Cui 2025, "Glucose-ML", arXiv 2507.14077.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from metapulse.errors import DataError
from metapulse.sim.importers.files import FileTree, Progress, csv_columns, numbers, open_tree, silent

COLUMNS = {
    "dataset": ("dataset", "study"),
    "user": ("user", "person_id", "participant_id", "subject_id"),
    "t_min": ("t_min",),
    "time": ("time", "timestamp"),
    "mg_dl": ("mg_dl", "glucose_value_mg_dl", "glucose_mg_dl"),
}
SENSOR_COLUMNS = {"dataset": ("dataset",), "person": ("person_id", "user"), "model": ("CGM_type", "sensor_model")}
LOW, HIGH = 1.0, 1000.0  # mg/dL; no sensor reports outside
MAX_FILE = 2 << 30
MAX_ROWS = 100_000_000
MAX_YEAR_MIN = 1.0e8  # minutes since 1970: the year 2160
EPOCH = datetime(1970, 1, 1)


@dataclass
class _Readings:
    """What has been read so far, in chunks; people and studies get codes in the order they appear."""

    studies: dict[str, int] = field(default_factory=dict)
    people: dict[str, int] = field(default_factory=dict)
    study: list[np.ndarray] = field(default_factory=list)
    person: list[np.ndarray] = field(default_factory=list)
    t_min: list[np.ndarray] = field(default_factory=list)
    mg_dl: list[np.ndarray] = field(default_factory=list)
    rows: int = 0
    sensors: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, tree: FileTree, name: str, study: str | None, person: str | None) -> None:
        """The readings of one file; ``study`` and ``person`` are None where columns say so."""
        columns = {k: v for k, v in COLUMNS.items() if not (k == "dataset" and study) and not (k == "user" and person)}
        for first, rows in csv_columns(tree.open(name), name, columns, ("dataset", "t_min", "time")):
            t = _minutes(rows, name, first)
            studies = rows.get("dataset") or [study or PurePosixPath(name).stem] * len(t)
            people = rows.get("user") or [person or ""] * len(t)
            if blank := [i for i, p in enumerate(people) if not p.strip()]:
                raise DataError(f"{name}: row {first + blank[0]}: the user is empty; must name a person")
            self.t_min.append(t)
            self.mg_dl.append(numbers(rows["mg_dl"], name, "mg_dl", first, LOW, HIGH).astype(np.float32))
            self.study.append(np.array([self.studies.setdefault(s, len(self.studies)) for s in studies], np.int32))
            self.person.append(np.array([self.people.setdefault(p, len(self.people)) for p in people], np.int32))
            self.rows += len(t)
            if self.rows > MAX_ROWS:
                raise DataError(f"{name}: more than {MAX_ROWS} readings in all; that is the most allowed")

    def add_sensors(self, tree: FileTree, name: str, study: str | None) -> None:
        """Sensor models of a metadata file."""
        columns = {k: v for k, v in SENSOR_COLUMNS.items() if not (k == "dataset" and study)}
        for _, rows in csv_columns(tree.open(name), name, columns, ("dataset", "model")):
            if "model" in rows:
                studies = rows.get("dataset") or [study or ""] * len(rows["person"])
                self.sensors += zip(studies, rows["person"], (m.strip() for m in rows["model"]), strict=True)

    def arrays(self) -> dict[str, Any]:
        """Sorted by study, person and time; readings with one stamp are averaged."""
        studies, study_code = _sorted_codes(self.studies)
        people, person_code = _sorted_codes(self.people)
        study, person = study_code[np.concatenate(self.study)], person_code[np.concatenate(self.person)]
        t, value = np.concatenate(self.t_min), np.concatenate(self.mg_dl)
        order = np.lexsort((t, person, study))
        study, person, t, value = study[order], person[order], t[order], value[order]
        new = np.ones(len(t), bool)
        new[1:] = (np.diff(study) != 0) | (np.diff(person) != 0) | (np.diff(t) != 0)
        begin = np.flatnonzero(new)
        mean = np.add.reduceat(value.astype(np.float64), begin) / np.diff(np.append(begin, len(t)))
        known = list(dict.fromkeys(self.sensors))
        return {
            "dataset": study[begin].astype(np.int32),
            "dataset_names": np.array(studies),
            "user": person[begin].astype(np.int32),
            "user_names": np.array(people),
            "t_min": t[begin],
            "mg_dl": mean.astype(np.float32),
            **{
                f"sensor_{key}": np.array([row[i] for row in known], dtype=np.str_)
                for i, key in enumerate(("study", "person", "model"))
            },
        }


def read_cgm_open(path: Path, progress: Progress = silent) -> dict[str, Any]:
    """A CSV, or a folder or zip of CSVs, as series in minutes and mg/dL.

    Args:
        path: see the module's two layouts.
        progress: called with (files done, files in all).

    Returns:
        Arrays of the compact file: dataset, dataset_names, user, user_names, t_min, mg_dl, sensor_study,
        sensor_person, sensor_model.

    Raises:
        DataError: no CSV there, or a row that cannot be used.
    """
    readings = _Readings()
    if path.is_file() and path.suffix.lower() == ".csv":
        if path.stat().st_size > MAX_FILE:
            raise DataError(f"{path}: {path.stat().st_size} bytes; allowed are at most {MAX_FILE}")
        with FileTree(str(path.parent), {path.name: path.stat().st_size}, path.parent) as tree:
            readings.add(tree, path.name, None, None)
            if (path.parent / "participants.csv").is_file():
                readings.add_sensors(tree, "participants.csv", None)
            progress(1, 1)
            return readings.arrays()
    with ExitStack() as stack:
        files = _files(stack, stack.enter_context(open_tree(path)), path)
        if not any(_is_person(name) for _, name, _ in files):
            raise DataError(f"{path}: holds no CSV of a person; expected STUDY/PERSON.csv")
        for number, (tree, name, study) in enumerate(files):
            if _is_person(name):
                readings.add(tree, name, study, PurePosixPath(name).stem)
            else:
                readings.add_sensors(tree, name, None if name.endswith("participants.csv") else study)
            progress(number + 1, len(files))
    return readings.arrays()


def _files(stack: ExitStack, tree: FileTree, path: Path) -> list[tuple[FileTree, str, str]]:
    """Every CSV, where it is, and its study; a zip inside belongs to the study of the folder it lies in."""
    files = [(tree, name, _study(name, path)) for name in tree.match(".csv")]
    for zipped in tree.match(".zip"):
        inner = stack.enter_context(tree.inner(zipped))
        outer = _study(zipped, Path())
        files += [(inner, name, outer or _study(name, Path(zipped))) for name in inner.match(".csv")]
    return files


def _is_person(name: str) -> bool:
    stem = PurePosixPath(name).stem.lower()
    return stem != "participants" and not stem.endswith(("-metadata", "_metadata"))


def _study(name: str, path: Path) -> str:
    """The folder that names the study; folders that only say that files were extracted do not count."""
    folders = [p for p in PurePosixPath(name).parent.parts if "extracted" not in p.lower()]
    return folders[-1] if folders else path.stem


def _minutes(rows: dict[str, list[str]], name: str, first: int) -> np.ndarray:
    """Minutes since 1970, local time, int32; seconds are cut off."""
    if "t_min" in rows:
        return numbers(rows["t_min"], name, "t_min", first, 0, MAX_YEAR_MIN).astype(np.int32)
    if "time" not in rows:
        raise DataError(f"{name}: lacks column t_min, time or timestamp")
    stamps = np.array([_stamp(text) for text in rows["time"]], dtype=np.int64)
    wrong = np.flatnonzero((stamps < 0) | (stamps > MAX_YEAR_MIN))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{name}: row {first + row}: time = {rows['time'][row][:40]!r}; must be like 2024-01-31 23:59:00"
        )
    return stamps.astype(np.int32)


def _stamp(text: str) -> int:
    """Minutes since 1970 by the clock on the wall (an offset is dropped); −1 for what is no date and time."""
    try:
        return (datetime.fromisoformat(text.strip()).replace(tzinfo=None) - EPOCH) // timedelta(minutes=1)
    except ValueError:
        return -1


def _sorted_codes(codes: dict[str, int]) -> tuple[list[str], np.ndarray]:
    """Names in order, and the new code of each old one."""
    names = sorted(codes)
    new = np.empty(len(names), np.int32)
    for code, name in enumerate(names):
        new[codes[name]] = code
    return names, new
