"""Parameter trees: the algebra, and that nothing that came in is changed."""

from __future__ import annotations

import math

import pytest
import torch

from metapulse.trees import (
    add,
    all_finite,
    dot,
    flatten,
    mul,
    norm,
    norms,
    pick,
    prefixed,
    row_like,
    scale,
    stack,
    sub,
    subtree,
    unflatten,
    without_subtree,
    zeros_like,
)
from metapulse.trees import flat as made_flat
from tests.cases import MODELS, flat, personal, same, theta

MODEL = MODELS["mlp-tanh"]


def test_the_algebra_is_that_of_the_flat_vectors() -> None:
    a, b = theta(MODEL, 1), theta(MODEL, 2)
    torch.testing.assert_close(flat(add(a, b, -0.5)), flat(a) - 0.5 * flat(b))
    torch.testing.assert_close(flat(sub(a, b)), flat(a) - flat(b))
    torch.testing.assert_close(flat(scale(a, 3.0)), 3 * flat(a))
    torch.testing.assert_close(flat(mul(a, b)), flat(a) * flat(b))
    torch.testing.assert_close(norm(a), flat(a).double().norm())
    assert norm(a).dtype == torch.float64
    assert norm({}).item() == 0
    assert not flat(zeros_like(a)).any()


def test_nothing_is_changed() -> None:
    a, b = theta(MODEL, 1), theta(MODEL, 2)
    before = flat(a).clone(), flat(b).clone()
    for f in (add, sub, mul):
        f(a, b)
    scale(a, 2.0)
    assert torch.equal(flat(a), before[0])
    assert torch.equal(flat(b), before[1])


def test_a_stack_is_views_and_pick_undoes_it() -> None:
    a = theta(MODEL)
    stacked = stack(a, 1000)
    assert all(stacked[n].shape == (1000, *p.shape) and stacked[n].stride(0) == 0 for n, p in a.items())
    same(pick(stacked, 999), a, rtol=0, atol=0)


def test_either_factor_may_lack_the_clients() -> None:
    rates, grads = theta(MODEL), personal(MODEL, 3)
    product = mul(rates, grads)
    same(pick(product, 2), mul(rates, pick(grads, 2)), rtol=0, atol=0)


def test_prefixes_partition_a_tree() -> None:
    a = theta(MODEL)
    both = a | prefixed(scale(a, 2.0), "rate/")
    same(without_subtree(both, "rate/"), a, rtol=0, atol=0)
    same(subtree(both, "rate/"), scale(a, 2.0), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_rows_are_the_stack_again_to_the_bit(dtype: torch.dtype | None) -> None:
    stacked = {"a": torch.randn(3, 2, 4), "b": torch.randn(3), "c": torch.randn(3, 5)}
    rows = flatten(stacked, dtype)
    assert rows.shape == (3, 14)
    assert rows.dtype == dtype or dtype is None
    again = unflatten(rows, {name: p.shape[1:] for name, p in stacked.items()})
    one = row_like(rows[1], {name: p[1] for name, p in stacked.items()})
    for name, p in stacked.items():
        assert torch.equal(again[name].float(), p)
        assert torch.equal(one[name], p[1])
    assert torch.allclose(dot(stacked, stacked).sqrt(), norms(stacked))


def test_parts_of_one_buffer_are_flat_without_a_copy() -> None:
    """And nothing else is: not some of the parts, another order, another buffer's, or one that was turned."""
    whole = made_flat(theta(MODEL, 1))
    views = dict(whole)
    assert made_flat(views).buffer is whole.buffer
    names = list(views)
    others = [
        {name: views[name] for name in names[1:]},
        {name: views[name] for name in reversed(names)},
        views | {names[0]: views[names[0]].clone()},
        views | {names[0]: dict(made_flat(theta(MODEL, 2)))[names[0]]},
    ]
    for params in others:
        found = made_flat(params)
        assert found.buffer is not whole.buffer
        same(dict(found), params, rtol=0, atol=0)
    square = made_flat({"w": torch.arange(9.0).view(3, 3), "b": torch.zeros(2)})
    turned = {"w": square["w"].T, "b": square["b"]}
    same(dict(made_flat(turned)), turned, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_finite(dtype: torch.dtype) -> None:
    """Also where a sum of finite numbers leaves their range, and where infinities cancel."""
    most = torch.finfo(dtype).max
    assert all_finite({"a": torch.full((9,), most, dtype=dtype), "n": torch.tensor(7)}, {})
    assert all_finite({})
    for bad in ([math.nan], [math.inf], [-math.inf, math.inf], [most, math.inf, -most]):
        assert not all_finite({"a": torch.ones(2, dtype=dtype)}, {"b": torch.tensor(bad, dtype=dtype)})
