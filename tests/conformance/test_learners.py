"""The contract of a learner, checked for every registered one, on every kind of model and task.

A learner added to the registry is checked here without another line.
"""

from __future__ import annotations

import dataclasses
from itertools import islice, pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from client.episodes import Batch, Episode
from client.errors import ConfigError
from client.learners.base import Learner, Paper, shares
from client.learners.reading import Reader
from client.losses import task_loss
from client.models import autograd
from client.models.base import Model
from client.registry import LEARNERS
from client.rng import generator
from client.settings import is_setting, plain
from client.trees import Stacked, pick, stack, weighted_sum
from tests.cases import MODELS, STILL, batch, episode, keys, meta, noisy, padded, same, some, theta, with_steps

SUPPORT, QUERY = (5, 2, 1), (2, 4, 3)
KINDS = ("classification", "regression")
learners = pytest.mark.parametrize("name", LEARNERS)
models = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


READERS = {name for name in LEARNERS if issubclass(LEARNERS[name], Reader)}
#: Learners that take their support in at once: they have no zeroth step, and no start to stay at.
AT_ONCE = {"r2d2"} | READERS
#: Learners whose first answers need not fit the support any better once they have seen it: only training makes them.
UNTRAINED = {"relation", "cnp", "recurrent", "mann", "snail", "meta_lstm"}

#: Learners that look at the samples to choose where to begin.
CHOOSING = {"ifca"}

#: Learners whose weight is no number of samples.
OWN_WEIGHT = {"qffl"}


def world(name: str, model: Model) -> tuple[Learner, dict[str, Tensor], Episode]:
    """A learner with its default settings, θ, and the episode it asks for (all samples as support, where local)."""
    learner: Learner = LEARNERS.make({"name": name})
    ep = episode(model.task, SUPPORT, QUERY)
    if learner.local:
        ep = Episode(ep.pooled, batch(model.task, (0, 0, 0), longest=0))
    try:
        start = meta(learner, model)
        learner.adapt(model, start, {}, ep.support, keys(range(3)), 1)
    except ConfigError as refusal:  # a one-line refusal of this kind of model is within the contract
        assert name in AT_ONCE | {"cavia"}
        assert model is not plain_model(name)
        pytest.skip(f"{name}: {refusal}")
    return learner, start, ep


def plain_model(name: str) -> Model:
    """A small net for the kind of task that a learner is for."""
    return MODELS["mlp-tanh" if "classification" in getattr(LEARNERS[name], "kinds", KINDS) else "mlp-regression"]


def loss_of(learner: Learner, model: Model, phi: Stacked, part: Batch) -> Tensor:
    """Mean loss of each client's answers."""
    return task_loss(model.task, learner.predict(model, phi, part.x), part.y, part.mask)


def query_gradient(learner: Learner, model: Model, phi: Stacked, query: Batch) -> Stacked:
    """∇L of the learner's answers: the model's own where the model answers, otherwise by autograd."""
    if type(learner).predict is Learner.predict:
        return model.grad(phi, query)
    return autograd.value_and_grad(lambda at, part: loss_of(learner, model, at, part), phi, query)[1]


def watched(*trees: Any) -> list[tuple[Tensor, Tensor, int]]:
    """Every tensor that goes in, with a copy and its version."""
    tensors: list[Tensor] = []
    for tree in trees:
        tensors += list(tree.values()) if isinstance(tree, dict) else [tree.x, tree.y, tree.mask]
    return [(t, t.clone(), t._version) for t in tensors]


def untouched(seen: list[tuple[Tensor, Tensor, int]]) -> bool:
    return all(torch.equal(t, copy) and t._version == version and not t.requires_grad for t, copy, version in seen)


