"""A client's work: a failure affects that client only; settings are checked; the other clients change nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from metapulse.client.asked import AskedCache, AskedStack
from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import ClientConfig, Trial, client_config_from_json, to_json, trial_from_json
from metapulse.data import Client, Samples, Task, check_block
from metapulse.episodes import NOTHING, EpisodePlan, stack_batches
from metapulse.errors import ConfigError, DataError
from metapulse.registry import LEARNERS
from metapulse.rng import Keys, generator
from metapulse.settings import plain
from metapulse.trees import pick
from tests.cases import same


@dataclass(frozen=True)
class People:
    """Ten people with a phone and a watch each, person i's being clients 2i and 2i + 1; client 4 has nothing."""

    task: ClassVar[Task] = Task("classification", (3,), 3)
    users: ClassVar[int] = 10
    devices: ClassVar[tuple[str, ...]] = ("phone", "watch")

    def __len__(self) -> int:
        return 20

    def client(self, index: int) -> Client:
        return Client(index, index // 2, self.devices[index % 2], f"p{index // 2}")

    def clients_of(self, user: int) -> tuple[int, int]:
        return 2 * user, 2 * user + 1

    def samples(self, index: int) -> Samples:
        if index == 4:
            raise DataError("client 4 left the phone at home")
        rng = generator(1, "people", client=index)
        y = np.arange(24) % 3
        x = rng.standard_normal((24, 3)) + 2.0 * (y[:, None] == np.arange(3))
        return Samples(x.astype(np.float32), y, np.arange(24) // 4, np.zeros(24, bool))


def spec(learner: str = "fomaml", **settings: Any) -> ClientConfig:
    source = {"name": "tests.client.test_executor:People"}
    model = {"name": "mlp", "hidden": [4]}
    return ClientConfig(3, source, {"name": "none"}, model, {"name": learner, **settings}, EpisodePlan("groups", 2))


def trial(**changes: Any) -> Trial:
    return Trial(**{"plan": EpisodePlan("groups", 2), "steps": (0, 2), "episodes": 2, **changes})


def test_a_client_that_fails_is_named_and_the_others_do_not_notice() -> None:
    work = ClientExecutor(spec())
    theta = work.init()
    together, apart = (work.train(theta, 1, clients) for clients in ([3, 4, 7], [7]))
    assert together.clients == [3, 7]
    assert together.report is not None
    assert apart.report is not None
    assert list(together.failures) == [4]
    assert together.failures[4] == "round 1, client 4, episode: client 4 left the phone at home"
    same(pick(together.report.update, 1), pick(apart.report.update, 0), rtol=1e-4, atol=1e-6)
    assert work.train(theta, 1, [4]).report is None
    scores = work.evaluate(theta, 1, [3, 4, 7], trial())
    assert scores.clients == [3, 7]
    assert list(scores.failures) == [4]
    assert work.evaluate(theta, 1, [4], trial()).metrics == {}


def test_settings_of_the_test_replace_those_of_training() -> None:
    """Judged with α = 0.3 is what a learner trained with α = 0.3 would show."""
    theta = ClientExecutor(spec()).init()
    slow, fast = ClientExecutor(spec(inner_lr=0.01)), ClientExecutor(spec(inner_lr=0.3))
    adapted = slow.evaluate(theta, 1, [3, 7], trial(adapt={"inner_lr": 0.3})).metrics["loss"]
    assert torch.equal(adapted, fast.evaluate(theta, 1, [3, 7], trial()).metrics["loss"])
    assert not torch.equal(adapted[..., 1], slow.evaluate(theta, 1, [3, 7], trial()).metrics["loss"][..., 1])
    assert slow.adapted(trial()) is slow.learner


@pytest.mark.parametrize(
    ("learner", "adapt", "words"),
    [
        ("fomaml", {"inner_lr": -1.0}, "trial.adapt.inner_lr = -1.0: must be > 0"),
        ("fomaml", {"inner_lr": "fast"}, "expected a number"),
        ("fomaml", {"innerlr": 0.1}, "did you mean 'inner_lr'"),
        ("fomaml", {"name": "maml"}, "unknown key"),
        ("maml", {"optimizer": "adam"}, "unknown key"),
        ("r2d2", {"ridge_factor": 0}, "must be > 0"),
    ],
)
def test_settings_of_the_test_are_checked_like_any_others(learner: str, adapt: dict[str, Any], words: str) -> None:
    work = ClientExecutor(spec(learner))
    with pytest.raises(ConfigError, match=words) as caught:
        work.evaluate(work.init(), 1, [3], trial(adapt=adapt))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", LEARNERS)
def test_no_settings_that_differ_is_the_same_learner(name: str) -> None:
    """Rebuilt from its own settings, one of them given again: nothing else moves."""
    learner = ClientExecutor(spec(name)).learner
    again = dict(list(plain(learner).items())[:1])
    assert ClientExecutor(spec(name)).adapted(trial(adapt=again)) == learner


def test_a_wider_stack_gives_everyone_the_same_scores() -> None:
    work = ClientExecutor(spec(batch_size=2))
    theta = work.init()
    asked = trial(adapt={"inner_lr": 0.1, "batch_size": 3})
    together = work.evaluate(theta, 1, [1, 6, 9], asked)
    for at, client in enumerate([1, 6, 9]):
        alone = work.evaluate(theta, 5, [client], asked)
        for name, values in together.metrics.items():
            assert values.shape == (3, 2, 2)
            torch.testing.assert_close(values[at], alone.metrics[name][0], rtol=1e-4, atol=1e-6)


def test_an_old_device_is_adapted_on_first_and_only_the_persons_own() -> None:
    """Person 3's phone is client 6, the watch client 7; person 2's watch is client 5, and the phone has no samples."""
    work = ClientExecutor(spec())
    theta = work.init()
    plain, history = (work.evaluate(theta, 1, [7, 9], trial(history=old)) for old in ((), ("phone",)))
    assert (plain.metrics["loss"] != history.metrics["loss"])[..., 0].any()
    lost = work.evaluate(theta, 1, [5, 7, 9], trial(history=("phone",)))  # person 2 fails, alone
    assert lost.clients == [7, 9]
    assert list(lost.failures) == [5]
    assert "left the phone at home" in lost.failures[5]
    torch.testing.assert_close(lost.metrics["loss"], history.metrics["loss"])
    none = work.evaluate(theta, 1, [7, 9], trial(history=("watch",)))  # the watch itself is no old device
    torch.testing.assert_close(none.metrics["loss"], plain.metrics["loss"])
    unmoved = work.evaluate(theta, 1, [7, 9], trial(history=("phone",), history_steps=0))
    torch.testing.assert_close(unmoved.metrics["loss"], plain.metrics["loss"])


def test_a_specification_travels_as_json() -> None:
    assert client_config_from_json(json.loads(to_json(spec(inner_lr=0.2)))) == spec(inner_lr=0.2)
    asked = trial(adapt={"inner_lr": 0.3}, history=("phone",))
    assert trial_from_json(to_json(asked)) == asked


def test_some_of_a_stack_go_on_and_others_begin() -> None:
    """Each as if it were alone: with what it kept, or afresh."""
    work = ClientExecutor(spec("ditto"))
    theta = work.init()
    kept = {7: pick(work.train(theta, 1, [7]).state, 0)}
    together = work.train(theta, 2, [3, 4, 7], kept)
    assert together.keepers == [3, 7]
    assert together.report is not None
    assert together.report.state == {}
    for i, (client, own) in enumerate(((3, {}), (7, kept))):
        alone = work.train(theta, 2, [client], own).state
        same(pick(together.state, i), pick(alone, 0), rtol=1e-5, atol=1e-6)
    forgetful = work.train(theta, 2, [7]).state
    assert any((forgetful[name][0] - p[1]).abs().max() > 1e-3 for name, p in together.state.items())


def test_known_people_start_from_their_own_state_in_every_episode() -> None:
    work = ClientExecutor(spec("ditto"))
    theta = work.init()
    kept = {7: pick(work.train(theta, 1, [7]).state, 0)}
    known, unknown = (work.evaluate(theta, 1, [3, 7], trial(), states).metrics["loss"] for states in (kept, {}))
    torch.testing.assert_close(known[0], unknown[0])
    assert ((known[1] - unknown[1]).abs() > 1e-4).all()
    alone = work.evaluate(theta, 1, [7], trial(), kept).metrics["loss"]
    torch.testing.assert_close(alone[0], known[1], rtol=1e-5, atol=1e-6)
    at_own = work.evaluate(kept[7], 1, [7], trial(steps=(0,))).metrics["loss"]  # θ there is what the device kept
    torch.testing.assert_close(at_own[0, :, 0], known[1, :, 0], rtol=1e-5, atol=1e-6)


def test_a_state_that_is_not_finite_is_not_kept() -> None:
    """The device keeps what it had; its neighbours' states do not care."""
    work = ClientExecutor(spec("ditto"))
    theta = work.init()
    broken = {7: {name: torch.full_like(p, torch.inf) for name, p in theta.items()}}
    outcome = work.train(theta, 2, [3, 7], broken)
    assert outcome.clients == [3, 7]
    assert outcome.keepers == [3]
    assert all(len(p) == 1 and p.isfinite().all() for p in outcome.state.values())


@pytest.mark.parametrize("learner", ["reptile", "maml"])
@pytest.mark.parametrize("split", ["samples", "forward"])
@pytest.mark.parametrize("transform", [{"name": "none"}, {"name": "fixed", "centre": [0.3], "scale": [1.7]}])
def test_a_stack_of_one_block_has_the_episodes_of_client_after_client(
    learner: str, split: str, transform: dict[str, Any]
) -> None:
    spec = client_config_from_json(
        {
            "source": {"name": "sine", "clients": 40},
            "transform": transform,
            "model": {"name": "sine"},
            "learner": {"name": learner},
            "episodes": {"split": split},
        }
    )
    work, clients = ClientExecutor(spec), [3, 8, 21]
    together, one_by_one = work.cut_together(Keys(work.spec.seed, 5, clients)), work.training_episodes(5, clients)
    assert together is not None
    assert together[0] == one_by_one[0] == clients
    for side in ("support", "query"):
        ours, theirs = getattr(together[1], side), getattr(one_by_one[1], side)
        assert torch.equal(ours.x, theirs.x)
        assert torch.equal(ours.y, theirs.y)
        assert torch.equal(ours.mask, theirs.mask)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.full((2, 3, 1), np.nan, np.float32), np.zeros((2, 3, 1), np.float32)),
        (np.zeros((2, 3, 1), np.float32), np.full((2, 3, 1), np.inf, np.float32)),
        (np.zeros((2, 3, 2), np.float32), np.zeros((2, 3, 1), np.float32)),
        (np.zeros((2, 0, 1), np.float32), np.zeros((2, 0, 1), np.float32)),
    ],
)
def test_an_unusable_block_is_refused(x: np.ndarray, y: np.ndarray) -> None:
    with pytest.raises(DataError, match="one of the clients"):
        check_block(x, y, Task("regression", (1,), 1))


