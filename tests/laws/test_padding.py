"""Law: padding changes nothing. Whatever stands under a zero mask, and wherever, no answer of a model moves.

Learners ask models: that no number of theirs moves either is a part of tests/laws/test_cohorts.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.episodes import Batch
from metapulse.losses import task_metrics
from metapulse.models.base import Model
from tests.cases import MODELS, batch, padded, personal

counts = st.lists(st.integers(1, 5), min_size=1, max_size=3)
extra, seeds = st.integers(0, 4), st.integers(0, 2**20)


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


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
