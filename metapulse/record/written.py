"""Whether ``metapulse record export`` or ``show`` wrote a file: only what can be made anew may be written over.

Every line of an export of ours has a sign that no other program writes: an extension of FHIR, a property of Open
mHealth's header, the columns of a record. A line of another form is none of ours, and so is the file. A value that was
edited within a line is not seen. A page has text of any kind, and so its last line is a digest of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from hashlib import sha256

from metapulse.errors import DataError
from metapulse.record.containers import BROKEN, File
from metapulse.record.readers.fhir_own import DEVICE, EXTENSION
from metapulse.record.readers.openmhealth_own import PROPERTY
from metapulse.record.readers.own import COLUMNS

PAGE_HEAD = 1000  # bytes in which a page tells its title
PART = 2**20  # bytes of a page that are read at once
LONGEST = 2**24  # bytes of a line of ours at most; a text of it has 64 KiB
FHIR_HEAD, LIST_HEAD = b'{"resourceType":"Bundle","type":"collection","entry":[\n', b"[\n"
_RESOURCE = re.compile(
    rb'\{("fullUrl":"urn:uuid:[^"]{1,60}","resource":\{)?"resourceType":"(Patient|Device|Observation)",'
)
_PATIENT = re.compile(
    rb'\{("fullUrl":"urn:uuid:[^"]{1,60}","resource":\{)?"resourceType":"Patient","id":"[^"]{1,60}"\}{1,2},?\n'
)
_ENDS = re.compile(rb"[^,\n],\d{1,18}\n\Z")  # file and row
LAST_LINE = 2 + 64 + len("<!-- metapulse record show  -->")  # bytes


def is_written(file: File, names: Collection[str] = ()) -> bool:
    """Whether every line of it is one that this program writes.

    Args:
        file: the file.
        names: of files of which a line has to say that it was read from them, if there are such names.
    """
    found, nothing = not names, True
    kind = ""
    texts = [sign for name in names for sign in _signs(name)]
    try:
        for number, line in enumerate(_lines(file)):
            nothing = False
            kind = kind or _kind(line)
            if not kind or not (_is_frame(line, kind, number) or _is_line(line, kind)):
                return False
            found = found or any(text in line for text in texts)
    except (DataError, *BROKEN):
        return False
    return found and (bool(kind) or nothing)


def ended(page: bytes) -> bytes:
    """A page with its last line, by which it is known whether it is still as it was written."""
    return page + _last_line(sha256(page).hexdigest())


def is_page(file: File) -> bool:
    """Whether it is a page of ours, to the byte."""
    found, last = sha256(), b""
    try:
        with file.open() as stream:
            while part := stream.read(PART):
                last += part
                found.update(last[:-LAST_LINE])
                last = last[-LAST_LINE:]
    except (DataError, *BROKEN):
        return False
    return last == _last_line(found.hexdigest())


def is_like_a_page(file: File) -> bool:
    """Whether it begins as a page of ours does."""
    try:
        with file.open() as stream:
            head = stream.read(PAGE_HEAD)
    except (DataError, *BROKEN):
        return False
    return head.lstrip().startswith(b"<!doctype html>") and b"<title>metapulse: " in head


def _last_line(digest: str) -> bytes:
    return f"\n<!-- metapulse record show {digest} -->\n".encode()


def _signs(name: str) -> Iterator[bytes]:
    """How a name of a source stands in a line."""
    yield json.dumps(name).encode()
    yield f",{name},".encode(errors="replace")


def _lines(file: File) -> Iterator[bytes]:
    with file.open() as stream:
        while line := stream.readline(LONGEST):
            yield line


def _kind(first: bytes) -> str:
    """What a file of ours is, by its first line; "": none of ours, or not told by it."""
    if first == ",".join(COLUMNS).encode() + b"\n":
        return "csv"
    if first == FHIR_HEAD or _RESOURCE.match(first):
        return "fhir"
    return "openmhealth" if first == LIST_HEAD or first.startswith(b'{"header":') else ""


def _is_frame(line: bytes, kind: str, number: int) -> bool:
    """Whether it is what stands around the items."""
    if kind == "csv":
        return number == 0
    return line in ((FHIR_HEAD, b"\n", b"]}\n") if kind == "fhir" else (LIST_HEAD, b"\n", b"]\n"))


def _is_line(line: bytes, kind: str) -> bool:
    """Whether it is an item of ours."""
    if kind == "csv":
        return _ENDS.search(line) is not None
    if kind == "openmhealth":
        return line.startswith(b'{"header":') and f'"{PROPERTY}":['.encode() in line
    signed = any(f'"{sign}"'.encode() in line for sign in (EXTENSION, DEVICE))
    return bool(_PATIENT.fullmatch(line)) or (signed and _RESOURCE.match(line) is not None)
