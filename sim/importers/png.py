"""Greyscale PNG images, enough for Omniglot's: bit depth 1 to 8, no interlacing; sizes are known before decoding.

Source: W3C, Portable Network Graphics (PNG) Specification, third edition, 2025, sections 5 (chunks) and 9 (filters).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8

from metapulse.errors import DataError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
Predictor: TypeAlias = Callable[[int, int, int], int]  # (left, above, above left) → byte


def read_grey(data: bytes, label: str, side: int) -> UInt8[np.ndarray, "side side"]:
    """A square greyscale image, 0 black to 255 white.

    Args:
        data: the whole file.
        label: how messages call it.
        side: width and height that it must have.

    Raises:
        DataError: not a PNG, damaged, of another size, or of another kind.
    """
    try:
        header, packed = _chunks(data, label)
        width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
        if (width, height) != (side, side):
            raise DataError(f"{label}: {width} x {height} pixels; must be {side} x {side}")
        if colour != 0 or interlaced or depth not in (1, 2, 4, 8):
            raise DataError(f"{label}: colour type {colour}, {depth} bits; must be plain greyscale of 1 to 8 bits")
        stride = (side * depth + 7) // 8
        size = side * (stride + 1)
        raw = zlib.decompressobj().decompress(packed, size + 1)
        if len(raw) != size:
            raise DataError(f"{label}: {len(raw)} bytes of pixels; must be {size}")
    except (struct.error, zlib.error, IndexError) as error:
        raise DataError(f"{label}: damaged PNG ({error})") from None
    rows = _unfilter(np.frombuffer(raw, np.uint8).reshape(side, stride + 1), label)
    bits = np.unpackbits(rows, axis=1).reshape(side, -1, depth)[:, :side]  # (side, side, depth)
    value = bits @ (1 << np.arange(depth - 1, -1, -1))
    grey: np.ndarray = (value * (255 // ((1 << depth) - 1))).astype(np.uint8)
    return grey


def _chunks(data: bytes, label: str) -> tuple[bytes, bytes]:
    """The header's fields, and the compressed pixels; every chunk's checksum is checked."""
    if not data.startswith(SIGNATURE):
        raise DataError(f"{label}: not a PNG")
    at, header, packed = len(SIGNATURE), b"", []
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        if zlib.crc32(kind + body) != checksum:
            raise DataError(f"{label}: damaged PNG (checksum of {kind.decode('latin-1')!r})")
        if kind == b"IHDR":
            header = body
        elif kind == b"IDAT":
            packed.append(body)
        elif kind == b"IEND":
            return header, b"".join(packed)
        at += 12 + length
    raise DataError(f"{label}: damaged PNG (it ends too early)")


def _unfilter(lines: UInt8[np.ndarray, "h w1"], label: str) -> UInt8[np.ndarray, "h w"]:
    """Undo the filter of each line (its first byte); a pixel is at most one byte, so the left byte is one away."""
    out = np.zeros((len(lines), lines.shape[1] - 1), np.uint8)
    above = np.zeros(lines.shape[1] - 1, np.int64)
    for y, line in enumerate(lines.astype(np.int64)):
        kind, row = int(line[0]), line[1:].copy()
        if kind == 1:
            row = np.cumsum(row)
        elif kind == 2:
            row += above
        elif kind == 3:
            _each(row, above, lambda a, b, c: (a + b) // 2)
        elif kind == 4:
            _each(row, above, _paeth)
        elif kind != 0:
            raise DataError(f"{label}: damaged PNG (filter {kind} in line {y})")
        above = row & 255
        out[y] = above
    return out


def _each(row: np.ndarray, above: np.ndarray, predict: Predictor) -> None:
    """Add to each byte what is predicted from left, above and above left, from left to right, in place."""
    left = corner = 0
    for x in range(len(row)):
        left = (int(row[x]) + predict(left, int(above[x]), corner)) & 255
        corner, row[x] = int(above[x]), left


def _paeth(left: int, above: int, corner: int) -> int:
    estimate = left + above - corner
    a, b, c = abs(estimate - left), abs(estimate - above), abs(estimate - corner)
    if a <= b and a <= c:
        return left
    return above if b <= c else corner
