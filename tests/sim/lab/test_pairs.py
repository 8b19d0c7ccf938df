"""Competitors and baselines are two families: what is said of one does not depend on the other."""

from functools import cache

import numpy as np
import polars as pl
import pytest

from metapulse.rng import generator
from metapulse.sim.lab.compare import judge_methods, reference_differences
from metapulse.sim.lab.power import power_plans
from metapulse.sim.lab.statistics.families import holm
from metapulse.sim.lab.words import brief_words, pair_words
from tests.lab import SPEC, spec
from tests.sim.lab.results import results

COMPETITORS = ("base", "same", "good", "bad")
BASELINES = ("majority", "alone", "mean")
GAINS = {"good": 0.04, "bad": -0.04, "majority": -0.3, "alone": -0.1, "mean": -0.011}


def values(method, scenario, shots, step, seed):
    """Accuracies of twelve people: their own level, a seed's luck, rest, and what a method gains for all."""
    person = generator(0, f"person {scenario}").normal(0.0, 0.06, 12)
    rest = generator(seed, f"{method} {scenario} {shots}").normal(0.0, 0.02, 12)
    return 0.7 + person + rest + generator(seed, f"luck {method}").normal(0.0, 0.004) + GAINS.get(method, 0.0)


@cache
def table(methods):
    sets = [results(values, methods, dataset=f"set {i}", shots=(1, 5), steps=(1,)) for i in range(3)]
    return pl.concat(sets)


def judge(methods, baselines=(), reference="base"):
    datasets = [f"set {i}" for i in range(3)]
    return judge_methods(table(methods), "test", reference, methods, datasets, range(5), (), None, baselines)


@pytest.fixture(scope="module")
def both():
    return judge((*COMPETITORS, *BASELINES), BASELINES)


def test_baselines_change_nothing_that_is_said_of_competitors(both):
    alone = judge(COMPETITORS)
    assert tuple(p for p in both.pairs if p.method not in BASELINES) == alone.pairs
    assert both.ranking == alone.ranking
    assert tuple(word for word in both.words if not word.startswith("Baseline ")) == alone.words
    mixed = {(p.dataset, p.shots, p.method): p.p_holm for p in judge((*COMPETITORS, *BASELINES)).pairs}
    assert any(mixed[p.dataset, p.shots, p.method] > p.p_holm for p in alone.pairs)  # in one family they would


def test_baselines_are_corrected_among_themselves(both):
    only = judge(("base", *BASELINES))
    assert tuple(p for p in both.pairs if p.method in BASELINES) == only.pairs
    one = {p.method: p for p in both.pairs if (p.dataset, p.shots) == ("set 0", 1) and p.method in BASELINES}
    assert all(p.difference.low < p.difference.value < p.difference.high for p in one.values())
    corrected = holm(np.array([p.p for p in one.values()]))  # of the question; data sets can only add to it
    assert all(p.p_holm >= c - 1e-12 for p, c in zip(one.values(), corrected, strict=True))


def test_words_tell_baselines_after_competitors(both):
    told = [i for i, sentence in enumerate(both.words) if sentence.startswith("Baseline ")]
    assert [both.words[i].split()[1] for i in told[:2]] == ["majority", "alone"]
    assert "by 0.3" in both.words[told[0]]  # worse by so much, without a sign
    others = [i for i, sentence in enumerate(both.words) if any(sentence.startswith(m) for m in COMPETITORS)]
    assert max(others) < min(told)
    assert both.baselines == BASELINES


def test_brief_words_count_the_questions_of_each(both):
    told = brief_words("base", both.methods, both.pairs, both.baselines)
    count = {m: [p.verdict for p in both.pairs if p.method == m] for m in both.methods[1:]}
    good, bad = count["good"].count("better"), count["bad"].count("worse")
    assert min(good, bad) > 0
    assert "better" not in count["bad"]
    assert "worse" not in count["good"]
    assert told[0] == f"Better than base beyond chance, on questions: good {good} of 6."
    assert told[1] == f"Worse than base beyond chance, on questions: bad {bad} of 6."
    assert told[2] == "No difference from base shown: same."
    assert told[3].startswith("Baselines: worse than base beyond chance, on questions: majority 6 of 6, alone 6 of 6")
    assert set(
        pair_words(
            "base",
            both.methods,
            both.pairs,
            {}.fromkeys(("set 0", "set 1", "set 2"), "balanced_accuracy"),
            both.baselines,
        )
    ) < set(both.words)


def test_a_reference_is_in_every_family_and_no_baseline_of_its_own_comparison():
    said = judge((*COMPETITORS, "alone"), ("alone",), reference="alone")
    assert said.baselines == ()
    assert {p.method for p in said.pairs} == set(COMPETITORS)
    assert "alone" in said.ranking.methods


def test_the_plan_is_of_competitors_and_of_baselines_where_there_is_nothing_else():
    datasets = [f"set {i}" for i in range(3)]
    methods = (*COMPETITORS, *BASELINES)
    with_them, without = (
        power_plans(*reference_differences(table(m), "base", m, datasets, None, BASELINES))
        for m in (methods, COMPETITORS)
    )
    assert with_them == without
    only = ("base", *BASELINES)
    found, levels = reference_differences(table(only), "base", only, datasets, None, BASELINES)
    assert {method for _, method in found} == set(BASELINES)
    assert set(levels.values()) == {0.05 / (3 * 3 * 2)}  # methods × data sets × questions of each


def test_a_specification_knows_baselines_by_their_learner_and_not_by_their_name(tmp_path):
    text = SPEC + "[methods.floor]\nlearner = { name = 'majority' }\nrun = { rounds = 0 }\n"
    text += "[methods.majority]\nlearner = { name = 'fedavg' }\n"
    text += "[methods.here]\nlearner = { name = 'metapulse.methods.local_only:LocalOnly' }\n"
    text += "[methods.sometimes]\nlearner = { name = 'majority' }\non.many = { learner = { name = 'fedavg' } }\n"
    assert spec(tmp_path, text).baselines == ("floor", "here")
