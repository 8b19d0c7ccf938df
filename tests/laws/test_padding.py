"""Law: padding changes nothing. Whatever stands under a zero mask, and wherever, no number of any client moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.episodes import Batch, Episode
from metapulse.losses import task_metrics
from metapulse.methods.base import Learner
from metapulse.models.base import Model
from tests.cases import LEARNERS, MODELS, batch, episode, keys, meta, padded, personal, same

counts = st.lists(st.integers(1, 5), min_size=1, max_size=3)
extra, seeds = st.integers(0, 4), st.integers(0, 2**20)
# Each learner meets a net, each model meets MAML and Reptile; the contract of learners asks it for regression as well.
PAIRS = sorted(
    {(name, "mlp-tanh") for name in LEARNERS}
    | {(name, model) for name in ("maml", "reptile-adam-minibatch") for model in MODELS}
)


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("learner", "model"), [(LEARNERS[a], MODELS[b]) for a, b in PAIRS], ids=map("-".join, PAIRS))
@settings(max_examples=5)
@given(support=counts, extra=extra, seed=seeds)
def test_no_learner_sees_the_padding(learner: Learner, model: Model, support: list[int], extra: int, seed: int) -> None:
    query = [6 - n for n in support]
    start, addresses = meta(learner, model, dtype=torch.float64), keys(range(len(support)))
    clean = episode(model.task, support, query, seed, torch.float64)
    dirty = Episode(padded(clean.support, extra, seed + 1), padded(clean.query, extra, seed + 2))
    a, b = (learner.update(model, start, {}, ep, addresses) for ep in (clean, dirty))
    same(b.update, a.update, rtol=1e-9, atol=1e-11)
    close(b.weight, a.weight)
    assert all(torch.allclose(b.metrics[name], a.metrics[name], rtol=1e-9, atol=1e-11) for name in a.metrics)
    phi, psi = (learner.adapt(model, start, {}, ep.support, addresses, 3) for ep in (clean, dirty))
    same(psi, phi, rtol=1e-9, atol=1e-11)


def oracle_loss(model: Model, part: Batch) -> list[torch.Tensor]:
    return [model.loss(personal(model, len(part.x), dtype=torch.float64), part)]


def oracle_grad(model: Model, part: Batch) -> list[torch.Tensor]:
    return list(model.grad(personal(model, len(part.x), dtype=torch.float64), part).values())


def oracle_hvp(model: Model, part: Batch) -> list[torch.Tensor]:
    params, vector = (personal(model, len(part.x), seed, torch.float64) for seed in (0, 50))
    return list(model.hvp(params, part, vector).values())


def metrics(model: Model, part: Batch) -> list[torch.Tensor]:
    params = personal(model, len(part.x), dtype=torch.float64)
    return list(task_metrics(model.task, model.predict(params, part.x), part.y, part.mask).values())


@pytest.mark.parametrize("ask", [oracle_loss, oracle_grad, oracle_hvp, metrics])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@settings(max_examples=4)
@given(counts=counts, extra=extra, seed=seeds)
def test_no_answer_of_a_model_sees_the_padding(
    model: Model, ask: Callable[[Model, Batch], list[torch.Tensor]], counts: list[int], extra: int, seed: int
) -> None:
    clean = batch(model.task, counts, seed, torch.float64)
    for a, b in zip(ask(model, clean), ask(model, padded(clean, extra, seed + 1)), strict=True):
        close(b, a)


def test_the_garbage_of_these_tests_is_not_ignored_when_unmasked() -> None:
    """What keeps the laws above honest: with the mask lifted, the same garbage changes every answer."""
    model = MODELS["mlp-tanh"]
    clean = batch(model.task, (3, 4), 0, torch.float64)
    dirty = padded(clean, 3, 1)
    lifted = Batch(dirty.x, dirty.y, torch.ones_like(dirty.mask))
    assert (oracle_loss(model, lifted)[0] - oracle_loss(model, clean)[0]).abs().min() > 0.01
