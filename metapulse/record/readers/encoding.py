"""Which encoding a text is in, by its first bytes."""

from __future__ import annotations

import codecs

HEAD = 65_536  # bytes of a file that it may be judged by
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def _windows(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("cp1252", errors="replace"), error.end


codecs.register_error("metapulse-windows", _windows)


def on_damage(head: bytes) -> str:
    """What becomes of bytes that do not fit: U+FFFD, or letters of Windows-1252 where the beginning is plain ASCII."""
    return "metapulse-windows" if len(head) >= HEAD and head.isascii() and b"\0" not in head else "replace"


def encoding(head: bytes) -> str:
    """Encoding of a text that begins so: by its byte order mark, else UTF-8 if it can be that, else Windows-1252."""
    if head[:2] in _UTF16:
        return "utf-16"
    if head.startswith(codecs.BOM_UTF8):  # and nothing else, whatever byte is damaged
        return "utf-8-sig"
    if head[1:2] == b"\0" and head[:1] != b"\0":
        return "utf-16-le"
    try:
        head[: len(head) - 4 if len(head) >= HEAD else None].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return "utf-8-sig" if len(head) - error.start < 4 else "cp1252"
    return "utf-8-sig"
