"""Comparisons whose answer is known: equals, a planted gain, a planted tie, what is missing."""

import json
from dataclasses import asdict

import numpy as np
import polars as pl
import pytest

from metapulse.rng import generator
from metapulse.sim.lab.compare import judge_methods
from metapulse.sim.lab.pairs import log_ratios
from metapulse.sim.lab.statistics.crossed import crossed_p_value, detectable
from metapulse.sim.lab.statistics.families import holm
from tests.sim.lab.results import Values, results

METHODS = ("base", "same", "good")


def world(people: int = 30, gain: float = 0.03, seed_sd: float = 0.004) -> Values:
    """Accuracies with effects of person, method × person, seed, and rest; ``good`` gains for every person."""

    def values(method, scenario, shots, step, seed):
        person = generator(0, f"person {scenario}").normal(0.0, 0.06, people)
        habit = generator(0, f"{method} {scenario}").normal(0.0, 0.01, people)
        luck = generator(seed, f"luck {method}").normal(0.0, seed_sd)
        rest = generator(seed, f"{method} {scenario} {shots} {step}").normal(0.0, 0.02, people)
        better = gain * (method == "good")
        return 0.7 + person + habit - habit.mean() + luck + rest + better + 0.01 * step

    return values


def judge(table: pl.DataFrame, methods=METHODS, seeds=range(5)):
    datasets = table["dataset"].unique(maintain_order=True).to_list()
    return judge_methods(table, "test", "base", methods, datasets, seeds)


def verdicts(comparison) -> dict[str, set[str]]:
    return {m: {p.verdict for p in comparison.pairs if p.method == m} for m in comparison.methods[1:]}


@pytest.fixture(scope="module")
def known():
    return judge(results(world(), METHODS, scenarios=("new_user", "new_device"), shots=(1, 5)))


def test_a_planted_gain_is_found_and_a_planted_tie_is_not(known):
    assert verdicts(known) == {"same": {"no difference shown"}, "good": {"better"}}
    for pair in known.pairs:
        truth = 0.03 * (pair.method == "good")
        assert pair.difference.low <= truth <= pair.difference.high
        assert pair.p <= pair.p_holm
        assert (pair.users, pair.seeds) == (30, 5)
        assert pair.detectable < 0.04  # at 5 % / 4: two methods, two questions


def test_scores_say_how_people_fare(known):
    assert len(known.scores) == 3 * 4
    for score in known.scores:
        assert (score.users, score.clients, score.seeds, score.step) == (30, 30, 5, 1)
        assert score.worst_decile < score.last.low <= score.last.value <= score.last.high
        assert score.best == score.last  # the last round was the best one
        assert 0.0 < score.gini < score.spread  # of values around 0.7: gini ≈ spread / (√π · mean) < spread
        assert score.iqm.value == pytest.approx(score.last.value, abs=0.03)


def test_words_name_the_winner_the_tie_and_what_it_rests_on(known):
    first, second, third = known.words
    assert first.startswith("good against base: better on data (new people at 1 and 5 shots, by 0.0")
    assert second == "No difference from base shown: same."
    assert third.startswith("data rests on 30 test people and 5 seeds; a true difference in balanced_accuracy of 0.0")


def test_a_comparison_is_plain_values(known):
    assert json.loads(json.dumps(asdict(known), allow_nan=False))["pairs"][0]["method"] == "same"


def test_it_is_the_same_again_and_whatever_the_order_of_rows(known):
    table = results(world(), METHODS, scenarios=("new_user", "new_device"), shots=(1, 5))
    assert judge(table.sample(fraction=1.0, shuffle=True, seed=1)) == known


def test_of_a_loss_less_is_better():
    losses = results(lambda *which: 1.7 - world()(*which), METHODS, metric="mse")
    comparison = judge(losses)
    assert verdicts(comparison)["good"] == {"better"}
    (pair,) = (p for p in comparison.pairs if p.method == "good")
    assert pair.difference.value == pytest.approx(0.03, abs=0.01)  # errors near 1: log(1 / .97) ≈ .03
    assert pair.improvement.low > 0.5
    assert comparison.rankings[0].methods[0] == "good"


def test_a_method_against_its_own_runs_differs_nowhere():
    comparison = judge(results(lambda method, *rest: world()("base", *rest), METHODS))
    assert verdicts(comparison) == {"same": {"no difference shown"}, "good": {"no difference shown"}}
    for pair in comparison.pairs:
        assert (pair.difference.value, pair.difference.low, pair.difference.high, pair.p) == (0.0, 0.0, 0.0, 1.0)
        assert pair.improvement.value == 0.5


