"""One day of a synthetic person, minute by minute."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from metapulse.record.clock import DAY, HOUR, MINUTE
from metapulse.sim.fake.life import Life
from metapulse.sim.fake.plan import PHASES, Body, Bout

Series: TypeAlias = NDArray[np.float64]


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
        return np.equal(self.stage, 0)

    @cached_property
    def steps(self) -> Series:
        """By the minute."""
        rng = self.life.rng("steps", self.number)
        up = self.up & (rng.random(len(self.minutes)) < 0.16 * (1 - 0.6 * self.life.illness(self.number)))
        found: Series = np.where(up, rng.gamma(1.6, 10, len(self.minutes)), 0.0)
        for bout in self.bouts:
            within = self._within(bout)
            found[within] = bout.cadence * (1 + 0.03 * rng.standard_normal(int(within.sum())))
        found = np.rint(np.clip(found, 0, 220))
        return found

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
        beats: Series = resting + 4 + circadian + asleep + 1.1 * np.clip(effort, 0, None) * reserve / 12 + waves
        beats = np.clip(beats, 34, life.body.highest)
        return beats

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
