"""Google Health API: pages of ``dataPoints`` and of roll-ups, with numbers of 64 bits and lengths as texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from metapulse.record.clock import HOUR
from metapulse.record.schema import Device, Row
from metapulse.record.units import conversion
from metapulse.sim.fake.formats.base import Format, Making, in_zone
from metapulse.sim.fake.formats.googlehealth_points import (
    GRAMS,
    PLACES,
    PLATFORM,
    SPANS,
    STAGE,
    WHOLE,
    page_of,
    sport_word,
)
from metapulse.sim.fake.formats.parts import MILLISECOND, again, floored, json_text, of_day, plain, put


def says(row: Row) -> Row | None:
    """Milliseconds, any offset, or a day; whole beats, steps and millimetres; maker, model and app or platform."""
    device = Device(row.device.manufacturer, row.device.model, app=row.device.app or PLATFORM)
    told = plain(row, "manual", "date_only")._replace(device=device, offset_min=row.offset_min or 0)
    if row.metric == "sleep_stage" and row.code in STAGE:
        told = floored(told, MILLISECOND)
        return told if told.end is not None and not of_day(row) else None
    if row.metric == "workout" and row.value is not None and row.end is not None and not of_day(row):
        told = floored(told, MILLISECOND)
        return told._replace(value=round(row.value * 60, 3) / 60, code=sport_word(row.code).replace("_", " ").lower())
    if row.value is None:
        return None
    if row.metric in GRAMS:
        return _spanned(told) if row.code is None else None
    if (place := PLACES.get((row.metric, row.code, of_day(row)))) is None:
        return None
    kind, member, unit = place
    scale = conversion(row.metric, unit).scale
    if member in WHOLE:
        told = told._replace(value=round(row.value / scale) * scale)
    if of_day(row):
        return told
    if kind in SPANS:
        spanned = _spanned(told)
        if spanned is not None and kind == "steps":
            long = (spanned.end or 0) - spanned.start >= 23 * HOUR
            return spanned._replace(metric="steps_daily") if long else spanned if row.metric == "steps" else None
        return spanned
    return floored(told, MILLISECOND) if row.end is None else None


def _spanned(row: Row) -> Row | None:
    row = floored(row, MILLISECOND)
    return row if row.end is not None and not of_day(row) else None


def write(rows: Sequence[Row], making: Making) -> None:
    """A page for each type; with traps a list of pages in one file, repeats, a point of a type that has no metric."""
    told = [row for row in map(says, rows) if row is not None]
    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in again(told, making.rng) if making.traps else told:
        kinds[_kind(row)].append(row)
    pages = [(kind, page_of(kind, found, making.zone)) for kind, found in kinds.items()]
    if making.traps and pages:
        odd = {"dataPoints": [{"dataSource": {"platform": PLATFORM}, "swimLengths": {"strokes": "12"}}]}
        put(making.folder / "pages.json", json_text([*(page for _, page in pages), odd]))
    else:
        for kind, page in pages:
            put(making.folder / f"{kind}.json", json_text(page, indent=2))


def _kind(row: Row) -> str:
    if row.metric in ("sleep_stage", "workout"):
        return {"sleep_stage": "sleep", "workout": "exercise"}[row.metric]
    return "nutritionLog" if row.metric in GRAMS else PLACES[row.metric, row.code, of_day(row)][0]


METRICS = frozenset(metric for metric, _, _ in PLACES) | set(GRAMS) | {"sleep_stage", "workout"}
FORMAT = Format("googlehealth", "Google Health API: pages of data points", METRICS, says, write, in_zone)
