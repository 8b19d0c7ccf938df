"""Few cases that put every value of every factor beside every value of every other: covering arrays of strength two.

A law over factors a × b × c is rarely broken by one triple alone; a wrong value, or two that do not go together, is
what breaks it (Kuhn, Wallace and Gallo 2004, Software Fault Interactions, IEEE TSE 30(6)).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import TypeVar

from tests import thorough

T = TypeVar("T")


def pairwise(*factors: Sequence[T]) -> list[tuple[T, ...]]:
    """Cases in which each two values of two factors meet at least once; the same list on every machine.

    Every case begins with a pair that has not been seen, and takes from each other factor the value with which most
    new pairs are made; of equals the one that has been taken least. A thorough run has all combinations.
    """
    if thorough.THOROUGH:
        return list(product(*factors))
    unseen = {
        (i, a, j, b)
        for i, j in combinations(range(len(factors)), 2)
        for a, b in product(range(len(factors[i])), range(len(factors[j])))
    }
    taken = [[0] * len(values) for values in factors]
    rows: list[tuple[T, ...]] = []
    while unseen:
        i, a, j, b = min(unseen)
        row = {i: a, j: b}
        for k in sorted(set(range(len(factors))) - {i, j}, key=lambda k: -len(factors[k])):
            row[k] = min(range(len(factors[k])), key=lambda v, k=k: (-_new(unseen, row, k, v), taken[k][v], v))
        unseen -= {(p, row[p], q, row[q]) for p, q in combinations(sorted(row), 2)}
        for k, v in row.items():
            taken[k][v] += 1
        rows.append(tuple(values[row[k]] for k, values in enumerate(factors)))
    return rows


def _new(unseen: set[tuple[int, int, int, int]], row: dict[int, int], factor: int, value: int) -> int:
    """How many pairs a value would make that have not been seen."""
    pairs = ((p, v, factor, value) if p < factor else (factor, value, p, v) for p, v in row.items())
    return sum(pair in unseen for pair in pairs)
