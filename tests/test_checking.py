"""The annotations of the packages are executed in these tests: what they say of kinds and shapes holds or is found."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from beartype import BeartypeConf, beartype
from jaxtyping import Float
from torch import Tensor

from tests.checking import checked
from tests.test_project import sources

check = checked(typechecker=beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=TypeError)))
a, b = torch.zeros(2), torch.zeros(3)


@check
def add(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    return x + y


@check
def join(x: Float[Tensor, " n"], y: Float[Tensor, " m"]) -> Float[Tensor, " n"]:
    return torch.cat([add(x, x), add(y, y)])


@check
def half(x: float) -> float:
    return x / 2


@check
def points(x: Float[Tensor, " n"], n: int) -> Iterator[Tensor]:
    yield from [x] * n


@check
@dataclass(frozen=True)
class Pair:
    x: Float[Tensor, " n"]
    y: Float[Tensor, " n"]


def test_what_fits_passes_and_every_call_has_its_own_dimensions() -> None:
    assert add(a, a).shape == (2,)
    assert add(b, b).shape == (3,)
    assert join(a, torch.zeros(0)).shape == (2,)
    assert half(3) == 1.5
    assert len(list(points(a, 2))) == 2
    assert Pair(a, a).y is a


def test_a_dimension_has_one_size_among_arguments_fields_and_what_is_returned() -> None:
    for broken in (lambda: add(a, b), lambda: join(a, b), lambda: Pair(a, b)):
        with pytest.raises(TypeError):
            broken()


def test_a_kind_is_checked_before_the_body_runs() -> None:
    for broken in (lambda: half("3"), lambda: add(a, a.double().long()), lambda: points(a, "2")):
        with pytest.raises(TypeError):
            broken()


@check
def shifted(by: float) -> tuple[Callable[[float], float], Callable[..., Tensor]]:
    @check
    def plus(x: float, *, times: float = by) -> float:
        return times * (x + by)

    @check
    def stretched(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return by * x

    return plus, stretched


def test_functions_of_one_function_are_each_themselves_and_all_checked() -> None:
    made = [shifted(by) for by in (1.0, 2.0, 3.0)]
    assert [plus(1.0) for plus, _ in made] == [2.0, 6.0, 12.0]
    assert [plus(1.0, times=1.0) for plus, _ in made] == [2.0, 3.0, 4.0]
    assert [float(stretched(a + 1, a)[0]) for _, stretched in made] == [1.0, 2.0, 3.0]
    for plus, stretched in made:
        for broken in (lambda: plus("1"), lambda: plus(1.0, times="x"), lambda: stretched(a, b)):
            with pytest.raises(TypeError):
                broken()


def test_every_module_is_checked() -> None:
    from metapulse.rng import generator

    with pytest.raises(TypeError):
        generator("seven", "purpose")
    for name in sources("*.py"):
        if not name.endswith("__main__.py"):
            module = importlib.import_module(name.removesuffix(".py").replace("/", ".").removesuffix(".__init__"))
            assert type(module.__loader__).__module__.startswith("jaxtyping"), name