@pytest.mark.parametrize(("people", "seeds"), [(3, 5), (30, 2), (30, 1)])
def test_too_small_a_design_shows_nothing_however_large_the_gain(people, seeds):
    comparison = judge(results(world(people, gain=0.2), METHODS, seeds=range(seeds)), seeds=range(seeds))
    assert verdicts(comparison)["good"] == {"no difference shown"}
    assert any("too few" in sentence for sentence in comparison.words)
    assert any("fewer than the 5" in sentence for sentence in comparison.words) == (seeds < 5)


def test_devices_of_a_person_are_no_further_people():
    one, four = (judge(results(world(8), METHODS, devices=d)) for d in (["watch"], ["watch", "phone", "band", "ring"]))
    for a, b in zip(one.pairs, four.pairs, strict=True):
        assert (a.users, b.users) == (8, 8)
        assert a.p == pytest.approx(b.p)
        assert asdict(a.difference) == pytest.approx(asdict(b.difference))
    assert {score.clients for score in four.scores} == {32}


def test_what_is_missing_is_said_and_the_rest_compared():
    table = results(world(), METHODS)
    holes = table.filter(
        ~((pl.col("method") == "good") & (pl.col("seed") == 4))
        & ~((pl.col("method") == "same") & (pl.col("client") == 1007))
    )
    comparison = judge(holes, methods=(*METHODS, "crashed"))
    pairs = {pair.method: pair for pair in comparison.pairs}
    assert (pairs["good"].seeds, pairs["good"].users, pairs["same"].seeds, pairs["same"].users) == (4, 30, 5, 29)
    assert "data: nothing from crashed." in comparison.words
    assert "data: good has 4 of 5 seeds." in comparison.words
    assert any("same lacks clients" in sentence for sentence in comparison.words)


def test_without_validation_it_is_said_and_there_is_no_best_round():
    comparison = judge(results(world(), METHODS, phases=("test",)))
    assert {score.best for score in comparison.scores} == {None}
    assert any("no client was asked for validation" in sentence for sentence in comparison.words)


def test_nothing_at_all_is_a_comparison_without_scores():
    comparison = judge(results(world(), METHODS).clear())
    assert (comparison.scores, comparison.pairs, comparison.ranking, comparison.rankings) == ((), (), None, ())


def test_data_sets_are_the_blocks_of_the_ranking():
    tables = [results(world(6), METHODS, dataset=f"set {i}", shots=(1, 5), seeds=range(3)) for i in range(4)]
    comparison = judge(pl.concat(tables), seeds=range(3))
    ranking = comparison.ranking
    assert (ranking.blocks, ranking.methods[0], ranking.ranks[0]) == (4, "good", 1.0)
    assert sum(ranking.ranks) == pytest.approx(6.0)
    assert [(r.dataset, r.blocks, r.cd) for r in comparison.rankings] == [(f"set {i}", 2, None) for i in range(4)]


def test_a_method_that_lacks_a_data_set_is_not_ranked_over_all():
    whole = results(world(6), (*METHODS, "other"), dataset="one", seeds=range(3))
    less = results(world(6), METHODS, dataset="two", seeds=range(3))
    comparison = judge(pl.concat([whole, less]), methods=(*METHODS, "other"), seeds=range(3))
    assert sorted(comparison.ranking.methods) == sorted(METHODS)
    assert len(comparison.rankings[0].methods) == 4


def test_luck_of_seeds_is_not_taken_for_a_gain():
    """One method's five seeds were lucky by more than people vary: the same difference for all, but not after all."""
    lucky = {0: 0.06, 1: -0.03, 2: 0.05, 3: 0.0, 4: 0.02}

    def values(method, scenario, shots, step, seed):
        rng = np.random.default_rng([seed, step, method == "base"])
        return 0.7 + (method != "base") * lucky[seed] + rng.normal(0.0, 0.005, 40)

    comparison = judge(results(values, ("base", "same")), methods=("base", "same"))
    assert comparison.pairs[0].p > 0.2
    assert verdicts(comparison) == {"same": {"no difference shown"}}