def test_what_a_trial_asks_is_cut_once_and_whoever_fails_is_told_with_each_round(monkeypatch) -> None:
    work = ClientExecutor(spec())
    theta, asked = work.init(), list[int]()
    record = People.samples

    def samples(self: People, index: int) -> Samples:
        asked.append(index)
        return record(self, index)

    monkeypatch.setattr(People, "samples", samples)
    first = work.evaluate(theta, 1, [3, 7], trial())
    assert asked == [3, 7]
    again = work.evaluate(theta, 2, [3, 7], trial(adapt={"inner_lr": 0.5}, steps=(0, 1)))
    assert asked == [3, 7]
    assert torch.equal(again.metrics["loss"][:, :, 0], first.metrics["loss"][:, :, 0])
    for other in (trial(seed=1), trial(name="new_device"), trial(episodes=3), trial(plan=EpisodePlan("groups", 1))):
        work.evaluate(theta, 2, [3, 7], other)
    assert asked == 5 * [3, 7]
    for round in (1, 2):
        failed = work.evaluate(theta, round, [4, 7], trial()).failures
        assert failed == {4: f"round {round}, client 4, evaluate: client 4 left the phone at home"}


def test_questions_that_were_asked_longest_ago_make_room() -> None:
    rows = stack_batches([(np.zeros((4, 3), np.float32), np.zeros(4, np.int64))])
    asked = AskedStack([0], rows, rows, NOTHING, [], {})
    kept = AskedCache(budget=2 * asked.nbytes)
    kept.put("a", asked)
    kept.put("b", asked)
    assert kept.get("a") is asked
    kept.put("c", asked)
    assert [kept.get(name) is asked for name in "abc"] == [True, False, True]
    wide = stack_batches([(np.zeros((40, 3), np.float32), np.zeros(40, np.int64))])
    kept.put("d", AskedStack([0], wide, wide, NOTHING, [], {}))
    assert [kept.get(name) is asked for name in "abcd"] == [True, False, True, False]
