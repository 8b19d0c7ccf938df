"""Equal search spaces: what one method may try of a setting, every other method of the comparison may try too.

A rate that suits one method may be just outside the range that was written down for another; then the comparison is one
of ranges. So the spaces of a data set are joined, setting by setting, where a setting is the same thing for both:

    learner, evaluation.adapt   declared by the same class (``Descent.inner_lr`` of FedAvg and of MAML)
    strategy                    for the same outer optimiser: a rate of Adam is none of plain descent
    model                       of the same model
    transform, episodes         always

A method's space keeps its settings: no setting is added, and which ones others of the same kind tune is told.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from metapulse.errors import ConfigError
from metapulse.registry import LEARNERS
from metapulse.server.config import build_config, resolved
from metapulse.sim.lab.space import Choices, Range, Space, check_values


def kinds(table: Mapping[str, Any]) -> dict[str, Hashable]:
    """Every setting that a method may tune, "section.key", with what it is: equal for two methods that share it.

    Args:
        table: the method's raw configuration, as ``metapulse.server.config.build_config`` takes it.
    """
    held = resolved(build_config(table))
    learner, outer = LEARNERS[held["learner"]["name"]], held["strategy"].get("outer", held["strategy"]["name"])
    found: dict[str, Hashable] = {f"strategy.{name}": outer for name in held["strategy"]}
    found |= {f"model.{name}": held["model"]["name"] for name in held["model"]}
    found |= {f"{section}.{name}": "" for section in ("transform", "episodes") for name in held[section]}
    for name in held["learner"]:
        owner = _owner(learner, name)
        found |= {f"learner.{name}": owner, f"evaluation.adapt.{name}": owner}
    return found


def _owner(kind: type, name: str) -> str:
    """The class that declares a setting."""
    owners = [one for one in kind.__mro__ if name in vars(one).get("__annotations__", {})]
    return f"{owners[0].__module__}.{owners[0].__qualname__}" if owners else ""


def joined_spaces(
    spaces: Mapping[str, Space], tables: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Space], dict[str, tuple[str, ...]]]:
    """The spaces of a data set's methods, each with all that others may try of the settings that it shares with them.

    Args:
        spaces: method → its own.
        tables: method → its raw configuration.

    Returns:
        Method → its space, and method → settings that it has and leaves alone while others of the same kind tune them.

    Raises:
        ConfigError: a value that one method may try and another of the same kind does not allow.
    """
    known = {method: kinds(tables[method]) for method in spaces}
    made: dict[str, Space] = {}
    left: dict[str, tuple[str, ...]] = {}
    for method, own in spaces.items():
        others = [
            (key, values)
            for other, theirs in spaces.items()
            for key, values in theirs.items()
            if other != method and known[other][key] == known[method].get(key, other)
        ]
        made[method] = {key: _joined([values, *(v for k, v in others if k == key)]) for key, values in own.items()}
        for key, values in made[method].items():
            if values != own[key]:
                _checked(key, values, tables[method], method)
        left[method] = tuple(dict.fromkeys(key for key, _ in others if key not in own)) if own else ()
    return made, left


def _checked(key: str, values: Range | Choices, table: Mapping[str, Any], method: str) -> None:
    where = f"methods.{method}.space.{key}"
    try:
        check_values(key, values, table, where)
    except ConfigError as error:
        raise ConfigError(
            where, error.value, f"{error.allowed}; another method may try it (tuning.shared = false: spaces stay apart)"
        ) from None


def _joined(all_values: Sequence[Range | Choices]) -> Range | Choices:
    first, *others = all_values
    for values in others:
        first = union(first, values)
    return first


def union(a: Range | Choices, b: Range | Choices) -> Range | Choices:
    """What either holds.

    Of two ranges the one from the least to the largest end, on the logarithmic scale where one of them is and that can
    be, with the step where both have the same. A range and choices that are numbers: the range over all of them.
    Choices of another sort stay choices, a range beside them counting with its ends.

    Args:
        a: its choices come first.
        b: the other.
    """
    if isinstance(a, Range) and isinstance(b, Range):
        low, high = min(a.low, b.low), max(a.high, b.high)
        step = a.step if a.step == b.step else None
        return Range(low, high, (a.log or b.log) and low > 0 and step is None, step)
    ends = [*a.ends, *(value for value in b.ends if value not in a.ends)]
    if (isinstance(a, Choices) and isinstance(b, Choices)) or not all(map(_is_number, ends)):
        return Choices(tuple(ends))
    held = a if isinstance(a, Range) else b
    assert isinstance(held, Range)
    return replace(held, low=min(ends), high=max(ends), step=None, log=held.log and min(ends) > 0)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
