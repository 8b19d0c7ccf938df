"""FedAvg, Reptile, fine-tuning and local-only against plain torch, one client after another."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from torch import Tensor, nn

from metapulse.episodes import Batch
from metapulse.methods.base import Learner
from metapulse.methods.fedavg import FedAvg, LocalSGD
from metapulse.methods.fedavg_finetune import FedAvgFineTune
from metapulse.methods.local_only import LocalOnly
from metapulse.methods.loop import minibatches
from metapulse.methods.reptile import Reptile
from metapulse.models.mlp import MLP
from metapulse.trees import pick, scale, stack, sub
from tests.cases import (
    MODELS,
    batch,
    classification,
    episode,
    keys,
    near,
    personal,
    same,
    select_clients,
    tanh_net,
    theta,
)

NET = MLP(hidden=(4,), activation="tanh", task=classification(3))
NAMES = {"layer0.weight": "1.weight", "layer0.bias": "1.bias", "layer1.weight": "3.weight", "layer1.bias": "3.bias"}
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
F64 = torch.float64


def network(params: dict[str, Tensor]) -> nn.Module:
    net = tanh_net(3, 4, 3).double()
    net.load_state_dict({NAMES[name]: p for name, p in params.items()})
    return net


def parameters(net: nn.Module) -> dict[str, Tensor]:
    return {name: net.get_parameter(NAMES[name]).detach().clone() for name in NAMES}


def step(net: nn.Module, optimizer: torch.optim.Optimizer, part: Batch) -> None:
    """One ordinary torch training step on the real samples of a stack of one."""
    real = part.mask[0] > 0
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(part.x[0, real]), part.y[0, real]).backward()
    optimizer.step()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("size", [0, 2])
@pytest.mark.parametrize("cls", [FedAvg, FedAvgFineTune, Reptile])
def test_an_update_is_torchs_training_loop_client_by_client(cls: type[LocalSGD], size: int, optimizer: str) -> None:
    start = theta(NET, dtype=F64)
    ep = episode(NET.task, (5, 2, 3), (2, 0, 1), dtype=F64)
    learner = cls(inner_lr=0.05, inner_steps=7, batch_size=size, optimizer=optimizer)
    report = learner.update(NET, start, {}, ep, keys(range(3)))
    for client in range(3):
        net = network(start)
        torch_optimizer = OPTIMIZERS[optimizer](net.parameters(), lr=0.05)
        for part in islice(minibatches(select_clients(ep.pooled, [client]), size, keys([client])), 7):
            step(net, torch_optimizer, part)
        expected = sub(start, parameters(net))
        same(pick(report.update, client), expected, rtol=1e-9, atol=1e-11)
    assert torch.equal(report.weight, torch.tensor([7.0, 2.0, 4.0], dtype=F64))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_point_of_the_adaptation_path_is_torchs(optimizer: str) -> None:
    start, support = personal(NET, 2, dtype=F64), batch(NET.task, (4, 2), dtype=F64)
    learner = Reptile(inner_lr=0.05, optimizer=optimizer)
    nets = [network(pick(start, i)) for i in range(2)]
    optimizers = [OPTIMIZERS[optimizer](net.parameters(), lr=0.05) for net in nets]
    for phi in islice(
        learner.adaptation_trajectory(NET, theta(NET, dtype=F64), {}, support, keys(range(2)), start), 12
    ):
        for i, (net, torch_optimizer) in enumerate(zip(nets, optimizers, strict=True)):
            same(pick(phi, i), parameters(net), rtol=1e-9, atol=1e-11)
            step(net, torch_optimizer, select_clients(support, [i]))


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("cls", [FedAvg, FedAvgFineTune, Reptile])
def test_one_whole_batch_step_is_one_step_of_sgd(cls: type[LocalSGD], model: MLP) -> None:
    """θ − φ₁ = α∇L(θ): averaged, the server descends the pooled loss exactly as plain SGD would.

    To rounding of the subtraction θ − (θ − αg), which is of the size of θ's last bit.
    """
    start, ep = theta(model), episode(model.task, (4, 2), (3, 3))
    report = cls(inner_lr=0.1, inner_steps=1).update(model, start, {}, ep, keys(range(2)))
    loss, grads = model.value_and_grad(stack(start, 2), ep.pooled)
    same(report.update, scale(grads, 0.1), rtol=1e-5, atol=3e-7)
    torch.testing.assert_close(report.metrics["loss"], loss)


def test_reptile_and_fedavg_do_the_same_work_on_a_client() -> None:
    start, ep = theta(NET), episode(NET.task, (5, 2), (3, 3))
    settings = {"inner_lr": 0.1, "inner_steps": 5, "batch_size": 2}
    reports = [cls(**settings).update(NET, start, {}, ep, keys(range(2))) for cls in (FedAvg, FedAvgFineTune, Reptile)]
    for other in reports[1:]:
        near(other.update, reports[0].update)


def test_after_training_reptile_and_fine_tuning_adapt_and_fedavg_does_not() -> None:
    start, support = theta(NET), batch(NET.task, (5, 2))
    before = NET.loss(stack(start, 2), support)
    for cls, adapts in ((FedAvg, False), (FedAvgFineTune, True), (Reptile, True), (LocalOnly, True)):
        phi = cls(inner_lr=0.1).adapt(NET, start, {}, support, keys(range(2)), 5)
        after = NET.loss(phi, support)
        assert bool((after < before - 1e-3).all()) is adapts
        assert torch.equal(after, before) is not adapts


def test_local_only_never_moves_theta() -> None:
    start, ep = theta(NET), episode(NET.task, (5, 2), (3, 3))
    report = LocalOnly(inner_lr=0.1).update(NET, start, {}, ep, keys(range(2)))
    assert not any(p.any() for p in report.update.values())
    torch.testing.assert_close(report.metrics["loss"], NET.loss(stack(start, 2), ep.pooled))


def test_the_reported_loss_is_the_mean_over_the_steps_before_each_of_them() -> None:
    start, ep = theta(NET, dtype=F64), episode(NET.task, (5, 2), (3, 3), dtype=F64)
    learner: Learner = Reptile(inner_lr=0.1, inner_steps=4)
    path = list(islice(learner.adaptation_trajectory(NET, start, {}, ep.pooled, keys(range(2))), 4))
    expected = torch.stack([NET.loss(phi, ep.pooled) for phi in path]).mean(0)
    torch.testing.assert_close(learner.update(NET, start, {}, ep, keys(range(2))).metrics["loss"], expected)
