"""Many tests at once: Holm's correction, and families inside families."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float64
from scipy.stats import false_discovery_control


def holm(p: Float64[np.ndarray, " tests"]) -> Float64[np.ndarray, " tests"]:
    """Corrected p: with the i-th smallest, max over j ≤ i of (m − j + 1) p_(j), at most 1.

    Args:
        p: one per test, m ≥ 1 of them.

    Returns:
        In the order given. Calling those ≤ α wrongly rejects any true hypothesis with probability ≤ α.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    order = np.argsort(p)
    rising = np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order])
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(rising, 1.0)
    return corrected


def simes(p: Float64[np.ndarray, " tests"]) -> float:
    """One p for "none of these is different": min_i m p_(i) / i.

    A difference in all m costs nothing, a difference in one of them a factor m.

    Args:
        p: one per test, positively dependent as questions to the same runs are.

    Source: Simes 1986, "An improved Bonferroni procedure for multiple tests of significance".
    """
    return float(false_discovery_control(p).min())


def nested_corrections(
    p: Float64[np.ndarray, " tests"], methods: Sequence[str], levels: Sequence[Sequence[Hashable]]
) -> Float64[np.ndarray, " tests"]:
    """Correct for the methods at every level of a hierarchy: on a question, on its data set, on all data sets.

    At a level, the tests of a method within one family become one (Simes), and the methods of that family are corrected
    by Holm. A test's p is the largest on its way up: nothing is called different on a question unless the method
    differs somewhere on the data set, and somewhere at all.

    Args:
        p: one per test.
        methods: the method of each test.
        levels: for every level, the family of each test.

    Source: after Meinshausen 2008, "Hierarchical testing of variable importance".
    """
    names, corrected = np.array(methods), np.zeros_like(p)
    for level in levels:
        numbers = {family: i for i, family in enumerate(dict.fromkeys(level))}
        families = np.array([numbers[family] for family in level])
        for family in numbers.values():
            inside = families == family
            present = np.unique(names[inside])
            adjusted = holm(np.array([simes(p[inside & (names == name)]) for name in present]))
            for name, value in zip(present, adjusted, strict=True):
                mine = inside & (names == name)
                corrected[mine] = np.maximum(corrected[mine], value)
    return corrected
