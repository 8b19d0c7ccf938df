"""What a method says of itself is what its learner does."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import pytest

from metapulse.errors import ConfigError
from metapulse.methods.amortised import AmortisedLearner
from metapulse.methods.local_norm import LocalNorm
from metapulse.methods.method import Method
from metapulse.models.mlp import MLP
from metapulse.registry import LEARNERS, METHODS
from metapulse.rng import generator
from tests.cases import classification, episode, keys, regression
from tests.runs import CURVES


@dataclass(frozen=True, eq=False)
class Headless(MLP):
    """A net that does not say where its head is."""

    @property
    def head(self) -> frozenset[str]:
        raise ConfigError("model.name", "Headless", "has no head")

    def predict(self, params, x):
        return MLP(hidden=self.hidden, activation=self.activation, task=self.task).predict(params, x)

    def embed(self, params, x):
        raise ConfigError("model.name", "Headless", "has no embedding")


def round_of(method: Method, model: MLP) -> dict[str, int]:
    """One round of two clients, and a step of adaptation; the sizes of what their devices keep."""
    learner = LocalNorm(layers="layer0") if method.name == "local_norm" else method.learner()
    ep = episode(model.task, (4, 4), (3, 3))
    meta = learner.init(model, generator(0, "init"))
    report = learner.update(model, meta, {}, ep, keys(range(2), 1))
    next(islice(learner.adaptation_trajectory(model, meta, report.state, ep.support, keys(range(2), 0)), 1, None))
    return {name: p[0].numel() for name, p in report.state.items()}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_keeps_and_whether_it_needs_a_head(name: str) -> None:
    method, task = METHODS[name], regression(2) if name in CURVES else classification(2)
    assert bool(round_of(method, MLP(hidden=(4,), activation="tanh", task=task))) == bool(method.keeps)
    headless = Headless(hidden=(4,), activation="tanh", task=task)
    if method.head:
        with pytest.raises(ConfigError, match="Headless"):
            round_of(method, headless)
    else:
        round_of(method, headless)


@pytest.mark.parametrize("name", METHODS)
def test_a_baseline_is_what_learns_nothing_from_others(name: str) -> None:
    """Its clients send nothing, whatever their data: so θ stays where it began."""
    method, task = METHODS[name], regression(2) if name in CURVES else classification(2)
    model = MLP(hidden=(4,), activation="tanh", task=task)
    learner = LocalNorm(layers="layer0") if name == "local_norm" else method.learner()
    meta, ep = learner.init(model, generator(0, "init")), episode(task, (4, 4), (3, 3))
    report = learner.update(model, meta, {}, ep, keys(range(2), 1))
    assert method.baseline == (not any(bool(p.any()) for p in report.update.values()))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_its_learners_and_says_everything(name: str) -> None:
    method = METHODS[name]
    assert (method.name, method.learner) == (name, LEARNERS[name])
    assert method.sends
    assert method.adapts
    assert method.server.settings.keys() <= {"weighting", "schedule"}
    assert set(method.tasks) <= {"classification", "regression"}
    particular = isinstance(method.learner(), AmortisedLearner) or name in CURVES
    assert particular or method.tasks == ("classification", "regression")
    assert all(hasattr(method.learner(), key) for key in method.computed)
