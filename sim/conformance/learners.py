"""The contract of a learner: laws that hold for every one, on every kind of model and task.

A check is a function of a ``LearnerUnderTest`` and a model. It returns where the law holds, and raises AssertionError,
saying which law is broken, where it does not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import torch
from torch import Tensor

from metapulse.episodes import Batch, Episode
from metapulse.errors import ConfigError
from metapulse.losses import task_loss
from metapulse.methods.amortised import AmortisedLearner
from metapulse.methods.base import Learner, Paper
from metapulse.models import autograd
from metapulse.models.base import Model
from metapulse.registry import LEARNERS
from metapulse.rng import generator
from metapulse.settings import is_setting, plain
from metapulse.sim.conformance.worlds import (
    MODELS,
    batch,
    episode,
    in_minibatches,
    keys,
    meta,
    near,
    noisy,
    same,
    theta,
    with_steps,
)
from metapulse.trees import Stacked, stack

SUPPORT, QUERY = (5, 2, 1), (2, 4, 3)
KINDS = ("classification", "regression")
THREE = range(3)


class RefusalError(Exception):
    """A particular learner is not for this model, or a law is not about such a learner."""


@dataclass(frozen=True)
class LearnerUnderTest:
    """A learner to be checked.

    Args:
        name: in the registry, or a dotted reference: "package.module:Name".
        traits: of ``TRAITS``; a Reader's ("at_once", "particular") are known.
    """

    name: str
    traits: frozenset[str] = frozenset()

    @property
    def kind(self) -> type[Learner]:
        """Its class."""
        kind: type[Learner] = LEARNERS[self.name]
        return kind

    def make(self, **settings: Any) -> Learner:
        """One, with default settings but for those given."""
        made: Learner = LEARNERS.make({"name": self.name} | settings)
        return made

    def has(self, trait: str) -> bool:
        """Whether it is said, or known, to be so."""
        return trait in self.traits or (trait in ("at_once", "particular") and issubclass(self.kind, AmortisedLearner))

    @property
    def home(self) -> Model:
        """A small net for the kind of task that the learner is for."""
        return MODELS["mlp-tanh" if "classification" in getattr(self.kind, "kinds", KINDS) else "mlp-regression"]

    def world(self, model: Model) -> tuple[Learner, dict[str, Tensor], Episode]:
        """A learner with default settings, θ, and the episode it asks for (all samples as support, where local).

        Raises:
            RefusalError: it is not for this model; within the contract if it is particular, but not at home.
        """
        learner = self.make()
        ep = episode(model.task, SUPPORT, QUERY)
        if not learner.uses_query_set:
            ep = Episode(ep.pooled, batch(model.task, (0, 0, 0), longest=0))
        try:
            start = meta(learner, model)
            learner.adapt(model, start, {}, ep.support, keys(THREE), 1)
        except ConfigError as refusal:
            require(self.has("particular") and model is not self.home, f"takes every model and task: {refusal}")
            raise RefusalError(f"{self.name}: {refusal}") from None
        return learner, start, ep


def require(holds: bool, law: str) -> None:
    """Raise what is broken; not an assert, which ``python -O`` leaves out."""
    if not holds:
        raise AssertionError(law)


def client_losses(learner: Learner, model: Model, phi: Stacked, part: Batch) -> Tensor:
    """Mean loss of each client's answers."""
    return task_loss(model.task, learner.predict(model, phi, part.x), part.y, part.mask)


def query_gradient(learner: Learner, model: Model, phi: Stacked, query: Batch) -> Stacked:
    """∇L of the learner's answers: the model's own where the model answers, otherwise by autograd."""
    if type(learner).predict is Learner.predict:
        return model.grad(phi, query)
    return autograd.value_and_grad(lambda params, part: client_losses(learner, model, params, part), phi, query)[1]


