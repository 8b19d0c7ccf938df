"""Devices that may be one: their parts agree as far as both are known."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

from metapulse.record.schema import Device

#: Parts of a device, and what else tells one from another, such as an id.
Parts: TypeAlias = tuple[str | None, ...]


class Firsts:
    """Devices of which no two may be one. A part that is not known may be any."""

    def __init__(self) -> None:
        self._by_parts: dict[tuple[int, ...], dict[tuple[int, ...], set[bytes]]] = {}

    def add(self, device: Parts) -> bool:
        """Take a device, unless it may be one of those that are there: False then."""
        known = tuple(at for at, part in enumerate(device) if part is not None)
        for parts, told in self._by_parts.items():
            both = tuple(at for at in parts if at in known)
            if both not in told:  # of those there, what they say of these parts
                places = [parts.index(at) for at in both]
                told[both] = {b"\0".join(text.split(b"\0")[n] for n in places) for text in told[parts]}
            if _said(device, both) in told[both]:
                return False
        own = self._by_parts.setdefault(known, {known: set()})
        for parts, texts in own.items():
            texts.add(_said(device, parts))
        return True


def _said(device: Parts, parts: Iterable[int]) -> bytes:
    return "\0".join(device[at] or "" for at in parts).encode()  # less than a text; there may be very many


def lasting(device: Device) -> Device:
    """A device without what an update changes: firmware, and the version in the name of its app."""
    app = device.app and (re.sub(r"[\s(v]*\d+(\.\d+)+\)?$", "", device.app) or device.app)
    return device._replace(firmware=None, app=app)
