"""FIT files as their bytes are: one or several after another, of any length, damaged or cut off; message by message.

The header's length is believed where a CRC, another file or the end of the bytes follows; otherwise records are read
as far as they go. Where bytes are no record, the next is looked for whose time fits, so that a damaged place costs
what was in it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

SEARCH = 2**16  # bytes of a file that are looked through for records after damage
ABSOLUTE = 0x10000000  # seconds; what is below counts from when the device was switched on
NEAR, FAR = 86_400, 30 * 86_400  # seconds between two stamps of one file
AROUND = 512  # bytes after a record whose time is far off, in which others may show that it is none
CHAIN = 4  # records after one another that show where records are
TIMESTAMP = 253
NO_STAMP = 2**32 - 1
BEGIN, DEFINITION, DATA, DAMAGE, UNSOUND, END = range(6)


class Piece(NamedTuple):
    """A part of the bytes: what they are, and of which message."""

    kind: int
    bytes: bytes = b""
    message: int = -1  # its global number


class Shape(NamedTuple):
    """What a definition says of its messages: the global number, the length of one, and where its time is."""

    message: int
    length: int
    stamp: int  # offset of the timestamp; 0: it has none
    endian: str


@dataclass
class Walk:
    """The records of one FIT file among the bytes.

    Args:
        data: all bytes.
        begin: where the file's header is.
        search: bytes that may still be looked through.
    """

    data: bytes
    begin: int
    search: int = SEARCH
    shapes: dict[int, Shape] = field(default_factory=dict)
    stamp: int = 0
    at: int = 0
    sound: bool = False  # whether the CRC at the end is that of the bytes

    def pieces(self) -> Iterator[Piece]:
        """Every record; afterwards ``at`` is where the file ends."""
        size = self.data[self.begin]
        self.at = self.begin + (size if 12 <= size <= 64 else 12)
        length = int.from_bytes(self.data[self.begin + 4 : self.begin + 8], "little")
        end = self.at + length if 0 < length <= len(self.data) - self.at else 0
        while self.at < len(self.data):
            if (self.at == end or not end) and self._closed(self.at == end):
                return
            end = 0 if self.at == end else end
            stop = end or len(self.data)
            piece, after = self._record(self.at)
            if piece is None or after > stop or self._is_astray(piece, stop):
                after = self._found(stop)
                yield Piece(DAMAGE, self.data[self.at : after])
            else:
                self._learn(piece)
                yield piece
            self.at = after

    def _closed(self, told: bool) -> bool:
        """Whether the file ends here: before another, at the end of the bytes, or where the header told."""
        data, at = self.data, self.at
        if data[at + 8 : at + 12] == b".FIT" and 12 <= data[at] <= 64:
            return True
        crc = data[at : at + 2]
        sound = told and len(crc) == 2 and crc == struct.pack("<H", crc_of(data[self.begin : at]))
        if (
            sound
            or len(data) - at <= 2
            or data[at + 10 : at + 14] == b".FIT"
            or (told and not self._chain(at, len(data)))
        ):
            self.at += len(crc)
            self.sound = sound
            return True
        return False

    def _record(self, at: int) -> tuple[Piece | None, int]:
        """The record at a place and where it ends; None if there is none."""
        data, first = self.data, self.data[at]
        if first & 0x80 or not first & 0x40:
            shape = self.shapes.get((first >> 5) & 3 if first & 0x80 else first & 15)
            after = at + 1 + shape.length if shape else at
            if shape is None or after > len(data):
                return None, after
            return Piece(DATA, data[at:after], shape.message), after
        after = at + 6 + 3 * (data[at + 5] if at + 6 <= len(data) else 0)
        if first & 0x20:
            after += 1 + 3 * (data[after] if after < len(data) else 0)
        fields = data[at + 8 : at + 6 + 3 * data[at + 5] : 3] if at + 6 <= len(data) else b""
        if after > len(data) or data[at + 2] > 1 or any(kind & 0x60 or kind & 31 > 16 for kind in fields):
            return None, after
        message = int.from_bytes(data[at + 3 : at + 5], "big" if data[at + 2] else "little")
        return Piece(DEFINITION, data[at:after], message), after

    def _learn(self, piece: Piece) -> None:
        if piece.kind == DATA:
            self.stamp = self._time(piece) or self.stamp
            return
        raw, length, stamp = piece.bytes, 0, 0
        for place in range(6, 6 + 3 * raw[5], 3):
            if raw[place] == TIMESTAMP and raw[place + 1] == 4:
                stamp = 1 + length
            length += raw[place + 1]
        developer = range(7 + 3 * raw[5], len(raw), 3)
        length += sum(raw[place + 1] for place in developer)
        self.shapes[raw[0] & 15] = Shape(piece.message, length, stamp, ">" if raw[2] else "<")

    def _shape(self, piece: Piece) -> Shape:
        first = piece.bytes[0]
        return self.shapes[(first >> 5) & 3 if first & 0x80 else first & 15]

    def _time(self, piece: Piece) -> int:
        """Seconds of its timestamp; 0 if it has none."""
        shape = self._shape(piece)
        found = struct.unpack_from(f"{shape.endian}I", piece.bytes, shape.stamp)[0] if shape.stamp else NO_STAMP
        return 0 if found == NO_STAMP else int(found)

    def _is_astray(self, piece: Piece, stop: int) -> bool:
        """Whether a record whose time is odd is none: others follow, out of step with it, whose time fits."""
        if piece.kind != DATA or not self.stamp or not self._shape(piece).stamp:
            return False
        now = self._time(piece)
        if now and abs(now - self.stamp) <= FAR and not piece.bytes[0] & 0x80:
            return False
        around = min(stop, self.at + AROUND)
        found = self._found(around)
        return found < around and found != self.at + len(piece.bytes)

    def _chain(self, at: int, stop: int) -> bool:
        """Whether records follow one another from here, at about the time of the last; definitions among them hold.

        Where no time is known yet, two of them have to fit each other, or one if the records go on to the end.
        """
        known = self.shapes
        self.shapes = dict(known)
        try:
            times, needed = list[int](), 1 if self.stamp else 2
            for _ in range(CHAIN):
                if at >= stop:
                    needed = 1
                    break
                piece, after = self._record(at)
                if piece is None or after > stop:
                    return False
                if piece.kind == DEFINITION:
                    self._learn(piece)
                elif self._shape(piece).stamp:
                    now = self._time(piece)
                    around = self.stamp or next(iter(times), max(now, ABSOLUTE))
                    if piece.bytes[0] & 0x80 or (now and abs(now - around) > NEAR):
                        return False
                    times += [now] if now else []
                at = after
            return len(times) >= needed
        finally:
            self.shapes = known

    def _found(self, stop: int) -> int:
        """Where records go on; ``stop`` if they do not."""
        for at in range(self.at + 1, min(stop, self.at + self.search)):
            self.search -= 1
            if self._chain(at, stop):
                return at
        return stop


def pieces(data: bytes) -> Iterator[Piece]:
    """Everything in the bytes, in order."""
    at, search = 0, SEARCH
    while (found := data.find(b".FIT", at + 8)) >= 0:
        if found - 8 > at:
            yield Piece(END, data[at : found - 8])
        yield Piece(BEGIN)
        walk = Walk(data, found - 8, search)
        yield from walk.pieces()
        if not walk.sound:
            yield Piece(UNSOUND)
        at, search = max(walk.at, found + 4), walk.search
    if at < len(data):
        yield Piece(END, data[at:])


def crc_of(data: bytes) -> int:
    """CRC-16 of ARC, as at the end of every FIT file."""
    crc = 0
    for byte in data:
        crc = crc >> 8 ^ CRC[(crc ^ byte) & 0xFF]
    return crc


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
        table.append(value)
    return tuple(table)


CRC = _crc_table()
