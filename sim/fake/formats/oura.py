"""Oura: the JSON of its web service (v2), a file a collection. Whole seconds with the offset; stages of 5 minutes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metapulse.record.clock import DAY, MINUTE
from metapulse.record.readers.oura import OURA, PHASE, POSITIVE
from metapulse.record.readers.oura_keys import DAY as DAYS
from metapulse.record.schema import Row
from metapulse.sim.fake.formats.base import Format, Making, in_zone, walls
from metapulse.sim.fake.formats.items import daily, gathered, newest_first, rounded, written_value
from metapulse.sim.fake.formats.oura_nights import DIGITS, LETTERS, NIGHTS, SAMPLES, oura_nights, oura_stamp
from metapulse.sim.fake.formats.parts import SECOND, again, floored, iso, json_text, plain, put

#: (metric, code) of a day → key, whether its minutes are written as seconds.
DAILY = {(metric, code): (key, unit == "s") for key, (metric, unit, code) in reversed(DAYS.items())}
#: Scores of a day → collection, and what they are made of, by which they are known.
SCORES = {
    "sleep_score": ("daily_sleep", ("deep_sleep", "rem_sleep", "efficiency")),
    "readiness_score": ("daily_readiness", ("previous_night", "hrv_balance", "resting_heart_rate")),
    "activity_score": ("daily_activity", ("meet_daily_targets", "move_every_hour", "stay_active")),
}
#: Code of a day's row → as Oura has it.
LEVELS = {"lightly": "low", "fairly": "medium", "moderate": "medium", "very": "high", "vigorous": "high", "daily": None}
BRIEFEST = 10 * MINUTE  # of a night


def says(row: Row) -> Row | None:
    """Nights, days, samples of heart rate and HRV, stages in whole 5 minutes, workouts; of no device in particular."""
    told = floored(plain(row, "date_only"), SECOND)._replace(offset_min=row.offset_min or 0, device=OURA)
    metric, kind = row.metric, (row.metric, row.code)
    if metric == "sleep_stage":
        length = 0 if told.end is None else (told.end - told.start) // PHASE * PHASE
        return told._replace(end=told.start + length, quality=()) if length > 0 and row.code in LETTERS else None
    if metric == "workout":
        length = 0 if told.end is None else told.end - told.start
        typed = ("manual",) if "manual" in row.quality else ()
        known = told._replace(code=(row.code or "other").lower()[:40], value=length / MINUTE, quality=typed)
        return known if 0 < length < 30 * DAY else None
    if row.value is None:
        return None
    if daily(row):
        return _of_day(told._replace(quality=("date_only",)))
    if kind in SAMPLES:
        return _positive(told._replace(end=None), False)
    long = told.end is not None and told.end - told.start >= BRIEFEST
    if metric not in NIGHTS or row.code not in (NIGHTS[metric][0], "nap") or not long:
        return None
    return _positive(told, NIGHTS[metric][2])


def _of_day(told: Row) -> Row | None:
    """A score, or what is known of a day."""
    code = LEVELS.get(told.code or "", told.code)
    code = "equivalent of walking" if told.metric == "distance" and code is None else code
    known = (told.metric, code) in (*DAILY, ("spo2", "mean of the night")) or (told.metric in SCORES and code is None)
    return _positive(told._replace(code=code), DAILY.get((told.metric, code), ("", False))[1]) if known else None


def _positive(told: Row, seconds: bool) -> Row | None:
    """Rounded; 0 is no pulse."""
    told = rounded(told, DIGITS.get(told.metric), 1 / 60 if seconds else 1.0)
    return None if (told.metric in POSITIVE or told.metric == "spo2") and (told.value or 0) <= 0 else told


def write(rows: Sequence[Row], making: Making) -> None:
    """A file a collection; with traps newest first, in several pages, with repeats, a deleted night and a torn end."""
    told = [row for row in map(says, rows) if row is not None]
    told = newest_first(again(told, making.rng)) if making.traps else told
    files: dict[str, list[dict[str, Any]]] = {"sleep": oura_nights(told)}
    pulse = [row for row in told if (row.metric, row.code) == ("heart_rate", None)]
    files["heartrate"] = [
        {"bpm": round(row.value or 0), "source": "rest", "timestamp": oura_stamp(row)} for row in pulse
    ]
    files["workout"] = [_workout(row, making) for row in told if row.metric == "workout"]
    for item in gathered((row for row in told if daily(row)), lambda row: (_day(row, making), _collection(row)), _kind):
        row = next(iter(item.values()))
        files.setdefault(_collection(row), []).append(_daily(list(item.values()), making))
    for name, items in files.items():
        if not items:
            continue
        if not making.traps:
            put(making.folder / f"{name}.json", json_text({"data": items, "next_token": None}))
            continue
        deleted = {"bedtime_start": "2024-01-02T23:00:00+01:00", "type": "deleted", "total_sleep_duration": 600}
        half = int(making.rng.integers(len(items) + 1))
        first = json_text({"data": [deleted, *items[:half]], "next_token": "x"}, 1)
        rest = json_text({"data": items[half:]})[:-2]
        put(making.folder / f"{name}.json", f'\ufeff{first}\n{rest}{"," if items[half:] else ""}{{"id": "to')


def _collection(row: Row) -> str:
    if row.metric in SCORES:
        return SCORES[row.metric][0]
    named = {"spo2": "daily_spo2", "skin_temperature_deviation": "daily_readiness", "vo2max": "vO2_max"}
    return named.get(row.metric, "daily_activity")


def _day(row: Row, making: Making) -> str:
    return iso(walls(row, making.zone)[0])[:10]


def _daily(rows: list[Row], making: Making) -> dict[str, Any]:
    """One day's document of a collection."""
    item: dict[str, Any] = {"day": _day(rows[0], making)}
    for row in rows:
        value: Any = written_value(row, DIGITS.get(row.metric))
        if row.metric in SCORES:
            item |= {"score": value, "contributors": dict.fromkeys(SCORES[row.metric][1])}
        elif row.metric == "spo2":
            item |= {"spo2_percentage": {"average": value}}
        else:
            key, seconds = DAILY[row.metric, row.code]
            item[key] = written_value(row, DIGITS.get(row.metric), 1 / 60 if seconds else 1.0)
    return {**item, "average_met_minutes": None} if _collection(rows[0]) == "daily_activity" else item


def _workout(row: Row, making: Making) -> dict[str, Any]:
    item = {"day": _day(row, making), "activity": row.code, "source": "manual" if row.quality else "confirmed"}
    return {**item, "start_datetime": oura_stamp(row), "end_datetime": oura_stamp(row, row.end), "calories": None}


def _kind(row: Row) -> tuple[str, str | None]:
    return row.metric, row.code


METRICS = frozenset({*NIGHTS, *SCORES, "sleep_stage", "workout", "spo2", *(metric for metric, _ in DAILY)})
FORMAT = Format("oura", "Oura: JSON of its web service", METRICS, says, write, in_zone)