@learners
@models
def test_an_update_has_the_shape_of_theta_and_finite_numbers(name: str, model: Model) -> None:
    learner, start, ep = world(name, model)
    seen = watched(start, ep.support, ep.query)
    report = learner.update(model, start, {}, ep, keys(range(3)))
    assert list(report.update) == list(start)
    for key, p in report.update.items():
        assert p.shape == (3, *start[key].shape)
        assert p.dtype == start[key].dtype
        assert torch.isfinite(p).all()
        assert not p.requires_grad
    assert report.weight.shape == (3,)
    assert (report.weight > 0).all()
    assert (report.weight <= ep.support.counts + ep.query.counts).all() or name in OWN_WEIGHT
    kept = learner.initial_state(model, start)
    assert list(report.state) == list(kept)
    for key, p in report.state.items():
        assert p.shape == (3, *kept[key].shape)
        assert p.dtype == kept[key].dtype
        assert torch.isfinite(p).all()
        assert not p.requires_grad
    assert "loss" in report.metrics
    assert all(m.shape == (3,) and torch.isfinite(m).all() and not m.requires_grad for m in report.metrics.values())
    assert untouched(seen)


@learners
@pytest.mark.parametrize("weighting", ["samples", "uniform"])
@pytest.mark.parametrize("kind", ["mlp-tanh", "mlp-regression", "cnn1d"])
def test_a_sum_is_that_of_the_updates(name: str, kind: str, weighting: str) -> None:
    """Of those who have one at all: a learner with an update of its own must not inherit another's sum."""
    model = MODELS[kind]
    learner, start, ep = world(name, model)
    learner = dataclasses.replace(learner, batch_size=2)
    summed = learner.update_sum(model, start, {}, ep, keys(range(3)), weighting)
    if summed is None:
        return
    report, total = summed
    stacked = learner.update(model, start, {}, ep, keys(range(3)))
    assert report.update == {}
    assert torch.equal(report.weight, stacked.weight)
    same(report.metrics, stacked.metrics, rtol=0, atol=0)
    same(total, weighted_sum(stacked.update, shares(stacked.weight, weighting)), rtol=1e-5, atol=1e-7)


@learners
@models
def test_a_path_begins_at_the_start_and_adapt_reads_it_off(name: str, model: Model) -> None:
    learner, start, ep = world(name, model)
    seen = watched(start, ep.support)
    points = list(islice(learner.path(model, start, {}, ep.support, keys(range(3))), 5))
    if name not in CHOOSING:
        same(points[0], learner.start(start, 3), rtol=0, atol=0)
    if type(learner).predict is Learner.predict:  # what the model predicts with, and nothing of the learner's own
        assert set(points[0]) == set(theta(model))
    for k, phi in enumerate(points):
        same(learner.adapt(model, start, {}, ep.support, keys(range(3)), k), phi, rtol=0, atol=0)
        assert all(torch.isfinite(p).all() and not p.requires_grad for p in phi.values())
        assert learner.predict(model, phi, ep.support.x).shape == (*ep.support.mask.shape, model.task.outputs)
    default = learner.adapt(model, start, {}, ep.support, keys(range(3)))
    same(default, learner.adapt(model, start, {}, ep.support, keys(range(3)), learner.inner_steps), rtol=0, atol=0)
    assert untouched(seen)


@learners
def test_a_path_begins_where_it_is_told(name: str) -> None:
    model = plain_model(name)
    learner, start, ep = world(name, model)
    elsewhere = noisy(learner.start(start, 3), 9)
    seen = watched(elsewhere)
    points = list(islice(learner.path(model, start, {}, ep.support, keys(range(3)), elsewhere), 3))
    same(points[0], elsewhere, rtol=0, atol=0)
    assert untouched(seen)
    if name == "meta_lstm":  # an optimiser with a memory, which begins anew
        return
    again = list(islice(learner.path(model, start, {}, ep.support, keys(range(3)), points[1]), 2))
    same(again[1], points[2], rtol=0, atol=0)  # full batches and plain gradient steps have no memory


@pytest.mark.parametrize("name", sorted(set(LEARNERS) - UNTRAINED))
@pytest.mark.parametrize("kind", ["mlp-tanh", "mlp-regression"])
def test_adaptation_never_raises_the_support_loss_of_a_small_step(name: str, kind: str) -> None:
    model = MODELS[kind]
    learner, start, ep = world(name, model)
    points = islice(learner.path(model, start, {}, ep.support, keys(range(3))), 6)
    losses = [loss_of(learner, model, phi, ep.support) for phi in points]
    assert all((after <= before + 1e-6).all() for before, after in pairwise(losses))


