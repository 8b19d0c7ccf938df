"""What people give: files, folders, zips, and zips within zips; as named streams, within limits that are checked first.

Nothing is unpacked to a place that a name in an archive chooses: entries are read as streams, and a zip within a zip
lies in an anonymous temporary file. A name that leaves its archive (``../``, ``/etc``) is a name, never a path.
"""

from __future__ import annotations

import io
import os
import posixpath
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from metapulse.errors import DataError

PIECE = 4096  # bytes read at once: as much is lost before damage, at most
SUFFIX_OF_NONE = (".DS_Store", "Thumbs.db")
EMPTY = "empty"


@dataclass(frozen=True)
class ContainerLimits:
    """What an input may be at most.

    Args:
        files: number of files of all inputs.
        bytes: of one file, unpacked.
        total: bytes of all files, unpacked.
        ratio: unpacked to packed, of a file, or of all of a zip, over ``free`` bytes.
        free: bytes that may be packed as densely as they like.
        depth: zips within zips.
    """

    files: int = 200_000
    bytes: int = 64 * 2**30
    total: int = 256 * 2**30
    ratio: int = 400
    free: int = 64 * 2**20
    depth: int = 3


@dataclass(frozen=True, slots=True)
class File:
    """One file, wherever it lies.

    Args:
        name: within what was given, with "/": "export.zip/apple_health_export/export.xml".
        size: bytes, unpacked.
        mark: tells this content from another of the same name.
        opener: opens it anew.
        beside: the files of the same input, by name.
    """

    name: str
    size: int
    mark: str = field(repr=False)
    opener: Callable[[], io.BufferedIOBase] = field(repr=False, compare=False)
    beside: Mapping[str, File] = field(repr=False, compare=False, default_factory=dict)

    def open(self) -> io.BufferedIOBase:
        """Its bytes from the start; may be called again. Raises: DataError: it cannot be opened, with the cause."""
        try:
            return self.opener()
        except BROKEN as error:
            raise DataError(f"{self.name}: {cause(error)}") from None

    def head(self, count: int) -> bytes:
        """Its first bytes, as far as they can be read. Raises: DataError: none can, with the cause."""
        with self.open() as stream:
            found, error = readable(stream, count)
        if error and not found:
            raise DataError(f"{self.name}: {cause(error)}")
        return found

    def companion(self, path: str) -> File | None:
        """A file that this one names, as Apple's export names its routes: by a path from the top of the same export.

        None if there is none of that name in what was given; nothing outside of that can be had.
        """
        path = posixpath.normpath("/" + path.replace("\\", "/")).lstrip("/")
        place = posixpath.dirname(self.name)
        while True:
            if found := self.beside.get(posixpath.join(place, path)):
                return found
            if not place:
                return None
            place = posixpath.dirname(place)


#: What a damaged file or archive raises when it is read.
BROKEN = (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError)


def readable(stream: io.BufferedIOBase, count: int) -> tuple[bytes, BaseException | None]:
    """So many bytes, fewer at the end; and the error that kept more from being read, as in a damaged zip."""
    found = bytearray()
    while len(found) < count:
        try:
            block = stream.read(min(PIECE, count - len(found)))
        except BROKEN as error:
            return bytes(found), error
        if not block:
            break
        found += block
    return bytes(found), None


def cause(error: BaseException) -> str:
    """One line on why it could not be read."""
    if isinstance(error, RuntimeError) and "password" in str(error):
        return "is encrypted with a password"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"damaged ({' '.join(str(error).split()) or type(error).__name__})"


class _OverLimitError(DataError):
    """The inputs together are more than they may be."""


