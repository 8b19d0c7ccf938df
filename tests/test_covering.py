"""Covering arrays: every two values of two factors meet, in not many more cases than the two longest factors need."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from tests import thorough
from tests.covering import pairwise


@pytest.mark.parametrize("sizes", [(1,), (3, 1), (4, 5), (3, 3, 3), (13, 44, 3), (2,) * 8])
def test_each_two_values_meet(sizes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thorough, "THOROUGH", False)
    rows = pairwise(*(range(n) for n in sizes))
    for i, j in combinations(range(len(sizes)), 2):
        assert {(row[i], row[j]) for row in rows} == set(product(range(sizes[i]), range(sizes[j])))
    assert len(set(rows)) == len(rows)
    longest = sorted(sizes)[-2:] if len(sizes) > 1 else [0]
    assert len(rows) <= 2 * longest[0] * longest[-1] + 4
    assert rows == pairwise(*(range(n) for n in sizes))


def test_a_thorough_run_has_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thorough, "THOROUGH", True)
    assert pairwise("ab", "cd", "ef") == list(product("ab", "cd", "ef"))