@learners
@models
def test_same_inputs_same_bits(name: str, model: Model) -> None:
    learner, start, ep = world(name, model)
    learner = dataclasses.replace(learner, batch_size=2)
    a, b = (learner.update(model, start, {}, ep, keys(range(3))) for _ in range(2))
    same(a.update, b.update, rtol=0, atol=0)
    same(a.metrics, b.metrics, rtol=0, atol=0)
    phi, psi = (learner.adapt(model, start, {}, ep.support, keys(range(3)), 4) for _ in range(2))
    same(phi, psi, rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name in LEARNERS if name not in AT_ONCE | {"imaml"}])
def test_without_training_steps_nothing_was_learned_locally(name: str) -> None:
    """Zero steps are the identity: θ − φ₀ = 0, or the plain query gradient at θ for those that report one.

    Not for iMAML, whose gradient is that of a solved inner problem, however few steps were taken.
    """
    model = plain_model(name)
    learner, start, ep = world(name, model)
    learner = with_steps(learner, 0)
    update = learner.update(model, start, {}, ep, keys(range(3))).update
    expected = query_gradient(learner, model, learner.start(start, 3), ep.query) if not learner.local else {}
    for key, p in update.items():
        torch.testing.assert_close(p, expected.get(key, torch.zeros_like(p)), rtol=0, atol=0)
    if name not in CHOOSING:
        same(learner.adapt(model, start, {}, ep.support, keys(range(3)), 0), learner.start(start, 3), rtol=0, atol=0)


@learners
def test_a_client_without_support_stays_where_it_began(name: str) -> None:
    """Its mask is zero everywhere; the others are as if it were not there."""
    model = plain_model(name)
    learner, start, ep = world(name, model)
    mask = ep.support.mask.clone()
    mask[1] = 0
    support = Batch(ep.support.x, ep.support.y, mask)
    phi = learner.adapt(model, start, {}, support, keys(range(3)), 4)
    full = learner.adapt(model, start, {}, ep.support, keys(range(3)), 4)
    for key, p in learner.start(start, 3).items():
        assert torch.isfinite(phi[key]).all()
        assert torch.equal(phi[key][1], p[1])
        assert torch.equal(phi[key][[0, 2]], full[key][[0, 2]])


@learners
def test_an_update_descends(name: str) -> None:
    """Small steps of θ along the mean update lower what the learner trains: the loss after its own adaptation.

    Readers say it themselves: some train on another loss than the task's, or not on every query sample.
    """
    model = plain_model(name)
    learner, start, ep = world(name, model)
    target = ep.query if not learner.local else ep.support
    support = ep.support

    def after(at: dict[str, Tensor]) -> float:
        if name in READERS:
            return float(learner.update(model, at, {}, ep, keys(range(3))).metrics["loss"].mean())
        return float(loss_of(learner, model, learner.adapt(model, at, {}, support, keys(range(3))), target).mean())

    update = {key: p.mean(0) for key, p in learner.update(model, start, {}, ep, keys(range(3))).update.items()}
    length = float(torch.stack([p.square().sum() for p in update.values()]).sum().sqrt())
    moved = {key: p - (0.05 / length if length else 0.0) * update[key] for key, p in start.items()}
    assert after(moved) < after(start) or name in STILL


@learners
def test_theta_at_the_start_has_an_address(name: str) -> None:
    learner: Learner = LEARNERS.make({"name": name})
    model = plain_model(name)
    a, b, c = (learner.init(model, generator(seed, "init")) for seed in (3, 3, 4))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert any(not torch.equal(a[key], c[key]) for key in a)
    own = {key: a[key] for key in theta(model) if key in a}
    start = learner.start(a, 2)
    same(stack(own, 2), {key: start[key] for key in own}, rtol=0, atol=0)


@learners
def test_it_names_its_paper_and_documents_its_settings(name: str) -> None:
    learner: Learner = LEARNERS.make({"name": name})
    assert isinstance(learner.paper, Paper)
    assert learner.paper.title
    assert learner.paper.bibtex.startswith(f"@misc{{{learner.paper.key},")
    assert learner.__doc__
    for field in dataclasses.fields(learner):
        assert is_setting(field)
        assert field.metadata["doc"]
    assert LEARNERS.make({"name": name} | plain(learner)) == learner
    assert hash(learner) == hash(LEARNERS.make({"name": name}))


