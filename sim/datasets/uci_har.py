"""The UCI HAR data set: ``UCI HAR Dataset/{train,test}/{X,y,subject}_{train,test}.txt``.

Source: Anguita, Ghio, Oneto, Parra, Reyes-Ortiz 2013, ESANN, doi:10.24432/C54S4K.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float32

from metapulse.data import Outline
from metapulse.errors import DataError
from metapulse.settings import setting
from metapulse.sim.importers.files import FileTree, Progress, codes, numbers, open_tree
from metapulse.sim.sources.catalogue import Dataset
from metapulse.sim.sources.recorded import Recorded, as_names, labelled_table, read_columns
from metapulse.sim.sources.table import SampleTable, number_runs

LABELS = ("WALKING", "WALKING_UPSTAIRS", "WALKING_DOWNSTAIRS", "SITTING", "STANDING", "LAYING")
MAX_FILE = 256 << 20
MAX_ROWS = 1_000_000


def read_uci_har(path: Path, progress: Progress) -> dict[str, Any]:
    """The publisher's zip (the outer one with a zip inside, too) or folder as feature vectors.

    Args:
        path: the zip, or a folder that holds ``train`` and ``test``.
        progress: called with (parts done, 2).

    Returns:
        Arrays of the compact file: x (n, 561) float32, y, user, part (0 train, 1 test), feature_names, label_names;
        rows in the publisher's order, train before test.

    Raises:
        DataError: a file is missing or damaged, or a row cannot be used.
    """
    with open_tree(path) as tree:
        nested = [name for name in tree.match(".zip") if "UCI HAR Dataset" in name]
        if tree.match("X_train.txt") or not nested:
            return _read(tree, progress)
        with tree.inner(nested[0]) as inner:
            return _read(inner, progress)


def _read(tree: FileTree, progress: Progress) -> dict[str, Any]:
    names = [_second(line, "features.txt", row) for row, line in enumerate(_lines(tree, "features.txt"), 1)]
    xs, ys, users, parts = [], [], [], []
    for number, part in enumerate(("train", "test")):
        x = _matrix(tree, f"X_{part}.txt", len(names))
        y = codes(_lines(tree, f"y_{part}.txt"), f"y_{part}.txt", "label", tuple("123456"), 1)
        user = numbers(_lines(tree, f"subject_{part}.txt"), f"subject_{part}.txt", "subject", 1, 1, 30_000)
        if not len(x) == len(y) == len(user):
            raise DataError(
                f"{tree.label}: X_{part}.txt, y_{part}.txt and subject_{part}.txt hold {len(x)}, {len(y)} and "
                f"{len(user)} rows; they must hold as many"
            )
        xs.append(x)
        ys.append(y)
        users.append(user.astype(np.int16))
        parts.append(np.full(len(x), number, np.int8))
        progress(number + 1, 2)
    return {
        "x": np.concatenate(xs),
        "y": np.concatenate(ys),
        "user": np.concatenate(users),
        "part": np.concatenate(parts),
        "feature_names": np.array(names),
        "label_names": np.array(LABELS),
    }


def _lines(tree: FileTree, name: str) -> list[str]:
    """The lines of the file of this name, wherever it lies."""
    found = [path for path in tree.match(name) if PurePosixPath(path).name == name]
    if not found:
        raise DataError(f"{tree.label}: lacks {name}; expected train/, test/ and features.txt as published")
    text = tree.read(found[0], MAX_FILE)
    try:
        lines = text.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: byte {error.start} is no ASCII; must be plain text") from None
    return [line.strip() for line in lines if line.strip()]


def _matrix(tree: FileTree, name: str, columns: int) -> Float32[np.ndarray, "n columns"]:
    """A text file of ``columns`` numbers per line."""
    lines = _lines(tree, name)
    if len(lines) > MAX_ROWS:
        raise DataError(f"{name}: {len(lines)} rows; allowed are at most {MAX_ROWS}")
    values = np.empty((len(lines), columns), np.float32)
    for row, line in enumerate(lines):
        fields = line.split()
        if len(fields) != columns:
            raise DataError(f"{name}: row {row + 1}: {len(fields)} values; features.txt names {columns}")
        try:
            values[row] = fields
        except ValueError:
            values[row] = np.nan
        if not np.abs(values[row]).max() <= 1.0 + 1e-6:  # NaN fails too
            raise DataError(f"{name}: row {row + 1}: holds a value that is no number from -1 to 1")
    return values


def _second(line: str, name: str, row: int) -> str:
    fields = line.split(maxsplit=1)
    if len(fields) != 2:
        raise DataError(f"{name}: row {row}: {line[:40]!r}; expected a number and a name")
    return fields[1]


@dataclass(frozen=True)
class UciHar(Recorded):
    """One waist-worn phone, 30 people: features of 2.56 s half-overlapping windows in [−1, 1], 6 activities.

    Group = run of one activity by one person, in the order of the file. A copy whose rows were shuffled has lost
    that order: its groups are single windows, and support and query may hold overlapping ones.

    Source: Anguita, Ghio, Oneto, Parra, Reyes-Ortiz 2013, ESANN.
    """

    dataset: ClassVar[Dataset] = Dataset(
        name="uci_har",
        title="one waist-worn phone, 561 features of 2.56 s windows (265 in the time domain), 6 activities",
        citation="Anguita, Ghio, Oneto, Parra, Reyes-Ortiz 2013, ESANN, doi:10.24432/C54S4K",
        users="30",
        devices="phone",
        licence="CC BY 4.0",
        where="https://doi.org/10.24432/C54S4K",
        layout="the zip, or the unpacked folder, that holds 'UCI HAR Dataset'",
        read=read_uci_har,
    )
    outline: ClassVar[Outline] = Outline("classification", 1)

    domain: Literal["time", "all"] = setting("time", "features used: the 265 of the time domain, or all 561")

    def read_compact(self, path: Path) -> SampleTable:
        """The windows as clients."""
        data = read_columns(path, "feature_names")
        names = as_names(data["feature_names"])
        if self.domain == "all" and not any(name.startswith("f") for name in names):
            raise DataError(f"source.domain = 'all': {path} holds only the {len(names)} time-domain features")
        if self.domain == "time":
            data["x"] = data["x"][:, [name.startswith("t") for name in names]]
        data["device"] = np.zeros(len(data["x"]), np.int64)
        return labelled_table(data, number_runs(data["user"], data["y"]), ("phone",))
