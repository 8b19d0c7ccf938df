"""Outer optimisers against torch's, Flower's and closed forms; schedules; the mean of the replies."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from flwr.serverapp import strategy as flower
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from metapulse.errors import ConfigError
from metapulse.outer import DIRECTIONS, OuterName, OuterUpdate, State, outer_rate
from metapulse.strategies.aggregate import weighted_mean
from metapulse.trees import flat

STEPS, LR, TAU = 7, 0.05, 1e-3
BETAS = (0.8, 0.95)


def start() -> dict[str, Tensor]:
    return {"w": torch.linspace(-1.0, 1.0, 6, dtype=torch.float64).view(2, 3), "b": torch.tensor(0.3).double()}


def slopes() -> list[dict[str, Tensor]]:
    """One aggregate per round; a coordinate that is always zero among them."""
    draw = torch.Generator().manual_seed(3)
    found = [
        {k: torch.randn(p.shape, generator=draw, dtype=torch.float64) for k, p in start().items()} for _ in "1" * STEPS
    ]
    for slope in found:
        slope["w"][0, 1] = 0.0
    return found


def ours(kind: str, tau: float = TAU) -> tuple[list[dict[str, Tensor]], list[State]]:
    """θ and state after every round."""
    rule = OuterUpdate(kind, *BETAS, tau)
    theta, state = start(), rule.init(start())
    thetas, states = [], []
    for slope in slopes():
        theta, state = rule.apply(state, theta, slope, LR)
        thetas.append(theta)
        states.append(state)
    return thetas, states


TORCH: dict[str, Any] = {
    "sgd": lambda p: torch.optim.SGD(p, LR),
    "momentum": lambda p: torch.optim.SGD(p, LR, momentum=BETAS[0]),
    "adam": lambda p: torch.optim.Adam(p, LR, BETAS, TAU),
    "adagrad": lambda p: torch.optim.Adagrad(p, LR, eps=TAU),
}


@pytest.mark.parametrize("kind", TORCH)
def test_torch_takes_the_same_steps(kind: str) -> None:
    leaves = {name: p.clone().requires_grad_() for name, p in start().items()}
    optimiser = TORCH[kind](list(leaves.values()))
    for slope, theta in zip(slopes(), ours(kind)[0], strict=True):
        for name, leaf in leaves.items():
            leaf.grad = slope[name].clone()
        optimiser.step()
        for name, leaf in leaves.items():
            torch.testing.assert_close(theta[name], leaf.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", DIRECTIONS)
def test_in_one_buffer_it_is_the_same_step(kind: OuterName) -> None:
    """θ and update as one buffer each: to the bit, with moments under the same names; also from a read checkpoint."""
    rule = OuterUpdate(kind, *BETAS, TAU, l2=0.1)
    theta, state = start(), rule.init(start())
    whole, kept = flat(theta), rule.init(theta)
    for round, slope in enumerate(slopes()):
        theta, state = rule.apply(state, theta, slope, LR)
        after, kept = rule.apply(kept, whole, flat(slope), LR)
        whole = flat(after)
        if round == 2:  # as it comes out of a file
            kept = {name: p.clone() for name, p in kept.items()}
        assert set(kept) == set(state)
        for name, p in (theta | state).items():
            assert torch.equal((dict(whole) | kept)[name], p), name


def test_yogi_by_hand() -> None:
    """Reddi et al. 2021, Algorithm 2, third line of the three, with Adam's correction of the start."""
    m = {name: np.zeros(p.shape) for name, p in start().items()}
    v, theta = {name: x.copy() for name, x in m.items()}, {name: p.numpy() for name, p in start().items()}
    for t, (slope, found) in enumerate(zip(slopes(), ours("yogi")[0], strict=True), 1):
        for name, d in ((name, s.numpy()) for name, s in slope.items()):
            m[name] = BETAS[0] * m[name] + (1 - BETAS[0]) * d
            v[name] = v[name] - (1 - BETAS[1]) * d**2 * np.sign(v[name] - d**2)
            root = np.sqrt(v[name] / (1 - BETAS[1] ** t)) + TAU
            theta[name] = theta[name] - LR * m[name] / (1 - BETAS[0] ** t) / root
            np.testing.assert_allclose(found[name].numpy(), theta[name], rtol=1e-12, atol=1e-14)


def flowers(kind: str, tau: float) -> tuple[list[dict[str, np.ndarray]], list[Any]]:
    """θ of Flower's strategy after every round, and its moments; fed with θ − Δ as the one client's weights."""
    from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict

    from metapulse.client.wire import ARRAYS, METRICS, encode
    from metapulse.sim.engines.cohort import CohortGrid

    made = {"adam": flower.FedAdam, "yogi": flower.FedYogi, "adagrad": flower.FedAdagrad}[kind]
    betas = {} if kind == "adagrad" else {"beta_1": BETAS[0], "beta_2": BETAS[1]}
    its: Any = made(min_train_nodes=1, min_available_nodes=1, eta=LR, tau=tau, **betas)
    grid, theta, thetas, moments = CohortGrid(1), start(), [], []
    for t, slope in enumerate(slopes(), 1):
        (asked,) = its.configure_train(t, encode(theta), ConfigRecord(), grid)
        weights = {name: p - slope[name] for name, p in theta.items()}
        content = RecordDict({ARRAYS: encode(weights), METRICS: MetricRecord({"num-examples": 1})})
        moved, _ = its.aggregate_train(t, [Message(content, reply_to=asked)])
        theta = {name: torch.from_numpy(array.numpy().copy()) for name, array in moved.items()}
        thetas.append({name: p.numpy() for name, p in theta.items()})
        moments.append((its.m_t, its.v_t))
    return thetas, moments


