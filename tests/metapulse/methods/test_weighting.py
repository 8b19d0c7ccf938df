"""FedNova, q-FFL and IFCA: methods whose point is how much, or towards what, a client counts."""

from __future__ import annotations

import pytest
import torch
from flwr.app import ConfigRecord, MetricRecord

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import to_json
from metapulse.client.wire import WORK, decode, encode
from metapulse.errors import ConfigError
from metapulse.methods.fedavg import FedAvg
from metapulse.methods.fedavg_finetune import FedAvgFineTune
from metapulse.methods.fednova import FedNova
from metapulse.methods.ifca import IFCA, OTHER
from metapulse.methods.qffl import QFFL
from metapulse.sim.engines.cohort import CohortGrid
from metapulse.strategies.registry import make_strategy
from metapulse.strategies.replies import UpdateStack
from metapulse.trees import prefixed, scale, stack, sub, subtree, without_subtree
from tests.cases import keys, near, same, theta
from tests.federated import (
    CLIENTS,
    EPISODE,
    F64,
    NET,
    START,
    Data,
    Tree,
    average,
    combine,
    data,
    gradient,
    loss,
    rounds,
)
from tests.runs import CLIENTS as PEOPLE
from tests.runs import make

LR = 0.1
COUNTS = EPISODE.support.counts.tolist()  # 7, 6, 4


def descend(p: Tree, own: Data, count: int) -> Tree:
    for _ in range(count):
        p = combine(lambda q, g: q - LR * g, p, gradient(p, own))
    return p


@pytest.mark.parametrize(("settings", "tau"), [({"epochs": 2.5}, 3), ({"epochs": 9.0, "inner_steps": 4}, 4)])
def test_a_fednova_client_reports_its_mean_step(settings: dict[str, float], tau: int) -> None:
    report = FedNova(inner_lr=LR, **settings).update(NET, START, {}, EPISODE, keys(range(3)))
    assert report.metrics["steps"].tolist() == [tau] * CLIENTS
    for i, own in enumerate(data()):
        expected = scale(sub(START, descend(START, own, tau)), 1 / tau)
        same({name: p[i] for name, p in report.update.items()}, expected, rtol=1e-9, atol=1e-11)


def test_clients_with_more_samples_take_more_steps_and_each_stops_at_its_own() -> None:
    """τ = ⌈1.5 n/2⌉; up to there a client walks as FedAvg's does, whichever others go on."""
    report = FedNova(inner_lr=LR, epochs=1.5, batch_size=2).update(NET, START, {}, EPISODE, keys(range(3)))
    assert report.metrics["steps"].tolist() == [6, 5, 3]
    for i, tau in enumerate((6, 5, 3)):
        fedavg = FedAvg(inner_lr=LR, inner_steps=tau, batch_size=2).update(NET, START, {}, EPISODE, keys(range(3)))
        same(
            {name: tau * p[i] for name, p in report.update.items()},
            {name: p[i] for name, p in fedavg.update.items()},
            rtol=1e-9,
            atol=1e-11,
        )


def served(update: Tree, weight: torch.Tensor, metrics: dict[str, torch.Tensor], weighting: str) -> Tree:
    """What the strategy makes of a stack."""
    strategy = make_strategy({"name": "fednova", "weighting": weighting}, 1, 0)
    return dict(strategy._aggregate(UpdateStack(list(range(len(weight))), update, weight, metrics)))


