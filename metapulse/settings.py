"""Typed settings: a frozen dataclass per section, each field with a range and one line of documentation.

``build`` turns the plain mapping read from TOML or JSON into the dataclass and refuses whatever is unknown, of the
wrong type, or out of range, naming the key, the value and what is allowed. Nothing reads a raw mapping after that.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import math
import operator
import types
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from metapulse.errors import ConfigError

T = TypeVar("T")
MOST, LOOPS = 2**53, 100_000  # of whole numbers without a bound of their own: any, and counts of steps and epochs
FLOATS = 1e38  # of 32-bit numbers, which go to 3.4e38
LAYERS = 64  # of a network
WIDTH = 2**14  # of a layer
SIZE = 2**20  # of what is held for one client


def setting(
    default: Any,
    doc: str,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    used_if: Sequence[Any] = (),
    longest: int | None = None,
) -> Any:
    """A dataclass field with its documentation and its range; the range holds for each item of a tuple.

    Where only some words are allowed, the annotation names them: ``Literal["sgd", "adam"]``.

    Args:
        default: the value when the key is left out; a mutable one is copied for every instance.
        doc: one line, with the unit, printed by ``metapulse config --all``.
        ge, gt, le, lt: bounds (≥, >, ≤, <).
        used_if: another key of the section and the values under which this one is read (none: any but zero and
            empty); elsewhere a value other than the default is refused, since it would have no effect.
        longest: entries of a list at most.
    """
    metadata = {"doc": doc, "ge": ge, "gt": gt, "le": le, "lt": lt, "used_if": tuple(used_if)}
    metadata["longest"] = longest
    if isinstance(default, (dict, list)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@lru_cache(maxsize=512)
def type_hints(kind: type) -> dict[str, Any]:
    """The types of a class's fields, worked out once: half a millisecond for a section of a dozen settings."""
    return get_type_hints(kind)