@learners
@pytest.mark.parametrize(("key", "value"), [("inner_lr", 0.0), ("inner_steps", -1), ("batch_size", 2.5), ("lr", 0.1)])
def test_settings_out_of_range_are_refused(name: str, key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=key):
        LEARNERS.make({"name": name, key: value})


@learners
@pytest.mark.parametrize("kind", ["mlp-tanh", "mlp-regression"])
def test_neither_padding_nor_company_changes_a_client(name: str, kind: str) -> None:
    """The laws of tests/laws, for learners that are not in their tables yet: one ragged stack, float64."""
    model = MODELS[kind]
    learner, start, ep = world(name, model)
    start = {key: p.double() for key, p in start.items()}
    parts = [
        Batch(b.x.double(), b.y.double() if b.y.is_floating_point() else b.y, b.mask.double())
        for b in (ep.support, ep.query)
    ]
    clean, dirty = Episode(*parts), Episode(*(padded(part, 3, seed) for seed, part in enumerate(parts)))
    a, b = (learner.update(model, start, {}, each, keys(range(3))) for each in (clean, dirty))
    same(b.update, a.update, rtol=1e-9, atol=1e-11)
    answers = [
        learner.predict(model, learner.adapt(model, start, {}, each.support, keys(range(3)), 2), clean.query.x)
        for each in (clean, dirty)
    ]
    torch.testing.assert_close(*answers, rtol=1e-9, atol=1e-11)
    for client in range(3):
        alone = learner.update(model, start, {}, some(dirty, [client]), keys([client]))
        same({key: p[0] for key, p in alone.update.items()}, pick(a.update, client), rtol=1e-9, atol=1e-11)


@learners
@pytest.mark.parametrize("kind", ["mlp-tanh", "encoder1d"])
def test_what_a_device_keeps_is_all_that_it_remembers(name: str, kind: str) -> None:
    """Two rounds of a stack are two rounds of each alone; an initial state is no state; what goes in is not changed."""
    model = MODELS[kind]
    learner, start, ep = world(name, model)
    learner = dataclasses.replace(learner, batch_size=2)
    first = learner.update(model, start, {}, ep, keys(range(3)))
    begun = stack(learner.initial_state(model, start), 3) if first.state else {}
    again = learner.update(model, start, begun, ep, keys(range(3)))
    same(again.update, first.update, rtol=0, atol=0)
    same(again.state, first.state, rtol=0, atol=0)
    kept = {key: p.clone() for key, p in first.state.items()}
    seen = watched(kept)
    second = learner.update(model, start, kept, ep, keys(range(3), round=2))
    phi = learner.adapt(model, start, kept, ep.support, keys(range(3)), 2)
    assert untouched(seen)
    for client in range(3):
        own = {key: p[[client]] for key, p in kept.items()}
        alone = learner.update(model, start, own, some(ep, [client]), keys([client], round=2))
        for one, many in ((alone.update, second.update), (alone.state, second.state)):
            same(pick(one, 0), pick(many, client), rtol=1e-3, atol=1e-5)
        adapted = learner.adapt(model, start, own, some(ep, [client]).support, keys([client]), 2)
        same(pick(adapted, 0), pick(phi, client), rtol=1e-3, atol=1e-5)


@learners
def test_what_a_device_keeps_matters(name: str) -> None:
    """To its next round, or to its answers; otherwise it need not be kept."""
    model = MODELS["encoder1d"]
    learner, start, ep = world(name, model)
    kept = learner.update(model, start, {}, ep, keys(range(3))).state
    if not kept:
        return
    before, after = (
        (
            learner.update(model, start, state, ep, keys(range(3))).update,
            learner.adapt(model, start, state, ep.support, keys(range(3)), 0),
        )
        for state in ({}, kept)
    )
    assert any((a[key] - b[key]).abs().max() > 1e-5 for a, b in zip(before, after, strict=True) for key in a)
