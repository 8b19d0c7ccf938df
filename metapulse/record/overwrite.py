"""What must not be written over: a file that a record was read from may be all that a person has of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metapulse.errors import ConfigError, DataError
from metapulse.record.containers import File, Inputs
from metapulse.record.recognise import recognise
from metapulse.record.store import metadata
from metapulse.record.tally import Tally

WRITTEN = ("fhir", "openmhealth", "own")  # readers of what ``record export`` writes, and may write anew
LOOKED_AT = 100  # files of a zip whose format is asked for


def check_not_an_input(out: Path, record: Path) -> None:
    """Refuse a place where the record is, a vendor's export, another record, or a file that the record was read from.

    Such a file is known by its content, whatever it is called now; and by its name, since it may have grown.

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
    facts = metadata(record)
    if not out.stat().st_size:
        return
    try:
        with Inputs([out]) as given:
            title, read_from = _vendor_of(given), _read_from(given, facts, out.name)
    except DataError:  # a broken zip, of which nothing can be said but its name
        title, read_from = "", _read_from(None, facts, out.name)
    if title:
        raise ConfigError("out", str(out), f"a file that is no export of {title}")
    if read_from:
        raise ConfigError("out", str(out), f"another file than {read_from}, which the record was read from")


def _vendor_of(given: Inputs) -> str:
    """Whose export it is; "": none, or of a kind that is written here."""
    known = [reader for file in given.files[:LOOKED_AT] if (reader := _reader_of(file))]
    return next((reader.title for reader in known if reader.name not in WRITTEN), "")


def _reader_of(file: File) -> Any:
    try:
        return recognise(file)[0]
    except DataError:
        return None


def _read_from(given: Inputs | None, facts: Mapping[str, Any], name: str) -> str:
    """The file of the record's account that it is, by one of its contents or by its name; "": none."""
    accounts = [one for one in Tally.of(facts["tally"]).files.values() if one.format]
    contents = {(one.mark, one.size): one.file for one in accounts if one.size}
    for file in given.files if given else ():
        if found := contents.get((file.mark, file.size)):
            return found
    return next((each for one in accounts for each in one.names if each.partition("/")[0] == name), "")
