"""Methods that are the same but for one setting: what that setting does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.config import CHOOSING

#: Settings that say which run it is, not what it does; and those that make it another method altogether.
ASIDE = frozenset({"run.name", "run.seed", *(f"{section}.name" for section in CHOOSING)})


@dataclass(frozen=True)
class Ablation:
    """One setting, and the methods that differ in it alone.

    Args:
        setting: "section.key".
        values: method → its value, in order of value where values have one.
    """

    setting: str
    values: Mapping[str, Any]


def ablations(configs: Mapping[str, Mapping[str, Any]]) -> list[Ablation]:
    """Every setting in which methods differ and all else is equal.

    Args:
        configs: method → its resolved configuration.
    """
    flat = {method: dict(_leaves(config)) for method, config in configs.items()}
    found = []
    for setting in sorted({name for settings in flat.values() for name in settings} - ASIDE):
        groups: dict[str, dict[str, Any]] = {}
        for method, settings in flat.items():
            if setting in settings:
                rest = {k: v for k, v in settings.items() if k != setting and k not in ("run.name", "run.seed")}
                groups.setdefault(json.dumps(rest, sort_keys=True), {})[method] = settings[setting]
        found += [Ablation(setting, _ordered(group)) for group in groups.values() if _differ(group)]
    return found


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _differ(group: Mapping[str, Any]) -> bool:
    return len({json.dumps(value) for value in group.values()}) > 1


def _ordered(group: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers ascending; whatever else as it came."""
    if all(isinstance(value, (int, float)) for value in group.values()):
        return dict(sorted(group.items(), key=lambda item: item[1]))
    return dict(group)
