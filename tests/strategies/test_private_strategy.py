"""The mechanism: one person's influence, noise before the outer step, empty rounds, adaptive clipping, what is told."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from scipy import stats
from torch import Tensor

from metapulse.client.executor import ClientExecutor
from metapulse.client.privacy import Guard, lengths, protect
from metapulse.client.spec import to_json
from metapulse.client.wire import CLIP, GUARD, decode, encode
from metapulse.errors import ConfigError
from metapulse.methods.base import Learner, Report
from metapulse.models.base import Model
from metapulse.outer import DIRECTIONS, OuterUpdate
from metapulse.server.config import build_config
from metapulse.sim.engines.cohort import FIRST_NODE, CohortGrid
from metapulse.sim.engines.workers import LocalPool
from metapulse.sim.population import ClientJob
from metapulse.strategies.aggregate import AggregationSpec
from metapulse.strategies.base import OuterStrategy
from metapulse.strategies.presets import FedAvgSettings
from metapulse.strategies.privacy.adaptive import next_clip, sum_noise
from metapulse.strategies.privacy.plan import complete_plan
from metapulse.strategies.privacy.settings import PrivacySettings
from metapulse.strategies.privacy.strategy import CLIP_STATE, PrivateStrategy, plausible
from metapulse.strategies.registry import make_strategy
from metapulse.strategies.replies import Replies, UpdateStack
from metapulse.trees import Params, norm, sub
from tests.cases import LEARNERS, MODELS, episode, keys, meta
from tests.runs import make

COHORT, CLIP_NORM = 10, 0.5
BIG = {"w": torch.zeros(40, 50)}
THETA = {"w": torch.linspace(-1.0, 1.0, 6).view(2, 3), "rate": torch.tensor(0.5)}


def strategy(outer: dict[str, Any] | None = None, people: int = 100, cohort: int = COHORT, **privacy: Any) -> Any:
    given = {"mechanism": "central", "noise_multiplier": 1.0, "clip": CLIP_NORM, "noise_seed": 1, **privacy}
    plan = complete_plan(PrivacySettings(**given), cohort, people, 5)
    section = {"name": "fedavg", "weighting": "uniform", **(outer or {})}
    return make_strategy(section, 5, 0, None, (plan, given["noise_seed"]))


def silent(index: int) -> Message:
    """Not read: the stack holds everything."""
    return Message(RecordDict(), FIRST_NODE + index, MessageType.TRAIN)


def instruct(made: PrivateStrategy, at: Params, round: int = 1) -> ConfigRecord:
    config = ConfigRecord()
    made.configure_train(round, encode(at), config, CohortGrid(COHORT))
    return config


def after(made: PrivateStrategy, update: Params | None, at: Params = THETA, round: int = 1) -> dict[str, Tensor]:
    """θ after a round in which these updates arrived (None: none at all)."""
    instruct(made, at, round)
    stack = None
    if update is not None:
        n = len(next(iter(update.values())))
        stack = UpdateStack(list(range(n)), update, torch.full((n,), 9.0), {"loss": torch.ones(n)})
    moved, _ = made.aggregate_train(round, Replies(stack, [], silent))
    assert isinstance(moved, ArrayRecord)
    return decode(moved)


def updates(count: int = COHORT, like: Params = THETA) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(4)
    return {name: torch.randn(count, *p.shape, generator=draw) for name, p in like.items()}


def replaced(update: Params, by: float) -> dict[str, Tensor]:
    """The same with another first person."""
    return {name: torch.cat([torch.full_like(u[:1], by), u[1:]]) for name, u in update.items()}


def mean_of(made: PrivateStrategy, update: Params | None, round: int = 1, at: Params = THETA) -> dict[str, Tensor]:
    """The noised mean: what an outer step of rate 1 moves θ by."""
    return {name: at[name] - p for name, p in after(made, update, at, round).items()}


def test_without_noise_worth_speaking_of_it_is_the_mean_of_clipped_updates_over_a_fixed_number() -> None:
    got = mean_of(strategy(noise_multiplier=1e-9), updates(7))
    factors = (CLIP_NORM / lengths(updates(7))).clamp(max=1.0)
    for name, u in updates(7).items():
        expected = torch.einsum("c,c...->...", factors, u.double()) / COHORT  # seven came, ten were expected
        torch.testing.assert_close(got[name].double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("by", [0.0, 1e30, -3.0])
def test_replacing_one_person_moves_the_mean_by_two_c_over_the_cohort_at_most(by: float) -> None:
    a, b = mean_of(strategy(), updates()), mean_of(strategy(), replaced(updates(), by))
    assert 0 < norm(sub(a, b)) <= 2 * CLIP_NORM / COHORT * (1 + 1e-5)


def test_removing_one_person_moves_the_mean_by_c_over_the_cohort_at_most() -> None:
    fewer = {name: u[1:] for name, u in updates().items()}
    moved = norm(sub(mean_of(strategy(), updates()), mean_of(strategy(), fewer)))
    assert moved == pytest.approx(CLIP_NORM / COHORT, rel=1e-4)  # the first update is longer than C


@pytest.mark.parametrize("outer", DIRECTIONS)
@pytest.mark.parametrize("lr", [1.0, 5.0])
def test_every_outer_step_sees_the_noised_mean_and_nothing_else(outer: str, lr: float) -> None:
    """Flower's wrappers add noise after the step, where one person's influence is the optimiser's to choose."""
    made = strategy({"outer": outer, "lr": lr})
    at, state, rule = THETA, OuterUpdate(outer).init(THETA), OuterUpdate(outer)
    for round in (1, 2):
        update = replaced(updates(), 1e20)
        seen = mean_of(strategy(), update, round)  # bounded above, whatever the first person reports
        expected, state = rule.apply(state, at, seen, lr)
        at = after(made, update, at, round)
        torch.testing.assert_close(at, expected, rtol=1e-4, atol=1e-5)
        assert norm(seen) <= CLIP_NORM + 8 * CLIP_NORM / COHORT


