"""What needs no training, against NumPy on one client's samples at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from metapulse.data import Task
from metapulse.episodes import Batch
from metapulse.errors import ConfigError
from metapulse.methods.class_mean import ClassMean
from metapulse.methods.majority import Majority
from metapulse.methods.persistence import Persistence
from metapulse.methods.untrained import Untrained
from metapulse.models.cnn1d import CNN1d
from metapulse.models.mlp import MLP
from metapulse.rng import generator
from metapulse.sim.conformance.worlds import CLASSES
from metapulse.sim.experiment import run_experiment
from tests.cases import batch, classification, episode, keys, own_samples, regression
from tests.runs import make, read

WINDOWS = CNN1d(channels=(3,), kernel=3, task=classification(2, 12))
POINTS = MLP(hidden=(), task=classification(3))  # a linear model: nothing below its head, and none is needed
TARGETS = MLP(hidden=(4,), task=regression(3))


def answers(learner: Untrained, model: MLP | CNN1d, support: Batch, x: Tensor) -> Tensor:
    theta = learner.init(model, generator(0, "init"))
    phi = learner.adapt(model, theta, {}, support, keys(range(len(support.mask))), 1)
    return learner.predict(model, phi, x)


def test_majority_answers_the_most_frequent_class() -> None:
    ep = episode(POINTS.task, (9, 5, 1), (4, 3, 2))
    found = answers(Majority(), POINTS, ep.support, ep.query.x)
    for client in range(3):
        counts = np.bincount(own_samples(ep.support, client)[1], minlength=CLASSES)
        expected = np.log((counts + 1) / (counts.sum() + CLASSES))
        np.testing.assert_allclose(found[client], np.tile(expected, (4, 1)), rtol=1e-6)
        assert (found[client].argmax(1) == counts.argmax()).all()


def test_majority_of_targets_is_their_mean() -> None:
    ep = episode(TARGETS.task, (5, 2, 0), (4, 3, 2))
    found = answers(Majority(), TARGETS, ep.support, ep.query.x)
    for client, n in enumerate((5, 2, 0)):
        expected = own_samples(ep.support, client)[1].mean(0) if n else torch.zeros(2)
        torch.testing.assert_close(found[client], expected.expand(4, 2))


def plain_features(x: np.ndarray, reads: str) -> np.ndarray:
    if reads == "statistics" and x.ndim == 3:
        return np.concatenate([x.mean(2), x.std(2)], 1)
    return x.reshape(len(x), -1)


@pytest.mark.parametrize("reads", ["statistics", "samples"])
@pytest.mark.parametrize("model", [WINDOWS, POINTS], ids=["windows", "points"])
def test_class_mean_answers_the_nearest_mean(model: MLP | CNN1d, reads: str) -> None:
    """−‖z − c_k‖²/d of the classes that have support; the others are never the answer."""
    ep = episode(model.task, (9, 2, 4), (6, 6, 6), seed=3)
    found = answers(ClassMean(reads=reads), model, ep.support, ep.query.x)
    for client in range(3):
        x, y = (part.numpy() for part in own_samples(ep.support, client))
        z, q = plain_features(x, reads), plain_features(ep.query.x[client].numpy(), reads)
        for k in range(CLASSES):
            if (y == k).any():
                expected = -((q - z[y == k].mean(0)) ** 2).mean(1)
                np.testing.assert_allclose(found[client, :, k], expected, rtol=1e-4, atol=1e-5)
            else:
                assert (found[client, :, k] < -1e8).all()


def test_class_mean_is_for_classes() -> None:
    with pytest.raises(ConfigError, match=r"ClassMean.*classification only"):
        ClassMean().init(TARGETS, generator(0, "init"))


def test_persistence_is_zero_or_the_last_value_that_is_known() -> None:
    task = Task("regression", (3, 4), 1, names=("a", "b", "b_known"))
    model = MLP(hidden=(4,), task=task)
    x = torch.arange(2 * 5 * 12, dtype=torch.float32).reshape(2, 5, 3, 4)
    x[:, :, 2] = torch.tensor([1.0, 1.0, 0.0, 0.0])  # of b the second of four days is the last with a value
    x[1, 4, 2] = 0.0  # no day has one
    support = batch(task, (3, 2))
    assert (answers(Persistence(), model, support, x) == 0).all()
    assert torch.equal(answers(Persistence(input="a"), model, support, x)[:, :, 0], x[:, :, 0, 3])
    last = x[:, :, 1, 1].clone()
    last[1, 4] = 0.0
    assert torch.equal(answers(Persistence(input="b"), model, support, x)[:, :, 0], last)
    with pytest.raises(ConfigError, match=r"learner.input = 'c': must be one of a, b, b_known"):
        answers(Persistence(input="c"), model, support, x)


@pytest.mark.parametrize("name", ["majority", "class_mean"])
def test_rounds_change_nothing(name: str, tmp_path: Path) -> None:
    """Not θ, and not a single answer; so a comparison gives them none."""
    results = []
    for rounds in (0, 2):
        config = make(name, "fedavg", "", rounds)
        results.append(read(tmp_path / str(rounds), run_experiment(config, tmp_path / str(rounds))))
    without, after = results
    assert without.digests == after.digests[:1]
    assert len(set(after.digests)) == 1
    last = [{**row, "round": 2} for row in without.rows]
    assert last == after.rows


def test_an_empty_support_knows_nothing() -> None:
    """Step 0: every class is as likely, every target 0."""
    part = batch(WINDOWS.task, (3, 2))
    for learner in (Majority(), ClassMean()):
        phi = learner.adapt(WINDOWS, learner.init(WINDOWS, generator(0, "init")), {}, part, keys(range(2)), 0)
        found = torch.softmax(learner.predict(WINDOWS, phi, part.x), 2)
        torch.testing.assert_close(found, torch.full_like(found, 1 / CLASSES))
