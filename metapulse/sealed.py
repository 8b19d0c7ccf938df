"""Files that know when they have changed: a digest of what they say, and of the files beside them that belong to them.

It finds damage, a file of another folder, and an edit by hand. It is no signature: one who wants to can make a new one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metapulse.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

DIGEST = "digest"
MOST_BYTES = 2**28  # of a file of tensors: a head of 4000 numbers


def sealed_json(facts: Mapping[str, Any], *beside: bytes) -> bytes:
    """Plain values as JSON, with a digest of them and of the files beside.

    Args:
        facts: without a key "digest".
        beside: contents of files that belong to it, in a fixed order.
    """
    plain = json.loads(json.dumps(facts))
    return json.dumps({**plain, DIGEST: _digest(plain, beside)}, indent=1, sort_keys=True).encode() + b"\n"


def unsealed_json(text: bytes, version: int, *beside: bytes) -> dict[str, Any]:
    """The values that ``sealed_json`` was given.

    Args:
        text: of the file.
        version: that "version" must be.
        beside: as there.

    Raises:
        ValueError: it is no JSON, of another version, or not what was written together.
    """
    try:
        facts = json.loads(text.decode())
    except RecursionError:
        raise ValueError("lists in lists without end") from None
    if not isinstance(facts, dict) or facts.get("version") != version:
        said = repr(facts.get("version"))[:40] if isinstance(facts, dict) else "none"
        raise ValueError(f"another version ({said}); this one reads {version}")
    if facts.pop(DIGEST, None) != _digest(facts, beside):
        raise ValueError("changed since it was written, or not of the files beside it")
    return facts


def sealed_tensors(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """A safetensors file with plain values beside the tensors, and a digest of all of it.

    Args:
        tensors: contiguous.
        facts: NaN and ∞ are refused with a ValueError.
    """
    from safetensors.torch import save

    said = {"metapulse": json.dumps(facts, sort_keys=True, allow_nan=False)}
    digest = blake2b(save(dict(tensors), said), digest_size=16).hexdigest()
    data: bytes = save(dict(tensors), {**said, DIGEST: digest})
    return data


def unsealed_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What ``sealed_tensors`` was given.

    Raises:
        DataError: the file is missing or damaged.
    """
    from safetensors.torch import save

    tensors, said = read_tensors(path)
    text = said.get("metapulse", "")
    if blake2b(save(tensors, {"metapulse": text}), digest_size=16).hexdigest() != said.get(DIGEST):
        raise DataError(f"{path}: damaged, changed since it was written, or of another version")
    facts: dict[str, Any] = json.loads(text)
    return tensors, facts


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors of a safetensors file, and what it says of itself.

    Raises:
        DataError: it is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path}: {path.stat().st_size} bytes; at most {MOST_BYTES} are read")
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: damaged ({' '.join(str(error).split())[:200]})") from None


def _digest(facts: Mapping[str, Any], beside: tuple[bytes, ...]) -> str:
    found = blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16)
    for data in beside:
        found.update(blake2b(data, digest_size=16).digest())
    return found.hexdigest()
