"""JSON files: written in one step, and read with one-line errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from client.errors import RunError
from client.files import write_atomic


def write_json(path: Path, value: Any) -> None:
    """``value`` as readable JSON, atomically; NaN and infinity become null."""
    text = json.dumps(finite(value), indent=1, sort_keys=True, allow_nan=False)
    write_atomic(path, text.encode() + b"\n")


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path} does not exist") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}") from None


def finite(value: Any) -> Any:
    """The same structure with None for every number JSON has no word for."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