def build(cls: type[T], mapping: object, where: str = "", **given: Any) -> T:
    """Validate ``mapping`` into the dataclass ``cls``.

    Args:
        cls: a dataclass whose fields come from ``setting`` or are themselves such dataclasses.
        mapping: keys and values as read from TOML or JSON; anything but a mapping is refused.
        where: dotted name of the section, for error messages.
        given: fields that are not settings (a model's task), passed on as they are.

    Raises:
        ConfigError: unknown key, wrong type, or value out of range.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(where, mapping, "expected a table of settings")
    fields = {f.name: f for f in dataclasses.fields(cls) if is_setting(f)}  # type: ignore[arg-type]
    for key, value in mapping.items():
        if key not in fields:
            close = difflib.get_close_matches(str(key), fields, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            allowed = ", ".join(sorted(fields)) or "no settings here"
            raise ConfigError(_join(where, str(key)), value, f"unknown key{hint} (allowed: {allowed})")
    hints = type_hints(cls)  # type: ignore[arg-type]
    values = {k: _convert(hints[k], v, _join(where, k)) for k, v in mapping.items()}
    _check_switch(getattr(cls, "switch", ""), fields, values, where)
    for name, field in fields.items():
        if name in values:
            check_range(values[name], field.metadata, _join(where, name))
    try:
        made = cls(**values, **given)
    except TypeError as error:  # a field without default
        raise ConfigError(where, dict(mapping), str(error).split(") ", 1)[-1]) from None
    for name in values:
        _check_used(made, fields[name], where)
    return made


def _check_used(made: object, field: dataclasses.Field[Any], where: str) -> None:
    """Refuse a setting that is read only under another one, which is not so."""
    if (value := getattr(made, field.name)) == default_of(field) or is_used(field, made):
        return
    key, *under = field.metadata["used_if"]
    on = getattr(made, key)
    there = " or ".join(map(repr, under)) if under else "given"
    raise ConfigError(
        _join(where, field.name), value, f"has no effect with {_join(where, key)} = {on!r}; it must be {there}"
    )


def is_used(field: dataclasses.Field[Any], made: object) -> bool:
    """Whether what another setting of its section is has a setting read."""
    key, *under = field.metadata.get("used_if") or ("",)
    on = getattr(made, key) if key else True
    return bool(on in under if under else on)


def _check_switch(
    switch: str, fields: Mapping[str, dataclasses.Field[Any]], values: Mapping[str, Any], where: str
) -> None:
    """Refuse settings of a section that nothing has turned on: it would be off, in silence."""
    idle = [_join(where, name) for name, value in values.items() if switch and value != fields[name].default]
    if idle and switch not in values:
        raise ConfigError(_join(where, switch), fields[switch].default, f"must be given with {', '.join(idle)}")


def default_of(field: dataclasses.Field[Any]) -> Any:
    """What a setting is where its key is left out."""
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def choices(hint: Any) -> tuple[Any, ...]:
    """The only values that an annotation allows, itself or for each item of a tuple; (): it is no ``Literal``."""
    if get_origin(hint) is tuple:
        hint = get_args(hint)[0]
    return get_args(hint) if get_origin(hint) is Literal else ()


def is_setting(field: dataclasses.Field[Any]) -> bool:
    """Whether a dataclass field was declared with ``setting`` (others, like a model's task, are given by code)."""
    return "doc" in field.metadata


@lru_cache(maxsize=512)
def settings_alone(kind: type) -> type:
    """A class, or the settings alone of one that only code can make (a model takes its task), to be checked before."""
    fields, missing = dataclasses.fields(kind), dataclasses.MISSING
    if all(is_setting(f) or (f.default, f.default_factory) != (missing, missing) for f in fields):
        return kind
    hints = type_hints(kind)
    return dataclasses.make_dataclass(
        "Settings", [(f.name, hints[f.name], copy.copy(f)) for f in fields if is_setting(f)]
    )


def check_range(value: Any, metadata: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError unless ``value`` (each item, for a tuple) is within the field's declared range."""
    if value is None:
        return
    if isinstance(value, (tuple, list)):
        if (longest := metadata.get("longest")) is not None and len(value) > longest:
            raise ConfigError(where, list(value), f"must have at most {longest} entries")
        for item in value:
            check_range(item, metadata, where)
        return
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(where, value, "must be a finite number")
    if isinstance(value, float) and (abs(value) > FLOATS or 0 < abs(value) < 1 / FLOATS):
        raise ConfigError(where, value, f"is beyond the numbers that are computed with, {1 / FLOATS:g} to {FLOATS:g}")
    tests = {
        "ge": ("≥", operator.ge),
        "gt": (">", operator.gt),
        "le": ("≤", operator.le),
        "lt": ("<", operator.lt),
    }
    if isinstance(value, int) and metadata.get("le") is None and metadata.get("lt") is None:
        metadata = {**metadata, "le": LOOPS if "steps" in where or "epochs" in where else MOST}
    bounds = [(sign, metadata[k], test) for k, (sign, test) in tests.items() if metadata.get(k) is not None]
    if bounds and not all(test(value, bound) for _, bound, test in bounds):
        raise ConfigError(where, value, "must be " + " and ".join(f"{s} {b}" for s, b, _ in bounds))


def plain(obj: Any) -> Any:
    """A settings dataclass as plain dicts, lists and scalars: what goes into JSON and TOML."""
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return {f.name: plain(getattr(obj, f.name)) for f in dataclasses.fields(obj) if is_setting(f)}
    if isinstance(obj, Mapping):
        return {str(k): plain(v) for k, v in obj.items()}
    if isinstance(obj, (tuple, list)):
        return [plain(v) for v in obj]
    return obj


def part(kind: type, whole: object) -> dict[str, Any]:
    """What settings have in common with others that are of the same ``kind``: name → value, not converted."""
    return {f.name: getattr(whole, f.name) for f in dataclasses.fields(kind)}


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _convert(hint: Any, value: Any, where: str) -> Any:
    """``value`` as the type ``hint``: int widens to float, list becomes tuple, nothing else is coerced."""
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        errors = []
        for option in get_args(hint):
            try:
                return _convert(option, value, where)
            except ConfigError as error:
                errors.append(error.allowed)
        raise ConfigError(where, value, " or ".join(errors))
    if origin is Literal:
        options = choices(hint)
        if any(type(value) is type(option) and value == option for option in options):
            return value
        raise ConfigError(where, value, f"must be one of {', '.join(map(str, options))}")
    if hint is type(None):
        if value is None:
            return None
        raise ConfigError(where, value, "nothing")
    if dataclasses.is_dataclass(hint):
        if isinstance(value, hint):  # type: ignore[arg-type]
            return value
        return build(hint, value, where)  # type: ignore[arg-type]
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(where, value, "expected a list")
        args = get_args(hint)
        items = args[:1] * len(value) if args[-1] is Ellipsis else args
        if len(items) != len(value):
            raise ConfigError(where, value, f"expected a list of {len(items)} values")
        named = [where if choices(t) else f"{where}[{i}]" for i, t in enumerate(items)]  # a word says which it is
        return tuple(map(_convert, items, value, named))
    if origin in (dict, Mapping) or hint in (dict, Mapping) or getattr(origin, "__name__", "") == "Mapping":
        if not isinstance(value, Mapping):
            raise ConfigError(where, value, "expected a table")
        inner = (get_args(hint) or (str, Any))[1]
        return {name: _convert(inner, one, _join(where, str(name))) for name, one in value.items()}
    if hint is str and where.endswith("]") and type(value) is int:
        return str(value)  # in a list of names, people write numbers as they stand in their file
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(where, value, "is beyond the range of numbers") from None
    if hint is str and isinstance(value, str) and "\0" in value:
        raise ConfigError(where, value, "must hold no null character")
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    names = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
    raise ConfigError(where, value, f"expected {names.get(hint, str(hint))}")
