"""A ClientApp of a module and a method: the same mathematics as metapulse's own, in ordinary messages of Flower's."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import unwrap
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAdam, FedAvg
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from metapulse.client import meta_app
from metapulse.client.own_data import read_side
from metapulse.errors import ConfigError, DataError, MetapulseError, NoResultError
from metapulse.strategies import FedAdaptive, FedMAML, FedMetaSGD, FedOuter, FedReptile
from tests.nodes import Nodes

ALPHA, STEPS = 0.3, 2


pytestmark = pytest.mark.usefixtures("said")


def net() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 3))


def samples(node: int, count: int, which: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(100 * node + which)
    x = torch.randn(count, 2, generator=draw)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0.1 * node).long()


def data(context: Context) -> tuple[Any, Any]:
    node = int(context.node_id)
    return samples(node, 6 + node, 0), samples(node, 9, 1)


def loss(p: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    hidden = torch.tanh(x @ p["0.weight"].T + p["0.bias"])
    return nn.functional.cross_entropy(hidden @ p["2.weight"].T + p["2.bias"], y)


def adapted(theta: Mapping[str, Tensor], x: Tensor, y: Tensor, steps: int = STEPS) -> dict[str, Tensor]:
    """φ_K, with its graph back to θ."""
    phi = dict(theta)
    for _ in range(steps):
        grads = torch.autograd.grad(loss(phi, x, y), list(phi.values()), create_graph=True)
        phi = {name: p - ALPHA * g for (name, p), g in zip(phi.items(), grads, strict=True)}
    return phi


def theta() -> dict[str, Tensor]:
    return {name: p.detach().clone().requires_grad_() for name, p in net().named_parameters()}


def meta_gradient(node: int) -> dict[str, Tensor]:
    """∇_θ L_query(φ_K(θ)) in plain torch."""
    at = theta()
    query = loss(adapted(at, *samples(node, 6 + node, 0)), *samples(node, 9, 1))
    return dict(zip(at, torch.autograd.grad(query, list(at.values())), strict=True))


def told(app: ClientApp, kind: str = MessageType.TRAIN, node: int = 1, **config: Any) -> Message:
    """One message to one node, and its reply."""
    nodes = Nodes(app)
    content = RecordDict({"arrays": ArrayRecord(net().state_dict())})
    content["config"] = ConfigRecord({"server-round": 1, **config})
    reply: Message = app(Message(content, node, kind), nodes.contexts[node])
    return reply


def test_mamls_reply_is_theta_after_one_step_of_rate_one_along_the_meta_gradient() -> None:
    reply = told(meta_app(net(), data, inner_lr=ALPHA, inner_steps=STEPS))
    for name, g in meta_gradient(1).items():
        expected = net().state_dict()[name] - g
        np.testing.assert_allclose(reply.content.array_records["arrays"][name].numpy(), expected, rtol=0, atol=1e-6)
    assert reply.content.metric_records["metrics"]["num-examples"] == 9


def test_asked_for_updates_it_sends_the_meta_gradient_itself() -> None:
    reply = told(meta_app(net, data, inner_lr=ALPHA, inner_steps=STEPS), reports="updates")
    for name, g in meta_gradient(1).items():
        np.testing.assert_allclose(reply.content.array_records["arrays"][name].numpy(), g, rtol=1e-4, atol=1e-7)


def test_reptiles_reply_is_where_training_on_the_support_ended() -> None:
    reply = told(meta_app(net(), data, "reptile", inner_lr=ALPHA, inner_steps=STEPS))
    for name, p in adapted(theta(), *samples(1, 7, 0)).items():
        np.testing.assert_allclose(reply.content.array_records["arrays"][name].numpy(), p.detach(), rtol=0, atol=1e-6)
    assert reply.content.metric_records["metrics"]["num-examples"] == 7
    assert "train_loss" in reply.content.metric_records["metrics"]


@pytest.mark.parametrize("reports", ["parameters", "updates"])
def test_fedmaml_over_such_clients_is_sgd_along_the_mean_meta_gradient(reports: Any) -> None:
    app = meta_app(net(), data, "maml", inner_lr=ALPHA, inner_steps=STEPS)
    strategy = FedMAML(lr=0.5, outer="sgd", reports=reports, fraction_evaluate=0.0)
    result = strategy.start(Nodes(app, 3), ArrayRecord(net().state_dict()), 1)
    for name, p in net().state_dict().items():
        mean = torch.stack([meta_gradient(node)[name] for node in (1, 2, 3)]).mean(0)
        np.testing.assert_allclose(result.arrays[name].numpy(), p - 0.5 * mean, rtol=0, atol=1e-6)


def test_evaluation_judges_the_query_before_and_after_adaptation() -> None:
    reply = told(meta_app(net(), data, inner_lr=ALPHA, inner_steps=STEPS), MessageType.EVALUATE, 2)
    found, query = reply.content.metric_records["metrics"], samples(2, 9, 1)
    before, after = (loss(adapted(theta(), *samples(2, 8, 0), steps), *query) for steps in (0, STEPS))
    assert found["eval_loss_before"] == pytest.approx(before.item(), rel=1e-5)
    assert found["eval_loss"] == pytest.approx(after.item(), rel=1e-5)
    with torch.no_grad():
        right = (net()(query[0]).argmax(1) == query[1]).float().mean()
    assert found["eval_acc_before"] == pytest.approx(float(right))
    assert found["num-examples"] == 9
    assert not reply.content.array_records


def test_evaluations_may_have_data_and_steps_of_their_own() -> None:
    def unseen(context: Context) -> tuple[Any, Any]:
        return samples(7, 10, 0), samples(7, 20, 1)

    app = meta_app(net(), data, inner_lr=ALPHA, evaluation_data=unseen, adapt_steps=5)
    found = told(app, MessageType.EVALUATE).content.metric_records["metrics"]
    assert found["num-examples"] == 20
    expected = loss(adapted(theta(), *samples(7, 10, 0), 5), *samples(7, 20, 1))
    assert found["eval_loss"] == pytest.approx(expected.item(), rel=1e-4)


def test_a_regression_reports_the_mean_squared_and_absolute_error() -> None:
    def line(context: Context) -> tuple[Any, Any]:
        x = torch.linspace(-1, 1, 8).reshape(-1, 1)
        return (x, 2 * x[:, 0]), (x, 2 * x)

    module = nn.Linear(1, 1)
    app = meta_app(module, line, inner_lr=0.1)
    result = FedReptile().start(Nodes(app), ArrayRecord(module.state_dict()), 1)
    assert {"eval_loss", "eval_mae", "eval_loss_before", "eval_mae_before"} == set(result.evaluate_metrics_clientapp[1])


def test_loaders_and_tensors_are_the_same_samples() -> None:
    x, y = samples(1, 10, 0)
    loader = DataLoader(TensorDataset(x, y), batch_size=4)
    named = [{"img": a, "label": b} for a, b in loader]
    for side in ((x, y), (x.numpy(), y.numpy()), loader, named, list(loader)[:2] + list(loader)[2:]):
        read = read_side(side, "support")
        assert torch.equal(read[0], x)
        assert torch.equal(read[1], y)


WRONG: dict[str, tuple[Any, str]] = {
    "empty": ([], "support: no batches"),
    "unequal": ((torch.zeros(3, 2), torch.zeros(2)), "3 inputs and 2 targets"),
    "integers": ((torch.zeros(3, 2).long(), torch.zeros(3)), "must be floating-point"),
    "flat": ((torch.zeros(3), torch.zeros(3)), "must be floating-point, (samples"),
    "NaN": ((torch.full((3, 2), torch.nan), torch.zeros(3)), "hold NaN"),
    "labels": ((torch.zeros(3, 2), torch.zeros(3, 1).long()), "labels have shape [3, 1]"),
    "parts": ([(1, 2, 3)], "a batch is 3 parts"),
    "a number": ([4], "a batch is int"),
}


@pytest.mark.parametrize("case", WRONG)
def test_samples_that_cannot_be_used_are_refused_in_one_line(case: str) -> None:
    side, reason = WRONG[case]
    with pytest.raises(DataError) as refused:
        read_side(side, "support")
    assert reason in str(refused.value)


class Odd(nn.Module):
    """A frozen layer, a buffer, dropout, a weight under two names, and a layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 4)
        self.frozen = nn.Linear(4, 4)
        self.frozen.requires_grad_(False)
        self.middle, self.again = nn.Linear(4, 4), nn.Linear(4, 4)
        self.again.weight = self.middle.weight
        self.twice = self.same = nn.Linear(4, 4)
        self.last = nn.Linear(4, 3)
        self.drop = nn.Dropout(0.2)
        self.register_buffer("scale", torch.tensor([2.0]))

    def forward(self, x: Tensor) -> Tensor:
        h = self.frozen(self.scale * self.first(x))
        return self.last(self.drop(self.same(self.again(torch.relu(self.middle(h))))))


