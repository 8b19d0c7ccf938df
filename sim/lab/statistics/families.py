"""Many tests at once: Holm's correction, Hommel's, and one inside the other."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float64


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
    return float((len(p) * np.sort(p) / np.arange(1, len(p) + 1)).min())


def hommel(p: Float64[np.ndarray, " tests"]) -> Float64[np.ndarray, " tests"]:
    """Corrected p: of every group of tests that a test is in, the largest p by Simes.

    A group of s tests with test i has the largest such p where the others are the s − 1 largest there are. Where all
    tests agree nothing is paid; a test that is small by itself pays at most the factor m.

    Args:
        p: one per test, m ≥ 1 of them, positively dependent as for ``simes``.

    Returns:
        In the order given. Calling those ≤ α wrongly rejects any true hypothesis with probability ≤ α.

    Source: Hommel 1988, "A stagewise rejective multiple test procedure based on a modified Bonferroni test"; Marcus,
        Peritz and Gabriel 1976, "On closed testing procedures with special reference to ordered analysis of variance".
    """
    corrected = np.empty_like(p)
    for i in range(len(p)):
        others = np.sort(np.delete(p, i))[::-1]
        corrected[i] = max(simes(np.append(others[:s], p[i])) for s in range(len(p)))
    return corrected


def grouped_corrections(p: Float64[np.ndarray, " tests"], groups: Sequence[Hashable]) -> Float64[np.ndarray, " tests"]:
    """Correct tests that come in groups: Hommel within a group, Holm over the groups.

    Of K groups each is tested at level α/K. A group all of whose tests are rejected leaves its share to the others,
    which are then tested at α/(K − 1), and so on. With h the p that are corrected within their group and M_(j) the j-th
    smallest of the groups' largest h, a test's p is min over k of max((K − k) h, A_k), where A_k, the level at which k
    groups are done, is max over j ≤ k of (K − j + 1) M_(j).

    Args:
        p: one per test.
        groups: the group of each test; tests of a group are positively dependent, those of different groups may
            depend on each other in any way.

    Returns:
        In the order given. Calling those ≤ α rejects any true hypothesis with probability ≤ α, whichever others are
        false (strong control): when all false ones are rejected, the R groups that still have a true one are tested at
        α/R each.

    Source: Goeman and Solari 2010, "The sequential rejection principle of familywise error control", theorem 1.
    """
    within = np.empty_like(p)
    numbers = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    mine = np.array([numbers[group] for group in groups])
    for i in range(len(numbers)):
        within[mine == i] = hommel(p[mine == i])
    largest = np.sort([within[mine == i].max() for i in range(len(numbers))])
    left = np.arange(len(numbers), 0, -1)
    done = np.append(0.0, np.maximum.accumulate(left * largest)[:-1])  # the level at which 0, 1, … groups are done
    corrected: np.ndarray = np.maximum(done, left * within[:, None]).min(1).clip(max=1.0)
    return corrected
