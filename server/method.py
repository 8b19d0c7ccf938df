"""The ``[method]`` section: learner and strategy of one paper, filled in where left out, and checked.

A learner and a strategy that both run can still be another algorithm than either paper's: an optimiser where the
derivation has a plain mean, weights where it has none. Such a pair is refused in one line that says what goes with
what. ``method.free`` is for those who mean it; the run's log then says what differs.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeAlias, runtime_checkable

from metapulse.errors import ConfigError
from metapulse.methods.base import Learner
from metapulse.methods.method import Method
from metapulse.registry import LEARNERS, METHODS
from metapulse.settings import default_of, setting
from metapulse.strategies.registry import STRATEGIES

HALVES = ("learner", "strategy")
#: Settings of a strategy that are about a round and not about a method: a change of method leaves them.
ROUND = ("cohort", "min_replies")
FREE = "(method.free = true: a combination of your own)"
#: "section.key", its value, and why it is another algorithm.
Conflict: TypeAlias = tuple[str, Any, str]


@dataclass(frozen=True)
class MethodSettings:
    """A method by its name, and whether its halves are held together."""

    name: str = setting("", "whose learner and strategy are meant where their sections leave them out ('': none)")
    free: bool = setting(False, "learner and strategy are a combination of your own, held against no paper")

    def __post_init__(self) -> None:
        if self.name:
            method_named(self.name)


@runtime_checkable
class Sections(Protocol):
    """What is read here of a configuration, which is built on this file."""

    @property
    def method(self) -> MethodSettings:
        """[method]."""

    @property
    def learner(self) -> Mapping[str, Any]:
        """[learner]."""

    @property
    def strategy(self) -> Mapping[str, Any]:
        """[strategy]."""


def method_named(name: str) -> Method:
    """A registered method, or the ``METHOD`` of a file of one's own.

    Raises:
        ConfigError: there is none of the name.
    """
    found = METHODS[name]
    if not isinstance(found, Method):
        raise ConfigError("method.name", name, "is no Method (the learner's own name goes under learner.name)")
    return found


def fill(table: dict[str, Any]) -> dict[str, Any]:
    """``table`` with what the method it names says of its learner and strategy, below what they say themselves."""
    name = _named(table)
    if not name:
        return table
    made = dict(table)
    for half, preset in halves(method_named(name)).items():
        given = table.get(half, {})
        if isinstance(given, Mapping) and given.get("name", preset["name"]) == preset["name"]:
            made[half] = {**preset, **given}
    return made


def halves(method: Method) -> dict[str, dict[str, Any]]:
    """A method's sections; of one that is not registered the learner by its dotted reference."""
    made, kind = method.halves, method.learner
    if method.name not in METHODS or METHODS[method.name] is not method:
        made["learner"] = {"name": f"{kind.__module__}:{kind.__qualname__}"}
    return made


def begin(table: dict[str, Any], change: Mapping[str, Any]) -> None:
    """Where a change chooses another method, ``table`` keeps what is the same half of it, and what a round is."""
    name, held = _named(change), _named(table)
    if not name or name == held or not (name in METHODS or ":" in name):
        return
    for half, preset in halves(method_named(name)).items():
        section = table.get(half)
        if isinstance(section, Mapping) and section.get("name") != preset["name"]:
            table[half] = {key: section[key] for key in ROUND if key in section}


def _named(table: Mapping[str, Any]) -> str:
    section = table.get("method")
    name = section.get("name", "") if isinstance(section, Mapping) else ""
    return name if isinstance(name, str) else ""


def method_of(kind: type[Learner]) -> Method | None:
    """The method whose client half a learner is: its file's own. None of a learner whose file has none."""
    own = getattr(sys.modules.get(kind.__module__), "METHOD", None)
    return own if isinstance(own, Method) and own.learner is kind else None


def check_method(config: Sections) -> None:
    """Refuse a learner and a strategy that do not belong together, unless ``method.free`` is set.

    Raises:
        ConfigError: names the setting, and what goes with what.
    """
    for key, value, why in () if config.method.free else conflicts(config):
        raise ConfigError(key, value, f"{why} {FREE}")


def conflicts(config: Sections) -> Iterator[Conflict]:
    """Settings of learner and strategy that make another algorithm than the paper's."""
    kind, strategy = LEARNERS[config.learner["name"]], STRATEGIES.make(config.strategy)
    method, name = method_of(kind), config.learner["name"]
    if config.method.name and method_named(config.method.name).learner is not kind:
        yield "learner.name", name, f"is no half of method.name = {config.method.name!r}"
    if strategy.per_step and not kind.per_step:
        right = f"; {method.name} goes with {method.server.strategy}" if method else ""
        yield "strategy.name", config.strategy["name"], f"takes updates per local step, {name} sends whole ones{right}"
    elif method is not None:
        yield from _moved(config, method, strategy)


def _moved(config: Sections, method: Method, strategy: Any) -> Iterator[Conflict]:
    """What differs of the settings on which the algorithm rests: one by one, or of a strategy that brings its own."""
    preset, chosen = halves(method)["strategy"], config.strategy
    right = STRATEGIES.make(preset)
    rests = {key: getattr(right, key) for key in method.server.fixed if key != "name"}
    moved = {key: value for key, value in rests.items() if getattr(strategy, key, None) != value}
    if "aggregator" not in rests and not strategy.linear:
        moved.pop("weighting", None)
    own = chosen["name"] == preset["name"]
    if "name" in method.server.fixed and not own:
        yield "strategy.name", chosen["name"], f"makes another algorithm; {method.name} goes with {preset['name']}"
    elif not own and any(key not in chosen for key in moved):
        goes = ", ".join(f"{key} = {_shown(value)!r}" for key, value in rests.items())
        why = f"makes another algorithm; {method.name} goes with {preset['name']} ({goes})"
        yield "strategy.name", chosen["name"], why
    else:
        for key, value in moved.items():
            why = f"makes another algorithm; with {method.name} it must be {_shown(value)!r}"
            yield f"strategy.{key}", _shown(getattr(strategy, key, None)), why


def _shown(value: Any) -> Any:
    return value.get("name") if isinstance(value, Mapping) else value


def learner_constants(config: Sections, cohort: int, clients: int) -> tuple[dict[str, float], list[str]]:
    """The learner's settings that follow from who takes part, as its paper defines them, and a line about each.

    Args:
        config: as given; where it is free there are none.
        cohort: |S|, the clients of a round (0: all).
        clients: N, all of meta-training.

    Raises:
        ConfigError: one is given, and is another number.
    """
    learner = LEARNERS.make(config.learner)
    method = method_of(type(learner))
    if method is None or config.method.free:
        return {}, []
    usual = {field.name: default_of(field) for field in fields(learner)}
    found = {key: rule(cohort or clients, clients) for key, rule in method.computed.items()}
    who = f"{min(cohort or clients, clients)} of {clients} clients are in a round"
    for key, value in found.items():
        given = getattr(learner, key)
        if given != usual[key] and not math.isclose(given, value, rel_tol=1e-3):
            why = f"makes another algorithm; {who}: leave it out, or give {value:.4g}"
            raise ConfigError(f"learner.{key}", given, f"{why} {FREE}")
    return found, [f"learner.{key} = {value:.6g}: {who}" for key, value in found.items()]