def odd() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Odd()


@pytest.mark.parametrize(("method", "strategy"), [("maml", FedMAML), ("reptile", FedReptile), ("fomaml", FedOuter)])
def test_what_is_frozen_stays_what_the_server_sent_and_shared_weights_stay_one(method: str, strategy: Any) -> None:
    sent = odd().state_dict()
    sent["scale"], sent["frozen.bias"] = torch.tensor([3.0]), torch.ones(4)  # the server's, not the client's own
    result = strategy().start(Nodes(meta_app(Odd, data, method, inner_lr=0.1)), ArrayRecord(sent), 2)
    after = result.arrays.to_torch_state_dict()
    assert list(after) == list(sent)
    for name in ("scale", "frozen.weight", "frozen.bias"):
        assert torch.equal(after[name], sent[name])
    for one, other in (("middle.weight", "again.weight"), ("twice.bias", "same.bias")):
        assert torch.equal(after[one], after[other])
        assert not torch.equal(after[one], sent[one])
    Odd().load_state_dict(after)


def test_meta_sgd_learns_rates_that_travel_beside_the_parameters() -> None:
    seen: list[set[str]] = []

    def judge(round: int, arrays: ArrayRecord) -> MetricRecord:
        seen.append(set(arrays))
        return MetricRecord({"round": round})

    strategy = FedMetaSGD(lr=0.01, rate_low=0.05, rate_high=0.2, seed=3)
    nodes = Nodes(meta_app(Odd, data, "meta_sgd"))
    sent = odd().state_dict()
    result = strategy.start(nodes, ArrayRecord(sent), 2, evaluate_fn=judge)
    assert set(result.arrays) == set(sent) == set.union(*seen)
    asked = [m[0].content.array_records["arrays"] for m in nodes.asked if m[0].metadata.message_type == "train"]
    first = {name: asked[0][f"rate/{name}"].numpy() for name in sent}
    assert all(r.min() >= 0.05 and r.max() <= 0.2 for r in first.values())
    moved = {name for name, array in strategy.rates.items() if not np.array_equal(array.numpy(), first[name])}
    assert moved >= {"first.weight", "last.weight"}
    assert moved.isdisjoint({"scale", "frozen.weight"})
    again = strategy.start(nodes, result.arrays, 1)  # goes on with what it has learned
    assert set(again.arrays) == set(sent)


