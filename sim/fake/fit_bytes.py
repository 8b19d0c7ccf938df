"""FIT files from messages: what metapulse/record/readers/fit_walk.py takes apart, put together."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeAlias

from metapulse.record.readers.fit_walk import crc_of

ENUM, S8, U8, S16, U16, U32, U32Z, RAW = 0x00, 0x01, 0x02, 0x83, 0x84, 0x86, 0x8C, 0x0D
LAYOUTS = {ENUM: "B", S8: "b", U8: "B", S16: "h", U16: "H", U32: "I", U32Z: "I", RAW: "B"}
STAMP = 253  # the field of a message's time

#: Number of a field, its base type, its value: the whole number that is written.
Field: TypeAlias = tuple[int, int, int]


def definition(local: int, message: int, *fields: tuple[int, int] | tuple[int, int, int]) -> bytes:
    """What says how messages are laid out.

    Args:
        local: number by which the messages say that they are laid out so, 0 to 15.
        message: the global number.
        fields: (number, base type), or with how many values they have.
    """
    sizes = [(f[0], struct.calcsize(LAYOUTS[f[1]]) * (f[2] if len(f) > 2 else 1), f[1]) for f in fields]
    return struct.pack("<BBBHB", 0x40 | local, 0, 0, message, len(sizes)) + b"".join(map(bytes, sizes))


def fit_file(*records: bytes, crc: bool = False) -> bytes:
    """Records below a header of 12 bytes.

    Args:
        records: definitions and messages.
        crc: whether the CRC behind them is right; otherwise it is 0, as some devices write it.
    """
    body = b"".join(records)
    whole = struct.pack("<BBHI4s", 12, 0x10, 2132, len(body), b".FIT") + body
    return whole + struct.pack("<H", crc_of(whole) if crc else 0)


def message_records(messages: Sequence[tuple[int, Sequence[Field]]]) -> list[bytes]:
    """Messages as (global number, fields), each below its definition where the one before is laid out otherwise."""
    found: list[bytes] = []
    laid_out = b""
    for message, fields in messages:
        layout = definition(0, message, *((number, kind) for number, kind, _ in fields))
        if layout != laid_out:
            found.append(layout)
            laid_out = layout
        found.append(struct.pack("<B" + "".join(LAYOUTS[kind] for _, kind, _ in fields), 0, *(f[2] for f in fields)))
    return found
