"""What runs cost, against counts by hand: products of matrices from the layers, passes from the papers' algorithms."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from metapulse.client.executor import ClientExecutor
from metapulse.server.config import Config
from metapulse.sim.experiment import run_experiment
from metapulse.sim.lab.costs import METRIC, Cost, run_cost, update_cost
from tests.runs import make

K, N, SHOTS = 3, 10, 4  # steps; samples of a client, of which so many are support
ONE = {"source": {"name": "sine", "clients": 6, "points": N}, "episodes": {"split": "samples", "shots": SHOTS}}


def curves(learner: str, settings: dict[str, Any], **sections: dict[str, Any]) -> Config:
    """A run on sine curves, N samples each."""
    return make(learner, "fedavg", "sine", 2, **{**ONE, "learner": {"name": learner, **settings}, **sections})


def parameters(config: Config) -> int:
    return sum(p.numel() for p in ClientExecutor(config.client_config()).init().values())


def dense(samples: int, widths: tuple[int, ...]) -> int:
    """Forward, and backward to the weights, of every layer; backward to the inputs of all but the first."""
    layers = [2 * samples * a * b for a, b in pairwise(widths)]
    return 3 * sum(layers) - layers[0]


#: Backward passes of an update: gradients and Hessian-vector products.
PASSES: dict[str, tuple[dict[str, Any], int]] = {
    "fedavg": ({"inner_steps": K}, K),
    "fedprox": ({"inner_steps": K}, K),
    "local_only": ({}, 0),
    "fomaml": ({"inner_steps": K}, K + 1),
    "maml": ({"inner_steps": K}, 2 * K + 1),
    "meta_sgd": ({"inner_steps": K}, 2 * K + 1),
    "imaml": ({"inner_steps": K, "cg_steps": 2}, K + 2 + 3),  # ∇L_Q, ∇L_S at φ_K; a residual and two steps
    "per_fedavg": ({"local_steps": K}, 2 * K),
    "pfedme": ({"inner_steps": K, "local_steps": 2}, 2 * K),
    "apfl": ({"inner_steps": K}, 2 * K),
    "ditto": ({"inner_steps": K, "personal_steps": 2}, K + 2),
    "fedrep": ({"inner_steps": K, "head_steps": 2}, K + 2),
    "cavia": ({"inner_steps": K}, K + 1),
    "cnp": ({}, 1),
    "majority": ({}, 0),
}


@pytest.mark.parametrize("name", PASSES)
def test_backward_passes_are_those_of_the_paper(name: str) -> None:
    settings, expected = PASSES[name]
    assert update_cost(curves(name, settings)).gradient_steps == expected


def test_maml_pp_costs_less_when_its_early_losses_are_annealed() -> None:
    """K points, K Hessians; query gradients at φ₁ … φ_K in the first T rounds, at φ_K later. Two rounds here."""
    passes = [
        update_cost(curves("maml_pp", {"inner_steps": K, "multi_step_rounds": t})).gradient_steps for t in (0, 1, 9)
    ]
    assert passes == [2 * K + 1, 2 * K + (K + 1) / 2, 3 * K]


@pytest.mark.parametrize("hidden", [[], [8], [8, 6]])
def test_operations_of_a_perceptron(hidden: list[int]) -> None:
    config = curves("fedavg", {"inner_steps": K, "batch_size": 0}, model={"name": "mlp", "hidden": hidden})
    assert update_cost(config).flops == K * dense(N, (1, *hidden, 1))


def test_operations_of_minibatches() -> None:
    config = curves("fedavg", {"inner_steps": K, "batch_size": 4}, model={"name": "mlp", "hidden": [8]})
    assert update_cost(config).flops == K * dense(4, (1, 8, 1))


def test_operations_of_maml_on_a_linear_model() -> None:
    """∇L takes x Wᵀ and δᵀ x; ∇²L v takes x vᵀ and (∂δ)ᵀ x."""
    config = curves("maml", {"inner_steps": K}, model={"name": "mlp", "hidden": []})
    product = 2 * 1 * 1
    assert update_cost(config).flops == K * 4 * SHOTS * product + 2 * (N - SHOTS) * product


def test_a_module_costs_what_the_same_model_of_ours_does() -> None:
    module = {"name": "module", "factory": "tests.cases:tanh_net", "options": {"inputs": 1, "width": 5, "outputs": 1}}
    ours = {"name": "mlp", "hidden": [5], "activation": "tanh"}
    for learner in ("fedavg", "maml"):
        costs = [update_cost(curves(learner, {"inner_steps": K}, model=model)) for model in (module, ours)]
        assert costs[0] == costs[1]


#: Operations of one gradient on one window of 6 × 64 with 6 classes: products forward, to weights, and to inputs.
WINDOWS: dict[str, tuple[dict[str, Any], int]] = {
    "cnn1d": (  # 64 − 4 = 60 places, pooled to 30, 26 places; mean, head
        {"name": "cnn1d", "channels": [3, 4], "kernel": 5},
        2 * (2 * 60 * 3 * 6 * 5) + 3 * (2 * 26 * 4 * 3 * 5) + 3 * (2 * 4 * 6),
    ),
    "encoder1d": (  # 64 places, 32 places; mean and maximum to the embedding; head on it and 2 · 6 statistics
        {"name": "encoder1d", "channels": [3, 4], "kernels": [3, 5], "embedding": 8},
        2 * (2 * 64 * 3 * 6 * 3) + 3 * (2 * 32 * 4 * 3 * 5) + 3 * (2 * 8 * 8) + 3 * (2 * 20 * 6),
    ),
    "gru": (  # three gates; nothing goes back beyond the first of 64 states
        {"name": "gru", "hidden": 5},
        2 * (64 * 2 * 6 * 15) + (3 * 64 - 1) * 2 * 5 * 15 + 3 * (2 * 5 * 6),
    ),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_operations_of_models_of_windows(name: str) -> None:
    model, each = WINDOWS[name]
    config = make("fedavg", "fedavg", "", 1, learner={"inner_steps": 1, "batch_size": 7}, model=model)
    assert update_cost(config).flops == 7 * each


def test_bytes_are_theta_down_and_the_update_with_its_numbers_up() -> None:
    for learner in ("fedavg", "meta_sgd", "scaffold"):  # with rates and with a control variate in θ
        config = curves(learner, {"inner_steps": 1})
        cost, size = update_cost(config), 4 * parameters(config)
        assert (cost.bytes_down, cost.bytes_up) == (size, size + 2 * METRIC)  # weight and loss


def test_what_stays_on_a_device_does_not_travel() -> None:
    net = {"model": {"name": "mlp", "hidden": [8]}}
    body, head = 4 * (8 + 8), 4 * (8 + 1)
    shared = {"fedper": body, "fedrep": body, "fedbabu": body, "lg_fedavg": head, "local_only": 0, "majority": 0}
    for learner, size in shared.items():
        cost = update_cost(curves(learner, {}, **net))
        assert (cost.bytes_down, cost.bytes_up) == (size, size + 2 * METRIC)


def test_ifca_gets_all_models_and_sends_one() -> None:
    config = curves("ifca", {"clusters": 3})
    cost, size = update_cost(config), 4 * parameters(config)
    assert (cost.bytes_down, cost.bytes_up) == (size, size / 3 + 3 * METRIC)  # weight, loss and cluster


@pytest.mark.parametrize(("learner", "plain"), [("meta_lstm", "fomaml"), ("meta_curvature", "maml")])
def test_a_learned_optimiser_is_work_too(learner: str, plain: str) -> None:
    costs = [update_cost(curves(name, {"inner_steps": K})).flops for name in (learner, plain)]
    assert costs[0] > 1.5 * costs[1]


def test_a_reader_pays_for_embeddings_and_its_own_network() -> None:
    """Three products for each weight of h on support and of g on query, two for those of the model, on all samples."""
    config = curves("cnp", {"code": 6, "encoder": [7], "decoder": [9]}, model={"name": "mlp", "hidden": [8]})
    own = 3 * 2 * (SHOTS * (9 * 7 + 7 * 6) + (N - SHOTS) * (14 * 9 + 9 * 2))
    assert update_cost(config).flops == own + 2 * 2 * N * 8


def test_a_run_costs_its_updates(tmp_path: Path) -> None:
    config = curves("fedavg", {"inner_steps": K})
    run_experiment(config, tmp_path)
    one, whole = update_cost(config), run_cost(tmp_path)
    assert whole.rounds == 2
    assert whole.seconds > 0
    for name in ("gradient_steps", "flops", "bytes_up", "bytes_down"):
        assert getattr(whole, name) == 2 * 3 * getattr(one, name)  # two rounds of three clients


def test_clients_that_fail_were_sent_theta_and_no_more(tmp_path: Path) -> None:
    faulty = {"source": {"name": "tests.runs:Faulty", "clients": 3}, "split": {"test": 0.0, "validation": 0.0}}
    known = {"evaluation": {"scenarios": ["known_user"], "split": "samples", "shots": [2], "steps": [0]}}
    config = curves("fedavg", {"inner_steps": K}, **faulty, **known)
    run_experiment(config, tmp_path)
    one, whole = update_cost(config), run_cost(tmp_path)
    assert one.gradient_steps == K
    assert (whole.gradient_steps, whole.bytes_down) == (2 * 1 * K, 2 * 3 * one.bytes_down)


def test_no_rounds_cost_nothing(tmp_path: Path) -> None:
    run_experiment(make("majority", "fedavg", "", 0), tmp_path)
    whole = run_cost(tmp_path)
    assert Cost(whole.gradient_steps, whole.flops, whole.bytes_up, whole.bytes_down) == Cost(0, 0, 0, 0)
    assert (whole.rounds, whole.seconds) == (0, 0)