@pytest.mark.parametrize("name", LEARNERS)
def test_no_learner_gives_one_person_more_influence(name: str) -> None:
    """The whole update is clipped: learned rates, control variates, several models and all."""
    learner, model = LEARNERS[name], MODELS["mlp-tanh"]
    at, own = meta(learner, model), episode(model.task, (5, 2, 3), (2, 4, 1))
    wild = replace(own.support, x=own.support.x * torch.tensor([40.0, 1.0, 1.0]).view(3, 1, 1))
    means = []
    for one in (own, replace(own, support=wild)):
        report = learner.update(model, at, learner_state(learner, model, at), one, keys(range(3)))
        moved = after(strategy(cohort=3, people=3), {n: report.update[n] for n in at}, at)
        means.append({n: at[n] - p for n, p in moved.items()})
    assert norm(sub(*means)) <= 2 * CLIP_NORM / 3 * (1 + 1e-5)


def learner_state(learner: Learner, model: Model, at: Params) -> dict[str, Tensor]:
    """What three devices have before their first round."""
    return {name: torch.stack([p] * 3) for name, p in learner.initial_state(model, at).items()}


def test_an_empty_round_is_noise_and_nothing_else() -> None:
    values = mean_of(strategy(), None, at=BIG)["w"].flatten().numpy()
    assert stats.kstest(values / (CLIP_NORM / COHORT), "norm").pvalue > 1e-3  # σC/n; one seed


def test_noise_is_told_from_nothing_that_is_public() -> None:
    found = [mean_of(strategy(noise_seed=seed), updates()) for seed in (1, 1, 2)]
    assert norm(sub(found[0], found[1])) == 0.0
    assert norm(sub(found[0], found[2])) > 0.0
    assert norm(sub(found[0], mean_of(strategy(), updates(), round=2))) > 0.0


def test_it_tells_neither_how_many_replied_nor_what_they_measured_nor_who_failed() -> None:
    told: list[Any] = []
    made = strategy()
    made._on_drop = lambda *facts: told.append(facts)
    instruct(made, THETA)
    bad = replaced(updates(), math.nan)
    stack = UpdateStack(list(range(COHORT)), bad, torch.ones(COHORT), {"loss": torch.ones(COHORT)})
    moved, metrics = made.aggregate_train(1, Replies(stack, [], silent))
    assert set(metrics or {}) == {"clip", "update-norm"}
    assert told == []
    assert all(np.isfinite(a.numpy()).all() for a in (moved or {}).values())


