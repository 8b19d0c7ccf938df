"""What of the common sections of a suite does not reach a method that names another entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metapulse.server.config import CHOOSING, Config, resolved
from metapulse.server.method import HALVES


def unreached(table: Mapping[str, Any], change: Mapping[str, Any], config: Config) -> list[str]:
    """A line for each section whose common settings do not apply although the method's own entry has such.

    Where a method names another learner (strategy, model, …), its section starts from the defaults of that one.

    Args:
        table: the common part, as read.
        change: the method's table.
        config: what came of both, and of all that was laid over them.
    """
    lines, values = [], resolved(config)
    method = change.get("method", {})
    for section in CHOOSING:
        common, own = table.get(section), change.get(section, {})
        if not isinstance(common, Mapping) or not isinstance(own, Mapping):
            continue
        chosen = own.get("name", values[section]["name"] if section in HALVES and "name" in method else None)
        if chosen is None or chosen == common.get("name"):
            continue
        there = values[section]
        lost = [k for k in common if k in there and there[k] != common[k] and k not in ("name", *own)]
        said = [f"{section}.{k} = {common[k]!r} (here {there[k]!r})" for k in lost]
        if said:
            lines.append(f"{', '.join(said)} of the common [{section}] does not apply to {chosen!r}")
    return lines
