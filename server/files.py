"""JSON files: written in one step, read with one-line errors, and sealed where a changed byte must not go unseen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from metapulse.errors import RunError
from metapulse.files import write_atomic

SEAL = "checksum"  # key of a sealed file: BLAKE2 of its name and everything else in it


def write_json(path: Path, value: Any, lasting: bool = False) -> None:
    """``value`` as readable JSON, atomically; NaN and infinity become null. ``lasting``: as for ``write_atomic``."""
    _write(path, finite_or_null(value), lasting)


def _write(path: Path, value: Any, lasting: bool = False) -> None:
    write_atomic(path, _lines(value).encode() + b"\n", lasting)


def _lines(value: Any, pad: str = "") -> str:
    """JSON with a line for each table and list that holds no other: what the compiled encoder does not indent."""
    nested = isinstance(value, (dict, list)) and value
    inner = value.values() if isinstance(value, dict) else value
    if not nested or (pad and not any(isinstance(one, (dict, list)) for one in inner)):
        return json.dumps(value, sort_keys=True, allow_nan=False)
    deeper = pad + " "
    if isinstance(value, list):
        start, end, told = "[", "]", [_lines(one, deeper) for one in value]
    else:
        named = ((key if isinstance(key, str) else json.dumps(key), value[key]) for key in sorted(value))
        start, end, told = "{", "}", [f"{json.dumps(name)}: {_lines(one, deeper)}" for name, one in named]
    return start + ",".join(f"\n{deeper}{line}" for line in told) + f"\n{pad}{end}"


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


def write_sealed(path: Path, value: Mapping[str, Any]) -> dict[str, Any]:
    """``value`` as ``write_json`` writes it, with its checksum; what ``read_sealed`` will give."""
    made = sealed(path, value)
    _write(path, made)
    return made


def sealed(path: Path, value: Mapping[str, Any]) -> dict[str, Any]:
    """``value`` as JSON gives it back, with its checksum."""
    made: dict[str, Any] = json.loads(json.dumps(finite_or_null(dict(value)), allow_nan=False))
    return {**made, SEAL: _seal(path, made)}


def is_sealed(path: Path, value: Any) -> bool:
    """Whether it says what it said when it was sealed for this file."""
    return isinstance(value, dict) and value.get(SEAL) == _seal(path, value)


def read_sealed(path: Path) -> dict[str, Any]:
    """Parse a file that ``write_sealed`` wrote.

    Raises:
        RunError: it is missing or damaged, or says anything else than it did.
    """
    value = read_json(path)
    if not is_sealed(path, value):
        raise RunError(f"{path} is damaged, or was changed by hand: its checksum does not fit")
    return dict(value)


def _seal(path: Path, value: Mapping[str, Any]) -> str:
    """The file's name is in it, so that no sealed file can take another's place."""
    rest = {k: v for k, v in value.items() if k != SEAL}
    return blake2b(json.dumps([path.name, rest], sort_keys=True).encode(), digest_size=16).hexdigest()


def finite_or_null(value: Any) -> Any:
    """The same structure with None for every number JSON has no word for."""
    if isinstance(value, dict):
        return {k: finite_or_null(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_or_null(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
