"""Seeds that the first of them ask for: decided by variation alone, tests that keep their level, power as planned."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtr

from metapulse.errors import ConfigError
from metapulse.rng import generator
from metapulse.sim.lab.seeds import LEAST, SeedDecision, SeedPlan, affordable_seeds, decide, seed_words
from metapulse.sim.lab.statistics.crossed import (
    Components,
    crossed_p_value,
    errors,
    found_with_power,
    half_width,
)
from metapulse.sim.lab.statistics.families import holm
from tests.lab import SPEC, spec
from tests.points import World

QUESTION = ("data", "new_user", 5)
PEOPLE = 30
#: Standard deviations in points: of seeds almost alone, where an early stop does most harm; of runs of one method.
WORLDS = {"seeds alone": World(0.0, 1.0, 0.05), "A/A": World(0.0, 0.5, 2.0), "tie": World(1.0, 0.5, 2.0)}


def differences(world, attempt, methods, seeds, gain=0.0):
    scores = world.scores(generator(attempt, "pilot"), seeds, PEOPLE, methods + 1)
    scores[1] += gain
    return scores[1:] - scores[0]


def family(values, plan):
    """The decision of a pilot, as the lab makes it."""
    keys = {(QUESTION, f"m{i}"): one[: plan.first] for i, one in enumerate(values)}
    return decide(plan, keys, dict.fromkeys(keys, 0.05 / len(values)))


def concluded(world, attempt, methods, plan, gain=0.0):
    """Corrected p of every method with the seeds that the pilot asked for, and the decision."""
    values = differences(world, attempt, methods, plan.most, gain)
    decision = family(values, plan)
    return holm(np.array([crossed_p_value(one[: decision.seeds], decision.deciding) for one in values])), decision


def test_the_error_over_seeds_is_of_what_the_pilot_has_not_shown():
    """Means of four seeds 0, 2, 3, 7 around 3 have squares 9 + 1 + 0 + 16, of the first two around 1 they have 2."""
    values = np.array([[0.0, 0.0], [2.0, 2.0], [3.0, 3.0], [7.0, 7.0]])
    _, seeds, _ = errors(values, pilot=2)
    assert seeds.se == pytest.approx((12 / 4) ** 0.5)
    assert seeds.df == 2
    assert errors(values, pilot=0) == errors(values)
    assert len(errors(values, pilot=4)) == 1  # of the pilot alone there is no error over seeds
    assert crossed_p_value(values, pilot=4) == 1.0
    assert half_width(values, pilot=4) == float("inf")


@given(attempt=st.integers(0, 10_000), pilot=st.integers(2, 5))
def test_it_does_not_depend_on_what_the_decision_rests_on(attempt, pilot):
    """Stretch how the pilot's seeds differ from each other, their mean kept: neither mean nor error moves."""
    rng = generator(attempt, "stretch")
    values = rng.normal(size=(9, 4))
    other, middle = values.copy(), values[:pilot].mean(0)
    other[:pilot] = middle + rng.uniform(0.0, 9.0) * (values[:pilot] - middle)
    assert other.mean() == pytest.approx(values.mean())
    assert errors(other, pilot)[1] == pytest.approx(errors(values, pilot)[1])


@given(attempt=st.integers(0, 10_000), shift=st.floats(-5.0, 5.0), find=st.floats(0.3, 3.0))
def test_who_is_ahead_does_not_change_how_many_seeds_there_are(attempt, shift, find):
    plan = SeedPlan(5, 40, find)
    values = differences(WORLDS["A/A"], attempt, 3, 5)
    moved = values + shift * np.arange(3).reshape(3, 1, 1)
    found, other = family(values, plan), family(moved, plan)
    assert abs(found.seeds - other.seeds) <= 1  # by rounding, where a number is just enough
    assert found.beyond == other.beyond


@pytest.mark.parametrize(("name", "tries"), [("seeds alone", 1200), ("A/A", 400), ("tie", 400)])
@pytest.mark.parametrize("methods", [1, 3])
def test_of_methods_that_are_alike_one_is_called_different_in_five_per_cent_of_families(name, tries, methods):
    """A rate of 5 % has a standard deviation of 1.1 % in 400 tries; where seeds are all there is the level is exact."""
    plan = SeedPlan(5, 40, 1.0)
    wrong = [concluded(WORLDS[name], i, methods, plan)[0].min() <= 0.05 for i in range(tries)]
    assert np.mean(wrong) <= 0.05 + 2.5 * (0.05 * 0.95 / tries) ** 0.5


def test_the_test_over_seeds_is_exact_and_a_plain_one_is_not():
    """One stops where the variance came out small, and a plain t then takes it for what it was: 6 to 7 % for 5."""
    rng, tries, exact, plain = generator(0, "exact"), 20_000, 0, 0
    for values in rng.normal(size=(tries, 60, 1)):
        seeds = int(np.clip(np.ceil(10.0 * values[:3].var(ddof=1)), 5, 60))
        kept = values[:seeds]
        for pilot in (3, 0):
            ((se, df),) = errors(kept, pilot)
            wrong = 2.0 * float(stdtr(df, -abs(kept.mean()) / se)) <= 0.05
            exact, plain = exact + (wrong and pilot == 3), plain + (wrong and pilot == 0)
    sd = (0.05 * 0.95 / tries) ** 0.5
    assert exact / tries == pytest.approx(0.05, abs=3 * sd)
    assert plain / tries > 0.05 + 6 * sd


