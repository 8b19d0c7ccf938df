"""Prototypical, matching and relation networks: one client at a time by their papers' equations, and their slopes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from metapulse.episodes import Batch, Episode
from metapulse.errors import ConfigError
from metapulse.methods.amortised import MEMORY, AmortisedLearner
from metapulse.methods.matching import Matching
from metapulse.methods.prototypical import ProtoNet
from metapulse.methods.relation import Relation
from metapulse.models.base import Model
from metapulse.models.encoder1d import Encoder1d
from metapulse.models.mlp import MLP
from metapulse.models.module import TorchModule
from metapulse.trees import norm, pick, stack, subtree
from tests.cases import batch, classification, episode, flat, keys, meta, own_samples, regression, slopes

F64 = torch.float64
MODELS: dict[str, Model] = {
    "mlp": MLP(hidden=(4,), activation="tanh", task=classification(3)),
    "encoder1d": Encoder1d(channels=(3, 4), kernels=(3, 3), embedding=3, task=classification(2, 8)),
}
NET = MODELS["mlp"]
#: What a client's query sample costs: θ, embeddings and labels of its support, the sample's embedding and its label.
Cost = Callable[[dict[str, Tensor], Tensor, Tensor, Tensor, int], Tensor]


def prototypical(theta: dict[str, Tensor], z: Tensor, y: Tensor, q: Tensor, label: int) -> Tensor:
    """Equation 2 of Snell et al.: −log of exp(−d(q, c_k)) over the sum of all."""
    known = torch.unique(y)
    far = torch.stack([-(q - z[y == k].mean(0)).square().sum() for k in known])
    return -F.log_softmax(far, 0)[known == label][0]


def matching(theta: dict[str, Tensor], z: Tensor, y: Tensor, q: Tensor, label: int) -> Tensor:
    """Equation 1 of Vinyals et al., cosine attention at scale 3."""
    attention = torch.softmax(3.0 * torch.stack([F.cosine_similarity(q, one, 0) for one in z]), 0)
    return -attention[y == label].sum().log()


def relation(theta: dict[str, Tensor], z: Tensor, y: Tensor, q: Tensor, label: int) -> Tensor:
    """Equation 2 of Sung et al. over the classes with support."""
    g = subtree(theta, "relation/")
    total = q.new_zeros(())
    for k in torch.unique(y):
        pair = torch.cat([z[y == k].mean(0), q])
        hidden = torch.relu(g["layer0.weight"] @ pair + g["layer0.bias"])
        score = torch.sigmoid(g["layer1.weight"] @ hidden + g["layer1.bias"])[0]
        total = total + (score - float(k == label)) ** 2
    return total


LEARNERS: dict[str, tuple[AmortisedLearner, Cost]] = {
    "protonet": (ProtoNet(), prototypical),
    "matching": (Matching(scale=3.0), matching),
    "relation": (Relation(hidden=5), relation),
}
each = pytest.mark.parametrize(("learner", "cost"), LEARNERS.values(), ids=LEARNERS)


def textbook(model: Model, cost: Cost, theta: dict[str, Tensor], ep: Episode, client: int) -> Tensor:
    """Mean cost of one client's query samples whose class has support."""
    (x, y), (xq, yq) = own_samples(ep.support, client), own_samples(ep.query, client)
    z, q = (model.embed(stack(theta, 1), part.unsqueeze(0))[0] for part in (x, xq))
    costs = [cost(theta, z, y, one, int(label)) for one, label in zip(q, yq, strict=True) if (y == label).any()]
    return torch.stack(costs).mean()


@each
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_update_is_the_slope_of_the_papers_loss(learner: AmortisedLearner, cost: Cost, model: Model) -> None:
    """Unequal shots, ragged queries, every coordinate of θ, the relation module's among them."""
    theta, ep = meta(learner, model, dtype=F64), episode(model.task, (6, 4), (5, 6), dtype=F64)
    report = learner.update(model, theta, {}, ep, keys(range(2)))
    assert not set(report.update) & model.head
    for client in range(2):
        expected = slopes(lambda at, c=client: textbook(model, cost, at, ep, c), theta)
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(flat(pick(report.update, client)), expected, rtol=1e-5, atol=1e-8)
        loss = textbook(model, cost, theta, ep, client)
        torch.testing.assert_close(report.metrics["loss"][client], loss, rtol=1e-9, atol=1e-11)


def adapted(learner: AmortisedLearner, model: Model, support: Batch, dtype: torch.dtype = F64) -> dict[str, Tensor]:
    theta = meta(learner, model, dtype=dtype)
    return dict(learner.adapt(model, theta, {}, support, keys(range(len(support.x))), 1))