def test_flowers_adagrad_takes_the_same_steps() -> None:
    theirs, _ = flowers("adagrad", TAU)
    for found, expected in zip(ours("adagrad")[0], theirs, strict=True):
        for name, p in found.items():
            np.testing.assert_allclose(p.numpy(), expected[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["adam", "yogi"])
def test_flowers_moments_are_the_same(kind: str) -> None:
    """Flower's m is of the difference, ours of the slope: the sign; v is the same."""
    for state, (m, v) in zip(ours(kind)[1], flowers(kind, TAU)[1], strict=True):
        for name in start():
            np.testing.assert_allclose(state[f"m/{name}"].numpy(), -m[name], rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(state[f"v/{name}"].numpy(), v[name], rtol=1e-9, atol=1e-12)


def test_flowers_adam_corrects_the_start_as_if_a_round_had_passed() -> None:
    """Flower's factor has t + 1 where Kingma and Ba have t; apart from that the first step is the same (τ → 0)."""
    theirs, found = flowers("adam", 1e-12)[0][0], ours("adam", 1e-12)[0][0]
    b1, b2 = BETAS
    factor = (math.sqrt(1 - b2**2) / (1 - b1**2)) / (math.sqrt(1 - b2) / (1 - b1))
    for name, p in start().items():
        np.testing.assert_allclose(theirs[name] - p.numpy(), factor * (found[name] - p).numpy(), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("kind", DIRECTIONS)
def test_arguments_are_not_changed_and_a_zero_slope_moves_nothing(kind: str) -> None:
    rule, theta = OuterUpdate(kind), start()
    state = rule.init(theta)
    kept = {name: p.clone() for name, p in state.items()}
    rule.apply(state, theta, slopes()[0], LR)
    assert all(torch.equal(state[name], kept[name]) for name in kept)
    assert all(torch.equal(theta[name], p) for name, p in start().items())
    zero = {name: torch.zeros_like(p) for name, p in theta.items()}
    moved, _ = rule.apply(state, theta, zero, LR)
    assert all(torch.equal(moved[name], p) for name, p in theta.items())


@pytest.mark.parametrize("kind", DIRECTIONS)
def test_going_on_from_a_saved_state_changes_nothing(kind: str) -> None:
    from safetensors.torch import load, save

    thetas, states = ours(kind)
    rule = OuterUpdate(kind, *BETAS, TAU)
    theta, state = load(save(thetas[2])), load(save(states[2]))
    for slope in slopes()[3:]:
        theta, state = rule.apply(state, theta, slope, LR)
    assert all(torch.equal(theta[name], p) for name, p in thetas[-1].items())


def test_an_optimiser_can_be_set_if_and_only_if_there_is_one() -> None:
    assert get_args(OuterName) == tuple(DIRECTIONS)


def test_adams_first_step_is_the_rate_in_every_coordinate() -> None:
    """m̂/√v̂ = sign(Δ) at t = 1 whatever the betas."""
    rule, slope = OuterUpdate("adam", 0.3, 0.7, 1e-15), slopes()[0]
    moved, _ = rule.apply(rule.init(start()), start(), slope, LR)
    for name, p in start().items():
        torch.testing.assert_close(p - moved[name], LR * slope[name].sign(), rtol=1e-9, atol=1e-12)


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"strategy\.outer = 'lion': must be one of sgd, momentum"):
        OuterUpdate("lion")


def test_schedules() -> None:
    """Reptile's ε falls on a line that would be zero one round after the last; the cosine starts and ends flat."""
    assert [outer_rate(2.0, "constant", t, 4) for t in range(1, 5)] == [2.0] * 4
    assert [outer_rate(2.0, "linear", t, 4) for t in range(1, 5)] == [2.0, 1.5, 1.0, 0.5]
    cosine = [outer_rate(2.0, "cosine", t, 4) for t in range(1, 5)]
    np.testing.assert_allclose(cosine, [2.0, 1.0 + math.sqrt(0.5), 1.0, 1.0 - math.sqrt(0.5)])
    for schedule in ("linear", "cosine"):
        assert outer_rate(2.0, schedule, 9, 4) == 0.0  # nothing after the end
        assert outer_rate(2.0, schedule, 1, 0) == 2.0


weights = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=8)


@given(weights, st.floats(1e-3, 1e3), st.randoms(use_true_random=False))
def test_the_mean_is_a_mean(weight: list[float], scale: float, draw: Any) -> None:
    """Convex, blind to the scale of the weights and to the order of the clients."""
    n = len(weight)
    update = {"w": torch.tensor([[draw.uniform(-1, 1) for _ in range(3)] for _ in range(n)], dtype=torch.float64)}
    w = torch.tensor(weight, dtype=torch.float64)
    found = weighted_mean(update, w)["w"]
    torch.testing.assert_close(found, (update["w"] * w[:, None]).sum(0) / w.sum(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(weighted_mean(update, w * scale)["w"], found, rtol=1e-9, atol=1e-12)
    order = draw.sample(range(n), n)
    torch.testing.assert_close(weighted_mean({"w": update["w"][order]}, w[order])["w"], found, rtol=1e-9, atol=1e-12)
    assert (found <= update["w"].max(0).values + 1e-12).all()
    assert (found >= update["w"].min(0).values - 1e-12).all()


def test_ten_thousand_clients_lose_no_digits() -> None:
    """The naive float32 sum of these errs by 2e-4; the mean is right to float32's last digit."""
    n = 10_001
    update = {"w": torch.full((n, 1), 0.1)}
    update["w"][0] = 1e4
    exact = (1e4 + (n - 1) * float(np.float32(0.1))) / n
    assert float(weighted_mean(update, torch.ones(n))["w"]) == pytest.approx(exact, rel=6e-8)