@pytest.mark.parametrize(("name", "methods"), [("A/A", 1), ("A/A", 3), ("seeds alone", 3)])
def test_a_gain_of_one_point_is_found_about_as_often_as_planned(name, methods):
    """.8 of families; the pilot's variances are themselves estimates, and three errors must agree."""
    plan = SeedPlan(5, 60, 1.0)
    told = [concluded(WORLDS[name], i, methods, plan, gain=1.0) for i in range(400)]
    assert np.mean([p[0] <= 0.05 for p, _ in told]) == pytest.approx(0.8, abs=0.08)
    assert {decision.limit for _, decision in told} <= {"", "most"}
    assert np.mean([decision.seeds for _, decision in told]) < 40  # fewer than the most there could be


def test_with_true_variances_the_number_is_the_least_that_finds_it():
    """A pilot so large that its variances are the true ones: the number is that of the closed form."""
    plan = SeedPlan(900, 4000, 0.1)
    truth = Components(0.0, 2.0, 0.0)
    rng = generator(0, "large")
    values = rng.normal(size=(900, 1)) * 2.0**0.5 + np.zeros((1, 6))
    seeds = decide(
        plan, {(QUESTION, "m"): values + 1e-9 * rng.normal(size=values.shape)}, {(QUESTION, "m"): 0.05}
    ).seeds
    wanted = next(n for n in range(902, 4000) if found_with_power(truth.errors(n, 6, 900), 0.05, 0.85) <= 0.1)
    assert seeds == pytest.approx(wanted, rel=0.15)


def test_where_people_are_what_limits_seeds_are_added_as_long_as_they_help():
    people = World(4.0, 0.5, 2.0)
    keys = {(QUESTION, "m"): differences(people, 0, 1, 5)[0]}
    decision = decide(SeedPlan(5, 400, 0.5), keys, {(QUESTION, "m"): 0.05})
    assert decision.beyond == (QUESTION,)
    assert 5 + LEAST <= decision.seeds < 30
    assert any("it takes more people" in sentence for sentence in seed_words(decision, 0.5))


def test_limits_are_told_and_a_budget_is_kept():
    values, plan = differences(WORLDS["seeds alone"], 0, 1, 5), SeedPlan(5, 10, 0.2)
    keys, levels = {(QUESTION, "m"): values[0]}, {(QUESTION, "m"): 0.05}
    decision = decide(plan, keys, levels)
    assert (decision.seeds, decision.limit, decision.deciding) == (10, "most", 5)
    assert decision.wanted > 10
    assert f"{decision.wanted} seeds were wanted" in seed_words(decision, 0.2)[-1]
    eight, six = (decide(plan, keys, levels, affordable) for affordable in (8, 6))
    assert (eight.seeds, eight.limit, eight.deciding) == (8, "budget", 5)
    assert (six.seeds, six.limit, six.deciding) == (5, "budget", 0)  # the clock decided, not the variation
    nothing = decide(plan, {}, {})
    assert (nothing.seeds, nothing.wanted, seed_words(nothing, 0.2)) == (5, None, ())
    assert affordable_seeds(replace(plan, budget_minutes=2.0), 50.0, 1) == 12  # 10 s a seed
    assert affordable_seeds(replace(plan, budget_minutes=2.0), 50.0, 2) == 24
    assert affordable_seeds(plan, 50.0, 1) is None


GROWING = "seeds = { first = 3, most = 6, find = 50.0 }"


def test_a_specification_has_a_list_of_seeds_or_a_plan(tmp_path):
    asked = spec(tmp_path, SPEC.replace("seeds = [0, 1]", GROWING))
    assert (asked.seeds, asked.growth) == ((0, 1, 2), SeedPlan(3, 6, 50.0))
    assert (asked.tuning_seeds, asked.grown(5).tuning_seeds) == ((6, 7, 8), (6, 7, 8))  # however many there will be
    assert spec(tmp_path).growth is None


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("{ frst = 3 }", "compare.seeds.frst = 3: unknown key; did you mean 'first'?"),
        ("{ first = 2 }", "compare.seeds.first = 2: must be ≥ 3 and ≤ 1000"),
        ("{ first = 9, most = 10 }", "compare.seeds.most = 10: must be ≥ first + 2 = 11"),
        ("{ find = 0.0 }", "compare.seeds.find = 0.0: must be > 0"),
        ("{ budget_minutes = -1.0 }", "compare.seeds.budget_minutes = -1.0: must be ≥ 0"),
    ],
)
def test_mistakes_say_where(tmp_path, plan, message):
    with pytest.raises(ConfigError) as caught:
        spec(tmp_path, SPEC.replace("[0, 1]", plan))
    assert str(caught.value).startswith(message)


def test_a_decision_says_whether_variation_decided():
    assert SeedDecision(5, 9, 9).deciding == 5
    assert SeedDecision(5, 5, None).deciding == 0