def test_devices_are_told_what_to_do_with_their_updates() -> None:
    assert instruct(strategy(), THETA)[CLIP] == CLIP_NORM
    client = strategy(mechanism="client", sampling="fixed", noise_multiplier=2.0)
    guard = json.loads(str(instruct(client, THETA)[GUARD]))
    assert guard == {"clip": CLIP_NORM, "noise": pytest.approx(2.0 * CLIP_NORM / math.sqrt(COHORT)), "seed": 1}
    local = json.loads(str(instruct(strategy(mechanism="local"), THETA)[GUARD]))
    assert local["noise"] == CLIP_NORM


def guarded(made: PrivateStrategy, count: int) -> dict[str, Tensor]:
    """What devices let go whose updates are zero."""
    assert made.guard is not None
    report = Report({"w": torch.zeros(count, 40, 50)}, torch.ones(count), {}, {})
    return dict(protect(report, made.guard, BIG, 1, list(range(count))).update)


@pytest.mark.parametrize("replied", [COHORT, 6, 0])
def test_the_noise_of_devices_adds_up_and_the_server_adds_what_the_lost_ones_owe(replied: int) -> None:
    """σC/n in every coordinate, whichever client is lost; of 2 000 draws the deviation errs by 1.6 %."""
    made = strategy(mechanism="client", sampling="fixed")
    got = mean_of(made, guarded(made, replied) if replied else None, at=BIG)
    assert float(got["w"].double().std()) == pytest.approx(CLIP_NORM / COHORT, rel=4 * 0.016)


def test_an_update_that_went_through_no_guard_does_not_count() -> None:
    """Longer than clipped and noised ones are, or, where there are many numbers, without any noise."""
    made = strategy(mechanism="local", sampling="fixed", cohort=2, people=9)
    one, other = guarded(made, 1), {name: u[1:] for name, u in guarded(made, 2).items()}
    alone = after(made, one, BIG)
    for factor, counts in ((1.0, True), (500.0, False), (0.01, False)):
        both = {"w": torch.cat([one["w"], factor * other["w"]])}
        assert torch.equal(after(made, both, BIG)["w"], alone["w"]) != counts


def test_adaptive_clipping_goes_the_right_way_and_arrives() -> None:
    """All norms are 10 and γ = 1/2: C must rise from 0.1 to about 10 (Flower's falls to 0.018)."""
    made = strategy(adaptive=True, clip=0.1, count_noise=1.0, clip_rate=0.3)
    ten = {"w": torch.zeros(COHORT, 2, 3), "rate": torch.full((COHORT,), 10.0)}
    for round in range(1, 61):
        after(made, ten, round=round)
    assert 8.0 < made.clip < 12.5


def test_adaptive_clipping_finds_the_quantile() -> None:
    """Norms 1 … 100, γ = 0.8: C → 80. Noise of σ_b = 0.5 on a count of 100 moves log C by 0.001 a round."""
    made = strategy(adaptive=True, clip=1.0, count_noise=0.51, quantile=0.8, cohort=100, people=100, clip_rate=0.2)
    spread = {"w": torch.zeros(100, 2, 3), "rate": torch.arange(1.0, 101.0)}
    for round in range(1, 121):
        after(made, spread, round=round)
    assert made.clip == pytest.approx(80.0, rel=0.05)
    assert float(made.state[CLIP_STATE]) == made.clip


def test_the_count_is_paid_for_by_more_noise_on_the_sum() -> None:
    """Two Gaussians at once cost what one with 1/σ² = 1/z² + 1/(2σ_b)² does."""
    z = sum_noise(1.0, 5.0)
    assert z > 1.0
    assert z**-2 + (2 * 5.0) ** -2 == pytest.approx(1.0)
    with pytest.raises(ConfigError, match=r"privacy\.count_noise = 0\.5: must be > 0\.5, half of σ"):
        sum_noise(1.0, 0.5)


