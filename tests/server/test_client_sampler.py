"""Who is drawn: right phase, right device, the same for the same address, whatever the size of the population."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from metapulse.data import Client, Task
from metapulse.errors import ConfigError
from metapulse.rng import generator
from metapulse.server.client_sampler import LISTED, ClientSampler
from metapulse.server.config import build_config


@dataclass(frozen=True)
class Crowd:
    """People who each wear every device; counts how often a client is looked at."""

    users: int
    devices: tuple[str, ...]
    looked: Counter

    @property
    def task(self):
        return Task("regression", (1,), 1)

    def __len__(self):
        return self.users * len(self.devices)

    def partition_ids(self):
        return range(len(self))

    def client(self, index):
        self.looked["client"] += 1
        user, device = divmod(index, len(self.devices))
        return Client(index, user, self.devices[device], f"p{user}")

    def clients_of(self, user):
        return range(user * len(self.devices), (user + 1) * len(self.devices))

    def nodes_of(self, clients):
        return [self.node(client) for client in clients]

    def node(self, index):
        return index + 2


def sampler(users=50, devices=("phone", "watch"), **sections):
    sections.setdefault("split", {"test": 0.2, "validation": 0.2})
    return ClientSampler(Crowd(users, devices, Counter()), build_config(sections))


def who(made, clients):
    return [made.directory.client(c) for c in clients]


def phases(made, clients):
    return set(made.split.phases(np.array([c.user for c in who(made, clients)])).tolist())


def test_cohorts_are_distinct_ascending_training_clients():
    made = sampler(split={"test": 0.2, "validation": 0.2, "train_devices": ["watch"]})
    for round in range(1, 20):
        cohort = made.cohort(round, 12)
        assert cohort == sorted(set(cohort))
        assert len(cohort) == 12
        assert {c.device for c in who(made, cohort)} == {"watch"}
        assert phases(made, cohort) == {"train"}


def test_a_cohort_depends_on_seed_and_round_alone():
    again = [sampler().cohort(r, 10) for r in (5, 3, 5)]
    assert again[0] == again[2] != again[1]
    assert sampler(run={"seed": 1}).cohort(5, 10) != again[0]
    assert sampler(learner={"name": "maml"}).cohort(5, 10) == again[0]


def test_every_training_client_gets_its_turn():
    """60 clients, ten a round: 300 rounds give each 50 turns, ± 7 a standard deviation; five of them are allowed."""
    made = sampler(split={"test": 0.2, "validation": 0.2})
    turns = Counter(c for round in range(300) for c in made.cohort(round, 10))
    assert len(turns) == 60
    assert all(abs(n - 50) < 5 * 7 for n in turns.values())


def test_cohort_zero_is_everybody_in_training():
    made = sampler(split={"test": 0.2, "validation": 0.0})
    assert len(made.cohort(1, 0)) == 80


@pytest.mark.parametrize("size", [61, 10_000])
def test_a_cohort_larger_than_the_population_is_everybody_and_said(size):
    made = sampler()
    assert made.cohort(1, size) == made.cohort(1, 0)
    (line,) = made.clamped(size)
    assert line.startswith(f"strategy.cohort = {size}, and 60 clients")


def test_nobody_left_to_train_on_is_said():
    all_tested = {"test": 0.0, "validation": 0.0, "test_users": [f"p{i}" for i in range(50)]}
    with pytest.raises(ConfigError, match="leaves no person in meta-training"):
        sampler(split=all_tested).cohort(1, 0)


@pytest.mark.parametrize(
    ("scenario", "phase", "device"),
    [
        ("known_user", "train", "phone"),
        ("new_user", "test", "phone"),
        ("new_device", "test", "watch"),
        ("new_device_history", "test", "watch"),
    ],
)
def test_scenarios_find_their_people(scenario, phase, device):
    made = sampler(split={"test": 0.2, "validation": 0.2, "train_devices": ["phone"]}, evaluation={"clients": 7})
    targets = made.targets(scenario)
    assert targets == sorted(set(targets))
    assert phases(made, targets) == {phase}
    assert {c.device for c in who(made, targets)} == {device}
    assert len(targets) == 7


def test_targets_do_not_move_with_the_run_but_with_the_seed_of_the_evaluation():
    def targets(**sections):
        return sampler(evaluation={"clients": 5, **sections.pop("evaluation", {})}, **sections).targets("new_user")

    assert targets() == targets(run={"seed": 9}, learner={"name": "maml"})
    assert targets() != targets(evaluation={"seed": 9})


def test_history_asks_the_same_people_as_without():
    made = sampler(split={"train_devices": ["phone"]}, evaluation={"clients": 4})
    assert made.targets("new_device") == made.targets("new_device_history")


@pytest.mark.parametrize("scenario", ["new_device", "new_device_history"])
def test_devices_of_the_test_choose_nothing(scenario):
    """Validation people answer on devices of the training, or on some that are named, and never on the test's."""
    split = {"test": 0.2, "validation": 0.2, "train_devices": ["phone"]}
    made = sampler(split=split, evaluation={"devices": ["watch"]})
    assert {c.device for c in who(made, made.targets(scenario, "validation"))} == {"phone"}
    assert {c.device for c in who(made, made.targets(scenario, "test"))} == {"watch"}
    looking = sampler(split=split, evaluation={"devices": ["watch"], "phase": "validation"})
    assert {c.device for c in who(looking, looking.targets(scenario))} == {"phone"}


