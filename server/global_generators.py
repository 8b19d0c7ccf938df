"""Python's and NumPy's global generators, which other code draws from, at addresses of ours."""

from __future__ import annotations

import random

import numpy as np

from client.rng import generator


class AddressedGlobals:
    """Python's and NumPy's global generators, seeded by (seed, round) while a stock strategy draws from them."""

    def __init__(self, seed: int, round: int) -> None:
        self._seed = int(generator(seed, "stock", round).integers(2**32))

    def __enter__(self) -> None:
        self._kept = random.getstate(), np.random.get_state()  # noqa: NPY002
        random.seed(self._seed)
        np.random.seed(self._seed)  # noqa: NPY002

    def __exit__(self, *exc: object) -> None:
        random.setstate(self._kept[0])
        np.random.set_state(self._kept[1])  # noqa: NPY002
