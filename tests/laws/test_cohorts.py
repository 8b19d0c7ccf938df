"""Laws of the client axis: a cohort of n is n cohorts of one, so that neither company nor place matters to a client."""

from __future__ import annotations

import pytest
import torch

from metapulse.methods.base import Learner, Report
from metapulse.methods.maml_pp import MAMLPlusPlus
from metapulse.models.base import Model
from tests.cases import LEARNERS, MODELS, episode, keys, meta, some

SUPPORT, QUERY, IDS = (5, 2, 3, 1), (2, 4, 1, 3), (11, 5, 900_000, 0)
learners = pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
#: MAML and Reptile meet every model, and every learner three: in turn, so that a model meets seven learners or more.
#: What a learner does with a stack is asked of the model's oracle alone; all learners by all models would add nothing.
PAIRS = sorted(
    {(name, model) for name in ("maml", "reptile-adam-minibatch") for model in MODELS}
    | {(name, list(MODELS)[(i + 4 * k) % len(MODELS)]) for i, name in enumerate(LEARNERS) for k in range(3)}
)


def report(learner: Learner, model: Model, clients: list[int], dtype: torch.dtype) -> Report:
    start = meta(learner, model, dtype=dtype)
    ep = some(episode(model.task, SUPPORT, QUERY, dtype=dtype), clients)
    return learner.update(model, start, {}, ep, keys([IDS[c] for c in clients]))


def agree(many: Report, at: int, one: Report, rtol: float, atol: float) -> None:
    for name, p in many.update.items():
        torch.testing.assert_close(p[at], one.update[name][0], rtol=rtol, atol=atol)
    for name, m in many.metrics.items():
        torch.testing.assert_close(m[at], one.metrics[name][0], rtol=rtol, atol=atol)
    torch.testing.assert_close(many.weight[at], one.weight[0], rtol=rtol, atol=atol)


@pytest.mark.parametrize(("learner", "model"), [(LEARNERS[a], MODELS[b]) for a, b in PAIRS], ids=map("-".join, PAIRS))
def test_a_cohort_of_n_is_n_cohorts_of_one(learner: Learner, model: Model) -> None:
    """Same mathematics in float64 to 1e-10, so what float32 shows below 1e-4 of a step is rounding and nothing else."""
    for dtype, rtol, atol in ((torch.float64, 1e-10, 1e-12), (torch.float32, 2e-4, 2e-6)):
        many = report(learner, model, [0, 1, 2, 3], dtype)
        for client in range(4):
            agree(many, client, report(learner, model, [client], dtype), rtol, atol)


@learners
def test_adaptation_of_a_cohort_is_that_of_each_alone(learner: Learner) -> None:
    model = MODELS["mlp-tanh"]
    start = meta(learner, model, dtype=torch.float64)
    support = episode(model.task, SUPPORT, QUERY, dtype=torch.float64).support
    many = learner.adapt(model, start, {}, support, keys(IDS), 4)
    for client in range(4):
        own = some(episode(model.task, SUPPORT, QUERY, dtype=torch.float64), [client]).support
        one = learner.adapt(model, start, {}, own, keys([IDS[client]]), 4)
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
    update = report(LEARNERS["maml"], model, [0, 1, 2, 3], torch.float64).update["layer0.weight"]
    assert all((update[i] - update[j]).norm() > 1e-2 for i in range(4) for j in range(i))