def test_a_prototype_of_a_linear_encoder_is_the_encoding_of_the_mean() -> None:
    """A bias of 50 keeps the ReLU open, where it is linear: f(x) = Wx + 50."""
    model, part = MLP(hidden=(4,), task=classification(3)), batch(classification(3), (6,), dtype=F64)
    theta = meta(ProtoNet(), model, dtype=F64) | {"layer0.bias": torch.full((4,), 50.0, dtype=F64)}
    means = ProtoNet().adapt(model, theta, {}, part, keys([0]), 1)[MEMORY + "means"][0]
    x, y = own_samples(part, 0)
    for k in torch.unique(y):
        expected = theta["layer0.weight"] @ x[y == k].mean(0) + 50.0
        torch.testing.assert_close(means[k], expected, rtol=1e-12, atol=1e-12)


def test_matching_with_one_shot_is_a_softmax_over_cosines() -> None:
    """p(k | x) = softmax_k(s · cos(f(x), f(x_k))), whose largest is the nearest neighbour's label."""
    learner, part = Matching(scale=2.0), batch(NET.task, (3,), dtype=F64)
    shots = Batch(part.x, torch.tensor([[2, 0, 1]]), part.mask)
    theta = meta(learner, NET, dtype=F64)
    phi = learner.adapt(NET, theta, {}, shots, keys([0]), 1)
    query = batch(NET.task, (7,), 5, F64).x
    z, q = (F.normalize(NET.embed(stack(theta, 1), x)[0], dim=1) for x in (shots.x, query))
    cosines = (q @ z.T)[:, [1, 2, 0]]  # by label
    logits = learner.predict(NET, phi, query)[0]
    torch.testing.assert_close(logits.softmax(1), torch.softmax(2.0 * cosines, 1), rtol=1e-12, atol=1e-13)
    assert torch.equal(logits.argmax(1), cosines.argmax(1))


def test_prototypes_of_one_shot_answer_with_the_nearest_neighbour() -> None:
    part = batch(NET.task, (3,), dtype=F64)
    phi = adapted(ProtoNet(), NET, Batch(part.x, torch.tensor([[0, 1, 2]]), part.mask))
    query = batch(NET.task, (7,), 5, F64).x
    distances = torch.cdist(NET.embed(phi, query), NET.embed(phi, part.x)).square()
    torch.testing.assert_close(ProtoNet().predict(NET, phi, query), -distances, rtol=1e-9, atol=1e-11)


@each
def test_a_class_without_support_is_no_answer_and_its_samples_do_not_count(
    learner: AmortisedLearner, cost: Cost
) -> None:
    ep = episode(NET.task, (4,), (6,), dtype=F64)
    two = Batch(ep.support.x, torch.tensor([[0, 1, 1, 0]]), ep.support.mask)
    phi = adapted(learner, NET, two)
    assert not (learner.predict(NET, phi, ep.query.x).argmax(2) == 2).any()
    theta = meta(learner, NET, dtype=F64)
    strange = Episode(two, Batch(ep.query.x, torch.full((1, 6), 2), ep.query.mask))
    report = learner.update(NET, theta, {}, strange, keys([0]))
    assert norm(report.update) == 0
    assert report.metrics["loss"] == 0


@each
def test_who_has_read_nothing_prefers_no_class(learner: AmortisedLearner, cost: Cost) -> None:
    theta, part = meta(learner, NET), batch(NET.task, (5, 0))
    before = learner.predict(NET, learner.start(theta, 2), part.x)
    lonely = learner.predict(NET, adapted(learner, NET, part, torch.float32), part.x)[1]
    for logits in (before[0], before[1], lonely):
        assert torch.isfinite(logits).all()
        assert torch.equal(logits.amax(1), logits.amin(1))


@each
def test_only_the_encoder_travels_and_the_memory_stays(learner: AmortisedLearner, cost: Cost) -> None:
    theta, part = meta(learner, NET), batch(NET.task, (5, 3))
    assert {name for name in theta if not name.startswith("relation/")} == {"layer0.weight", "layer0.bias"}
    phi = adapted(learner, NET, part, torch.float32)
    assert subtree(phi, MEMORY)
    assert {name for name in phi if not name.startswith(MEMORY)} == set(theta)
    report = learner.update(NET, theta, {}, episode(NET.task, (4, 2), (3, 3)), keys(range(2)))
    assert set(report.update) == set(theta)
    assert report.state == {}


@each
def test_what_it_cannot_learn_is_refused_in_one_line(learner: AmortisedLearner, cost: Cost) -> None:
    task = classification(3)
    options = {"inputs": 3, "width": 4, "outputs": 3}
    module = TorchModule(factory="tests.cases:tanh_net", options=options, task=task)
    refusals = [(MLP(hidden=(4,), task=regression(3)), "classification only"), (module, "no embedding")]
    if not isinstance(learner, Relation):
        refusals.append((MLP(hidden=(), task=task), "nothing to learn"))
    for model, reason in refusals:
        with pytest.raises(ConfigError, match=reason) as caught:
            meta(learner, model)
        assert "\n" not in str(caught.value)
