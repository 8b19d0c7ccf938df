"""Omniglot's images: ``images_{background,evaluation}/Alphabet/characterNN/IDID_YY.png``, YY = drawer.

The two small background sets (``images_background_small1`` and ``…small2``) stand in for them where they are all there
is. Images of 105 × 105 become 28 × 28 by averaging areas; ink is 255, paper 0. Pillow reads them (an extra:
``pip install 'metapulse[images]'``).

Source: Lake, Salakhutdinov, Tenenbaum 2015, Science 350:1332.
"""

from __future__ import annotations

import io
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8

from metapulse.errors import DataError
from metapulse.sim.importers.files import FileTree, Progress, open_tree, silent

SIDE, SMALL = 105, 28
DRAWERS = 20
MAX_IMAGE = 64 << 10
SUBSETS = {"images_background": 1, "images_evaluation": 2}
SMALL_SUBSETS = {"images_background_small1": 1, "images_background_small2": 2}
_NAME = re.compile(
    r"(?:^|.*/)(?P<subset>images_\w+)/(?P<alphabet>[^/]+)/(?P<char>character\d+)/\w+_(?P<drawer>\d+)\.png"
)


def read_omniglot(path: Path, progress: Progress = silent) -> dict[str, Any]:
    """A folder or zip with the image sets, unpacked or as zips themselves.

    Args:
        path: the folder or zip, or one of the sets alone.
        progress: called with (characters done, characters in all).

    Returns:
        Arrays of the compact file: x (n, 28, 28) uint8, y, alphabet, drawer 1 to 20, subset (1 background,
        2 evaluation), class_names, alphabet_names.

    Raises:
        DataError: no image there, a character without its 20 drawings, or an image that cannot be used.
    """
    with ExitStack() as stack:
        found = _characters(stack, stack.enter_context(open_tree(path)))
        chosen = SUBSETS if any(subset in SUBSETS for subset, _, _ in found) else SMALL_SUBSETS
        keys = sorted((k for k in found if k[0] in chosen), key=lambda k: (chosen[k[0]], k[1], k[2]))
        if not keys:
            raise DataError(f"{path}: holds no image like images_background/Greek/character01/0394_01.png")
        names = sorted({f"{alphabet}/{character}" for _, alphabet, character in keys})
        alphabets = sorted({alphabet for _, alphabet, _ in keys})
        images = np.empty((len(keys) * DRAWERS, SMALL, SMALL), np.uint8)
        for number, key in enumerate(keys):
            images[number * DRAWERS : (number + 1) * DRAWERS] = _drawings(found[key], "/".join(key))
            progress(number + 1, len(keys))
    repeat = [(names.index(f"{a}/{c}"), alphabets.index(a), chosen[s]) for s, a, c in keys]
    y, alphabet, subset = (np.repeat(np.array(column), DRAWERS) for column in zip(*repeat, strict=True))
    return {
        "x": images,
        "y": y.astype(np.int64),
        "alphabet": alphabet.astype(np.int8),
        "drawer": np.tile(np.arange(1, DRAWERS + 1, dtype=np.int8), len(keys)),
        "subset": subset.astype(np.int8),
        "class_names": np.array(names),
        "alphabet_names": np.array(alphabets),
    }


_Found = dict[tuple[str, str, str], dict[int, tuple[FileTree, str]]]


def _characters(stack: ExitStack, tree: FileTree) -> _Found:
    """(subset, alphabet, character) → drawer → where its image is."""
    trees = [tree]
    for name in tree.match(".zip"):
        stem = name.rsplit("/", 1)[-1].removesuffix(".zip")
        if stem in SUBSETS or stem in SMALL_SUBSETS:
            trees.append(stack.enter_context(tree.inner(name)))
    # One set given alone: its own name is the folder's or the zip's, not part of the paths inside.
    own = re.search(r"(images_\w+?)(?:\.zip)?$", tree.label)
    found: _Found = {}
    for where in trees:
        for name in where.match(".png"):
            match = _NAME.fullmatch(name) or (own and _NAME.fullmatch(f"{own[1]}/{name}"))
            if match:
                key = (match["subset"], match["alphabet"], match["char"])
                found.setdefault(key, {})[int(match["drawer"])] = (where, name)
    return found


def _drawings(found: dict[int, tuple[FileTree, str]], label: str) -> UInt8[np.ndarray, "20 28 28"]:
    """The 20 drawings of one character, by drawer."""
    missing = sorted(set(range(1, DRAWERS + 1)) - set(found))
    if missing:
        raise DataError(
            f"{label}: lacks the drawing of drawer {missing[0]}; every character has drawers 1 to {DRAWERS}"
        )
    paper = [read_grey(tree.read(name, MAX_IMAGE), name, SIDE) for _, (tree, name) in sorted(found.items())][:DRAWERS]
    return shrink(255.0 - np.stack(paper), SMALL)


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