def test_without_its_rates_meta_sgd_says_who_sends_them(said: pytest.LogCaptureFixture) -> None:
    with pytest.raises(NoResultError, match="FedMetaSGD sends the rates"):
        FedMAML().start(Nodes(meta_app(net, data, "meta_sgd")), ArrayRecord(net().state_dict()), 1)


def test_a_personal_model_stays_in_the_nodes_context() -> None:
    nodes = Nodes(meta_app(net, data, "ditto", inner_lr=0.1))
    result = FedOuter().start(nodes, ArrayRecord(net().state_dict()), 3)
    assert set(result.arrays) == set(net().state_dict())
    kept = [list(context.state.array_records) for context in nodes.contexts.values()]
    assert kept == 4 * [["state/3"]]


@pytest.mark.parametrize("strategy", [FedAvg, FedAdam])
def test_flowers_own_strategies_understand_it(strategy: Any) -> None:
    """FedAdam hands out float64; the module keeps its own precision."""
    app = meta_app(net, data, "reptile", inner_lr=0.1)
    result = strategy().start(Nodes(app), ArrayRecord(net().state_dict()), 2)
    assert set(result.arrays) == set(net().state_dict())
    assert len(result.evaluate_metrics_clientapp) == 2


def test_our_adam_learns_more_than_chance_with_it() -> None:
    app = meta_app(net, data, "reptile", inner_lr=0.3)
    result = FedAdaptive(outer="adam", lr=0.05).start(Nodes(app), ArrayRecord(net().state_dict()), 8)
    losses = [m["eval_loss"] for m in result.evaluate_metrics_clientapp.values()]
    assert losses[-1] < 0.8 * losses[0]


