"""Open continuous glucose monitoring: one CSV of all people, or a folder with one CSV per person.

Two layouts. *One file*: columns ``user``, ``time`` or ``t_min`` and ``mg_dl``, optionally ``dataset``. *A folder or zip
of studies*, as the Glucose-ML collection has it: ``STUDY/…/PERSON.csv``, also in zips inside, with ``timestamp`` and
``glucose_value_mg_dl``; and ``STUDY/STUDY-metadata.csv`` with ``person_id`` and ``CGM_type``, or one
``participants.csv`` for all studies.

Source: Prioleau, Lu, Cui 2025, "Glucose-ML", arXiv 2507.14077.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from metapulse.data import Outline
from metapulse.errors import DataError
from metapulse.record.recipes.glucose import (
    CENTRE_MG_DL,
    MAX_GAP_MIN,
    SPREAD_MG_DL,
    STEP_MIN,
    check_history,
    glucose_task,
)
from metapulse.settings import setting
from metapulse.sim.importers.compact import read_npz
from metapulse.sim.importers.files import FileTree, Progress, csv_columns, numbers, open_tree
from metapulse.sim.sources.catalogue import Dataset
from metapulse.sim.sources.recorded import Recorded, as_names
from metapulse.sim.sources.windows import SeriesTable
from metapulse.windows import Horizon, SeriesScaling

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
_SAME = {"Freestyle Libre 2": "Abbott FreeStyle Libre 2"}  # two spellings of one sensor among the studies


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


def read_cgm_open(path: Path, progress: Progress) -> dict[str, Any]:
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


def sensor_models(people: Sequence[tuple[str, str]], data: Mapping[str, np.ndarray], path: Path) -> list[str]:
    """Sensor model per person; the study's name where the study does not tell.

    Args:
        people: (study, person id).
        data: the compact arrays; ``sensor_study``, ``sensor_person`` and ``sensor_model`` if the importer knew them.
        path: the compact file; ``participants.csv`` beside it is read where the arrays do not tell.
    """
    if "sensor_model" in data:
        rows = zip(data["sensor_study"], data["sensor_person"], data["sensor_model"], strict=True)
        known = {(str(study), str(person)): str(model) for study, person, model in rows}
    else:
        known = read_participants(path.parent / "participants.csv")
    models = [known.get(person, "") or person[0] for person in people]
    return [_SAME.get(model, model) for model in models]


def read_participants(path: Path) -> dict[tuple[str, str], str]:
    """(study, person id) → sensor model, from a ``participants.csv``; empty when there is no such file.

    Raises:
        DataError: the file lacks a column.
    """
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = {"dataset", "person_id", "CGM_type"} - set(reader.fieldnames or ())
        if missing:
            raise DataError(f"{path}: lacks column {', '.join(sorted(missing))}; it has {reader.fieldnames}")
        return {(row["dataset"], row["person_id"]): (row["CGM_type"] or "").strip() for row in reader}


@dataclass(frozen=True)
class CgmOpen(Recorded):
    """Glucose forecasting: a person's recent glucose → its change ``horizon_min`` from now.

    x = (glucose − 140 mg/dL) / 50 mg/dL every 5 minutes up to now, shape (1, history_min / 5), oldest first;
    y = (glucose in ``horizon_min`` − glucose now) / ``target_scale``, so y = 0 is persistence and RMSE in mg/dL is
    ``target_scale`` · RMSE(y). The present is always a real reading: nothing in x is interpolated from the future.
    Group = day, and no window crosses midnight. Device = the person's sensor model.

    Source: Prioleau, Lu, Cui 2025, "Glucose-ML", arXiv 2507.14077, and each study.
    """

    dataset: ClassVar[Dataset] = Dataset(
        name="cgm_open",
        title="continuous glucose monitoring of several open studies; forecast 30 minutes ahead",
        citation="Prioleau, Lu, Cui 2025, Glucose-ML, arXiv 2507.14077, and each study",
        users="498",
        devices="the sensor model of each person",
        licence="per study: CC BY, ODC-By, CC0 or CC BY-SA (see each study)",
        where="https://github.com/Augmented-Health-Lab/Glucose-ML-Project",
        layout="the folder of its collection (one CSV per person), or one CSV with dataset, user, time or t_min, mg_dl",
        read=read_cgm_open,
    )
    outline: ClassVar[Outline] = Outline("regression", 2)

    history_min: int = setting(120, "minutes of glucose seen, a multiple of 5", ge=10, le=720)
    horizon_min: int = setting(30, "minutes ahead", ge=5, le=240)
    target_scale: float = setting(50.0, "unit of the target, mg/dL (1: plain mg/dL)", gt=0.0, le=1000.0)
    max_windows: int = setting(1000, "windows per person, evenly spaced over all", ge=2)

    def __post_init__(self) -> None:
        check_history(self.history_min, "source.history_min")

    def read_compact(self, path: Path) -> SeriesTable:
        """The series as clients."""
        data = read_npz(path, ("dataset", "dataset_names", "user", "user_names", "t_min", "mg_dl"))
        studies, persons = as_names(data["dataset_names"]), as_names(data["user_names"])
        key = data["dataset"].astype(np.int64) * len(persons) + data["user"].astype(np.int64)
        order = np.lexsort((data["t_min"], key))
        people, owner = np.unique(key[order], return_inverse=True)
        names = [(studies[k // len(persons)], persons[k % len(persons)]) for k in people]
        devices = sensor_models(names, data, path)
        models = sorted(set(devices))
        points = self.history_min // STEP_MIN
        return SeriesTable.of(
            glucose_task(self.history_min, self.target_scale),
            data["t_min"][order].astype(np.float64),
            data["mg_dl"][order],
            owner,
            [(number, models.index(device)) for number, device in enumerate(devices)],
            [f"{study}/{person}" for study, person in names],
            models,
            Horizon(points, float(STEP_MIN), float(self.horizon_min), MAX_GAP_MIN),
            SeriesScaling(CENTRE_MG_DL, SPREAD_MG_DL, self.target_scale),
            self.max_windows,
        )
