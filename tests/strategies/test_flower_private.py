"""FedPrivate in an app of Flower's own: what it adds to θ, whom it draws, what it tells, what it costs.

Its noise and its draws are secret here as elsewhere. Where numbers rest on them, a bound is seven standard deviations
or more away: a normal number is beyond that with a probability of 3e-12.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
from flwr.app import MetricRecord

from metapulse.errors import ConfigError
from metapulse.strategies import FedPrivate
from metapulse.strategies.flower import outer
from metapulse.strategies.privacy import accounting
from metapulse.strategies.privacy.accounting import Release
from tests.nodes import Arrays, Nodes, client, plus, record

DIMENSION = 20_000
THETA: Arrays = {"w": np.zeros(DIMENSION, np.float32)}


pytestmark = pytest.mark.usefixtures("said")


def moved(strategy: FedPrivate, nodes: Nodes, rounds: int = 1) -> np.ndarray:
    return strategy.start(nodes, record(THETA), rounds).arrays["w"].numpy()


def one_way(length: float) -> Any:
    """Every client goes along the first coordinate."""

    def change(arrays: Arrays, node: int) -> Arrays:
        step = np.zeros(DIMENSION, np.float32)
        step[0] = length
        return {"w": arrays["w"] + step}

    return client(change)


def test_noise_is_that_of_the_plan_and_each_person_counts_for_the_clip() -> None:
    """All four of four people go 100 along one coordinate, clipped to C = 2: Σ/n = 2, noise σC/n = 0.25 on each.

    The variance of 19 999 Gaussians has a relative standard deviation of √(2 / 19 999) = 1 %.
    """
    strategy = FedPrivate(people=4, clip=2.0, noise_multiplier=0.5)
    after = moved(strategy, Nodes(one_way(100.0)))
    assert abs(after[0] - 2.0) < 7 * 0.25
    assert np.var(after[1:]) == pytest.approx(0.25**2, rel=0.07)
    assert not np.array_equal(after, moved(FedPrivate(people=4, clip=2.0, noise_multiplier=0.5), Nodes(one_way(100.0))))


@pytest.mark.parametrize(("people", "told"), [(4, False), (5, True), (3, True), (40, True)])
def test_people_far_from_the_connected_nodes_are_told_once(
    said: pytest.LogCaptureFixture, people: int, told: bool
) -> None:
    moved(FedPrivate(people=people, noise_multiplier=0.5), Nodes(one_way(1.0)), 2)
    lines = [r.getMessage() for r in said.records if "off the number of connected nodes" in r.getMessage()]
    assert lines == [line for line in lines if f"FedPrivate.people = {people} is more than a tenth off" in line]
    assert len(lines) == told


def test_the_denominator_is_the_plans_whoever_replies() -> None:
    """One of four replies: its update counts as a quarter."""
    strategy = FedPrivate(people=4, clip=1e6, noise_multiplier=1e-7)
    after = moved(strategy, Nodes(one_way(8.0), silent=[1, 2, 3]))
    assert after[0] == pytest.approx(2.0, abs=7 * 1e-7 * 1e6 / 4)


def test_each_node_is_drawn_by_itself_with_the_plans_probability() -> None:
    """64 nodes with q = 1/2, 40 rounds: 1280 draws of 2560, sd 25.3; and rounds differ in how many there are.

    By Hoeffding the number is 177 away with probability 2 exp(−2 · 177² / 2560) = 5e-11 at most; and 40 numbers of sd 4
    have three values or fewer with less than 1e-15.
    """
    strategy = FedPrivate(people=64, fraction_train=0.5, noise_multiplier=1.0)
    nodes = Nodes(client(lambda arrays, node: arrays), 64)
    strategy.start(nodes, record({"w": np.zeros(2, np.float32)}), 40)
    sizes = [len(sent) for sent in nodes.asked]
    assert abs(sum(sizes) - 1280) < 177
    assert len(set(sizes)) > 3


def test_a_round_without_anybody_moves_theta_by_noise_and_says_so_at_the_end(said: pytest.LogCaptureFixture) -> None:
    after = moved(FedPrivate(people=4, noise_multiplier=1.0), Nodes(one_way(1.0), silent=[1, 2, 3, 4]))
    assert np.std(after) == pytest.approx(0.25, rel=0.05)  # ten of its standard deviations
    assert "θ has moved by noise alone" in said.text


def test_epsilon_is_the_accountants_of_the_rounds_that_have_begun() -> None:
    strategy = FedPrivate(people=100, fraction_train=0.25, noise_multiplier=1.0, delta=1e-5)
    assert strategy.spent == {}
    moved(strategy, Nodes(one_way(1.0)), 3)
    expected = accounting.epsilon(Release(1.0, 25, 100, "poisson"), 3, 1e-5)
    assert strategy.spent == {
        "rounds": 3,
        "epsilon": expected,
        "delta": 1e-5,
        "relation": "add or remove one person",
    }


def test_the_noise_is_the_least_that_keeps_the_budget_and_it_ends_with_the_budget() -> None:
    strategy = FedPrivate(people=100, fraction_train=0.25, epsilon=2.0)
    result = strategy.start(Nodes(one_way(1.0)), record(THETA), 3)
    assert strategy.spent["epsilon"] == pytest.approx(2.0, rel=1e-2)
    assert strategy.spent["epsilon"] <= 2.0
    with pytest.raises(ConfigError, match=r"FedPrivate\.epsilon = 2.0: 6 rounds would spend"):
        strategy.start(Nodes(one_way(1.0)), result.arrays, 3)


def test_a_run_that_goes_on_has_spent_what_it_spent() -> None:
    first = FedPrivate(people=100, fraction_train=0.25, noise_multiplier=1.0)
    moved(first, Nodes(one_way(1.0)), 2)
    second = FedPrivate(people=100, fraction_train=0.25, noise_multiplier=1.0)
    second.load_state_dict(first.state_dict())
    moved(second, Nodes(one_way(1.0)), 1)
    assert second.spent["rounds"] == 3
    other = FedPrivate(people=50, fraction_train=0.5, noise_multiplier=1.0)
    with pytest.raises(ConfigError, match="under other noise, or among others"):
        other.load_state_dict(first.state_dict())
    less = FedPrivate(people=100, fraction_train=0.25, noise_multiplier=0.5)
    with pytest.raises(ConfigError, match="under other noise, or among others"):
        less.load_state_dict(first.state_dict())


def test_a_round_that_is_taken_again_has_noise_of_its_own() -> None:
    """Gone back to a state that was kept, or by a copy: two answers under one noise would differ by data alone."""
    nodes, strategy = Nodes(one_way(1.0)), FedPrivate(people=100, noise_multiplier=5.0)
    strategy.start(nodes, record(THETA), 1)
    kept, copied = strategy.state_dict(), copy.deepcopy(strategy)
    ends = [strategy.start(nodes, record(THETA), 1).arrays.to_torch_state_dict()]
    strategy.load_state_dict(kept)
    ends += [one.start(nodes, record(THETA), 1).arrays.to_torch_state_dict() for one in (strategy, copied)]
    for a, b in itertools.combinations(ends, 2):
        assert all((a[name] != b[name]).float().mean() > 0.9 for name in a)


def test_rounds_that_were_gone_back_on_stay_spent() -> None:
    """Three rounds, back to the state after the first, two more: five releases, whatever number the last one has."""
    nodes, strategy = Nodes(one_way(1.0)), FedPrivate(people=100, noise_multiplier=5.0)
    strategy.start(nodes, record(THETA), 1)
    kept = strategy.state_dict()
    strategy.start(nodes, record(THETA), 2)
    strategy.load_state_dict(kept)
    strategy.start(nodes, record(THETA), 2)
    assert strategy.spent["rounds"] == 5
    other = FedPrivate(people=100, noise_multiplier=5.0)
    other.load_state_dict(strategy.state_dict())
    other.start(nodes, record(THETA), 1)
    assert other.spent["rounds"] == 6
    assert other.spent["epsilon"] > strategy.spent["epsilon"]


def test_adaptive_clipping_follows_the_norms() -> None:
    """All updates are 0.01 long and C begins at 1: it falls by e^(−0.2 (1 − γ + noise)) a round, noise of sd 0.05.

    It rises where the noise is ten standard deviations below zero; after four steps it is 0.67 ± 0.013.
    """
    nodes = Nodes(one_way(0.01), 64)
    strategy = FedPrivate(people=64, noise_multiplier=0.5, adaptive=True)
    result = strategy.start(nodes, record(THETA), 5)
    clips = [metrics["clip"] for metrics in result.train_metrics_clientapp.values()]
    assert clips == sorted(clips, reverse=True)
    assert clips[-1] < 0.85 * clips[0]


def test_what_clients_measure_and_how_many_replied_is_not_told(said: pytest.LogCaptureFixture) -> None:
    app = client(plus(1.0), lambda node: {"num-examples": 1, "secret": 7.0})
    result = FedPrivate(people=4, noise_multiplier=1.0).start(Nodes(app, silent=[2]), record(THETA), 1)
    assert set(result.train_metrics_clientapp[1]) == {"clip", "update-norm"}
    assert dict(result.evaluate_metrics_clientapp) == {}
    assert "usable replies" not in said.text
    assert "no reply" not in said.text
    assert "secret" not in said.text


REFUSED: dict[str, dict[str, Any]] = {
    "fraction_evaluate": {"fraction_evaluate": 0.5},
    "train_metrics_aggr_fn": {"train_metrics_aggr_fn": lambda contents, key: MetricRecord()},
    "min_train_nodes": {"min_train_nodes": 2},
    "weighting": {"weighting": "samples"},
    "aggregator": {"aggregator": "median"},
    "min_replies": {"min_replies": 2},
    "people": {"people": 0},
    "fraction_train": {"fraction_train": 0.013},
    "clip": {"clip": -1.0},
    "noise_multiplier": {"noise_multiplier": 0.0},
    "quantile": {"quantile": 0.9},
}


@pytest.mark.parametrize("word", REFUSED)
def test_what_would_make_epsilon_untrue_is_refused(word: str) -> None:
    with pytest.raises(ConfigError) as refused:
        FedPrivate(**{"people": 100, "noise_multiplier": 1.0, **REFUSED[word]})
    assert word in refused.value.key
    assert refused.value.key.startswith("FedPrivate.")


def test_statistics_of_peoples_data_are_refused() -> None:
    arrays = record({"w": np.zeros(2, np.float32), "bn.running_mean": np.zeros(2, np.float32)})
    with pytest.raises(ConfigError, match=r"bn\.running_mean.*are not noised"):
        FedPrivate(people=4, noise_multiplier=1.0).start(Nodes(one_way(1.0)), arrays, 1)


def test_without_a_number_of_rounds_there_is_no_plan() -> None:
    strategy = FedPrivate(people=4, noise_multiplier=1.0)
    with pytest.raises(ConfigError, match="noise and budget need it"):
        strategy.configure_train(1, record(THETA), outer.ConfigRecord(), Nodes(one_way(1.0)))
    told = FedPrivate(people=4, noise_multiplier=1.0, rounds=2)
    told.configure_train(1, record(THETA), outer.ConfigRecord(), Nodes(one_way(1.0)))
    with pytest.raises(ConfigError, match="has begun before"):
        told.configure_train(1, record(THETA), outer.ConfigRecord(), Nodes(one_way(1.0)))