class WatchedTensors:
    """Every tensor that goes in, with a copy and its version."""

    def __init__(self, *trees: Any) -> None:
        tensors: list[Tensor] = []
        for tree in trees:
            tensors += list(tree.values()) if isinstance(tree, dict) else [tree.x, tree.y, tree.mask]
        self._seen = [(t, t.clone(), t._version) for t in tensors]

    def untouched(self) -> None:
        """None has been written to."""
        require(
            all(torch.equal(t, copy) and t._version == v and not t.requires_grad for t, copy, v in self._seen),
            "what comes in is not changed",
        )


def shaped(tree: Stacked, like: Mapping[str, Tensor], what: str) -> None:
    """A stack of three in the shapes of ``like``, finite, without a graph."""
    require(list(tree) == list(like), f"{what} has the names {list(like)} in their order, not {list(tree)}")
    for key, p in tree.items():
        require(p.shape == (3, *like[key].shape), f"{what}[{key}] is (clients, *shape), not {tuple(p.shape)}")
        require(p.dtype == like[key].dtype, f"{what}[{key}] has the dtype of θ, not {p.dtype}")
        require(bool(torch.isfinite(p).all()) and not p.requires_grad, f"{what}[{key}] is finite, and has no graph")


def update_has_the_shape_of_theta(subject: LearnerUnderTest, model: Model) -> None:
    """A pseudo-gradient in the shape of θ, a state in that of the initial one, weights, and finite metrics."""
    learner, start, ep = subject.world(model)
    watched = WatchedTensors(start, ep.support, ep.query)
    report = learner.update(model, start, {}, ep, keys(THREE))
    shaped(report.update, start, "update")
    shaped(report.state, learner.initial_state(model, start), "state")
    require(report.weight.shape == (3,) and bool((report.weight > 0).all()), "weight is (clients,), > 0")
    few = bool((report.weight <= ep.support.counts + ep.query.counts).all())
    require(few or subject.has("own_weight"), "weight is at most the number of samples")
    require("loss" in report.metrics, "metrics has a loss")
    for key, m in report.metrics.items():
        fine = m.shape == (3,) and bool(torch.isfinite(m).all()) and not m.requires_grad
        require(fine, f"metrics[{key}] is (clients,), finite, and has no graph")
    watched.untouched()


def adapt_reads_the_path(subject: LearnerUnderTest, model: Model) -> None:
    """A path begins at the start; ``adapt`` and ``adapted_at`` are its points; the model, or the learner, answers."""
    learner, start, ep = subject.world(model)
    watched = WatchedTensors(start, ep.support)
    points = list(islice(learner.adaptation_trajectory(model, start, {}, ep.support, keys(THREE)), 5))
    if not subject.has("choosing"):
        same(points[0], learner.start(start, 3), rtol=0, atol=0)
    if type(learner).predict is Learner.predict:
        require(set(points[0]) == set(theta(model)), "φ is what the model predicts with, and nothing of one's own")
    for k, phi in enumerate(points):
        near(learner.adapt(model, start, {}, ep.support, keys(THREE), k), phi)
        fine = all(bool(torch.isfinite(p).all()) and not p.requires_grad for p in phi.values())
        require(fine, f"φ_{k} is finite, and has no graph")
        answers = learner.predict(model, phi, ep.support.x).shape
        require(answers == (*ep.support.mask.shape, model.task.outputs), f"answers are {tuple(answers)}")
    for k, phi in zip((0, 1, 4), learner.adapted_at(model, start, {}, ep.support, keys(THREE), (0, 1, 4)), strict=True):
        near(phi, points[k])
    said = learner.answers_at(model, start, {}, ep.support, keys(THREE), (0, 1, 4), ep.query.x)
    for k, answered in zip((0, 1, 4), said, strict=True):
        near({"answers": answered}, {"answers": learner.predict(model, points[k], ep.query.x).detach()})
    default = learner.adapt(model, start, {}, ep.support, keys(THREE))
    same(default, learner.adapt(model, start, {}, ep.support, keys(THREE), learner.inner_steps), rtol=0, atol=0)
    watched.untouched()


