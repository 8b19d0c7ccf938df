"""Stamps of formats that ask for a zone: one without is a local time, which is marked."""

from __future__ import annotations

import re

from metapulse.record.clock import Stamp
from metapulse.record.readers.base import Context

_ZONED = re.compile(r"(Z|[+\-]\d\d:?\d\d)\s*$", re.IGNORECASE)


def instant(context: Context, text: object) -> Stamp | None:
    """A stamp of JSON, of any type; None if it is no time."""
    stamp = context.clock.read(text) if isinstance(text, str) and len(text) < 64 else None
    if stamp is None or stamp.end is not None or "zone_assumed" in stamp.marks or _ZONED.search(str(text)[10:]):
        return stamp
    return stamp._replace(marks=(*stamp.marks, "zone_assumed"))
