"""Labels of the query are what is predicted: they decide nothing but the score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import ClientConfig, Trial
from metapulse.data import Client, Samples, Task
from metapulse.episodes import EpisodePlan
from metapulse.registry import LEARNERS
from metapulse.rng import generator

CLASSES = 4


@dataclass(frozen=True)
class Relabelled:
    """Six people whose groups hold one class each, as executions do; ``wrong`` draws every label of ``rows`` anew."""

    task: ClassVar[Task] = Task("classification", (3,), CLASSES)
    users: ClassVar[int] = 6
    devices: ClassVar[tuple[str, ...]] = ("phone",)

    def __len__(self) -> int:
        return self.users

    def client(self, index: int) -> Client:
        return Client(index, index, "phone", f"p{index}")

    def clients_of(self, user: int) -> tuple[int, ...]:
        return (user,)

    def samples(self, index: int) -> Samples:
        rng = generator(1, "relabelled", client=index)
        group = np.arange(24) // 3
        y = rng.integers(CLASSES, size=8)[group]
        x = rng.standard_normal((24, 3)) + 2.0 * np.eye(CLASSES)[y][:, :3]
        return Samples(x.astype(np.float32), y, group, group >= 5)


def lied(samples: Samples, rows: np.ndarray, seed: int) -> Samples:
    y = samples.y.copy()
    y[rows] = generator(seed, "lies").integers(CLASSES, size=len(rows))
    return Samples(samples.x, y, samples.group, samples.held_out)


@pytest.mark.parametrize("query", [0, 4])
@pytest.mark.parametrize("shots", [0, 1, 3])
@pytest.mark.parametrize("split", ["groups", "samples", "held_out"])
def test_other_query_labels_are_the_same_episode(split: str, shots: int, query: int) -> None:
    """``forward`` cuts each class in two, so there a label decides the side of its sample by design."""
    plan, source = EpisodePlan(split, shots, query), Relabelled()
    for client in range(source.users):
        samples = source.samples(client)
        cut = plan.testing(samples, source.task, generator(client, "episode"))
        other = np.setdiff1d(np.arange(24), cut.pool)
        again = plan.testing(lied(samples, other, client), source.task, generator(client, "episode"))
        assert again.support.tolist() == cut.support.tolist()
        assert again.query.tolist() == cut.query.tolist()
        assert again.pool.tolist() == cut.pool.tolist()


def test_a_class_on_one_side_only_is_offered_if_it_has_support_and_asked_if_it_has_none() -> None:
    """Class 1 has support and no query, class 2 a query and no support."""
    y = np.array([0, 0, 1, 1, 0, 0, 2, 2])
    samples = Samples(np.zeros((8, 3), np.float32), y, np.zeros(8, np.int64), np.arange(8) >= 4)
    cut = EpisodePlan("held_out", 1).testing(samples, Relabelled.task, generator(0, "episode"))
    assert y[cut.support].tolist() == [0, 1]
    assert y[cut.query].tolist() == [0, 0, 2, 2]


def work(learner: str, **settings: Any) -> ClientExecutor:
    source = {"name": "tests.laws.test_query_labels:Relabelled"}
    model = {"name": "mlp", "hidden": [4]}
    return ClientExecutor(
        ClientConfig(3, source, {"name": "none"}, model, {"name": learner, **settings}, EpisodePlan("samples", 2))
    )


@pytest.mark.parametrize("learner", [n for n in LEARNERS if LEARNERS[n].kinds != ("regression",)])
def test_other_query_labels_are_the_same_answers(learner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is predicted and what may be answered; only the scores differ."""
    seen: list[Any] = []
    real = ClientExecutor._judge

    def spy(self: ClientExecutor, answers: Any, query: Any, classes: Any, *more: Any) -> Any:
        seen.append((answers, classes))
        return real(self, answers, query, classes, *more)

    monkeypatch.setattr(ClientExecutor, "_judge", spy)
    trial = Trial("law", EpisodePlan("groups", 2), steps=(0, 2), episodes=1)
    made, honest = work(learner), Relabelled.samples
    theta = made.init()
    true = made.evaluate(theta, 1, [0, 1, 2], trial)
    before = list(seen)
    cuts = {client: made.cuts(client, trial)[1][0] for client in range(3)}

    def lying(self: Relabelled, index: int) -> Samples:
        return lied(honest(self, index), cuts[index].query, index)

    monkeypatch.setattr(Relabelled, "samples", lying)
    seen.clear()
    told = work(learner).evaluate(theta, 1, [0, 1, 2], trial)  # another device: one keeps what it was asked
    assert any(not torch.equal(values, told.metrics[name]) for name, values in true.metrics.items())
    for (answers, classes), (again, offered) in zip(before, seen, strict=True):
        assert torch.equal(answers, again)
        assert torch.equal(classes, offered)


@pytest.mark.parametrize(("not_offered", "score"), [("apart", 1.0), ("wrong", 0.5)])
def test_what_was_not_offered_is_apart_or_wrong(
    not_offered: str, score: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two query samples of class 0, which is far from class 1, and two of class 2, which has no support."""
    y = np.array([0, 0, 1, 1, 0, 0, 2, 2])
    x = 9.0 * np.eye(3, dtype=np.float32)[y]
    held = Samples(x, y, np.zeros(8, np.int64), np.arange(8) >= 4)
    monkeypatch.setattr(Relabelled, "samples", lambda self, index: held)
    trial = Trial("law", EpisodePlan("held_out", 0), steps=(0,), episodes=1, not_offered=not_offered)
    made = work("class_mean")
    metrics = made.evaluate(made.init(), 1, [0], trial).metrics
    assert metrics["accuracy"].item() == metrics["balanced_accuracy"].item() == score
    assert metrics["not_offered"].item() == 0.5
    assert metrics["offered"].item() == 2.0