def test_validation_people_are_asked_where_the_configuration_says_so():
    made = sampler(evaluation={"phase": "validation"})
    assert phases(made, made.targets("new_user")) == {"validation"}


@pytest.mark.parametrize(
    ("sections", "scenario", "message"),
    [
        ({"split": {"test": 0.0}}, "new_user", "evaluation.scenarios = 'new_user': none fits: phase test"),
        ({}, "new_device", "evaluation.scenarios = 'new_device': none fits: phase test, devices none"),
        (
            {"split": {"train_devices": ["ring"]}},
            "new_user",
            "split.train_devices = ['ring']: must be among phone, watch",
        ),
        ({"evaluation": {"devices": ["ring"]}}, "new_device", "evaluation.devices = ['ring']: must be among phone"),
        (
            {"evaluation": {"devices": ["watch"]}},
            "new_device",
            "evaluation.devices = ['watch']: worn in meta-training; must not be in split.train_devices",
        ),
        (
            {
                "split": {"train_devices": ["phone"]},
                "evaluation": {"phase": "validation", "validation_devices": ["watch"]},
            },
            "new_device_history",
            "evaluation.validation_devices = ['watch']: devices of the test; must not be in evaluation.devices",
        ),
        ({"split": {"test_users": ["p1", "x"]}}, "new_user", "split.test_users = ['x']: no such people; there are p0"),
        (
            {"split": {"test_users": ["p1"], "validation_users": ["p1", "p2"]}},
            "new_user",
            "split.test_users = ['p1']: 1 are validation users too",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_line_with_key_and_value(sections, scenario, message):
    with pytest.raises(ConfigError) as caught:
        sampler(**sections).targets(scenario)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_named_people_are_exactly_the_meta_test():
    made = sampler(split={"test_users": ["p7", "p30"]})
    assert [c.user for c in who(made, made.targets("new_user"))] == [7, 7, 30, 30]


def test_a_million_people_are_drawn_from_without_looking_at_them():
    made = sampler(users=1_000_000)
    assert len(made.directory) > LISTED
    cohort, targets = made.cohort(1, 100), made.targets("new_user")
    assert len(set(cohort)) == 100
    assert phases(made, cohort) == {"train"}
    assert phases(made, targets) == {"test"}
    assert cohort == sampler(users=1_000_000).cohort(1, 100)
    assert made.directory.looked["client"] < 2000


def test_where_everybody_may_be_drawn_nobody_is_looked_at():
    made = sampler(users=1_000_000, split={"test": 0.0, "validation": 0.0})
    assert len(set(made.cohort(1, 10_000))) == 10_000
    assert not made.directory.looked
    restricted = sampler(users=1_000_000, split={"test": 0.0, "validation": 0.0, "train_devices": ["watch"]})
    assert {c.device for c in who(restricted, restricted.cohort(1, 100))} == {"watch"}


@pytest.mark.parametrize("split", [{"test": 0.0, "validation": 0.0}, {"test": 0.2, "train_devices": ["watch"]}])
def test_a_cohort_is_who_is_drawn_first_and_fits(split):
    """The same as drawing client after client, until there are enough."""
    made = sampler(users=1_000_000, split=split)
    rng, expected = generator(0, "cohort", 3), set()
    while len(expected) < 200:
        for c in rng.integers(2_000_000, size=400).tolist():
            fits = phases(made, [c]) == {"train"} and made.directory.client(c).device in made.train_devices
            if fits and len(expected) < 200:
                expected.add(c)
    assert made.cohort(3, 200) == sorted(expected)


def test_a_large_population_needs_a_size_and_takes_no_names():
    with pytest.raises(ConfigError, match=r"strategy\.cohort = 0: must be given for 200000 clients"):
        sampler(users=100_000).cohort(1, 0)
    with pytest.raises(ConfigError, match="people can be named in populations up to"):
        sampler(users=100_000, split={"test_users": ["p1"]}).cohort(1, 5)
    with pytest.raises(ConfigError, match=r"evaluation\.clients = 50: more than the clients that fit"):
        sampler(users=100_000, split={"test": 0.0001}, evaluation={"clients": 50}).targets("new_user")


def test_by_person_nobody_is_in_a_round_with_two_devices():
    made = sampler(split={"test": 0.2, "validation": 0.2})
    assert made.people == 30
    for round in range(1, 30):
        for sampling in ("poisson", "fixed"):
            cohort = made.persons(5, round, 12, sampling)
            assert cohort == sorted(cohort)
            assert len({c.user for c in who(made, cohort)}) == len(cohort)
            assert phases(made, cohort) <= {"train"}
            assert sampling == "poisson" or len(cohort) == 12
    turns = Counter(c.device for round in range(40) for c in who(made, made.persons(5, round, 30, "fixed")))
    assert abs(turns["phone"] - 600) < 5 * 18  # √(1200 / 4): a fair coin for each person and round


@pytest.mark.parametrize("users", [100, LISTED + 1])
def test_poisson_rounds_are_independent_coins(users):
    """Each of N people with probability q: counts are binomial, people are in rounds alike, pairs as often as q²."""
    made = sampler(users, ("watch",), split={"test": 0.2, "validation": 0.0})
    size, rounds = (20, 400) if users == 100 else (200, 60)
    people, q = made.people, size / made.people
    drawn = [made.persons(9, round, size, "poisson") for round in range(rounds)]
    counts = np.array([len(cohort) for cohort in drawn])
    assert people == round(0.8 * users)
    assert abs(counts.mean() - size) < 5 * np.sqrt(size * (1 - q) / rounds)
    assert 0.7 < counts.var() / (size * (1 - q)) < 1.5
    assert all(phases(made, cohort) == {"train"} for cohort in drawn[:5])
    if users == 100:
        seen = np.zeros((rounds, users))
        for i, cohort in enumerate(drawn):
            seen[i, cohort] = 1
        there = seen[:, seen.any(0)]
        assert there.shape[1] == people
        assert abs(there.mean(0) - q).max() < 5 * np.sqrt(q * (1 - q) / rounds)
        pairs = (there.T @ there / rounds)[np.triu_indices(people, 1)]
        assert abs(pairs.mean() - q * q) < 0.003
        assert abs(pairs - q * q).max() < 5.5 * np.sqrt(q * q * (1 - q * q) / rounds)


def test_a_draw_by_person_depends_on_its_seed_and_round_alone():
    made = sampler()
    assert made.persons(1, 3, 10, "poisson") == sampler(run={"seed": 4}).persons(1, 3, 10, "poisson")
    assert made.persons(1, 3, 10, "poisson") != made.persons(2, 3, 10, "poisson")
    assert made.persons(1, 3, 10, "poisson") != made.persons(1, 4, 10, "poisson")


def test_by_person_a_million_cost_what_a_cohort_costs():
    made = sampler(users=1_000_000, split={"test": 0.2, "validation": 0.0, "train_devices": ["watch"]})
    for sampling in ("poisson", "fixed"):
        cohort = made.persons(1, 1, 100, sampling)
        assert 50 < len(cohort) < 150
        assert {c.device for c in who(made, cohort)} == {"watch"}
        assert phases(made, cohort) == {"train"}
    assert made.directory.looked["client"] < 3_000