def test_the_same_seed_gives_the_same_replies() -> None:
    app = [meta_app(Odd, data, "reptile", inner_lr=0.1, batch_size=2, seed=seed) for seed in (0, 0, 1)]
    ends = [
        FedReptile().start(Nodes(one), ArrayRecord(odd().state_dict()), 2).arrays["first.weight"].numpy() for one in app
    ]
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "method": ({"method": "mamal"}, "learner.name = 'mamal'"),
    "setting": ({"inner_rate": 0.1}, "learner.inner_rate = 0.1: unknown key"),
    "batch-norm": ({"module": nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))}, "use group norm"),
    "no module": ({"module": lambda: 3}, "must be a torch.nn.Module"),
    "a number": ({"module": 3}, "module = 'int': must be a torch.nn.Module"),
    "loaders": ({"data": (1, 2)}, "data = 'tuple': must be a function from a client's context"),
    "loaders to judge on": ({"evaluation_data": (1, 2)}, "evaluation_data = 'tuple': must be a function"),
    "steps": ({"adapt_steps": -1}, "must be a whole number"),
    "frozen": ({"module": nn.Linear(2, 3).requires_grad_(False)}, "has no parameters to learn"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_serve_is_refused_when_the_app_is_made(case: str) -> None:
    given, reason = REFUSED[case]
    with pytest.raises(ConfigError) as refused:
        unwrap(meta_app)(**{"module": net(), "data": data, **given})  # the tests' own check of types would come first
    assert reason in str(refused.value)


FAILING: dict[str, tuple[Any, Any, str]] = {
    "other arrays": (net, data, "arrays of the module are missing: 0.bias"),
    "another shape": (net, data, r"array 0.weight is [3, 2]; the module's is [5, 2]"),
    "more arrays": (net, data, "maml learns other arrays than it was sent: more"),
    "one side": (net, lambda context: (*samples(1, 3, 0), 1), "data must return two: support and query"),
    "labels": (net, lambda context: ((torch.zeros(2, 2), torch.tensor([0, 3])),) * 2, "outputs allow 0 to 2"),
    "two tasks": (net, lambda context: (samples(1, 3, 0), (torch.zeros(2, 2), torch.zeros(2, 3))), "different tasks"),
    "not two": (lambda: nn.Sequential(nn.Linear(2, 5), nn.Unflatten(1, (5, 1))), data, "one tensor of shape (samples"),
}


@pytest.mark.parametrize("case", FAILING)
def test_what_goes_wrong_on_a_client_is_told_in_one_line(case: str) -> None:
    module, source, reason = FAILING[case]
    arrays = {k: p.clone() for k, p in module().state_dict().items()}
    if case == "other arrays":
        arrays = {"w": torch.zeros(2)}
    if case == "another shape":
        arrays["0.weight"] = torch.zeros(3, 2)
    if case == "more arrays":
        arrays["more"] = torch.zeros(2)
    app = meta_app(module, source)
    message = Message(RecordDict({"arrays": ArrayRecord(arrays)}), 1, MessageType.TRAIN)
    with pytest.raises(MetapulseError) as refused:
        app(message, Nodes(app).contexts[1])
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)
