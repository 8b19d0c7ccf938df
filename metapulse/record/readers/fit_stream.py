"""Messages of a FIT file: whole records, decoded by fitdecode. What it cannot decode is one message less."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from metapulse.errors import DataError
from metapulse.record.readers.base import Context
from metapulse.record.readers.fit_walk import BEGIN, DAMAGE, DATA, DEFINITION, END, NO_STAMP, UNSOUND, Piece, pieces

MOST = 2**27  # bytes of a FIT file; a day of a watch has 10⁵, a long ride 10⁷
HEADER = struct.pack("<BBHI4sH", 14, 0x20, 2132, NO_STAMP, b".FIT", 0)  # before the records that fitdecode is given


class Message(NamedTuple):
    """A data message.

    Args:
        row: its number in the file, from 0.
        name: as in the profile; "unknown_140" if it is not there.
        values: field → value in the profile's unit.
        raw: field → the number as it is written.
    """

    row: int
    name: str
    values: dict[str, Any]
    raw: dict[str, Any]


class _Decoder:
    """fitdecode, given one record at a time; begun anew, with the definitions so far, after one that it refuses."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, bytes], bytes] = {}
        self.begin()

    def begin(self) -> None:
        import fitdecode

        self.left = HEADER
        self.frames = iter(
            fitdecode.FitReader(  # type: ignore[no-untyped-call]
                self,
                processor=None,
                check_crc=fitdecode.CrcCheck.DISABLED,
                error_handling=fitdecode.ErrorHandling.IGNORE,
            )
        )
        next(self.frames)

    def read(self, size: int) -> bytes:
        taken, self.left = self.left[:size], self.left[size:]
        return taken

    def frame(self, piece: Piece) -> Any:
        """The record as fitdecode has it; None if it refuses it."""
        if piece.kind == DEFINITION:
            self.known[piece.bytes[0] & 15, b""] = piece.bytes
        elif piece.message in (206, 207) and len(self.known) < 1000:  # developers' fields, described
            self.known[piece.message, piece.bytes] = piece.bytes
        try:
            self.left = piece.bytes
            return next(self.frames)
        except Exception:  # assertions, keys and types among them: of whatever is in a damaged record
            self.begin()
            for again in self.known.values():
                try:
                    self.left = again
                    next(self.frames)
                except Exception:
                    self.begin()
            return None


def messages(context: Context, only: Collection[int] = ()) -> Iterator[Message]:
    """Every data message of the file.

    Args:
        context: of the file.
        only: global numbers of the messages that are wanted; nothing is counted then.

    Raises:
        DataError: fitdecode is not installed.
    """
    try:
        import fitdecode  # noqa: F401
    except ImportError:
        name = context.file.name
        raise DataError(f"{name}: reading FIT needs fitdecode: pip install 'metapulse[record]'") from None
    with context.open() as stream:
        data = stream.read(MOST)
        if not only and stream.read(1):
            context.note(f"only the first {MOST >> 20} MiB of the file were read")
    decoder, row = _Decoder(), -1
    for piece in pieces(data):
        row += piece.kind in (DATA, DAMAGE)
        if piece.kind == BEGIN:
            decoder = _Decoder()
        elif piece.kind in (DAMAGE, UNSOUND, END):
            if not only:
                _count(context, piece)
        elif piece.kind == DEFINITION or not only or piece.message in only:
            if piece.kind == DATA and not only:
                context.seen()
            frame = decoder.frame(piece)
            if piece.kind == DATA and frame is not None:
                yield _message(row, frame)
            elif piece.kind == DATA and not only:
                context.skip("a message that cannot be decoded")


def _count(context: Context, piece: Piece) -> None:
    if piece.kind == DAMAGE:
        context.seen()
        context.skip("bytes that are no record, or one that is cut off")
    else:
        unsound = piece.kind == UNSOUND
        context.note("the CRC is wrong or missing" if unsound else "bytes outside of the length that the header gives")


def _message(row: int, frame: Any) -> Message:
    """Fields by name; those of developers by the name that they gave, behind the profile's own."""
    values: dict[str, Any] = {}
    raw: dict[str, Any] = {}
    for derived in (False, True):  # components of other fields, where the field itself is not there
        for each in frame.fields:
            own = each.field_def is not None and not each.field_def.is_dev
            if own is derived or each.value is None:
                continue
            name = str(each.name).strip().lower().replace(" ", "_")[:60]
            if name not in values:
                values[name], raw[name] = each.value, each.raw_value
    return Message(row, str(frame.name), values, raw)
