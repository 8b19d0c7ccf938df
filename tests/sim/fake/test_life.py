"""A synthetic person: days that do not depend on how many are asked for, within what people are like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metapulse.errors import ConfigError, RunError
from metapulse.record.clock import HOUR, MINUTE
from metapulse.sim.fake.day import Day
from metapulse.sim.fake.exports import fake_exports, reading_lines
from metapulse.sim.fake.formats import formats
from metapulse.sim.fake.kits import WORN
from metapulse.sim.fake.life import Life
from metapulse.sim.fake.wear import worn_rows

SPRING = 69  # the day on which clocks go forward in Berlin


def test_a_day_is_the_same_whatever_was_asked_before() -> None:
    one, other = Life(5), Life(5)
    list(worn_rows(one, formats()["apple"], range(38, 41)))
    (first,) = worn_rows(one, formats()["apple"], [40])
    (second,) = worn_rows(other, formats()["apple"], [40])
    assert first == second
    assert first != next(worn_rows(Life(6), formats()["apple"], [40]))


def test_days_follow_one_another_and_have_the_clocks_length() -> None:
    life = Life(1)
    days = [Day(life, number) for number in range(SPRING - 2, SPRING + 2)]
    assert [day.end for day in days[:-1]] == [day.start for day in days[1:]]
    assert [len(day.minutes) for day in days] == [1440, 1440, 1380, 1440]
    assert [day.offset(day.end - MINUTE) for day in days] == [60, 60, 120, 120]


def test_a_night_is_whole_and_lies_between_its_days() -> None:
    life = Life(2)
    for number in range(40, 60):
        night, before, after = life.night(number), Day(life, number - 1), Day(life, number)
        assert [end for _, _, end in night.stages[:-1]] == [start for _, start, _ in night.stages[1:]]
        assert (night.stages[0][1], night.stages[-1][2]) == (night.start, night.end)
        assert 3 * HOUR <= night.end - night.start <= 13 * HOUR
        assert all(bout.end <= night.start for bout in before.bouts)
        assert all(bout.start >= night.end for bout in after.bouts)


def test_what_a_day_does_to_heart_and_glucose() -> None:
    """Higher in a workout than in sleep, higher in illness than before; glucose rises after meals and comes back."""
    life = Life(4)
    ill = [number for number in range(45) if life.illness(number) > 0.9]
    assert ill
    assert 5 < life.resting(ill[0]) - np.mean([life.resting(ill[0] - lag) for lag in range(3, 8)]) < 14
    assert life.hrv(ill[0]) < np.mean([life.hrv(ill[0] - lag) for lag in range(3, 8)])
    day = next(day for day in (Day(life, n) for n in range(7)) if any(bout.workout for bout in day.bouts))
    bout = next(bout for bout in day.bouts if bout.workout)
    during = day.heart[(day.minutes >= bout.start + 10 * MINUTE) & (day.minutes < bout.end)]
    assert during.min() > day.heart[day.stage == 3].max() + 15
    meal = day.meals[0]
    after = day.glucose[(day.minutes >= meal.at) & (day.minutes < meal.at + 2 * HOUR)]
    assert after.max() > after[0] + 15
    assert abs(day.glucose[0] - life.body.glucose) < 10
    assert 50 <= day.glucose.min() <= day.glucose.max() < 250


def test_a_week_abroad_and_a_time_of_training() -> None:
    life = Life(3)
    away = [number for number in range(90) if life.clock(number) is life.away]
    assert away == list(range(away[0], away[0] + 7))
    assert Day(life, away[3]).offset(Day(life, away[3]).start) == 540
    assert life.resting(0) - 6 < np.mean([life.resting(n) for n in range(60, 90)]) < life.resting(0)


def test_two_devices_see_one_life_and_differ() -> None:
    life = Life(1)
    numbers = [next(worn_rows(life, formats()[name], [3])) for name in ("apple", "garmin")]
    means = [np.mean([row.value for row in rows if row.metric == "heart_rate"]) for rows in numbers]
    assert means[0] != means[1]
    assert abs(means[0] - means[1]) < 5
    nights = [[row[1] for row in rows if row.metric == "sleep_stage"] for rows in numbers]
    assert nights[0] == nights[1] != []
    watch = sorted(row.start for row in numbers[0] if row.metric == "heart_rate")
    assert np.diff(watch).max() > 30 * MINUTE  # on its charger


def test_what_is_worn_is_of_formats_that_there_may_be() -> None:
    assert all(kit.sees for kits in WORN.values() for kit in kits)


def test_the_same_call_writes_the_same_bytes_and_never_twice_to_one_place(tmp_path: Path) -> None:
    names = ["apple", "garmin"]
    told: list[tuple[str, int, int]] = []
    for folder in ("a", "b"):
        fake_exports(names, 2, tmp_path / folder, seed=1, progress=lambda *step: told.append(step))
    files = [
        {p.relative_to(tmp_path / f): p.read_bytes() for p in (tmp_path / f).rglob("*") if p.is_file()} for f in "ab"
    ]
    assert files[0] == files[1] != {}
    assert told[3] == ("garmin", 4, 4)
    with pytest.raises(RunError, match="is there already"):
        fake_exports(["apple"], 2, tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names


def test_what_is_refused_is_named(tmp_path: Path) -> None:
    wrong = (("appel", 1, 0, "UTC"), ("apple", 0, 0, "UTC"), ("apple", 1, -1, "UTC"), ("apple", 1, 0, "Mars"))
    with pytest.raises(ConfigError, match="some of apple"):
        fake_exports([], 1, tmp_path / "x")
    for name, days, seed, zone in wrong:
        with pytest.raises(ConfigError):
            fake_exports([name], days, tmp_path / "x", seed, zone)
    assert not (tmp_path / "x").exists()


def test_orders_of_dates_that_differ_are_read_in_two_calls() -> None:
    lines = reading_lines(["apple", "fitbit_csv", "garmin"], Path("fake"), "Europe/Berlin")
    assert lines == [
        "metapulse record import fake/apple fake/garmin --timezone Europe/Berlin",
        "metapulse record import fake/fitbit_csv --timezone Europe/Berlin --date-order dmy",
    ]
