"""What ``metapulse record export --to fhir`` puts into FHIR beside the standard's elements, and reads again.

An extension of an Observation, or of a component: file and row that the value was read from, its code, what the file
said; offset and end only where FHIR has no such. Marks are tags. A device's app, which Device has no element for, is in
an extension of the same URL.
"""

from __future__ import annotations

import re
from typing import Any

from metapulse.record.readers.record import told_marks
from metapulse.record.schema import Device, Row
from metapulse.record.verbatim import unquoted

EXTENSION = "urn:metapulse:record"  # url of the extension
MARK = "urn:metapulse:mark"  # system of tags: words of MARKS
KIND = "urn:metapulse:code"  # system of values that are a code, such as a stage of sleep
DEVICE = "urn:metapulse:device"  # system of identifiers of the devices that we write
_WHOLE = re.compile(r"-?[0-9]{1,18}")


def told(element: dict[str, Any]) -> dict[str, str] | None:
    """The parts of our extension; None if it has none, or one without a source."""
    parts = extension(element)
    return parts if parts and parts.get("file") is not None and _whole(parts.get("row")) is not None else None


def extension(element: dict[str, Any]) -> dict[str, str] | None:
    """The parts of our extension, by name."""
    for found in _dicts(element.get("extension")):
        if found.get("url") == EXTENSION:
            parts = [(part.get("url"), part.get("valueString")) for part in _dicts(found.get("extension"))]
            return {url: unquoted(text) for url, text in parts if isinstance(url, str) and isinstance(text, str)}
    return None


def restored(row: Row, own: dict[str, str], resource: dict[str, Any]) -> Row:
    """A row as the standard's elements tell it, with what our extension and tags add.

    Args:
        row: from the standard's elements.
        own: what ``told`` gave.
        resource: the Observation.
    """
    meta = resource.get("meta")
    tags = _dicts(meta.get("tag")) if isinstance(meta, dict) else []
    row = row._replace(
        unit=own.get("unit", row.unit),
        code=own.get("code"),
        quality=told_marks(tag.get("code") for tag in tags if tag.get("system") == MARK),
        raw=own.get("raw"),
        origin=(own["file"], _whole(own["row"]) or 0),
    )
    end, offset = _whole(own.get("end")), _whole(own.get("offset"))
    row = row if end is None else row._replace(end=end)
    return row if offset is None else row._replace(offset_min=offset)


def device_told(resource: dict[str, Any]) -> Device | None:
    """A device that we wrote, to the letter; None for any other."""
    if all(name.get("system") != DEVICE for name in _dicts(resource.get("identifier"))):
        return None
    own = extension(resource) or {}
    version = _dicts(resource.get("version"))
    texts = [resource.get(key) for key in ("manufacturer", "modelNumber", "partNumber")]
    texts += [version[0].get("value") if version else None, resource.get("serialNumber")]
    return Device._make([*(unquoted(text) if isinstance(text, str) else None for text in texts), own.get("app")])


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and _WHOLE.fullmatch(text) else None


def _dicts(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
