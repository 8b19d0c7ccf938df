"""What a pilot says of seeds and people: variances, closed forms, a planted difference found as promised."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.sim.lab.power import MOST, WANTED, needed, power_plans
from metapulse.sim.lab.statistics.crossed import (
    Components,
    components,
    crossed_p_value,
    detectable,
    errors,
    found_with_power,
)


def drawn(rng, of, seeds, people, mean=0.0):
    """μ + person + seed + rest."""
    person, seed = rng.normal(size=people), rng.normal(size=(seeds, 1))
    rest = rng.normal(size=(seeds, people))
    return mean + of.person**0.5 * person + of.seed**0.5 * seed + of.rest**0.5 * rest


def test_variances_by_hand():
    """Rows 0, 0 and 1, 3: rest ± ½ each, so 1; people's means ½ and 3/2 (variance ½), seeds' 0 and 2 (variance 2)."""
    assert components(np.array([[0.0, 0.0], [1.0, 3.0]])) == pytest.approx(Components(0.0, 1.5, 1.0))


def test_variances_are_right_in_the_mean():
    truth, rng = Components(4.0, 1.0, 2.0), np.random.default_rng(0)
    found = [components(drawn(rng, truth, 12, 20)) for _ in range(400)]
    for name in ("person", "seed", "rest"):
        values = [getattr(one, name) for one in found]
        error = np.std(values) / len(values) ** 0.5
        assert abs(np.mean(values) - getattr(truth, name)) < 4 * error


@given(seed=st.integers(0, 10_000), seeds=st.integers(2, 9), people=st.integers(2, 9))
def test_of_the_pilots_own_size_it_is_what_the_pilot_finds(seed, seeds, people):
    """Where no variance had to be put at 0: errors of its components are the errors themselves."""
    values = drawn(np.random.default_rng(seed), Components(4.0, 1.0, 0.1), seeds, people)
    of = components(values)
    if of.person > 0 and of.seed > 0:
        for mine, theirs in zip(of.errors(seeds, people), errors(values), strict=True):
            assert mine == pytest.approx(theirs)
        assert found_with_power(of.errors(seeds, people), 0.01) == pytest.approx(detectable(values, 0.01))


@given(least=st.integers(2, MOST))
def test_the_least_number_is_found(least):
    assert needed(lambda n: 1.0 if n < least else 0.5, 0.6) == least


def test_where_no_number_helps_there_is_none():
    assert needed(lambda n: 0.5, 0.1) is None


@pytest.mark.parametrize("of", [Components(0.0016, 0.0001, 0.0009), Components(0.0001, 0.0004, 0.0025)])
def test_a_difference_is_found_about_as_often_as_planned(of):
    """From the true variances. Three errors have to agree, so that 0.8 of each is a little less of all."""
    alpha, people, wanted = 0.05, 60, 0.02
    seeds = needed(lambda n: found_with_power(of.errors(n, people), alpha), wanted)
    rng = np.random.default_rng(1)
    tries = [crossed_p_value(drawn(rng, of, seeds, people, wanted)) <= alpha for _ in range(500)]
    assert 0.7 < np.mean(tries) < 0.92


def test_a_plan_is_of_the_median_method_and_says_where_seeds_do_not_help():
    rng, question = np.random.default_rng(2), ("watches", "new_user", 5)
    differences = {
        (question, name): drawn(rng, Components(0.04, 1e-6, 1e-6), 5, 12) for name in ("maml", "reptile", "anil")
    }
    differences |= {(("homes", "new_user", 1), "maml"): np.zeros((1, 12))}  # one seed is no pilot
    (plan,) = power_plans(differences, dict.fromkeys(differences, 0.05 / 3))
    assert (plan.dataset, plan.methods, plan.seeds, plan.people) == ("watches", 3, 5, 12)
    found = sorted(detectable(values, 0.05 / 3) for key, values in differences.items() if key[0] == question)
    assert plan.detectable == pytest.approx(found[1], rel=1e-3)
    assert plan.more_seeds == (None,) * len(WANTED)  # people differ by .2: more runs change nothing
    assert list(plan.more_people) == sorted(plan.more_people)
    assert plan.more_people[0] > 100
