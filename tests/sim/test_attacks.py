"""Attacks against their closed forms: who attacks, what is reported, and that no other client changes."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metapulse.data import Task
from metapulse.episodes import Batch
from metapulse.errors import ConfigError
from metapulse.losses import task_metrics
from metapulse.registry import ATTACKS
from metapulse.rng import Keys, generator
from metapulse.sim.attacks.base import Attack, Attacker
from metapulse.sim.attacks.colluding import ALIE, IPM, largest_z
from metapulse.sim.attacks.forging import FreeRider, NotANumber, ScalingAttack, SignFlip
from metapulse.sim.attacks.poisoning import SUCCESS, Backdoor, LabelFlip, Replacement

CLIENTS, WIDTH = 7, 12
BAD = torch.tensor([False, True, False, False, True, False, False])
KEYS = Keys(3, 2, [4, 8, 15, 16, 23, 42, 108])
CLASSES = Task("classification", (2, 10), 4)
CURVES = Task("regression", (1,), 1)


def stack(seed: int = 0) -> dict[str, torch.Tensor]:
    x = torch.from_numpy(generator(seed, "stack").standard_normal((CLIENTS, WIDTH))).float()
    return {"w": x[:, :8].reshape(CLIENTS, 4, 2), "b": x[:, 8:]}


def samples(seed: int = 0) -> Batch:
    """Six samples of each client, the last two of them padding."""
    rng = generator(seed, "samples")
    x = torch.from_numpy(rng.standard_normal((CLIENTS, 6, 2, 10))).float()
    return Batch(
        x, torch.from_numpy(rng.integers(0, 4, (CLIENTS, 6))), (torch.arange(6) < 4).float().repeat(CLIENTS, 1)
    )


def made(name: str) -> Attack:
    attack: Attack = ATTACKS.make({"name": name})
    return attack


ATTACKERS = [name for name in ATTACKS if name != "none"]


@pytest.mark.parametrize("name", ATTACKERS)
def test_the_honest_are_untouched_and_nothing_is_changed_in_place(name: str) -> None:
    attack, update, batch = made(name), stack(), samples()
    forged, poisoned = attack.forge(update, BAD, KEYS), attack.poison(CLASSES, batch, BAD, KEYS, "support")
    for key, u in update.items():
        assert u.equal(stack()[key])
        assert forged[key][~BAD].equal(u[~BAD])
        assert forged[key].dtype == u.dtype
    assert batch.x.equal(samples().x) and batch.y.equal(samples().y)  # noqa: PT018
    assert poisoned.x[~BAD].equal(batch.x[~BAD])
    assert poisoned.y[~BAD].equal(batch.y[~BAD])
    assert poisoned.mask.equal(batch.mask)
    changed = any(not forged[key][BAD].equal(u[BAD]) for key, u in update.items())
    assert changed or not poisoned.y[BAD].equal(batch.y[BAD])


def test_updates_turned_round_made_longer_and_left_out() -> None:
    u = stack()
    for attack, factor in (
        (SignFlip(factor=3.0), -3.0),
        (ScalingAttack(factor=7.0), 7.0),
        (Replacement(boost=5.0), 5.0),
    ):
        assert all(attack.forge(u, BAD, KEYS)[key][BAD].equal(factor * u[key][BAD]) for key in u)
    assert not FreeRider().forge(u, BAD, KEYS)["w"][BAD].any()
    assert NotANumber(value="inf").forge(u, BAD, KEYS)["b"][BAD].isposinf().all()
    once = NotANumber(everywhere=False).forge(u, BAD, KEYS)
    assert once["w"][BAD].isnan().sum() == BAD.sum()
    assert once["b"].equal(u["b"])


def test_a_disguise_is_noise_drawn_by_address() -> None:
    wide = {"w": torch.zeros(CLIENTS, 10_000)}
    found = FreeRider(noise=0.2).forge(wide, BAD, KEYS)["w"]
    assert found[1].std().item() == pytest.approx(0.2, rel=0.03)  # 3 % is four standard errors of 10 000 numbers
    assert found[1].equal(torch.from_numpy(0.2 * generator(3, "attack/noise", 2, 8).standard_normal(10_000)).float())
    alone = FreeRider(noise=0.2).forge({"w": wide["w"][1:2]}, torch.tensor([True]), Keys(3, 2, [8]))["w"]
    assert alone[0].equal(found[1])


@given(st.integers(0, 100), st.floats(0.1, 3.0))
def test_those_who_know_the_others(seed: int, size: float) -> None:
    """μ − z σ and −ε μ of the honest, with NumPy's mean and standard deviation."""
    u = stack(seed)
    for key, x in u.items():
        honest = x[~BAD].double().numpy()
        lie, manipulated = ALIE(z=size).forge(u, BAD, KEYS)[key], IPM(epsilon=size).forge(u, BAD, KEYS)[key]
        for i in BAD.nonzero().flatten().tolist():
            np.testing.assert_allclose(lie[i], honest.mean(0) - size * honest.std(0), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(manipulated[i], -size * honest.mean(0), rtol=1e-4, atol=1e-5)
            assert float((manipulated[i] * x[~BAD].mean(0)).sum()) <= 0  # what the attack is called after


def test_the_largest_deviation_of_fifty_workers_with_twelve_attackers() -> None:
    """s = ⌊50/2 + 1⌋ − 12 = 14 honest ones are needed: Φ(z) = (50 − 12 − 14)/38 = 24/38."""
    assert largest_z(50, 12) == pytest.approx(NormalDist().inv_cdf(24 / 38))
    assert NormalDist().cdf(largest_z(100, 30)) == pytest.approx((70 - 21) / 70)
    assert largest_z(10, 0) == 0.0
    assert largest_z(10, 9) == 0.0


def test_labels_are_mirrored() -> None:
    batch = samples()
    assert LabelFlip().poison(CLASSES, batch, BAD, KEYS, "query").y[BAD].equal(3 - batch.y[BAD])
    curve = Batch(torch.ones(CLIENTS, 3, 1), torch.ones(CLIENTS, 3, 1), torch.ones(CLIENTS, 3))
    assert LabelFlip().poison(CURVES, curve, BAD, KEYS, "query").y[BAD].eq(-1).all()


def test_the_trigger_is_where_it_is_said_and_stands_for_the_target() -> None:
    attack, batch = Backdoor(target=2, share=0.5, width=3, value=9.0), samples()
    found = attack.poison(CLASSES, batch, BAD, KEYS, "support")
    bears = found.x[..., -3:].eq(9.0).all(-1).all(-1)
    expected = [generator(3, "attack/support", 2, c).random(6) < 0.5 for c in KEYS.clients]
    assert bears.equal(torch.from_numpy(np.stack(expected)) & BAD.unsqueeze(1))
    assert 0 < bears.sum() < BAD.sum() * 6
    assert found.y[bears].eq(2).all()
    assert found.y[~bears].equal(batch.y[~bears])
    assert found.x[..., :-3].equal(batch.x[..., :-3])


def test_success_counts_other_classes_taken_for_the_target() -> None:
    """A model that answers with the target where it sees the trigger, and one that never does."""
    attack, batch = Backdoor(target=1, width=2, value=5.0), samples()
    probe = attack.probe(batch)
    assert probe.x[..., -2:].eq(5.0).all()
    others = ((batch.y != 1) * batch.mask).sum(1)
    assert probe.mask.sum(1).equal(others)
    for answer, reached in ((1, (others > 0).float()), (0, torch.zeros(len(others)))):
        answers = torch.nn.functional.one_hot(torch.full_like(batch.y, answer), CLASSES.outputs).float()
        judged = task_metrics(CLASSES, answers, probe.y, probe.mask)
        assert attack.success(judged)[SUCCESS].equal(reached)


def test_a_backdoor_needs_its_class() -> None:
    for task, target in ((CLASSES, 4), (CURVES, 0)):
        with pytest.raises(ConfigError, match=r"attack\.target"):
            Backdoor(target=target).check(task)
    Backdoor(target=3).check(CLASSES)


def test_who_attacks_is_a_matter_of_the_person_alone() -> None:
    users = list(range(4000))
    attack = SignFlip(fraction=0.3)
    who = attack.attackers(5, 1, users)
    assert abs(int(who.sum()) - 1200) < 4 * math.sqrt(4000 * 0.3 * 0.7)  # four standard deviations of a binomial
    for round in (2, 77):
        assert attack.attackers(5, round, users).equal(who)
    assert attack.attackers(5, 1, users[::-1]).equal(who.flip(0))
    assert bool(attack.attackers(5, 1, [17])[0]) == bool(who[17]) == (generator(5, "attack", 0, 17).random() < 0.3)
    more = SignFlip(fraction=0.6).attackers(5, 1, users)
    assert (who & ~more).sum() == 0  # a larger share has the same people in it
    assert not attack.attackers(6, 1, users).equal(who)


def test_the_window_of_rounds() -> None:
    attack = SignFlip(fraction=1.0, first=3, last=5)
    assert [bool(attack.attackers(0, round, [1])[0]) for round in range(1, 8)] == [False] * 2 + [True] * 3 + [False] * 2
    assert SignFlip(fraction=1.0, first=3).attackers(0, 1000, [1]).all()
    assert not Attack().attackers(0, 1, [1]).any()
    assert all(isinstance(made(name), Attacker) for name in ATTACKERS)
