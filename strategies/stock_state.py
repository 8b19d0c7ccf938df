"""What a strategy of a third party carries from round to round, as arrays that a checkpoint can hold, and back.

Attributes may be numbers, text, arrays, tensors, records of Flower's, random generators, and lists, tuples, sets and
dictionaries of them. Each becomes JSON for its form, kept as bytes, beside its arrays.
"""

from __future__ import annotations

import json
import logging
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord

from metapulse.errors import ConfigError

FORM = "form"
CODE = (FunctionType, BuiltinFunctionType, MethodType, ModuleType, type, logging.Logger)  # made again, not kept
SEQUENCES: Mapping[str, Callable[[list[Any]], Any]] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
RECORDS = {"MetricRecord": MetricRecord, "ConfigRecord": ConfigRecord}


def pack_attributes(attributes: Mapping[str, Any], where: str) -> dict[str, np.ndarray]:
    """Attributes as arrays by path: NAME/form and NAME/0, NAME/1, ….

    Args:
        attributes: of the strategy.
        where: what is told to hold them, for messages.

    Raises:
        ConfigError: names the attribute that cannot be kept.
    """
    packed = {}
    for name, value in attributes.items():
        if isinstance(value, CODE):
            continue
        arrays: list[np.ndarray] = []
        try:
            form = _form(value, arrays)
        except TypeError as error:
            reason = f"its attribute {name!r} ({error}) cannot be kept in a checkpoint; give it state_dict() and"
            raise ConfigError("strategy.reference", where, f"{reason} load_state_dict()") from None
        packed[f"{name}/{FORM}"] = np.frombuffer(json.dumps(form).encode(), dtype=np.uint8)
        packed |= {f"{name}/{i}": array for i, array in enumerate(arrays)}
    return packed


def unpack_attributes(packed: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The attributes that ``pack_attributes`` was given."""
    names = [path.removesuffix(f"/{FORM}") for path in packed if path.endswith(f"/{FORM}")]
    forms = {name: json.loads(packed[f"{name}/{FORM}"].tobytes()) for name in names}
    return {name: _value(form, lambda i, name=name: packed[f"{name}/{i}"].copy()) for name, form in forms.items()}


def arrays_of(attributes: Mapping[str, Any]) -> Iterator[np.ndarray]:
    """Every array of numbers in some attributes."""
    for value in attributes.values():
        found: list[np.ndarray] = []
        try:
            _form(value, found)
        except TypeError:
            continue
        yield from (array for array in found if array.dtype.kind in "fc")


def _form(value: Any, arrays: list[np.ndarray]) -> Any:
    """[kind, …] of a value, in JSON; its arrays are appended to ``arrays``.

    Raises:
        TypeError: the type that has no form.
    """

    def array(held: np.ndarray) -> int:
        if held.dtype.kind not in "biufc":
            raise TypeError(f"an array of {held.dtype}")
        arrays.append(held)
        return len(arrays) - 1

    if value is None or (isinstance(value, (bool, int, float, str)) and type(value).__module__ == "builtins"):
        return ["plain", value]
    if isinstance(value, (bytes, bytearray)):
        return [type(value).__name__, array(np.frombuffer(bytes(value), dtype=np.uint8))]
    if isinstance(value, np.ndarray | np.generic):  # arithmetic turns an array without axes into a scalar
        return ["array" if isinstance(value, np.ndarray) else "scalar", array(np.asarray(value))]
    if isinstance(value, torch.Tensor):
        return ["tensor", array(value.detach().cpu().numpy())]
    if isinstance(value, ArrayRecord):
        return ["ArrayRecord", [[key, array(one.numpy())] for key, one in value.items()]]
    if type(value).__name__ in RECORDS and isinstance(value, (MetricRecord, ConfigRecord)):
        return [type(value).__name__, [[key, _form(one, arrays)] for key, one in value.items()]]
    if type(value) is deque:
        return ["deque", [_form(one, arrays) for one in value], value.maxlen]
    if type(value).__name__ in SEQUENCES and type(value).__module__ == "builtins":
        ordered = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        return [type(value).__name__, [_form(one, arrays) for one in ordered]]
    if isinstance(value, dict) and type(value).__reduce__ in (dict.__reduce__, object.__reduce__):
        return ["dict", [[_form(key, arrays), _form(one, arrays)] for key, one in value.items()]]
    if isinstance(value, np.random.Generator):
        return ["generator", _form(value.bit_generator.state, arrays)]
    if isinstance(value, random.Random):
        return ["random", _form(value.getstate(), arrays)]
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins."))


def _value(form: list[Any], array: Callable[[int], np.ndarray]) -> Any:
    kind, held, *more = form
    if kind == "plain":
        return held
    if kind in ("bytes", "bytearray"):
        return (bytes if kind == "bytes" else bytearray)(array(held).tobytes())
    if kind in ("array", "scalar"):
        return array(held) if kind == "array" else array(held)[()]
    if kind == "tensor":
        return torch.from_numpy(array(held))
    if kind == "ArrayRecord":
        return ArrayRecord({key: Array(array(place)) for key, place in held})
    if kind in RECORDS:
        return RECORDS[kind]({key: _value(one, array) for key, one in held})
    if kind == "deque":
        return deque((_value(one, array) for one in held), more[0])
    if kind in SEQUENCES:
        return SEQUENCES[kind]([_value(one, array) for one in held])
    if kind == "dict":
        return {_value(key, array): _value(one, array) for key, one in held}
    if kind == "generator":
        state = _value(held, array)
        bits = getattr(np.random, state["bit_generator"])()
        bits.state = state
        return np.random.Generator(bits)
    made = random.Random()
    made.setstate(_value(held, array))
    return made
