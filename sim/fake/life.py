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

from datetime import date
from functools import cached_property, lru_cache

import numpy as np

from metapulse.record.clock import DAY, EPOCH, HOUR, MINUTE, Clock, zone
from metapulse.rng import generator
from metapulse.sim.fake.plan import Body, Bout, Meal, Night, sleep_cycles
from metapulse.sim.sources.wearables.activities import NAMES, column

FIRST = date(2024, 1, 22).toordinal() - EPOCH  # a Monday; clocks go forward in March
BEFORE = 7  # days before the first that are drawn too
BLOCK = 45  # days with one illness
TRAVEL, AWAY = (50, 7), ("Asia/Tokyo", "Europe/London")  # day of departure and days away, of each 90
STRIDE = float(column("frequency_hz")[NAMES.index("walking")])  # Hz


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
        return Night(start, end, sleep_cycles(rng, start, end))

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