class Inputs:
    """The files of several inputs. Use as a context: temporary files go with it.

    Args:
        paths: files, folders and zips.
        limits: what they may be.
    """

    def __init__(self, paths: Sequence[Path], limits: ContainerLimits = ContainerLimits()) -> None:  # frozen
        self.limits = limits
        self.files: list[File] = []
        self.broken: dict[str, str] = {}  # what is within the inputs and cannot be read: name → cause
        self.empty: list[str] = []
        self._seen: set[File] = set()
        self._total = 0
        self._stack = ExitStack()
        try:
            for path in paths:
                self._beside: dict[str, File] = {}  # of this input
                for name, place in self._walk(Path(path)):
                    try:
                        self._add(name, place)
                    except BROKEN as error:
                        self._breaks(name, DataError(f"{name}: {cause(error)}"), Path(path))
                    except DataError as error:
                        self._breaks(name, error, Path(path))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Inputs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of archives and temporary files."""
        self._stack.close()

    def _walk(self, path: Path) -> Iterator[tuple[str, Path]]:
        if path.is_dir():
            top = path.resolve()
            found = 0
            for folder, folders, names in os.walk(top):  # which follows no links
                folders.sort()
                for name in sorted(names):
                    place = Path(folder) / name
                    if name not in SUFFIX_OF_NONE and place.is_file() and not place.is_symlink():
                        found += 1
                        yield f"{top.name}/{place.relative_to(top).as_posix()}", place
            if not found:
                raise DataError(f"{path}: a folder without files")
        elif path.is_file():
            yield path.name, path
        else:
            raise DataError(f"{path}: no such file or folder")

    def _add(self, name: str, place: Path) -> None:
        size = place.stat().st_size
        if not size:
            self.empty.append(name)
        elif zipfile.is_zipfile(place):
            self._open_zip(name, place, 1)
        elif _looks_zipped(place):
            raise DataError(f"{name}: a zip that ends before its list of files, as a download that was cut off")
        else:
            self._put(File(name, size, _mark(place), partial(_disk_stream, place), self._beside))

    def _breaks(self, name: str, error: DataError, path: Path) -> None:
        """One file of a folder costs itself alone; one that is asked for by its name has to be whole."""
        if isinstance(error, _OverLimitError) or not path.is_dir():
            raise error
        self.broken[name] = str(error).removeprefix(f"{name}: ")

    def _open_zip(self, name: str, place: Path | IO[bytes], depth: int) -> None:
        try:
            archive = zipfile.ZipFile(place)  # closed with the inputs
            self._stack.enter_context(archive)
        except BROKEN as error:
            raise DataError(f"{name}: {cause(error)}") from None
        entries = [info for info in archive.infolist() if not info.is_dir()]
        if not entries:
            raise DataError(f"{name}: an empty zip; export it again")
        if len(entries) + len(self.files) > self.limits.files:
            raise DataError(f"{name}: holds {len(entries)} files; allowed are {self.limits.files}")
        usual = [e for e in entries if not self._dense(e.file_size, e.compress_size)]
        packed = min(sum(e.compress_size for e in usual), archive.start_dir)  # entries may share bytes
        if self._dense(sum(e.file_size for e in usual), packed):
            raise DataError(f"{name}: would be over {self.limits.ratio} times as large unpacked, which no export is")
        archive.filelist.clear()  # of what is known of an entry as much is kept as it takes to open it
        archive.NameToInfo.clear()
        entries.sort(key=lambda i: i.filename, reverse=True)
        while entries:
            info = entries.pop()
            inner = posixpath.normpath("/" + info.filename.replace("\\", "/")).lstrip("/")
            if posixpath.basename(inner) in SUFFIX_OF_NONE or inner.startswith("__MACOSX/"):
                continue
            self._entry(f"{name}/{inner}", archive, info, depth)

    def _entry(self, name: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, depth: int) -> None:
        if self._dense(info.file_size, info.compress_size):
            ratio = info.file_size // max(info.compress_size, 1)
            self.broken[name] = f"packed {ratio} times, which no export is; allowed are {self.limits.ratio} times"
        elif not info.file_size:
            self.empty.append(name)
        elif info.filename.lower().endswith(".zip"):
            if depth < self.limits.depth:
                self._nested(name, archive, info, depth)
            else:
                self.broken[name] = f"a zip within {depth} zips; unpack the outer ones"
        else:
            mark = f"{info.CRC:08x}"
            self._put(File(name, info.file_size, mark, _Entry(archive, info), self._beside))

    def _dense(self, unpacked: int, packed: int) -> bool:
        """Whether it is a bomb: packed as no export is."""
        return unpacked > self.limits.free and unpacked > self.limits.ratio * max(packed, 1)

    def _nested(self, name: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, depth: int) -> None:
        self._count(name, info.file_size)
        spool = tempfile.TemporaryFile(prefix="metapulse-")  # noqa: SIM115  # closed with the inputs
        self._stack.enter_context(spool)
        try:
            with archive.open(info) as stream:
                while block := stream.read(2**20):
                    spool.write(block)
            self._open_zip(name, spool, depth + 1)
        except BROKEN as error:
            self.broken[name] = cause(error)
        except _OverLimitError:
            raise
        except DataError as error:
            self.broken[name] = str(error).removeprefix(f"{name}: ")

    def _put(self, file: File) -> None:
        self._count(file.name, file.size)
        self._beside[file.name] = file
        if file not in self._seen:  # the same name and content: one file that was given twice
            self._seen.add(file)
            self.files.append(file)

    def _count(self, name: str, size: int) -> None:
        if size > self.limits.bytes:
            raise _OverLimitError(f"{name}: {size} bytes unpacked; allowed are {self.limits.bytes}")
        self._total += size
        if self._total > self.limits.total:
            raise _OverLimitError(
                f"{name}: with it the inputs are over {self.limits.total} bytes unpacked, which is the limit"
            )
        if len(self.files) >= self.limits.files:
            raise _OverLimitError(f"{name}: the inputs hold more than {self.limits.files} files, which is the limit")


def _disk_stream(place: Path) -> io.BufferedIOBase:
    return place.open("rb")


class _Entry:
    """Opens an entry of a zip. Less of it is kept than ``ZipInfo`` has, since there may be very many."""

    __slots__ = ("archive", "facts", "name")
    KEPT = ("header_offset", "compress_size", "file_size", "CRC", "compress_type", "flag_bits", "_end_offset")

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
        self.archive, self.name = archive, info.orig_filename
        self.facts = tuple(getattr(info, name, None) for name in self.KEPT)

    def __call__(self) -> io.BufferedIOBase:
        info = zipfile.ZipInfo(self.name)
        info.orig_filename = self.name
        for name, fact in zip(self.KEPT, self.facts, strict=True):
            if fact is not None:
                setattr(info, name, fact)
        return self.archive.open(info)  # type: ignore[return-value]  # a ZipExtFile; reads no more than it declares


def _looks_zipped(place: Path) -> bool:
    with place.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def _mark(place: Path) -> str:
    """The CRC of the file, as zips keep it, so that it is known again unpacked."""
    found = 0
    with place.open("rb") as stream:
        while block := stream.read(2**20):
            found = zlib.crc32(block, found)
    return f"{found:08x}"
