"""Names and numbers of Withings' API by what they measure, for writing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metapulse.record.readers.withings_api import DAY, MINUTES, MOMENTS, NIGHT, SPORTS, TYPES

Keys = dict[tuple[str, str | None], tuple[str, float]]  # (metric, code) → name, canonical units of one of the file's


def _inverse(known: dict[str, tuple[str, str | None, str | None]]) -> Keys:
    """What is read, the other way round; of two names the first."""
    scales = {"s": 1 / 60, "1": 100.0}
    return {
        (metric, code): (name, scales.get(unit or "", 1.0)) for name, (metric, unit, code) in reversed(known.items())
    }


#: What a group of measurements holds, where a day's minutes do not.
MEASURES = {metric: kind for kind, (metric, _) in TYPES.items() if metric not in ("heart_rate", "spo2")}
POWERS = {"height": 2, "body_temperature": 3, "skin_temperature": 3, "vo2max": 1, "bp_systolic": 0, "bp_diastolic": 0}
DAYS, NIGHTS = _inverse(DAY), _inverse(NIGHT)
AMOUNTS, SAMPLES = _inverse(MINUTES), _inverse(MOMENTS)
KINDS = {sport: number for number, sport in SPORTS.items()} | {"biking": 6}
OTHER = 36  # the kind of a workout that has no number here
TRACKER = 16
DIGITS = {"distance": 1, "active_energy": 1, "total_energy": 1, "sleep_efficiency": 2}  # of others none


def intraday_pages(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries by their second; of two of one second the other is on another page."""
    pages: list[dict[str, Any]] = []
    for entry in entries:
        at, rest = str(entry["at"]), {name: value for name, value in entry.items() if name != "at"}
        page = next((page for page in pages if at not in page), None)
        if page is None:
            pages.append(page := {})
        page[at] = rest
    return pages
