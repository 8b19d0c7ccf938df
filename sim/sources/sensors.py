"""Which glucose sensor each person of the open CGM studies wore."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from metapulse.errors import DataError

# Two spellings of one sensor among the studies.
_SAME = {"Freestyle Libre 2": "Abbott FreeStyle Libre 2"}


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
