"""Reading what a publisher ships, a folder or a zip, without trusting it.

Sizes are checked against limits before anything is allocated, names against a list of what is wanted, and every
problem is one line that says which file and what is allowed.
"""

from __future__ import annotations

import csv
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64

from metapulse.errors import DataError

#: How an importer says how far it is: (done, in all).
Progress: TypeAlias = Callable[[int, int], None]

MAX_FILES = 200_000
MAX_TOTAL = 2 << 30  # bytes unpacked, of one zip or folder
MAX_ARCHIVE = 1 << 30  # bytes of a zip on disk
CHUNK_ROWS = 50_000
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, UnicodeDecodeError)


def silent(done: int, total: int) -> None:
    """Progress that is not told."""


@dataclass
class FileTree:
    """The files of a folder or a zip by their path inside it; zips inside are opened when asked for.

    Use as a context manager. ``label`` is how messages call it.
    """

    label: str
    sizes: dict[str, int] = field(default_factory=dict)
    _folder: Path | None = None
    _archive: zipfile.ZipFile | None = None

    def __enter__(self) -> FileTree:
        return self

    def __exit__(self, *_: object) -> None:
        if self._archive is not None:
            self._archive.close()

    def match(self, *endings: str) -> list[str]:
        """Files whose path ends so, sorted; the Mac's own files are left out."""
        return sorted(name for name in self.sizes if name.endswith(endings) and not _is_clutter(name))

    def open(self, name: str) -> io.BufferedIOBase:
        """One file, to be read once from its beginning.

        Raises:
            DataError: damaged, encrypted, or compressed in an unknown way.
        """
        try:
            if self._folder is not None:
                return (self._folder / name).open("rb")
            assert self._archive is not None
            return self._archive.open(name)  # type: ignore[return-value]
        except _BROKEN as error:
            raise DataError(f"{self.label}: {name}: cannot be read ({_reason(error)})") from None

    def read(self, name: str, limit: int) -> bytes:
        """The whole of one file of at most ``limit`` bytes.

        Raises:
            DataError: larger, or damaged.
        """
        if self.sizes[name] > limit:
            raise DataError(f"{self.label}: {name}: {self.sizes[name]} bytes; allowed are at most {limit}")
        try:
            with self.open(name) as file:
                return file.read()
        except _BROKEN as error:
            raise DataError(f"{self.label}: {name}: cannot be read ({_reason(error)})") from None

    def inner(self, name: str) -> FileTree:
        """A zip inside, held in memory.

        Raises:
            DataError: not a zip, or over the limits.
        """
        return _zip_tree(io.BytesIO(self.read(name, MAX_ARCHIVE // 4)), f"{self.label}: {name}")


def open_tree(path: Path) -> FileTree:
    """A folder or a zip as a ``FileTree``.

    Raises:
        DataError: neither, damaged, over the limits, or holding a path that leads outside.
    """
    if path.is_dir():
        return _folder_tree(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder")
    if path.stat().st_size > MAX_ARCHIVE:
        raise DataError(f"{path}: {path.stat().st_size} bytes; allowed are at most {MAX_ARCHIVE}")
    return _zip_tree(path, str(path))


def _folder_tree(path: Path) -> FileTree:
    tree = FileTree(str(path), _folder=path)
    for folder, _, names in os.walk(path, followlinks=False):
        for name in names:
            file = Path(folder) / name
            if not file.is_symlink() and file.is_file():
                tree.sizes[file.relative_to(path).as_posix()] = file.stat().st_size
            if len(tree.sizes) > MAX_FILES:
                raise DataError(f"{path}: more than {MAX_FILES} files; give the data set's own folder")
    return tree


def _zip_tree(source: Path | io.BytesIO, label: str) -> FileTree:
    try:
        archive = zipfile.ZipFile(source)
    except _BROKEN as error:
        raise DataError(f"{label}: not a readable zip ({_reason(error)})") from None
    tree = FileTree(label, _archive=archive)
    items = [item for item in archive.infolist() if not item.is_dir()]
    total = sum(item.file_size for item in items)
    problem = ""
    if len(items) > MAX_FILES:
        problem = f"{len(items)} files; allowed are at most {MAX_FILES}"
    elif total > MAX_TOTAL:
        problem = f"{total} bytes unpacked; allowed are at most {MAX_TOTAL}"
    for item in items:
        path = PurePosixPath(item.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in item.filename or ":" in path.parts[0]:
            problem = f"{item.filename!r} leads outside the zip"
        elif item.flag_bits & 1:
            problem = f"{item.filename} is encrypted; give an unprotected zip"
        elif item.filename in tree.sizes:
            problem = f"{item.filename} is there twice"
        tree.sizes[item.filename] = item.file_size
    if problem:
        archive.close()
        raise DataError(f"{label}: {problem}")
    return tree


def csv_columns(
    file: io.BufferedIOBase, label: str, columns: Mapping[str, tuple[str, ...]], optional: tuple[str, ...] = ()
) -> Iterator[tuple[int, dict[str, list[str]]]]:
    """The wanted columns of a CSV with a header line, a bounded number of rows at a time.

    Args:
        file: the bytes; UTF-8, a byte-order mark is taken off.
        label: how messages call the file.
        columns: our name → names a publisher may use, the first that is there counts.
        optional: our names that may be missing; they are then not in the result.

    Yields:
        (row number of the first, counted from 1 for the header; our name → texts), with at least one row.

    Raises:
        DataError: empty, a column is missing, a row has another number of fields, or the text is no CSV.
    """
    try:
        with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:  # type: ignore[type-var]
            reader = csv.reader(text, strict=True)
            header = [name.strip() for name in next(reader, [])]
            place = _places(header, label, columns, optional)
            first, blank = 2, 0
            rows: list[list[str]] = []
            for row in reader:
                if not row:  # allowed at the end only
                    blank = blank or first + len(rows)
                    continue
                if blank or len(row) != len(header):
                    number, fields = (blank, 0) if blank else (first + len(rows), len(row))
                    raise DataError(f"{label}: row {number}: {fields} fields; the header has {len(header)}")
                rows.append(row)
                if len(rows) == CHUNK_ROWS:
                    yield first, {name: [row[i] for row in rows] for name, i in place.items()}
                    first, rows = first + len(rows), []
            if rows:
                yield first, {name: [row[i] for row in rows] for name, i in place.items()}
            elif first == 2:
                raise DataError(f"{label}: has a header but no rows")
    except (csv.Error, *_BROKEN) as error:
        raise DataError(f"{label}: cannot be read ({_reason(error)})") from None


def _places(
    header: list[str], label: str, columns: Mapping[str, tuple[str, ...]], optional: tuple[str, ...]
) -> dict[str, int]:
    """Where each wanted column is."""
    place = {}
    for name, spellings in columns.items():
        found = next((s for s in spellings if s in header), None)
        if found is not None:
            place[name] = header.index(found)
        elif name not in optional:
            shown = ", ".join(header[:12]) or "nothing: the file is empty"
            raise DataError(f"{label}: lacks column {' or '.join(spellings)}; it has {shown}")
    return place


def numbers(
    texts: list[str], label: str, column: str, first: int = 2, low: float = -1e15, high: float = 1e15
) -> Float64[np.ndarray, " n"]:
    """Texts as finite numbers.

    Args:
        first: row number of the first text, for messages.
        low, high: range allowed.

    Raises:
        DataError: names the file, the row, the value and what is allowed.
    """
    try:
        values = np.array(texts, dtype=np.float64) if texts else np.zeros(0)
    except ValueError:
        values = np.array([_number(t) for t in texts])
    wrong = np.flatnonzero(~((values >= low) & (values <= high)))  # NaN fails both
    if len(wrong):
        row = int(wrong[0])
        bounds = f"a number from {low:g} to {high:g}" if high < 1e15 else "a finite number"
        raise DataError(f"{label}: row {first + row}: {column} = {texts[row][:40]!r}; must be {bounds}")
    return values


def codes(texts: list[str], label: str, column: str, allowed: tuple[str, ...], first: int = 2) -> np.ndarray:
    """Texts as indices into ``allowed``, int64.

    Raises:
        DataError: names the file, the row, the value and what is allowed.
    """
    known = {name: code for code, name in enumerate(allowed)}
    index = np.array([known.get(text, -1) for text in texts], dtype=np.int64)
    wrong = np.flatnonzero(index < 0)
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{label}: row {first + row}: {column} = {texts[row][:40]!r}; must be one of {', '.join(allowed)}"
        )
    return index


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _is_clutter(name: str) -> bool:
    return "__MACOSX" in name or PurePosixPath(name).name.startswith(".")


def _reason(error: BaseException) -> str:
    text = str(error).splitlines()
    return text[0] if text else type(error).__name__