def test_one_person_with_large_errors_does_not_own_the_verdict():
    """Each error falls by a fifth; one person's is a thousand times larger than the rest and varies as much."""

    def errors(method, scenario, shots, step, seed):
        size = np.where(np.arange(30) == 0, 1000.0, 1.0) * np.linspace(0.5, 1.5, 30)
        rest = generator(seed, f"{method} rest").normal(0.0, 0.05, 30)
        return size * np.exp(rest) * (0.8 if method == "good" else 1.0)

    comparison = judge(results(errors, METHODS, metric="mse"))
    (pair,) = (p for p in comparison.pairs if p.method == "good")
    assert pair.verdict == "better"
    assert pair.difference.value == pytest.approx(-np.log(0.8), abs=0.03)
    assert comparison.words[0].startswith("good against base: better on data (new people at 5 shots, by 20.")
    raw = np.array([errors("base", "", 5, 1, s) - errors("good", "", 5, 1, s) for s in range(5)])
    assert crossed_p_value(raw) > 0.05  # on the scale of the errors that person hides it


def test_an_error_of_zero_is_a_hundredth_and_does_not_own_the_mean():
    reference, method = np.array([[0.0, 1.0, 2.0, 0.0]]), np.array([[0.0, 0.0, 1.0, 3.0]])
    found = log_ratios(reference, method)
    assert found[0].tolist() == pytest.approx([0.0, np.log(100.0), np.log(2.0), -np.log(100.0)])
    assert log_ratios(method, reference) == pytest.approx(-found)
    thirty = np.ones((5, 30))
    worse = np.where(np.arange(30) == 7, 0.0, 1.25 * thirty)  # 29 people a quarter worse, one without an error
    assert log_ratios(thirty, worse).mean() < 0.0


def test_what_diverged_has_no_mean_and_ranks_last():
    table = results(world(), ("base", "same"))
    comparison = judge_methods(table, "test", "base", METHODS, ["data"], range(5), {("data", "good")})
    assert comparison.words[0].startswith("good failed on data: its training diverged")
    assert comparison.rankings[0].methods[-1] == "good"
    assert "good" not in {score.method for score in comparison.scores}


@pytest.mark.parametrize("method", ["good", "base"])
def test_who_loses_people_to_overflow_is_not_judged_by_the_others(method):
    """In one of five seeds two of thirty people have no error at all: the method failed, be it the reference."""
    table = results(lambda *which: 1.7 - world()(*which), METHODS, metric="mse")
    gone = pl.col("user").is_in(["test-3", "test-4"]) & (pl.col("seed") == 2) & (pl.col("method") == method)
    comparison = judge(table.filter(~gone))
    assert comparison.words[0].startswith(f"{method} failed on data: its errors overflowed for 2 of 30 clients after")
    assert comparison.failures == comparison.words[:1]
    assert method not in {score.method for score in comparison.scores}
    assert comparison.rankings[0].methods[-1] == method
    assert {pair.method for pair in comparison.pairs} == ({"same"} if method == "good" else set())
    shares = results(world(), METHODS).filter(
        ~gone
    )  # of shares overflow has a worst value: who is missing did not answer
    assert method in {score.method for score in judge(shares).scores}


def test_detectable_differences_are_found_four_times_in_five_and_false_ones_hardly_ever():
    """Three methods against the reference, ten people, five seeds, one question; one of them gains what is detectable.

    σ² of a difference's mean is (.02²·2 + .03²·2/5)/10 over people and the like over seeds, so a gain can be planted
    that is the mean of what comparisons without any call detectable. 300 tries: sd of a share near .8 is .023.
    """

    def drawn(seed, gain):
        rng = generator(seed, "power")
        person, luck = rng.normal(0.0, 0.02, (4, 1, 10)), rng.normal(0.0, 0.005, (4, 5, 1))
        scores = person + luck + rng.normal(0.0, 0.03, (4, 5, 10))
        scores[1] += gain
        return [scores[i] - scores[0] for i in (1, 2, 3)]

    tries = range(300)
    null = [drawn(seed, 0.0) for seed in tries]
    wrong = [bool((holm(np.array([crossed_p_value(d) for d in methods])) <= 0.05).any()) for methods in null]
    assert np.mean(wrong) <= 0.05 + 3 * (0.05 * 0.95 / len(tries)) ** 0.5
    planted = float(np.mean([detectable(methods[0], 0.05 / 3) for methods in null]))
    found = [holm(np.array([crossed_p_value(d) for d in drawn(seed, planted)]))[0] <= 0.05 for seed in tries]
    # the estimated error varies, and three tests must agree: what is found stays within .1 of .8, beyond its sd
    assert np.mean(found) == pytest.approx(0.8, abs=0.1 + 3 * (0.8 * 0.2 / len(tries)) ** 0.5)
