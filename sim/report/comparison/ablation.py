"""Methods that are the same but for one setting: what that setting does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from metapulse.server.config import REGISTRIES
from metapulse.sim.report.comparison.points import points
from metapulse.sim.report.comparison.view import ComparisonView

#: Settings that say which run it is, not what it does; and those that make it another method altogether.
ASIDE = frozenset({"run.name", "run.seed", *(f"{section}.name" for section in REGISTRIES)})


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


def effect(view: ComparisonView, dataset: str, methods: Iterable[str], first: str) -> dict[str, dict[str, float]]:
    """What methods score on a data set, and what they gain over one of them on the same seeds, people and episodes.

    Args:
        methods: that are looked at; who has no result is left out.
        first: the one that the others are held against.

    Returns:
        Method → value, and gain, gain_low, gain_high, positive where the method is better; means over scenarios and
        shots.
    """
    pilot = view.comparison.pilot
    rows = view.tested[dataset].filter(pl.col("step") == pl.col("judged"), pl.col("method").is_in(list(methods)))
    same = ["seed", "scenario", "shots", "client"]
    base = rows.filter(pl.col("method") == first).select(*same, base="value")
    sign = 1.0 if view.measure(dataset)[1] else -1.0
    both = rows.join(base, on=same, how="inner")
    gains = points(both.with_columns(value=sign * (pl.col("value") - pl.col("base"))), ["method"], pilot)
    scores = points(both, ["method"], pilot).select("method", value="mean")
    numbers = scores.join(gains.rename({"mean": "gain", "low": "gain_low", "high": "gain_high"}), on="method")
    return {row.pop("method"): row for row in numbers.iter_rows(named=True)}


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