def path_begins_where_it_is_told(subject: LearnerUnderTest, model: Model) -> None:
    """From another start, too; and from a point of itself it goes on as it went."""
    learner, start, ep = subject.world(model)
    elsewhere = noisy(learner.start(start, 3), 9)
    watched = WatchedTensors(elsewhere)
    points = list(islice(learner.adaptation_trajectory(model, start, {}, ep.support, keys(THREE), elsewhere), 3))
    same(points[0], elsewhere, rtol=0, atol=0)
    watched.untouched()
    if subject.has("moments") or subject.has("sequential"):
        return
    again = list(islice(learner.adaptation_trajectory(model, start, {}, ep.support, keys(THREE), points[1]), 2))
    near(again[1], points[2])  # full batches and plain gradient steps have no memory


def variances_go_with_the_answers(subject: LearnerUnderTest, model: Model) -> None:
    """Of those who tell them: the mean is the answer, and its variance is positive."""
    learner, start, ep = subject.world(model)
    before, after = islice(learner.adaptation_trajectory(model, start, {}, ep.support, keys(THREE)), 2)
    for phi in (before, after):
        told = learner.predictive(model, phi, ep.support.x)  # of a learner without a query set, too
        if told is None:
            raise RefusalError(f"{subject.name}: it tells no variance")
        near({"mean": told[0]}, {"mean": learner.predict(model, phi, ep.support.x)})
        fine = told[1].shape == told[0].shape and bool((told[1] > 0).all() and torch.isfinite(told[1]).all())
        require(fine, "a variance is of an answer, positive and finite")


def small_steps_descend_the_support_loss(subject: LearnerUnderTest, model: Model) -> None:
    """Adaptation with the default rate never raises the loss on what it adapts to."""
    if subject.has("untrained"):
        raise RefusalError(f"{subject.name}: only training makes its answers fit")
    learner, start, ep = subject.world(model)
    points = islice(learner.adaptation_trajectory(model, start, {}, ep.support, keys(THREE)), 6)
    losses = [client_losses(learner, model, phi, ep.support) for phi in points]
    lower = all(bool((after <= before + 1e-6).all()) for before, after in pairwise(losses))
    require(lower, f"the support loss does not rise: {[round(float(x.mean()), 4) for x in losses]}")


def same_inputs_same_bits(subject: LearnerUnderTest, model: Model) -> None:
    """Minibatches included: they are drawn by address."""
    learner, start, ep = subject.world(model)
    learner = in_minibatches(learner)
    a, b = (learner.update(model, start, {}, ep, keys(THREE)) for _ in range(2))
    same(a.update, b.update, rtol=0, atol=0)
    same(a.metrics, b.metrics, rtol=0, atol=0)
    phi, psi = (learner.adapt(model, start, {}, ep.support, keys(THREE), 4) for _ in range(2))
    same(phi, psi, rtol=0, atol=0)


def no_steps_learn_nothing_locally(subject: LearnerUnderTest, model: Model) -> None:
    """Zero steps are the identity: θ − φ₀ = 0, or the plain query gradient at θ for those that report one."""
    if subject.has("at_once") or subject.has("solved"):
        raise RefusalError(f"{subject.name}: it takes no steps that could be left out")
    learner, start, ep = subject.world(model)
    learner = with_steps(learner, 0)
    update = learner.update(model, start, {}, ep, keys(THREE)).update
    expected = query_gradient(learner, model, learner.start(start, 3), ep.query) if learner.uses_query_set else {}
    for key, p in update.items():
        near({key: p}, {key: expected.get(key, torch.zeros_like(p))})
    if not subject.has("choosing"):
        same(learner.adapt(model, start, {}, ep.support, keys(THREE), 0), learner.start(start, 3), rtol=0, atol=0)


