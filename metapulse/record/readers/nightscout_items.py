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
    """The id of a document, in whatever form; "": it has none. Where database and interface gave one each, both."""
    ids = (_written(item.get(name)) for name in ("_id", "identifier"))
    return " ".join(dict.fromkeys(filter(None, ids)))


def _written(id: Any) -> str:
    if isinstance(id, float) and id.is_integer():
        id = int(id)
    text = id.strip() if isinstance(id, str) else "" if id is None else json.dumps(id, separators=(",", ":"))
    return text if not text or is_id(text) else blake2b(text.encode(errors="replace"), digest_size=12).hexdigest()


def is_deleted(item: dict[str, Any]) -> bool:
    """Whether a document is there for others to see that it was deleted."""
    return str(item.get("isValid")).strip().lower() in ("false", "0", "0.0")
