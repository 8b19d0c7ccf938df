"""Annotations that are executed: every function of the packages checks what it is given and what it returns.

jaxtyping's import hook decorates functions and dataclasses with ``jaxtyping.jaxtyped``, which binds the arguments of
every call and checks them twice. ``checked`` stands in for it: the same annotations with the same checker, read when
a function is first called, checked once, and dimensions kept apart only where an annotation names a shape.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

import jaxtyping

Function = Callable[..., Any]
Checker = Callable[[Function], Function]

CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True, violation_type=TypeError))"
jaxtyped = jaxtyping.jaxtyped
#: Within it, a dimension's name has one size; it keeps nothing itself, so one will do.
ONE_SIZE = jaxtyped("context")
#: By the code of a function: the first function of that code, the one with its checks, and whether they name shapes.
MADE: dict[int, tuple[Function, Function, bool]] = {}


def install() -> None:
    """From now on the modules of the packages are imported checked; as for mypy, an int is good where a float is."""
    jaxtyping.jaxtyped = checked
    jaxtyping.install_import_hook(["metapulse"], CHECKER)


def checked(*, typechecker: Checker) -> Callable[[Any], Any]:
    """A decorator of functions, and of dataclasses, whose fields are checked when one is made."""

    def decorate(thing: Any) -> Any:
        if not inspect.isclass(thing):
            return _checked(thing, typechecker)
        if dataclasses.is_dataclass(thing) and not hasattr(thing.__init__, "checked"):
            thing.__init__ = _checked(thing.__init__, typechecker)  # type: ignore[misc]
        return thing

    return decorate


def _checked(function: Function, typechecker: Checker) -> Function:
    ready: list[Function] = []

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if not ready:
            ready.append(_ready(function, typechecker))
        return ready[0](*args, **kwargs)

    call.checked = True  # type: ignore[attr-defined]
    return call


def _ready(function: Function, typechecker: Checker) -> Function:
    """The function with its checks around it."""
    code = function.__code__
    if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        made: Function = jaxtyped(function, typechecker=typechecker)  # checks what it is given before it begins
        return made
    first, checks, shaped = MADE.get(id(code), (None, None, False))
    if first is None or checks is None:
        hints = {name: _read(hint, function.__globals__) for name, hint in function.__annotations__.items()}
        own = _copy(function, function.__kwdefaults__, hints)
        inner, shaped = typechecker(own), any(map(_names_a_shape, hints.values()))
        if all(isinstance(hint, str) for hint in function.__annotations__.values()):  # it says the same every time
            MADE[id(code)] = own, inner, shaped
    else:
        inner = _around(_copy(function, function.__kwdefaults__, first.__annotations__), first, checks, typechecker)
    if not shaped:
        return inner

    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with ONE_SIZE:
            return inner(*args, **kwargs)

    return call


def _copy(function: Function, defaults: dict[str, Any] | None, hints: dict[str, Any]) -> Function:
    """The same function with other keyword defaults and annotations."""
    code, names = function.__code__, function.__globals__
    made = types.FunctionType(code, names, function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__, made.__annotations__ = defaults, hints
    made.__qualname__, made.__module__ = function.__qualname__, function.__module__
    return made


def _around(own: Function, first: Function, checks: Function, typechecker: Checker) -> Function:
    """The checks that were made around ``first``, around another function of the same code.

    A function within a function is new in every call of the outer one, often for every row of a file, and its checks
    take a thousand times as long to make as to run. beartype's hold the function that they check as a default.
    """
    defaults = checks.__kwdefaults__ or {}
    if checks is first or not any(value is first for value in defaults.values()):
        return typechecker(own)
    return _copy(checks, {k: own if value is first else value for k, value in defaults.items()}, own.__annotations__)


def _read(hint: Any, names: dict[str, Any]) -> Any:
    """An annotation that was left as text; anything where it names what only a type checker imports."""
    if not isinstance(hint, str):
        return hint
    probe = types.SimpleNamespace(__annotations__={"hint": hint})
    try:
        return typing.get_type_hints(probe, names, include_extras=True)["hint"]
    except (NameError, AttributeError):
        return Any


def _names_a_shape(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(map(_names_a_shape, typing.get_args(hint)))
