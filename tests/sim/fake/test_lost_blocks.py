"""A block that a file of JSON has lost makes no row another, where the file shows that something is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metapulse.record.schema import Row
from metapulse.sim.fake.formats import formats
from tests.sim.fake.test_damage import NAMES, UNREAD, ZONE, is_json, read, sound_json

BLOCKS = 40  # of each size
SIZES = ((2, 9), (9, 60), (60, 400), (400, 4000))


def is_marked(row: Row) -> bool:
    """Whether it says that its unit is not known."""
    return row.unit in UNREAD or "unit_assumed" in row.quality


@pytest.mark.parametrize("name", NAMES)
def test_no_lost_block_makes_a_row_another(name: str, tmp_path: Path) -> None:
    options, random = formats()[name].options(ZONE), np.random.default_rng(len(name))
    for file, text, whole in sound_json(name, tmp_path):
        for least, most in SIZES:
            for _ in range(BLOCKS):
                start, length = int(random.integers(len(text))), int(random.integers(least, most))
                damaged = text[:start] + text[start + length :]
                left = [] if is_json(damaged) else read(file, damaged.encode(), options) or []
                others = [row for row in left if row._replace(device=None) not in whole and not is_marked(row)]
                assert not others, (file, text[max(0, start - 60) : start], text[start + length :][:60], others[:2])
