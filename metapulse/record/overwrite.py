"""What must not be written over: a file that a record was read from, or another, may be all that a person has of it."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from metapulse.errors import ConfigError, DataError
from metapulse.record.containers import File, Inputs
from metapulse.record.recognise import recognise
from metapulse.record.store import metadata
from metapulse.record.tally import FileTally, Tally
from metapulse.record.written import is_like_a_page, is_page, is_written

LOOKED_AT = 100  # files of a zip, which is refused if it holds several: they only tell with which words
NEW = "a new file, or one that metapulse wrote"
CHANGED = (
    "a new file, or a page as metapulse wrote it: this one is of an earlier version, or was changed; remove this one"
)
WRITTEN = ("fhir", "openmhealth", "own")  # readers of what ``record export`` writes


def check_not_an_input(out: Path, record: Path) -> None:
    """Refuse a place where the record is, an export, another record, or a file that the record was read from.

    Such a file is known by its content, whatever it is called now; and by its name, since it may have grown. Of other
    files only one is written over that has the form of what ``record export`` or ``record show`` writes.

    Args:
        out: where something else than a record is to be written.
        record: what it is made of.

    Raises:
        ConfigError: ``out`` is one of them.
        DataError: ``record`` is none, which is looked at only where ``out`` is there.
    """
    if not out.is_file():
        return
    if out.resolve() == record.resolve():
        raise ConfigError("out", str(out), "another file than the record")
    accounts = [one for one in Tally.of(metadata(record)["tally"]).files.values() if one.format]
    if not out.stat().st_size or _is_empty_zip(out):
        return
    try:
        with Inputs([out]) as given:
            said = _refused(given, accounts, out.name)
    except DataError:  # a broken zip, of which nothing can be said but its name
        said = _named(accounts, out.name) or NEW
    if said:
        raise ConfigError("out", str(out), said)


def _is_empty_zip(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return not any(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _refused(given: Inputs, accounts: Collection[FileTally], name: str) -> str:
    """What it has to be instead; "": it may be written over."""
    alone = given.files[0] if len(given.files) == 1 and not given.broken else None
    ours = alone is not None and (is_written(alone) or is_page(alone))
    reader = None if ours else next(filter(None, map(_reader_of, given.files[:LOOKED_AT])), None)
    if reader is not None and reader.name not in WRITTEN:
        return f"a file that is no export of {reader.title}"
    if said := _of_content(given, accounts):
        return said
    sources = [each for one in accounts for each in one.names if each.partition("/")[0] == name]
    if sources and not (ours and alone is not None and is_written(alone, sources)):
        return _named(accounts, name)
    return "" if ours else CHANGED if alone is not None and is_like_a_page(alone) else NEW


def _reader_of(file: File) -> Any:
    try:
        return recognise(file)[0]
    except DataError:
        return None


def _of_content(given: Inputs, accounts: Collection[FileTally]) -> str:
    """Where it is a file of the record's account, by one of its contents."""
    contents: Mapping[tuple[str, int], str] = {(one.mark, one.size): one.file for one in accounts if one.size}
    found = next(filter(None, (contents.get((file.mark, file.size)) for file in given.files[:LOOKED_AT])), "")
    return _another(found) if found else ""


def _named(accounts: Collection[FileTally], name: str) -> str:
    """Where it has the name of a file of the record's account, or of an input that held such a file."""
    found = next((each for one in accounts for each in one.names if each.partition("/")[0] == name), "")
    return _another(found) if found else ""


def _another(name: str) -> str:
    return f"another file than {name}, which the record was read from"
