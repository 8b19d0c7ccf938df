"""Resources of a FHIR file one after another, whatever they are wrapped in; and the devices among them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from metapulse.record.readers.base import Context, Sample
from metapulse.record.readers.encoding import HEAD
from metapulse.record.readers.fhir_own import device_told
from metapulse.record.readers.text import json_items
from metapulse.record.schema import NO_DEVICE, Device

DEVICES = 100_000  # names of devices that are remembered


def items_of(context: Context, count: bool = True) -> Iterator[Any]:
    """Entries of a bundle that is longer than a head; else resources and bundles, whole."""
    head = Sample(context.file.head(HEAD)).text.lstrip()
    try:
        json.JSONDecoder(strict=False).raw_decode(head)
        keys = []
    except (ValueError, RecursionError):
        keys = ["entry"] if head.startswith("{") else []
    return (item for _, item in json_items(context, *keys, count=count, series=("entry",)))


def entries_of(item: object) -> list[Any]:
    """The entries of a bundle; anything else as it is."""
    inner = item.get("entry") if isinstance(item, dict) and item.get("resourceType", "Bundle") == "Bundle" else None
    return inner if isinstance(inner, list) and inner else [item]


def resource_of(entry: object) -> dict[str, Any]:
    """The resource of an entry, which some write without its wrapper; {} if it is none."""
    if not isinstance(entry, dict):
        return {}
    inner = entry.get("resource")
    return inner if isinstance(inner, dict) else entry


def dicts(value: object) -> list[dict[str, Any]]:
    """The objects of a list, or the one object that stands for it."""
    return [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, dict)]


def words(value: object) -> str | None:
    """A text of at most 100 characters; None if there is none."""
    return value.strip()[:100] or None if isinstance(value, str) else None


def devices_of(context: Context) -> dict[str, Device]:
    """Devices of the file by everything that they may be called by, and of Device.ndjson beside it."""
    found: dict[str, Device] = {}
    if not _mentions_device(context):
        beside = None if context.file.name.endswith("Device.ndjson") else context.companion("Device.ndjson")
        return (
            found if beside is None else _collected(item for _, item in json_items(context, file=beside, count=False))
        )
    return _collected(items_of(context, count=False))


def _collected(items: Iterable[object]) -> dict[str, Device]:
    found: dict[str, Device] = {}
    for item in items:
        for entry in entries_of(item):
            resource = resource_of(entry)
            if resource.get("resourceType") == "Device" and len(found) < DEVICES:
                names = (entry.get("fullUrl") if isinstance(entry, dict) else None, resource.get("id"))
                found.update(dict.fromkeys((n for n in names if isinstance(n, str) and n), _device(resource)))
    return found


def _mentions_device(context: Context) -> bool:
    tail = b""
    with context.open() as stream:
        while block := stream.read(2**20):
            if re.search(rb'"resourceType"\s*:\s*"Device"', tail + block):
                return True
            tail = block[-100:]
    return False


def _device(resource: dict[str, Any]) -> Device:
    """A resource Device of R4, R4B or R5."""
    if (own := device_told(resource)) is not None:
        return own
    names = {}
    for key in ("deviceName", "name"):
        for item in dicts(resource.get(key)):
            names[str(item.get("type"))] = words(item.get("name")) or words(item.get("value"))
    model = words(resource.get("modelNumber")) or names.get("model-name") or names.get("user-friendly-name")
    model = model or next(iter(names.values()), None) or words(resource.get("displayName")) or _concept(resource)
    serial = words(resource.get("serialNumber"))
    serial = serial or next((words(i.get("value")) for i in dicts(resource.get("identifier"))), None)
    version = next((words(v.get("value")) for v in dicts(resource.get("version"))), None)
    return Device(words(resource.get("manufacturer")), model, words(resource.get("partNumber")), version, serial)


def _concept(resource: dict[str, Any]) -> str | None:
    """The type of a device in words."""
    for kind in dicts(resource.get("type")):
        named = [words(kind.get("text")), *(words(c.get("display")) for c in dicts(kind.get("coding")))]
        if found := next((name for name in named if name), None):
            return found
    return None


def device_of(resource: dict[str, Any], devices: dict[str, Device]) -> Device:
    """The device that an Observation refers to: within itself, within the file, or by a name at least."""
    given = resource.get("device")
    if not isinstance(given, dict):
        return NO_DEVICE
    reference = words(given.get("reference")) or ""
    if reference.startswith("#"):
        inside = (d for d in dicts(resource.get("contained")) if d.get("id") == reference[1:])
        found = next((_device(d) for d in inside), None)
    else:
        found = devices.get(reference) or devices.get(reference.split("/_history/")[0].rsplit("/", 1)[-1])
    if found is not None and found != NO_DEVICE:
        return found
    display, identifier = words(given.get("display")), given.get("identifier")
    name = words(identifier.get("value")) if isinstance(identifier, dict) else None
    return Device(model=display, unit=name or (None if reference.startswith("#") else reference or None))
