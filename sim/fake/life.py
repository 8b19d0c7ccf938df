"""One person's days: sleep, heart, steps, meals and glucose, weight, illness, training and travel, minute by minute.

Every day is drawn at its own address, so that day 40 is the same whether 60 or 90 days are asked for. What reaches over
several days (illness, travel, training, weight) is a function of the day and of the draws of days or blocks before it.

    HR(t)      = resting + 4 cos(2π (t − 16 h)/24 h) + sleep + illness + lag(1.1 (METs − 1) · reserve/12)
    steps      cadence of walking of sim/sources/wearables in walks and commutes, few else
    glucose    Bergman's minimal model with the two-compartment gut of Hovorka, by the minute

Source: Bergman, Ider, Bowden, Cobelli 1979 (minimal model); Hovorka et al. 2004 (gut, t_max 40 min); Carskadon, Dement
2011 (cycles of sleep of 90 minutes: deep sleep early, REM sleep late); Karvonen 1957 (heart rate reserve).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from metapulse.record.clock import DAY, EPOCH, HOUR, MINUTE, Clock, zone
from metapulse.rng import generator
from metapulse.sim.sources.wearables.activities import NAMES, column

FIRST = date(2024, 1, 22).toordinal() - EPOCH  # a Monday; clocks go forward in March
BEFORE = 7  # days before the first that are drawn too
BLOCK = 45  # days with one illness
TRAVEL, AWAY = (50, 7), ("Asia/Tokyo", "Europe/London")  # day of departure and days away, of each 90
STRIDE = float(column("frequency_hz")[NAMES.index("walking")])  # Hz
PHASES = ("", "awake", "light", "deep", "rem")
Series = NDArray[np.float64]


@dataclass(frozen=True)
class Body:
    """What does not change. Heart rates per minute, metres, kilograms, µs since midnight."""

    age: int
    height_m: float
    weight_kg: float
    resting: float
    rmssd_ms: float
    bedtime: int
    rising: int
    cadence: float
    glucose: float

    @property
    def highest(self) -> float:
        """Highest heart rate: 208 − 0.7 · age (Tanaka 2001)."""
        return 208 - 0.7 * self.age


@dataclass(frozen=True)
class Night:
    """Asleep from ``start`` to ``end`` (µs, UTC); stages as (code, start, end), one after another."""

    start: int
    end: int
    stages: tuple[tuple[str, int, int], ...]

    def minutes(self, *codes: str) -> float:
        """Minutes in these stages."""
        return sum(end - start for code, start, end in self.stages if code in codes) / MINUTE


@dataclass(frozen=True)
class Bout:
    """A walk, a commute or a workout. METs: energy in units of that at rest."""

    code: str
    start: int
    end: int
    mets: float
    cadence: float
    workout: bool = False


@dataclass(frozen=True)
class Meal:
    """What was eaten, in grams of carbohydrates."""

    at: int
    grams: float


class Life:
    """A person's days by number, each made when it is asked for.

    Args:
        seed: ≥ 0; another is another person.
        home: name of the time zone.
    """

    def __init__(self, seed: int = 0, home: str = "Europe/Berlin") -> None:
        self.seed, self.home = seed, Clock(zone(home))
        apart = abs((self.home.offset(FIRST * DAY) or 0) - 540)
        self.away = Clock(zone(AWAY[0] if apart > 180 else AWAY[1]))
        self.clock = lru_cache(64)(self._clock)
        self.day = lru_cache(8)(lambda number: Day(self, number))
        self.night = lru_cache(8)(self._night)
        self.bouts = lru_cache(8)(self._bouts)
        self.meals = lru_cache(8)(self._meals)

    def rng(self, purpose: str, number: int = 0) -> np.random.Generator:
        """What is drawn for one purpose on one day."""
        return generator(self.seed, f"fake/{purpose}", number + BEFORE)

    def weekday(self, number: int) -> int:
        """0 for a Monday."""
        return (FIRST + number + 3) % 7

    @cached_property
    def body(self) -> Body:
        """Who it is."""
        rng = self.rng("body")
        height = float(np.clip(rng.normal(1.72, 0.09), 1.5, 2.0))
        return Body(
            age=int(rng.integers(22, 66)),
            height_m=round(height, 2),
            weight_kg=round(float(height**2 * np.clip(rng.normal(24.5, 2.5), 19, 33)), 1),
            resting=float(np.clip(rng.normal(60, 6), 45, 76)),
            rmssd_ms=float(np.exp(rng.normal(3.6, 0.3))),
            bedtime=int((22.8 + rng.normal(0, 0.6)) * HOUR),
            rising=int((6.8 + rng.normal(0, 0.4)) * HOUR),
            cadence=float(120 * STRIDE * rng.normal(1, 0.03)),
            glucose=float(rng.normal(92, 4)),
        )

    def _clock(self, number: int) -> Clock:
        """Where the person's clock stands on a day: at home, or where they travel to for a week of every 90 days."""
        block, day = divmod(number, 90)
        departure = TRAVEL[0] + int(self.rng("travel", block).integers(0, 6)) if number >= 0 else 90
        return self.away if departure <= day < departure + TRAVEL[1] else self.home

    def at(self, number: int, wall: int) -> int:
        """The instant at which the person's clock shows so many µs since midnight of a day."""
        return self.clock(number).local((FIRST + number) * DAY + wall).start

    def illness(self, number: int) -> float:
        """How ill, 0 to 1: one illness in a block of 45 days, two days up and about five down."""
        level = 0.0
        for block in range(max((number - BLOCK) // BLOCK, 0), number // BLOCK + 1):
            since = number - block * BLOCK - int(self.rng("illness", block).integers(8, BLOCK - 8))
            level = max(level, min((since + 1) / 2, 1) * float(np.exp(-max(since - 1, 0) / 2)) if since >= 0 else 0.0)
        return level if level > 0.05 else 0.0

    def fitness(self, number: int) -> float:
        """Gain by training, 0 to 1, with a time constant of 60 days."""
        return float(1 - np.exp(-max(number, 0) / 60))

    def weight(self, number: int) -> float:
        """Kilograms in the morning: a slow loss, and water that comes and goes within days."""
        water = sum(0.6**lag * float(self.rng("water", number - lag).normal(0, 0.35)) for lag in range(min(number, 8)))
        return self.body.weight_kg - 1.5 * self.fitness(number) + water

    def resting(self, number: int) -> float:
        """Resting heart rate of a day: lower with training, up to 9 higher in illness."""
        noise = float(self.rng("resting", number).normal(0, 1))
        return self.body.resting - 4 * self.fitness(number) + 9 * self.illness(number) + noise

    def hrv(self, number: int) -> float:
        """RMSSD of a night in ms: higher with training, lower in illness."""
        spread = float(self.rng("hrv", number).normal(0, 0.12))
        return self.body.rmssd_ms * float(np.exp(0.15 * self.fitness(number) - 0.5 * self.illness(number) + spread))

    def _night(self, number: int) -> Night:
        """The night that ends in the morning of a day."""
        rng = self.rng("night", number)
        late = 0.8 * HOUR if self.weekday(number) > 4 else 0
        begin = self.body.bedtime + int(rng.normal(late, 0.5 * HOUR)) - DAY
        rise = self.body.rising + int(rng.normal(1.2 * late + HOUR * self.illness(number), 0.4 * HOUR))
        start = self.at(number, begin) // MINUTE * MINUTE
        end = max(self.at(number, rise) // MINUTE * MINUTE, start + 3 * HOUR)
        return Night(start, end, _stages(rng, start, end))

    def _bouts(self, number: int) -> tuple[Bout, ...]:
        """What is done on a day: two commutes or a long walk, a walk at noon, some days a workout."""
        rng, weekday = self.rng("bouts", number), self.weekday(number)
        cadence, ill = self.body.cadence, self.illness(number)
        found: list[Bout] = []

        def add(code: str, hour: float, minutes: float, mets: float, pace: float, workout: bool = False) -> None:
            start = self.at(number, int((hour + rng.normal(0, 0.3)) * HOUR)) // MINUTE * MINUTE
            length = max(round(minutes * float(rng.lognormal(0, 0.2))), 4) * MINUTE
            pace *= float(rng.normal(1, 0.02))
            found.append(Bout(code, start, start + length, mets * float(rng.normal(1, 0.05)), pace, workout))

        if ill > 0.4:
            return ()
        if weekday < 5:
            add("walking", 8.3, 14, 3.5, cadence)
            add("walking", 12.6, 11, 3.2, 0.95 * cadence)
            add("walking", 17.6, 14, 3.6, cadence)
        else:
            add("walking", 14.5, 50, 3.6, cadence, workout=True)
        if weekday in (1, 3, 5) and not ill:
            code, mets, pace = (("running", 9.0, 1.45 * cadence), ("biking", 7.0, 0.0))[weekday == 3]
            add(code, 18.8 if weekday < 5 else 10.2, 35 + 15 * self.fitness(number), mets, pace, workout=True)
        return tuple(sorted(found, key=lambda bout: bout.start))

    def _meals(self, number: int) -> tuple[Meal, ...]:
        rng = self.rng("meals", number)
        plan = ((7.6, 45, 1.0), (12.9, 65, 1.0), (15.8, 22, 0.5), (19.7, 70, 1.0))
        drawn = [
            (hour + rng.normal(0, 0.4), grams * rng.lognormal(0, 0.25), rng.random() < p) for hour, grams, p in plan
        ]
        times = [(self.at(number, int(hour * HOUR)) // MINUTE * MINUTE, grams) for hour, grams, eaten in drawn if eaten]
        return tuple(Meal(at, round(float(grams))) for at, grams in times)


class Day:
    """One day of a life, from midnight to midnight of the person's clock; series have a value a minute."""

    def __init__(self, life: Life, number: int) -> None:
        self.life, self.number = life, number
        self.start, until = life.at(number, 0), life.at(number + 1, 0)
        # Where the clock is moved by a journey, the day lasts until the next begins, and no shorter than 12 hours.
        self.end = until if until - self.start >= 12 * HOUR else self.start + DAY
        self.minutes = np.arange(self.start, self.end, MINUTE)
        self.nights = (life.night(number), life.night(number + 1))
        asleep = self.nights[1].start  # early where a journey begins: what was planned for later is not done
        self.bouts = tuple(bout for bout in life.bouts(number) if bout.end <= asleep)
        self.meals = tuple(meal for meal in life.meals(number) if meal.at < asleep)

    def offset(self, instant: int) -> int:
        """Minutes of the person's clock before UTC."""
        return self.life.clock(self.number).offset(instant) or 0

    @cached_property
    def hours(self) -> Series:
        """Of the person's clock, since midnight."""
        return (self.minutes - self.start) / HOUR

    @cached_property
    def stage(self) -> NDArray[np.int64]:
        """Stage of sleep by the minute, by its place in ``PHASES``."""
        found = np.zeros(len(self.minutes), np.int64)
        for night in self.nights:
            for code, start, end in night.stages:
                found[(self.minutes >= start) & (self.minutes < end)] = PHASES.index(code)
        return found

    @cached_property
    def up(self) -> NDArray[np.bool_]:
        """Out of bed, by the minute."""
        return self.stage == 0

    @cached_property
    def steps(self) -> Series:
        """By the minute."""
        rng = self.life.rng("steps", self.number)
        up = self.up & (rng.random(len(self.minutes)) < 0.16 * (1 - 0.6 * self.life.illness(self.number)))
        found = np.where(up, rng.gamma(1.6, 10, len(self.minutes)), 0.0)
        for bout in self.bouts:
            within = self._within(bout)
            found[within] = bout.cadence * (1 + 0.03 * rng.standard_normal(int(within.sum())))
        return np.rint(np.clip(found, 0, 220))

    @cached_property
    def mets(self) -> Series:
        """Energy in units of that at rest: 0.95 asleep, 1.3 awake, more with steps and in bouts."""
        found = np.where(self.up, 1.3 + self.steps / 60, 0.95)
        for bout in self.bouts:
            found[self._within(bout)] = bout.mets
        return found

    @cached_property
    def heart(self) -> Series:
        """Heart rate per minute."""
        life, rng = self.life, self.life.rng("heart", self.number)
        resting = life.resting(self.number)
        kernel = np.exp(-np.arange(12) / 2.5)
        effort = np.convolve(self.mets - 1, kernel / kernel.sum())[: len(self.mets)]
        reserve = life.body.highest - resting
        asleep = np.array([0.0, 0.0, -5.0, -7.0, -2.0])[self.stage]
        waves = np.convolve(rng.standard_normal(len(self.mets) + 14), np.ones(15) / 15, "valid") * 6
        circadian = 4 * np.cos(2 * np.pi * (self.hours - 16) / 24)
        beats = resting + 4 + circadian + asleep + 1.1 * np.clip(effort, 0, None) * reserve / 12 + waves
        return np.clip(beats, 34, life.body.highest)

    @cached_property
    def glucose(self) -> Series:
        """mg/dL by the minute. The model starts half a day earlier, with what was eaten then."""
        meals = (*self.life.meals(self.number - 1), *self.meals)
        begin = self.start - DAY // 2
        at = (np.arange(begin, self.end, MINUTE)[:, None] - np.array([m.at for m in meals])) / MINUTE
        after = np.clip(at, 0, None)
        grams = np.array([meal.grams for meal in meals])
        appears = (grams * after * np.exp(-after / 40) / 40**2).sum(1)  # g/min
        level = _minimal_model(appears, self.life.body)
        return level[-len(self.minutes) :]

    @cached_property
    def spo2(self) -> Series:
        """% by the minute; lower in illness."""
        rng = self.life.rng("spo2", self.number)
        level = 97.2 - 1.5 * self.life.illness(self.number) + rng.normal(0, 0.9, len(self.minutes))
        return np.clip(level, 86, 100)

    @cached_property
    def breaths(self) -> Series:
        """Per minute."""
        rng = self.life.rng("breaths", self.number)
        asleep = np.where(self.up, 0.0, -1.5)
        effort = 1.6 * (self.mets - 1)
        level = 15.5 + asleep + effort + 2 * self.life.illness(self.number) + rng.normal(0, 0.5, len(self.minutes))
        return np.clip(level, 6, 60)

    @cached_property
    def skin(self) -> Series:
        """Temperature of the skin in °C: warmer in sleep and in illness."""
        rng = self.life.rng("skin", self.number)
        level = 32.6 + np.where(self.up, 0.0, 1.9) + 0.9 * self.life.illness(self.number)
        return level + 0.3 * np.cos(2 * np.pi * (self.hours - 3) / 24) + rng.normal(0, 0.1, len(self.minutes))

    def _within(self, bout: Bout) -> NDArray[np.bool_]:
        return (self.minutes >= bout.start) & (self.minutes < bout.end)


def _stages(rng: np.random.Generator, start: int, end: int) -> tuple[tuple[str, int, int], ...]:
    """Cycles of about 90 minutes: deep sleep grows shorter with each, REM sleep longer; short times awake between."""
    plan: list[tuple[str, float]] = [("awake", 4 + rng.gamma(2, 4))]
    for cycle in range(12):
        deep, rem = max(32 - 9 * cycle, 0), 8 + 8 * min(cycle, 3)
        lengths = np.array([22, deep, 18, rem, 2]) * rng.lognormal(0, 0.2, 5)
        plan += list(zip(("light", "deep", "light", "rem", "awake"), lengths, strict=True))
    found: list[tuple[str, int, int]] = []
    at = start
    for code, length in plan:
        until = min(at + round(float(length)) * MINUTE, end)
        if until > at:
            found.append((code, at, until))
        at = until
    return tuple(found)


def _minimal_model(appears: Sequence[float] | Series, body: Body) -> Series:
    """Glucose in mg/dL from what appears in blood in g/min; insulin answers what is above the fasting level."""
    basal, volume = body.glucose, 1.6 * body.weight_kg  # dL
    level, action = basal, 0.0
    found = np.empty(len(appears))
    for at, grams in enumerate(appears):
        level += 1000 * 0.9 * float(grams) / volume - 0.015 * (level - basal) - action * level
        action += -0.03 * action + 2.4e-5 * (level - basal)
        action = max(action, -0.002)
        found[at] = level = max(level, 50.0)
    return found
