"""Known people are tested on samples that were in no round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import ClientConfig, Trial
from metapulse.data import Samples
from metapulse.episodes import SPLITS, EpisodePlan
from metapulse.errors import DataError
from metapulse.reserve import reserved
from metapulse.rng import Keys
from metapulse.server.client_sampler import ClientSampler
from metapulse.server.config import build_config
from metapulse.server.metatest import MetaTest
from metapulse.sim.engines.cohort import CohortGrid, SourceDirectory
from tests.metapulse.test_history import PEOPLE as PERSONS
from tests.metapulse.test_history import chance, own

COINS = {"name": "tests.metapulse.test_history:Coins"}
MODEL: dict[str, Any] = {"model": {"name": "mlp"}, "learner": {"name": "fedavg"}}
PEOPLE = list(range(0, 12, 2))


def seen(work: ClientExecutor, client: int) -> set[tuple[float, ...]]:
    """The samples of a client that are in any of twenty rounds."""
    found = set()
    for round in range(1, 21):
        _, episode, failures = work.round_episodes(Keys(work.spec.seed, round, [client]))
        assert not failures
        both = episode.pooled
        found |= {tuple(x) for x in both.x[0][both.mask[0] > 0].tolist()}
    return found


@pytest.mark.parametrize("learner", ["fedavg", "fomaml"])  # one trains on everything at once, one on episodes
@pytest.mark.parametrize("split", ["groups", "samples", "forward"])
def test_no_round_has_seen_what_known_people_are_asked(split: str, learner: str) -> None:
    job = build_config(
        {
            "source": COINS,
            "transform": {"name": "none"},
            "model": {"name": "mlp", "hidden": [4]},
            "learner": {"name": learner},
            "episodes": {"split": split, "shots": 3},
            "evaluation": {"scenarios": ["known_user"], "split": split},
        }
    )
    work = ClientExecutor(job.client_config())
    trial = MetaTest(job, ClientSampler(SourceDirectory(work.source), job), CohortGrid(len(work.source))).trial(
        "known_user", 3
    )
    for client in PEOPLE:
        asked = {tuple(x) for _, (query, _) in work.episodes(client, trial) for x in query.tolist()}
        trained = seen(work, client)
        assert len(asked) > 10
        assert len(trained) > 10
        assert not asked & trained


def test_nothing_is_kept_where_it_is_not_needed() -> None:
    """Without known people, and where the publisher's test part is in no round anyway."""
    held = {"episodes": {"split": "held_out"}, "evaluation": {"scenarios": ["known_user"], "split": "held_out"}}
    for table, reserve in (({}, ""), (held, ""), ({"evaluation": {"scenarios": ["known_user"]}}, "groups")):
        assert build_config(table).client_config().reserve == reserve


def samples(n: int = 24) -> Samples:
    return Samples(np.zeros((n, 1), np.float32), np.arange(n) % 2, np.arange(n) // 4, np.arange(n) % 5 == 0)


@pytest.mark.parametrize("split", SPLITS)
def test_half_is_kept_and_always_the_same(split: str) -> None:
    kept = reserved(samples(), split, 3, 7)
    assert kept.tolist() == reserved(samples(), split, 3, 7).tolist()
    assert kept.sum() == (5 if split == "held_out" else 12)
    if split == "groups":
        assert all(len(set(kept[samples().group == g])) == 1 for g in range(6))
        assert len({tuple(reserved(samples(), split, seed, 7)) for seed in range(20)}) > 5
        with pytest.raises(DataError, match="one group of samples only"):
            reserved(samples(4), split, 3, 7)


def test_two_devices_keep_the_same_moments() -> None:
    work = ClientExecutor(ClientConfig(1, COINS, model={"name": "mlp"}, learner={"name": "fedavg"}, reserve="groups"))
    phone, watch = (work._samples(c) for c in (4, 5))
    assert phone.held_out.tolist() == watch.held_out.tolist()
    plan = EpisodePlan("held_out", 2)
    assert len(work.episodes(4, Trial("known_user", plan, episodes=1))) == 1


def foretold(source: dict[str, Any]) -> tuple[int, int, int]:
    """Right answers to known people on coin flips, how many were asked, and how many devices were left out.

    The answer is the label of the nearest sample that any of the person's devices trained on.
    """
    work = ClientExecutor(ClientConfig(1, source, reserve="groups", **MODEL))
    right = asked = left_out = 0
    for user in range(work.source.users):
        trained, questions = [], []
        for client in work.source.clients_of(user):
            try:
                trained.append(work.everything(client))
                questions.append(work.episodes(client, Trial("known_user", EpisodePlan("held_out", 1)))[0][1])
            except DataError:
                left_out += 1
        x, y = (np.concatenate(side) for side in zip(*trained, strict=True))
        for query, truth in questions:
            nearest = ((query[:, None] - x) ** 2).sum(2).argmin(1)
            right, asked = right + int((y[nearest] == truth).sum()), asked + len(truth)
    return right, asked, left_out


@pytest.mark.parametrize(
    ("clock", "others"), [("group", 0), ("time", 0), ("names", None), ("none", PERSONS), ("names alone", PERSONS)]
)
def test_no_device_of_a_known_person_tells_what_another_is_asked(
    clock: str, others: int | None, tmp_path: Path
) -> None:
    """Coin flips stay coin flips; where nothing tells when samples were recorded, one device of a person goes on."""
    right, asked, left_out = foretold(own(tmp_path, clock))
    assert asked > 500
    assert chance(right / asked, asked // 2)  # two devices are asked about the same coins
    assert left_out == others if others is not None else left_out <= 2


def test_only_devices_that_train_keep_samples_from_each_other(tmp_path: Path) -> None:
    """One device a person, or one that trains: half of everything is trained on, as far as moments are known or not."""
    table = {**MODEL, "source": own(tmp_path, "none"), "evaluation": {"scenarios": ["known_user"]}}
    spec = build_config({**table, "split": {"train_devices": ["watch"]}}).client_config()
    work = ClientExecutor(spec)
    for client in range(1, 2 * PERSONS, 2):
        assert work.source.client(client).device == "watch"
        assert len(work.everything(client)[0]) == 24
    alone = ClientExecutor(ClientConfig(1, {"name": "sine", "clients": 3, "points": 10}, reserve="samples", **MODEL))
    assert [len(alone.everything(c)[0]) for c in range(3)] == [5, 5, 5]


def test_a_device_that_is_left_out_is_named_in_training_and_in_the_test(tmp_path: Path) -> None:
    work = ClientExecutor(ClientConfig(1, own(tmp_path, "none"), reserve="groups", **MODEL))
    outcome = work.train(work.init(), 1, [0, 1])
    assert outcome.clients == [0]
    assert list(outcome.failures) == [1]
    scores = work.evaluate(
        work.init(), 1, [0, 1], Trial("known_user", EpisodePlan("held_out", 1), steps=(0,), episodes=1)
    )
    assert list(scores.failures) == [1]
    for told in (outcome.failures[1], scores.failures[1]):
        assert "needs a time column, or group names that devices share" in told
