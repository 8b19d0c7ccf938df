"""Ranks over data sets, against the worked example of Demšar 2006; the Gini coefficient."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from metapulse.sim.lab.statistics.fairness import gini
from metapulse.sim.lab.statistics.ranks import cliques, critical_difference, friedman, mean_ranks

#: Demšar 2006, table 6: AUC on 14 data sets of C4.5, with m, with cf, with both tuned.
C45 = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],  # printed alike, but ranked second and third
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_demsars_example():
    """Mean ranks 3.143, 2.000, 2.893, 1.964; χ² = 9.28; critical difference 1.25: nothing is told apart."""
    ranks = mean_ranks(C45)
    assert ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    chi = 12 * 14 / (4 * 5) * ((ranks**2).sum() - 4 * 5**2 / 4)
    assert chi == pytest.approx(9.28, abs=0.01)
    # Ties make every block's Σ ranks² smaller: one of 4 (4³ − 4), three of 2 (2³ − 2), over N k (k² − 1).
    ties = 1 - (60 + 3 * 6) / (14 * 4 * 15)
    assert friedman(C45) == pytest.approx(chi2.sf(chi / ties, 3))
    cd = critical_difference(4, 14)
    assert cd == pytest.approx(1.25, abs=0.005)
    assert cliques(np.sort(ranks), cd) == [(0, 3)]


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (7, 2.949), (10, 3.164)])
def test_critical_values_are_those_of_the_paper(methods, q):
    """Demšar 2006, table 5 (a), α = .05."""
    blocks = 10
    assert critical_difference(methods, blocks) == pytest.approx(
        q * (methods * (methods + 1) / (6 * blocks)) ** 0.5, abs=1e-3
    )


def test_methods_that_tie_everywhere_do_not_differ():
    assert friedman(np.ones((5, 4))) == 1.0
    assert mean_ranks(np.ones((2, 3))).tolist() == [2.0, 2.0, 2.0]


def test_cliques_are_maximal_and_may_overlap():
    ranks = np.array([1.0, 2.0, 3.5, 4.0, 9.0])
    assert cliques(ranks, 1.8) == [(0, 1), (1, 2), (2, 3)]
    assert cliques(ranks, 2.5) == [(0, 1), (1, 3)]
    assert cliques(ranks, 0.4) == []
    assert cliques(ranks, 100.0) == [(0, 4)]


def test_gini_by_hand():
    """Of 1, 2, 3, 4: mean absolute difference 1.25 over twice the mean 2.5."""
    assert gini(np.array([4.0, 1.0, 3.0, 2.0])) == pytest.approx(0.25)
    assert gini(np.array([0.0, 0.0, 0.0, 8.0])) == pytest.approx(0.75)
    assert gini(np.zeros(3)) == 0.0


@given(values=st.lists(st.floats(0.01, 100.0), min_size=1, max_size=20).map(np.array))
def test_gini_is_the_mean_absolute_difference_over_twice_the_mean(values):
    expected = np.abs(np.subtract.outer(values, values)).mean() / (2 * values.mean())
    assert gini(values) == pytest.approx(expected, abs=1e-9)
