"""Ids that vendors give, in ``raw``: "id 65f1 1712140000000000; 5.5 mmol/L", with µs of the last change or 0.

A document may have two, as of a database and of the interface before it: "id 65f1 u1 1712140000000000". Other files may
tell one of them alone.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

ID = "id "
#: As RE2 has it, the expressions of Arrow.
_IDENTIFIED = r"(?s)\A(?:clock [^;]{1,40}; )*id (?P<id>\S{1,64}(?: \S{1,64})?) (?P<changed>[0-9]{1,18})(?:; .*)?\z"
_ALONE = re.compile(r"id \S{1,64}(?: \S{1,64})? [0-9]{1,18}")


def is_id(text: str) -> bool:
    """Whether ``raw`` can tell it as an id."""
    return re.fullmatch(r"\S{1,64}", text) is not None


def identified(id: str, changed: int, raw: str | None = None) -> str | None:
    """What ``raw`` says of a row that has an id of its vendor's.

    Args:
        id: as the file writes it; or two of them, with a blank between.
        changed: µs since 1970 at which it was changed last; 0: not told.
        raw: what it says besides.
    """
    if not 1 <= len(id.split(" ")) <= 2 or not all(map(is_id, id.split(" "))):
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


class Documents:
    """Which document each row of a block is of: two ids are of one where a row of the same start has both.

    Args:
        start: of the rows.
        raw: of the rows.
    """

    def __init__(self, start: NDArray[np.int64], raw: Any) -> None:
        self.start, self._above = start, dict[tuple[int, str], tuple[int, str]]()
        #: Id or ids of each row or "", and µs of its last change or 0.
        self.ids: NDArray[np.object_] | None = None
        self.changed: NDArray[np.int64] | None = None
        if told := told_ids(raw):
            self.ids, self.changed = told
        for at, ids in enumerate(self.ids if self.ids is not None else ()):
            if " " in ids:
                one, other = sorted(self._top(int(start[at]), id) for id in ids.split(" "))
                if one != other:
                    self._above[other] = one

    def told(self, at: int) -> tuple[str, int]:
        """Id or ids of a row, and when it was changed last."""
        return ("", 0) if self.ids is None or self.changed is None else (self.ids[at], int(self.changed[at]))

    def of(self, at: int) -> str:
        """What all rows of its document at this start have in common; "": it has no id."""
        first = self.told(at)[0].partition(" ")[0]
        return self._top(int(self.start[at]), first)[1] if first else ""

    def _top(self, start: int, id: str) -> tuple[int, str]:
        key = start, id
        while key in self._above:
            key = self._above[key]
        return key


def with_said(raw: str | None, said: str) -> str:
    """What ``raw`` says of a value that is converted: what the file said, unless it tells more already.

    Args:
        raw: what it says now.
        said: the number and its unit.
    """
    return said if raw is None else f"{raw}; {said}" if _ALONE.fullmatch(raw) else raw
