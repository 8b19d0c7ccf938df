"""Ids that vendors give, in ``raw``: "id 65f1 1712140000000000; 5.5 mmol/L", with µs of the last change or 0."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

ID = "id "
#: As RE2 has it, the expressions of Arrow.
_IDENTIFIED = r"(?s)\A(?:clock [^;]{1,40}; )*id (?P<id>\S{1,64}) (?P<changed>[0-9]{1,18})(?:; .*)?\z"
_ALONE = re.compile(r"id \S{1,64} [0-9]{1,18}")


def is_id(text: str) -> bool:
    """Whether ``raw`` can tell it as an id."""
    return re.fullmatch(r"\S{1,64}", text) is not None


def identified(id: str, changed: int, raw: str | None = None) -> str | None:
    """What ``raw`` says of a row that has an id of its vendor's.

    Args:
        id: as the file writes it.
        changed: µs since 1970 at which it was changed last; 0: not told.
        raw: what it says besides.
    """
    if not is_id(id):
        return raw
    return f"{ID}{id} {max(changed, 0)}" + (f"; {raw}" if raw else "")


def told_ids(raw: Any) -> tuple[NDArray[np.object_], NDArray[np.int64]] | None:
    """What ``identified`` put there: (id or "", µs of the last change or 0) of each row; None where no row has an id.

    Args:
        raw: texts or nulls (a ``pyarrow.StringArray``).
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.any(pc.match_substring(raw, ID)).as_py():
        return None
    found = pc.extract_regex(raw, _IDENTIFIED)
    ids, changed = pc.struct_field(found, "id"), pc.struct_field(found, "changed")
    ids = pc.if_else(pc.is_valid(found), ids, "")
    changed = pc.cast(pc.if_else(pc.is_valid(found), changed, "0"), pa.int64())
    return ids.to_numpy(zero_copy_only=False), changed.to_numpy(zero_copy_only=False)


def with_said(raw: str | None, said: str) -> str:
    """What ``raw`` says of a value that is converted: what the file said, unless it tells more already.

    Args:
        raw: what it says now.
        said: the number and its unit.
    """
    return said if raw is None else f"{raw}; {said}" if _ALONE.fullmatch(raw) else raw
