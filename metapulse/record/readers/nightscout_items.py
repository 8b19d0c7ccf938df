"""Nightscout's documents as their database writes them: numbers, times and ids of any form."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from metapulse.record.identity import is_id

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TYPED = {"$oid", "$date", "$numberLong", "$numberInt", "$numberDouble", "$numberDecimal"}  # of mongoexport


def plain(item: Any) -> Any:
    """An object without the words for types that mongoexport writes, as {"$oid": "…"} for an id."""
    if not isinstance(item, dict):
        return item
    return {key: _value(value) for key, value in item.items()}


def _value(value: Any) -> Any:
    """What stands in the words for types; a date in milliseconds as the text that Nightscout writes."""
    word = ""
    while isinstance(value, dict) and len(value) == 1 and not TYPED.isdisjoint(value):
        ((inner, value),) = value.items()
        word = word or inner
    if word == "$date" and re.fullmatch(r"-?\d{1,13}", str(value)):
        return (EPOCH + timedelta(milliseconds=int(value))).isoformat()
    return value


def id_of(item: dict[str, Any]) -> str:
    """The id of a document, in whatever form; "": it has none."""
    for name in ("identifier", "_id"):
        id = item.get(name)
        text = id.strip() if isinstance(id, str) else "" if id is None else json.dumps(id, separators=(",", ":"))
        if text:
            return text if is_id(text) else blake2b(text.encode(errors="replace"), digest_size=12).hexdigest()
    return ""
