"""Laws of the client axis: a cohort of n is n cohorts of one, so that neither company nor padding matters to a client.

The contract (sim/conformance/stacks.py) asks it of every registered learner as it comes, on a net for classes and one
for numbers; here are settings that change a learner's path through the code, float32 beside float64, and the models.
"""

from __future__ import annotations

from itertools import product

import pytest
import torch

from metapulse.episodes import Episode
from metapulse.methods.base import Learner, Report
from metapulse.methods.cavia import CAVIA
from metapulse.methods.maml_pp import MAMLPlusPlus
from metapulse.methods.r2d2 import R2D2
from metapulse.models.base import Model
from tests.cases import LEARNERS, MODELS, episode, keys, meta, padded, some
from tests.thorough import THOROUGH

SUPPORT, QUERY, IDS = (5, 2, 3, 1), (2, 4, 1, 3), (11, 5, 900_000, 0)
learners = pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
#: MAML and Reptile meet every model, every learner one, in turn, and those that read a model's layers the other kinds.
#: What a learner does with a stack is asked of the model's oracle alone; all learners by all models would add nothing.
PAIRS = sorted(
    {(name, model) for name in ("maml", "reptile-adam-minibatch") for model in MODELS}
    | {(name, list(MODELS)[i % len(MODELS)]) for i, name in enumerate(LEARNERS)}
    | {("cavia", model) for model in ("mlp-tanh", "cnn1d", "gru")}
    | {("r2d2", model) for model in ("linear", "mlp-regression", "encoder1d")}
    | (set(product(LEARNERS, MODELS)) if THOROUGH else set())
)
ALL = LEARNERS | {
    "cavia": CAVIA(inner_lr=0.5, inner_steps=2, context=2),
    "r2d2": R2D2(ridge=0.4, scale=2.0, balance=0.7),
}


def agree(many: Report, at: int, one: Report, rtol: float, atol: float) -> None:
    for name, p in many.update.items():
        torch.testing.assert_close(p[at], one.update[name][0], rtol=rtol, atol=atol)
    for name, m in many.metrics.items():
        torch.testing.assert_close(m[at], one.metrics[name][0], rtol=rtol, atol=atol)
    torch.testing.assert_close(many.weight[at], one.weight[0], rtol=rtol, atol=atol)


@pytest.mark.parametrize(("learner", "model"), [(ALL[a], MODELS[b]) for a, b in PAIRS], ids=map("-".join, PAIRS))
def test_a_padded_cohort_of_n_is_n_cohorts_of_one(learner: Learner, model: Model) -> None:
    """Same mathematics in float64 to 1e-10, so what float32 shows below 1e-4 of a step is rounding and nothing else."""
    for dtype, rtol, atol in ((torch.float64, 1e-10, 1e-12), (torch.float32, 2e-4, 2e-6)):
        start, clean = meta(learner, model, dtype=dtype), episode(model.task, SUPPORT, QUERY, dtype=dtype)
        dirty = Episode(padded(clean.support, 2, 1), padded(clean.query, 3, 2))
        many = learner.update(model, start, {}, dirty, keys(IDS))
        for client, address in enumerate(IDS):
            one = learner.update(model, start, {}, some(clean, [client]), keys([address]))
            agree(many, client, one, rtol, atol)


@learners
def test_adaptation_of_a_padded_cohort_is_that_of_each_alone(learner: Learner) -> None:
    model = MODELS["mlp-tanh"]
    start = meta(learner, model, dtype=torch.float64)
    clean = episode(model.task, SUPPORT, QUERY, dtype=torch.float64)
    many = learner.adapt(model, start, {}, padded(clean.support, 2, 1), keys(IDS), 4)
    for client in range(4):
        one = learner.adapt(model, start, {}, some(clean, [client]).support, keys([IDS[client]]), 4)
        for name, p in many.items():
            torch.testing.assert_close(p[client], one[name][0], rtol=1e-10, atol=1e-12)


@learners
def test_the_address_matters_only_where_something_is_drawn(learner: Learner) -> None:
    model = MODELS["mlp-tanh"]
    start, ep = meta(learner, model), episode(model.task, SUPPORT, QUERY)
    a, b, c = (learner.update(model, start, {}, ep, k) for k in (keys(IDS), keys(IDS), keys(IDS, round=2)))
    assert all(torch.equal(a.update[name], b.update[name]) for name in a.update)
    assert all(torch.equal(a.update[name], c.update[name]) for name in a.update) is (
        learner.batch_size == 0 and not isinstance(learner, MAMLPlusPlus)  # whose loss changes over the rounds
    )


def test_the_clients_of_these_laws_are_different_people() -> None:
    """What keeps the laws above honest: every client's update differs from every other's."""
    model = MODELS["mlp-tanh"]
    start, ep = meta(LEARNERS["maml"], model), episode(model.task, SUPPORT, QUERY)
    update = LEARNERS["maml"].update(model, start, {}, ep, keys(IDS)).update["layer0.weight"]
    assert all((update[i] - update[j]).norm() > 1e-2 for i in range(4) for j in range(i))
