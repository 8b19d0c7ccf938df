"""Settings of a file that do not apply to a run because a method, or the command line, chooses another entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from metapulse.server.config import REGISTRIES, Config, resolved
from metapulse.server.method import HALVES


def unreached(table: Mapping[str, Any], change: Mapping[str, Any], config: Config) -> list[str]:
    """A line for each section whose common settings do not apply although the method's own entry has such.

    Where a method names another learner (strategy, model, …), its section starts from the defaults of that one.

    Args:
        table: the common part, as read.
        change: the method's table.
        config: what came of both, and of all that was laid over them.
    """
    lines = []
    for section, chosen, common, own, there in _renamed(table, change, config):
        lost = [k for k in common if k in there and there[k] != common[k] and k not in ("name", *own)]
        said = [f"{section}.{k} = {common[k]!r} (here {there[k]!r})" for k in lost]
        if said:
            lines.append(f"{', '.join(said)} of the common [{section}] does not apply to {chosen!r}")
    return lines


def dropped(table: Mapping[str, Any], change: Mapping[str, Any], config: Config) -> list[str]:
    """A line for each section of a file whose settings are left out because the command line names another entry.

    Args:
        table: the file, as read.
        change: what the command line lays over it.
        config: what came of both.
    """
    lines = []
    for section, chosen, held, own, there in _renamed(table, change, config):
        lost = [k for k in held if k not in ("name", *own) and (k not in there or there[k] != held[k])]
        said = [f"{section}.{k} = {held[k]!r} ({f'now {there[k]!r}' if k in there else 'it has none'})" for k in lost]
        if said:
            lines.append(f"{', '.join(said)} of the file does not apply to {section}.name = {chosen!r}")
    return lines


def _renamed(
    table: Mapping[str, Any], change: Mapping[str, Any], config: Config
) -> Iterator[tuple[str, str, Any, Any, Any]]:
    """Sections in which ``change`` chooses another entry: section, the entry's name, both tables, what came of them."""
    values, method = resolved(config), change.get("method", {})
    for section in REGISTRIES:
        held, own = table.get(section), change.get(section, {})
        if not isinstance(held, Mapping) or not isinstance(own, Mapping):
            continue
        chosen = own.get("name", values[section]["name"] if section in HALVES and "name" in method else None)
        if chosen is not None and chosen != held.get("name"):
            yield section, chosen, held, own, values[section]