@pytest.mark.parametrize("weighting", ["samples", "uniform"])
def test_the_fednova_server_stretches_the_mean_by_the_mean_number_of_steps(weighting: str) -> None:
    update = {name: torch.randn(3, *p.shape, dtype=F64, generator=torch.manual_seed(1)) for name, p in START.items()}
    tau, weight = torch.tensor([6.0, 5.0, 3.0]), torch.tensor([7.0, 6.0, 4.0])
    shares = weight / weight.sum() if weighting == "samples" else torch.full((3,), 1 / 3)
    found = served(update, weight, {"steps": tau}, weighting)
    expected = {
        name: float(shares @ tau) * torch.einsum("c,c...->...", shares.double(), u) for name, u in update.items()
    }
    same(found, expected, rtol=1e-6, atol=1e-9)
    plain = served(update, weight, {}, weighting)  # clients that say nothing of steps
    same(plain, {name: p / float(shares @ tau) for name, p in expected.items()}, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("summed", [False, True])
def test_fednova_with_equal_steps_is_fedavg(summed: bool) -> None:
    """A round on the cohort engine, the updates as a stack or added up where they are."""
    after = []
    for name, learner in (("fednova", {"epochs": 3.0}), ("fedavg", {"inner_steps": 3})):
        config = make(name, name, "sine", learner={"inner_steps": 3, "batch_size": 0, **learner})
        strategy = make_strategy({"name": name, "cohort": 0}, 1, 0)
        record = ConfigRecord({WORK: to_json(config.client_config())} | ({"sum": "samples"} if summed else {}))
        grid = CohortGrid(PEOPLE)
        sent = strategy.configure_train(1, encode(ClientExecutor(config.client_config()).init()), record, grid)
        moved, metrics = strategy.aggregate_train(1, grid.send_and_receive(sent))
        assert moved is not None
        assert isinstance(metrics, MetricRecord)
        after.append(decode(moved))
    same(after[0], after[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("q", [0.5, 1.0, 3.0])
def test_qffl_is_algorithm_2(q: float) -> None:
    """Δ_k = F^q L(w − w̄_k), h_k = q F^(q−1) ‖L(w − w̄_k)‖² + L F^q, w ← w − ΣΔ_k / Σh_k with L = 1/η."""
    ours = rounds(QFFL(inner_lr=LR, inner_steps=4, q=q))
    w = START
    for _ in range(2):
        deltas, h = [], 0.0
        for own in data():
            f = float(loss(w, own))
            dw = combine(lambda a, b: (a - b) / LR, w, descend(w, own, 4))
            square = sum(float(p.square().sum()) for p in dw.values())
            deltas.append(combine(lambda p, f=f: f**q * p, dw))
            h += q * f ** (q - 1) * square + f**q / LR
        w = combine(lambda p, *ds, h=h: p - sum(ds) / h, w, *deltas)
    same(ours.theta, w, rtol=1e-9, atol=1e-11)


def test_qffl_with_q_zero_is_fedavg_with_every_client_counting_the_same() -> None:
    settings = {"inner_lr": LR, "inner_steps": 4, "batch_size": 2}
    fedavg = rounds(FedAvg(**settings), weighting="uniform")
    same(rounds(QFFL(q=0.0, **settings)).theta, fedavg.theta, rtol=1e-12, atol=1e-14)


def test_a_larger_q_leans_to_the_client_with_the_largest_loss() -> None:
    losses = [float(loss(START, own)) for own in data()]
    worst = max(range(CLIENTS), key=losses.__getitem__)
    pull = []
    for q in (0.0, 1.0, 4.0):
        report = QFFL(inner_lr=1e-4, inner_steps=1, q=q).update(NET, START, {}, EPISODE, keys(range(3)))
        share = report.weight * report.update["layer1.bias"].norm(dim=1)
        pull.append(float(share[worst] / share.sum()))
    assert pull[0] < pull[1] < pull[2]


def two_models() -> Tree:
    """θ of two clusters."""
    other = theta(NET, seed=9, dtype=F64)
    return START | prefixed(other, f"{OTHER}1/")


def test_ifca_is_gradient_averaging_over_the_chosen_models() -> None:
    ours = rounds(IFCA(inner_lr=LR, inner_steps=4), start=two_models())
    models = [START, theta(NET, seed=9, dtype=F64)]
    chosen = set()
    for _ in range(2):
        moves = []
        for own in data():
            j = min((0, 1), key=lambda j: float(loss(models[j], own)))
            chosen.add(j)
            zero = combine(torch.zeros_like, START)
            moved = combine(torch.sub, models[j], descend(models[j], own, 4))
            moves.append([moved if j == k else zero for k in (0, 1)])
        models = [combine(torch.sub, m, average([move[k] for move in moves], COUNTS)) for k, m in enumerate(models)]
    assert chosen == {0, 1}
    same(without_subtree(ours.theta, OTHER), models[0], rtol=1e-9, atol=1e-11)
    same(subtree(ours.theta, f"{OTHER}1/"), models[1], rtol=1e-9, atol=1e-11)


def test_ifca_with_one_model_is_fedavg() -> None:
    settings = {"inner_lr": LR, "inner_steps": 4, "batch_size": 2}
    near(rounds(IFCA(clusters=1, **settings)).theta, rounds(FedAvg(**settings)).theta)


def test_ifca_adapts_from_the_model_that_suits_the_support_set() -> None:
    learner, models = IFCA(inner_lr=LR), [START, theta(NET, seed=9, dtype=F64)]
    phi = learner.adapt(NET, two_models(), {}, EPISODE.support, keys(range(3)), 3)
    losses = torch.stack([NET.loss(stack(m, 3), EPISODE.support) for m in models])
    for i, j in enumerate(losses.argmin(0).tolist()):
        tuned = FedAvgFineTune(inner_lr=LR).adapt(NET, models[j], {}, EPISODE.support, keys(range(3)), 3)
        same({n: p[i] for n, p in phi.items()}, {n: p[i] for n, p in tuned.items()}, rtol=1e-12, atol=1e-14)


def test_no_robust_aggregator_under_fednova() -> None:
    """How many steps a client took is its own word, which would get round any of them."""
    with pytest.raises(ConfigError, match="must be mean"):
        make_strategy({"name": "fednova", "aggregator": {"name": "median"}}, 1, 0)