def test_the_clip_stands_still_where_the_quantile_is_met() -> None:
    assert next_clip(3.0, 0.0, 10, 0.5, 0.2) == 3.0
    assert next_clip(3.0, 5.0, 10, 0.5, 0.2) == pytest.approx(3.0 * math.exp(-0.1))  # all are within C
    assert next_clip(3.0, -5.0, 10, 0.5, 0.2) == pytest.approx(3.0 * math.exp(0.1))


REFUSED = {
    "stock": ({"strategy": {"name": "stock"}}, "strategy.name"),
    "fednova": ({"strategy": {"name": "fednova", "weighting": "uniform"}}, "strategy.name"),
    "median": ({"strategy": {"name": "median"}}, "strategy.aggregator"),
    "krum behind": (
        {"strategy": {"name": "fedreptile", "aggregator": {"name": "nnm", "then": {"name": "krum"}}}},
        "strategy.aggregator",
    ),
    "by samples": ({"strategy": {"name": "fedavg"}}, "strategy.weighting"),
    "enough replies": ({"strategy": {"name": "fedreptile", "min_replies": 3}}, "strategy.min_replies"),
    "ipm": ({"attack": {"name": "ipm"}, "strategy": {"name": "fedreptile"}}, "attack.name"),
    "alie": ({"attack": {"name": "alie"}, "strategy": {"name": "fedreptile"}}, "attack.name"),
    "known people": ({"evaluation": {"scenarios": ["known_user"]}}, "evaluation.scenarios"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_another_sensitivity_or_tells_more_is_refused(name: str) -> None:
    table, key = REFUSED[name]
    table = {**table, "method": {"free": True}}  # whatever the pair computes
    build_config(table)
    with pytest.raises(ConfigError, match=rf"^{key} = "):
        build_config({**table, "privacy": {"mechanism": "central", "noise_multiplier": 1.0}})


class Quiet(FedAvgSettings):
    """Other defaults, the same mean."""


class Loud(FedAvgSettings):
    """A strategy of its own, which privacy would pass over in silence."""

    def make(self, *given: Any) -> Any:
        return OuterStrategy(self, *given[:3])


class Vouched(Loud):
    """One that says itself that it asks for the mean alone."""

    only_mean = True


@pytest.mark.parametrize(("named", "allowed"), [("Quiet", True), ("Loud", False), ("Vouched", True)])
def test_who_makes_a_strategy_of_ones_own_is_refused_and_not_passed_over(named: str, allowed: bool) -> None:
    strategy = {"name": f"{__name__}:{named}", "weighting": "uniform"}
    table = {"strategy": strategy, "method": {"free": True}}
    central = {"privacy": {"mechanism": "central", "noise_multiplier": 1.0}}
    for section in (central, {"secure_aggregation": {"on": True}}):
        if allowed:
            build_config({**table, **section})
        else:
            with pytest.raises(ConfigError, match=r"^strategy\.name = '.*Loud'"):
                build_config({**table, **section})


def test_a_guard_of_no_noise_lets_everything_through_that_is_clipped() -> None:
    lengths_ = torch.tensor([0.0, 0.5, 0.500001, 2.0], dtype=torch.float64)
    assert plausible(lengths_, Guard(0.5, 0.0), 7).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    "aggregation", [AggregationSpec("uniform", clip=1e-3), AggregationSpec("uniform", guard=Guard(1e-3, 0.0))]
)
def test_no_sum_of_the_engine_goes_around_the_clipping(aggregation: AggregationSpec) -> None:
    """Compiled models can add updates up as they go; not where each is to be clipped first."""
    config = make("fedavg", "fedavg", model={"name": "mlp", "hidden": [4]})
    meta_, clients = ClientExecutor(config.client_config()).init(), range(4)
    (bare,) = LocalPool().train(
        ClientJob(to_json(config.client_config())), meta_, 1, [clients], {}, AggregationSpec("uniform")
    )
    (clipped,) = LocalPool().train(ClientJob(to_json(config.client_config())), meta_, 1, [clients], {}, aggregation)
    assert bare.total is not None
    assert clipped.total is not None
    assert norm(bare.total) > 0.01
    assert norm(clipped.total) <= 4e-3 * (1 + 1e-5)
