"""``[methods.NAME]`` tables, and tables laid over one another: one reader for ``metapulse run`` and ``compare``.

A configuration is the common sections of a file with changes laid over them, the later over the earlier. An error of
the result is reported with the last table of the file that holds its key.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from metapulse.errors import ConfigError
from metapulse.server.config import Config, build_config, merge

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

#: (place in the file, what it changes) of tables, each laid over those before; "" is the top level.
Layers: TypeAlias = Sequence[tuple[str, Mapping[str, Any]]]


@dataclass(frozen=True)
class MethodTable:
    """A method as a change of a run's configuration.

    Args:
        change: laid over the common sections.
        on: data set → a further change, for it alone.
        without: data sets that it is not run on, for example one whose task it cannot learn.
        space: "section.key" → values that tuning may choose from, as written.
    """

    change: Mapping[str, Any]
    on: Mapping[str, Mapping[str, Any]]
    without: frozenset[str]
    space: Mapping[str, Any]


def read_methods(
    tables: Mapping[str, Mapping[str, Any]], datasets: Collection[str] | None = None
) -> dict[str, MethodTable]:
    """The methods of a file.

    Args:
        tables: method → its table, as read.
        datasets: names of a comparison's data sets; None for a configuration, whose methods have neither ``on`` nor
            ``space``.

    Raises:
        ConfigError: names the key, the value and what is allowed.
    """
    check_names("methods", tables)
    return {name: _read(f"methods.{name}", table, datasets) for name, table in tables.items()}


def _read(where: str, table: Mapping[str, Any], datasets: Collection[str] | None) -> MethodTable:
    change = dict(table)
    if datasets is None:
        for key in ("on", "space"):
            if key in change:
                raise ConfigError(f"{where}.{key}", change[key], "belongs to a comparison (metapulse compare)")
        return MethodTable(change, {}, frozenset(), {})
    on, space = (as_table(f"{where}.{key}", change.pop(key, {})) for key in ("on", "space"))
    for dataset in on:
        if dataset not in datasets:
            raise ConfigError(f"{where}.on", dataset, f"must be among {', '.join(datasets)}")
    without = frozenset(dataset for dataset, value in on.items() if value is False)
    changes = {d: as_table(f"{where}.on.{d}", value) for d, value in on.items() if d not in without}
    return MethodTable(change, changes, without, space)


def check_names(key: str, names: Iterable[str]) -> None:
    """Refuse names that are not made for a folder."""
    for name in names:
        if not NAME.fullmatch(name):
            raise ConfigError(key, name, "a name has letters, digits, '_', '.', '-'")


def as_table(key: str, value: object) -> dict[str, Any]:
    """The value, if it is a table."""
    if not isinstance(value, dict):
        raise ConfigError(key, value, "expected a table of settings")
    return value


def lay(layers: Layers) -> dict[str, Any]:
    """Tables laid over one another; none of them is changed."""
    table, *others = (copy.deepcopy(dict(layer)) for _, layer in layers)
    for layer in others:
        merge(table, layer)
    return table


def build_layers(layers: Layers, otherwise: str = "") -> Config:
    """The configuration of tables laid over one another.

    Args:
        layers: the tables.
        otherwise: what stands before a key that none of them holds, in an error.

    Raises:
        ConfigError: names the key with its place in the file, the value and what is allowed.
    """
    try:
        config = build_config(lay(layers))
        if not config.evaluation.scenarios:
            raise ConfigError("evaluation.scenarios", [], "must name one at least: no client would be tested")
        return config
    except ConfigError as error:
        where = _place(error.key, layers)
        before = f"{where}." if where else otherwise if where is None else ""
        raise ConfigError(before + error.key, error.value, error.allowed) from None


def _place(key: str, layers: Layers) -> str | None:
    """The last of the tables that holds a key; None where none does."""
    for where, layer in reversed(layers):
        held: Any = layer
        for part in key.partition("[")[0].split("."):
            held = held.get(part) if isinstance(held, Mapping) else held
        if held is not None:
            return where
    return None
