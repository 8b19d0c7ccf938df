"""Small greyscale images, read by Pillow (an extra: ``pip install 'metapulse[images]'``) and made smaller."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Float64, UInt8

from metapulse.errors import DataError


def read_grey(data: bytes, label: str, side: int) -> UInt8[np.ndarray, "side side"]:
    """A square greyscale image, 0 black to 255 white.

    Args:
        data: the whole file, a PNG; its size is known before it is decoded.
        label: how messages call it.
        side: width and height that it must have.

    Raises:
        DataError: not a PNG, damaged, of another size, or of another kind; or Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise DataError(f"{label}: reading images needs Pillow: pip install 'metapulse[images]'") from None
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.size != (side, side):
                raise DataError(f"{label}: {image.width} x {image.height} pixels; must be {side} x {side}")
            if image.mode not in ("1", "L"):
                raise DataError(f"{label}: colour mode {image.mode}; must be greyscale of 1 to 8 bits")
            return np.asarray(image.convert("L"))
    except (OSError, SyntaxError, ValueError):  # all three are Pillow's, of damaged files
        raise DataError(f"{label}: damaged, or no PNG") from None


def shrink(images: Float64[np.ndarray, "n side side"], small: int) -> UInt8[np.ndarray, "n small small"]:
    """Each new pixel is the mean over the area it covers, edges counted in part; rounded to 0 … 255."""
    side = images.shape[1]
    edge = np.arange(small + 1) * (side / small)
    cell = np.arange(side)
    overlap = np.minimum(edge[1:, None], cell + 1) - np.maximum(edge[:-1, None], cell)  # (small, side)
    weight = overlap.clip(0) * (small / side)
    mean = weight @ images @ weight.T
    rounded: np.ndarray = mean.round().clip(0, 255).astype(np.uint8)
    return rounded
