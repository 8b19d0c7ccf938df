"""Polar Flow's sessions and nights, which have an offset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metapulse.record.clock import MINUTE, US
from metapulse.record.schema import Row
from metapulse.sim.fake.formats.base import Making
from metapulse.sim.fake.formats.items import chained, daily, gathered, written_value
from metapulse.sim.fake.formats.parts import MILLISECOND, iso, offset_text
from metapulse.sim.fake.formats.polar_keys import COUNTED, STAGES, TOTALS, polar_duration


def polar_sessions(told: Sequence[Row], making: Making) -> list[tuple[str, dict[str, Any]]]:
    """(name, item) of every session; with traps as an older version wrote its length."""
    sessions = []
    for row in told:
        if row.metric == "workout":
            length, offset = ((row.end or row.start) - row.start) // MILLISECOND, row.offset_min or 0
            lasting = {"duration": f"PT{length / 1000:.3f}S"} if making.traps else {"durationMillis": length}
            start = iso(row.start + offset * MINUTE, "")
            item = {"exportVersion": "1.6", "startTime": start, "timezoneOffset": offset, **lasting}
            item |= {"deviceId": row.device.unit, "exercises": [{"sport": (row.code or "").upper()}]}
            sessions.append((f"training-session-{start[:10]}", item))
    return sessions


def polar_nights(told: Sequence[Row]) -> list[dict[str, Any]]:
    """Stages one after another; totals of nights."""
    stages = [row for row in told if row.metric == "sleep_stage"]
    facts = [row for row in told if row.metric in TOTALS and not daily(row)]
    nights = []
    for chain in chained(
        sorted(stages, key=lambda row: row.start),
        lambda row: (row.start, row.offset_min, row.device),
        lambda row: (row.end, row.offset_min, row.device),
    ):
        changes = [
            {"offsetFromStart": f"PT{(row.start - chain[0].start) // US}S", "state": STAGES[row.code or ""]}
            for row in chain
        ]
        nights.append({"sleepResult": {"hypnogram": _hypnogram(chain[0], chain[-1], changes)}})
    for item in gathered(facts, lambda row: (row.start, row.end, row.offset_min, row.device)):
        row = next(iter(item.values()))
        evaluation: dict[str, Any] = {}
        for each in item.values():
            *above, name = TOTALS[each.metric]
            value = written_value(each, None) if each.metric in COUNTED else polar_duration(each)
            (evaluation.setdefault(above[0], {}) if above else evaluation)[name] = value
        nights.append({"evaluation": evaluation, "sleepResult": {"hypnogram": _hypnogram(row, row, [])}})
    return nights


def _hypnogram(first: Row, last: Row, changes: list[dict[str, str]]) -> dict[str, Any]:
    start, end = (iso(at + (first.offset_min or 0) * MINUTE, offset_text(first.offset_min))
                  for at in (first.start, last.end or last.start))  # fmt: skip
    return {"sleepStart": start, "sleepEnd": end, "sleepStateChanges": changes, "deviceId": first.device.unit}