def clients_without_support_do_not_move(subject: LearnerUnderTest, model: Model) -> None:
    """A client whose mask is zero everywhere stays; the others are as if it were not there."""
    learner, start, ep = subject.world(model)
    mask = ep.support.mask.clone()
    mask[1] = 0
    support = Batch(ep.support.x, ep.support.y, mask)
    phi = learner.adapt(model, start, {}, support, keys(THREE), 4)
    full = learner.adapt(model, start, {}, ep.support, keys(THREE), 4)
    for key, p in learner.start(start, 3).items():
        require(bool(torch.isfinite(phi[key]).all()), f"φ[{key}] is finite without support")
        require(torch.equal(phi[key][1], p[1]), f"φ[{key}] of a client without support is where it began")
    others = ({key: params[key][[0, 2]] for key in learner.start(start, 3)} for params in (phi, full))
    near(*others)  # clients do not see each other


def update_descends(subject: LearnerUnderTest, model: Model) -> None:
    """A small step of θ along the mean update lowers what the learner trains: the loss after its own adaptation.

    Readers say it themselves: some train on another loss than the task's, or not on every query sample.
    """
    if subject.has("still") or subject.has("statistics"):
        raise RefusalError(f"{subject.name}: its θ never moves, or not along a gradient")
    learner, start, ep = subject.world(model)
    target = ep.query if learner.uses_query_set else ep.support

    def after(params: dict[str, Tensor]) -> float:
        if isinstance(learner, AmortisedLearner):
            return float(learner.update(model, params, {}, ep, keys(THREE)).metrics["loss"].mean())
        return float(
            client_losses(learner, model, learner.adapt(model, params, {}, ep.support, keys(THREE)), target).mean()
        )

    update = {key: p.mean(0) for key, p in learner.update(model, start, {}, ep, keys(THREE)).update.items()}
    length = float(torch.stack([p.square().sum() for p in update.values()]).sum().sqrt())
    require(length > 0.0, "θ moves")
    moved = {key: p - 0.05 / length * update[key] for key, p in start.items()}
    require(after(moved) < after(start), "a small step along −update lowers the loss")


def theta_has_an_address(subject: LearnerUnderTest, model: Model) -> None:
    """θ at the start depends on the seed and on nothing else; φ₀ is what it has of the model."""
    learner = subject.make()
    a, b, c = (learner.init(model, generator(seed, "init")) for seed in (3, 3, 4))
    require(all(torch.equal(a[key], b[key]) for key in a), "init is the same for the same generator")
    require(any(not torch.equal(a[key], c[key]) for key in a), "init draws from the generator it is given")
    own = {key: a[key] for key in theta(model) if key in a}
    start = learner.start(a, 2)
    same(stack(own, 2), {key: start[key] for key in own}, rtol=0, atol=0)


def settings_and_paper_are_documented(subject: LearnerUnderTest, model: Model) -> None:
    """A paper, a docstring, a line for every setting; settings survive a configuration; one out of range is refused."""
    learner = subject.make()
    require(isinstance(getattr(learner, "paper", None), Paper) and bool(learner.paper.title), "it names its paper")
    require(bool(learner.__doc__), "the class has a docstring")
    for field in dataclasses.fields(learner):
        told = is_setting(field) and bool(field.metadata["doc"])
        require(told, f"{field.name} is a metapulse.settings.setting with a line of documentation")
    again = subject.make(**plain(learner))
    require(again == learner and hash(again) == hash(learner), "it is a frozen dataclass that its settings make again")
    for key, value in {"inner_lr": 0.0, "inner_steps": -1, "batch_size": 2.5, "no_such_setting": 1}.items():
        try:
            subject.make(**{key: value})
        except ConfigError as error:
            require(key in str(error), f"the error names {key}")
        else:
            raise AssertionError(f"{key} = {value} is refused")
