"""What ``metapulse record export --to openmhealth`` puts beside Open mHealth, and reads again.

A header has the property ``metapulse``: for each value of the body the file and row that it was read from, its device,
code and marks, what the file said. What no schema holds lies under the namespace ``metapulse``, one schema a metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metapulse.record.metrics import metrics
from metapulse.record.readers.openmhealth_frames import quantity
from metapulse.record.readers.record import told_marks
from metapulse.record.schema import NO_DEVICE, Device, Row

PROPERTY = "metapulse"  # of a header
NAMESPACE = "metapulse"  # of schemas


def header_told(header: dict[str, Any]) -> list[dict[str, Any]]:
    """What a header of ours says of each value; [] if it is none."""
    found = header.get(PROPERTY)
    parts = [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []
    return parts if all(_text(part, "file") is not None and _whole(part, "row") is not None for part in parts) else []


def of_namespace(header: dict[str, Any], body: dict[str, Any], row: Row) -> list[Row]:
    """The row of a body under our own namespace; [] if it is under another.

    Args:
        header: of the data point.
        body: of the data point.
        row: time and mark of it.
    """
    schema = header.get("schema_id")
    name = schema.get("name") if isinstance(schema, dict) and schema.get("namespace") == NAMESPACE else None
    metric = name.replace("-", "_") if isinstance(name, str) else ""
    if metric not in metrics():
        return []
    value, unit = quantity(body.get(metric), "")
    return [row._replace(metric=metric, value=value, unit=unit or None)]


def restored_rows(rows: Sequence[Row], parts: Sequence[dict[str, Any]]) -> list[Row]:
    """Rows as the body tells them, each with what the header adds to it."""
    return [_restored(row, part) for row, part in zip(rows, parts, strict=True)]


def _restored(row: Row, part: dict[str, Any]) -> Row:
    marks, device = part.get("marks"), part.get("device")
    named = Device(*(_text(device, name) for name in Device._fields)) if isinstance(device, dict) else NO_DEVICE
    unit = _text(part, "unit")
    return row._replace(
        unit=row.unit if unit is None else unit,
        code=_text(part, "code"),
        device=named,
        quality=told_marks(marks if isinstance(marks, list) else ()),
        raw=_text(part, "raw"),
        origin=(_text(part, "file") or "", _whole(part, "row") or 0),
    )


def _text(part: dict[str, Any], name: str) -> str | None:
    return part[name] if isinstance(part.get(name), str) else None


def _whole(part: dict[str, Any], name: str) -> int | None:
    value = part.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**60 else None
