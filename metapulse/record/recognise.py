"""Which reader a file is for, by its content."""

from __future__ import annotations

from metapulse.record.containers import File
from metapulse.record.readers import readers
from metapulse.record.readers.base import Reader, Sample
from metapulse.record.readers.encoding import HEAD
from metapulse.record.tally import fault

NOTHING = (["[]"], ["{}"], ["[", "]"], ["{", "}"])


def recognise(file: File) -> tuple[Reader | None, str]:
    """The reader of a file and why, in words; None, and why not, if there is none.

    Where several know it, the first by name is taken and the others are named.

    Raises:
        DataError: nothing of it can be read, as of what is encrypted.
    """
    sample = Sample(file.head(HEAD), file.name)
    if not sample.bytes:
        return None, "empty"
    found, broken = [], ""
    for reader in readers():
        try:
            why = reader.sniff(sample)
        except Exception as error:  # a fault of one reader costs the others nothing
            broken += f"; reader {reader.name} failed ({fault(error)})"
        else:
            found += [(reader, why)] if why else []
    if not found and sample.text.split() in NOTHING:
        return None, "a list or an object of JSON with nothing in it"
    if not found:
        return None, f"no reader knows it: {_looks(sample)}{broken}"
    reader, why = found[0]
    others = ", ".join(other.name for other, _ in found[1:])
    return reader, why + (f" (it could also be {others})" if others else "")


def _looks(sample: Sample) -> str:
    """What an unknown file looks like, for a person."""
    if b"\0" in sample.bytes[:1024] and not sample.bytes.startswith((b"\xff\xfe", b"\xfe\xff")):
        return f"binary, begins with {sample.bytes[:8].hex(' ')}"
    first = next((line.strip() for line in sample.lines if line.strip()), "")
    return f"text, begins with {first[:60]!r}"
