"""What devices see of a life, as rows of a record: sampled, rounded, with noise, an offset of their own and gaps.

Two devices of one person see the same life. Each has a bias that is drawn once, so that a change of devices shows as a
seam; each lies on its charger for a while a day, and on some days it is left at home. A quantity comes in several
shapes (by the minute, by the quarter of an hour, by night, by day): a format gets the first that it can hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from metapulse.record.clock import MINUTE
from metapulse.record.schema import Row
from metapulse.sim.fake.day import Day, Series
from metapulse.sim.fake.formats.base import Format
from metapulse.sim.fake.kits import SCALE, WATCH, WORN
from metapulse.sim.fake.life import Life
from metapulse.sim.fake.seen import Seen, Shapes

STAGED = ("deep", "light", "rem")


def _sleep(seen: Seen) -> Shapes:
    """Stages; where a device knows none, asleep or not; where not even that, the time in bed."""
    if not seen.asleep:
        return []
    night = seen.day.nights[0]
    stages = [seen.row("sleep_stage", start, None, end, code) for code, start, end in night.stages]
    coarse = [row._replace(code="asleep") for row in stages if row.code in STAGED]
    return [stages, coarse, [seen.row("sleep_stage", night.start, None, night.end, "in_bed")]]


def _workouts(seen: Seen) -> Shapes:
    bouts = [bout for bout in seen.day.bouts if bout.workout and seen.worn[len(seen.worn) // 2]]
    return [[seen.row("workout", b.start, (b.end - b.start) / MINUTE, b.end, b.code) for b in bouts]]


def _once(seen: Seen, metric: str, value: float, digits: int) -> Shapes:
    """One number of a day: of the day, or of the morning."""
    if not seen.worn.any():
        return []
    value = round(float(value), digits)
    return [[seen.of_day(metric, value)], [seen.row(metric, seen.day.nights[0].end + 10 * MINUTE, value)]]


def _weighed(seen: Seen, metric: str, value: float, digits: int = 1) -> Shapes:
    return list(reversed(_once(seen, metric, value * seen.scale, digits)))


def _minutes(seen: Seen, low: float, high: float, code: str | None, metric: str = "active_minutes") -> Shapes:
    within = (seen.day.mets >= low) & (seen.day.mets < high) & seen.day.up
    return seen.amounts(metric, within.astype(float), 0, code=code)


def _active(seen: Seen) -> Shapes:
    """Minutes by intensity, in the words of the vendors; those of one vendor are taken together."""
    bands = (("lightly", 1.6, 3.0), ("fairly", 3.0, 6.0), ("very", 6.0, 99.0))
    named = [row for code, low, high in bands for row in _minutes(seen, low, high, code)[2]]
    other = (("moderate", 3.0, 6.0), ("vigorous", 6.0, 99.0))
    return [named, [row for code, low, high in other for row in _minutes(seen, low, high, code)[2]], *_minutes(
        seen, 3.0, 99.0, None)]  # fmt: skip


def _eaten(seen: Seen, metric: str, factor: float) -> Shapes:
    return [[seen.row(metric, meal.at, round(meal.grams * factor)) for meal in seen.day.meals]]


def _pricks(seen: Seen) -> list[Row]:
    """Blood before the first meal and the last, by a meter that errs by a twentieth."""
    times = [meal.at - 10 * MINUTE for meal in seen.day.meals][:: max(len(seen.day.meals) - 1, 1)]
    places = [(at, int((at - seen.day.start) // MINUTE)) for at in times]
    errors = 1 + 0.05 * seen.noise("pricks", len(places))
    found = [(at, float(seen.day.glucose[m] * e)) for (at, m), e in zip(places, errors, strict=True)]
    return [seen.row("glucose_blood", at, float(round(value))) for at, value in found]


def _beats(seen: Seen) -> Shapes:
    """Intervals between beats in a workout of up to five minutes at its start."""
    rows: list[Row] = []
    for bout in (bout for bout in seen.day.bouts if bout.workout):
        at = float(bout.start)
        for step in seen.noise("beats", 400):
            minute = min(int((at - seen.day.start) / MINUTE), len(seen.day.heart) - 1)
            interval = round(60_000 / float(seen.day.heart[minute]) + 12 * float(step))
            at += interval * 1000
            rows.append(seen.row("rr_interval", int(at), float(interval)))
    return [rows]


def _energy(seen: Seen, series: Series) -> Series:
    return series * seen.life.body.weight_kg / 60  # 1 MET is 1 kcal/kg/h


#: Metric → its shapes.
METRICS: dict[str, Callable[[Seen], Shapes]] = {
    "heart_rate": lambda s: [s.samples("heart_rate", s.day.heart, 0, 1.5)],
    "steps": lambda s: s.amounts("steps", s.day.steps, 0)[:2],
    "steps_daily": lambda s: s.amounts("steps", s.day.steps, 0, "steps_daily")[2:],
    "distance": lambda s: s.amounts("distance", s.day.steps * 0.414 * s.life.body.height_m, 1),
    "active_energy": lambda s: s.amounts("active_energy", _energy(s, np.clip(s.day.mets - 1.35, 0, None)), 2),
    "basal_energy": lambda s: s.amounts("basal_energy", _energy(s, np.full(len(s.day.mets), 0.95)), 3)[1:],
    "total_energy": lambda s: s.amounts("total_energy", _energy(s, s.day.mets), 2),
    "floors": lambda s: s.amounts("floors", _floors(s), 0)[1:],
    "elevation_gain": lambda s: s.amounts("elevation_gain", 3 * _floors(s), 0)[1:],
    "active_minutes": _active,
    "sedentary_minutes": lambda s: _minutes(s, 0, 1.6, None, "sedentary_minutes")[2:],
    "exercise_minutes": lambda s: _minutes(s, 3.0, 99, None, "exercise_minutes"),
    "workout": _workouts,
    "sleep_stage": _sleep,
    "sleep_duration": lambda s: s.night("sleep_duration", s.day.nights[0].minutes(*STAGED), 0),
    "sleep_deep": lambda s: s.night("sleep_deep", s.day.nights[0].minutes("deep"), 0),
    "sleep_light": lambda s: s.night("sleep_light", s.day.nights[0].minutes("light"), 0),
    "sleep_rem": lambda s: s.night("sleep_rem", s.day.nights[0].minutes("rem"), 0),
    "sleep_awake": lambda s: s.night("sleep_awake", s.day.nights[0].minutes("awake"), 0),
    "sleep_latency": lambda s: s.night("sleep_latency", s.day.nights[0].minutes("awake") // 3, 0),
    "time_in_bed": lambda s: s.night("time_in_bed", s.day.nights[0].minutes("awake", *STAGED), 0),
    "sleep_efficiency": lambda s: s.night("sleep_efficiency", 100 * _share_asleep(s), 0),
    "sleep_score": lambda s: s.night("sleep_score", 90 * _share_asleep(s), 0),
    "hrv_rmssd": lambda s: s.nightly("hrv_rmssd", s.life.hrv(s.day.number), 6, 1),
    "hrv_sdnn": lambda s: s.nightly("hrv_sdnn", 1.3 * s.life.hrv(s.day.number), 7, 1),
    "spo2": lambda s: s.nightly("spo2", 96.4 - 1.5 * s.life.illness(s.day.number), 0.7, 1),
    "respiratory_rate": lambda s: s.nightly("respiratory_rate", 14 + 2 * s.life.illness(s.day.number), 0.5, 1),
    "skin_temperature": lambda s: s.nightly("skin_temperature", 34.5 + 0.9 * s.life.illness(s.day.number), 0.2, 2),
    "skin_temperature_deviation": lambda s: s.night(
        "skin_temperature_deviation", 0.9 * s.life.illness(s.day.number) + 0.15 * s.noise("skin", 1)[0], 2, "night"
    ),
    "readiness_score": lambda s: _once(s, "readiness_score", 82 - 30 * s.life.illness(s.day.number), 0),
    "resting_heart_rate": lambda s: _once(s, "resting_heart_rate", s.life.resting(s.day.number), 0),
    "vo2max": lambda s: _once(s, "vo2max", 15.3 * s.life.body.highest / s.life.resting(s.day.number), 1),
    "stress": lambda s: [_stress(s), *_once(s, "stress", 35, 0)],
    "weight": lambda s: _weighed(s, "weight", s.life.weight(s.day.number)),
    "bmi": lambda s: _weighed(s, "bmi", s.life.weight(s.day.number) / s.life.body.height_m**2),
    "body_fat": lambda s: _weighed(s, "body_fat", 24 - 2 * s.life.fitness(s.day.number)),
    "fat_mass": lambda s: _weighed(s, "fat_mass", 0.24 * s.life.weight(s.day.number)),
    "lean_mass": lambda s: _weighed(s, "lean_mass", 0.76 * s.life.weight(s.day.number)),
    "muscle_mass": lambda s: _weighed(s, "muscle_mass", 0.72 * s.life.weight(s.day.number)),
    "bone_mass": lambda s: _weighed(s, "bone_mass", 0.04 * s.life.body.weight_kg),
    "body_water": lambda s: _weighed(s, "body_water", 54.0),
    "bp_systolic": lambda s: _weighed(s, "bp_systolic", 122 + 4 * s.noise("bp", 1)[0], 0),
    "bp_diastolic": lambda s: _weighed(s, "bp_diastolic", 78 + 3 * s.noise("bp", 1)[0], 0),
    "rr_interval": _beats,
    "glucose": lambda s: [s.samples("glucose", s.day.glucose, 0, 3.0)],
    "glucose_blood": lambda s: [_pricks(s)],
    "carbohydrates": lambda s: _eaten(s, "carbohydrates", 1),
    "energy_eaten": lambda s: _eaten(s, "energy_eaten", 9),
    "protein": lambda s: _eaten(s, "protein", 0.4),
    "fat": lambda s: _eaten(s, "fat", 0.35),
    "fibre": lambda s: _eaten(s, "fibre", 0.12),
    "water": lambda s: _eaten(s, "water", 6),
}


def _floors(seen: Seen) -> Series:
    """One in some minutes of walking."""
    return np.where(seen.noise("floors", len(seen.day.steps)) > 1.8, (seen.day.steps > 20) * 1.0, 0.0)


def _share_asleep(seen: Seen) -> float:
    night = seen.day.nights[0]
    return night.minutes(*STAGED) / max(night.minutes("awake", *STAGED), 1)


def _stress(seen: Seen) -> list[Row]:
    level = np.clip(0.9 * (seen.day.heart - 45) - 8 * ~seen.day.up, 1, 99)
    return [row for row in seen.samples("stress", level, 0, 3, bias=False) if 1 <= (row.value or 0) <= 100][::5]


def worn_rows(life: Life, format: Format, numbers: Iterable[int]) -> Iterator[list[Row]]:
    """What the devices that go with a format see, a list for each day, in order of time.

    Args:
        life: of the person.
        format: its name says what is worn, and what it can hold which shape of a quantity is taken.
        numbers: of the days.
    """
    for number in numbers:
        day, found = Day(life, number), list[Row]()
        for kit in WORN.get(format.name, (WATCH, SCALE)):
            seen = Seen(life, day, kit, format.name)
            for metric in sorted(kit.sees & format.metrics & METRICS.keys()):
                shapes = [rows for rows in METRICS[metric](seen) if rows]
                found += next((rows for rows in shapes if format.says(rows[0]) is not None), [])
        yield sorted(found, key=lambda row: row.start)
