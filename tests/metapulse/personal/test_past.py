"""The old device's history of a recipe of days: what is mapped, by what both devices told of, and from when on."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from metapulse.errors import ConfigError
from metapulse.migration import published
from metapulse.migration.errors_in_time import NO_ERRORS
from metapulse.personal.past import DRAWS, past_device
from metapulse.personal.shared import given_overlap, shared
from metapulse.personal.walk import ALWAYS
from metapulse.record.clock import DAY, HOUR, MINUTE
from metapulse.record.recipes import make_recipe
from metapulse.record.recipes.base import MetricRows

FIRST = 19_800  # a day
SLEEP = make_recipe("sleep_tonight")


def rows(start, end, value, offset=0, code=""):
    start, n = np.asarray(start, np.int64), len(start)
    none = np.zeros(n, bool)
    offsets, codes = np.full(n, offset, np.int64), np.full(n, code, object)
    return MetricRows(start, np.asarray(end, np.int64), offsets, np.asarray(value, float), codes, none, none)


def nights(days, value, offset=0):
    """Sleeps from 23:00 to 7:00 on the person's clock, ending on those days."""
    morning = (FIRST + np.asarray(days)) * DAY + 7 * HOUR - offset
    return rows(morning - 8 * HOUR, morning, value, offset)


def slept(days, seed=0):
    """Minutes asleep in the nights of those days."""
    return np.random.default_rng(seed).normal(420.0, 70.0, 400)[np.asarray(days)]


OLD, NEW = np.arange(60), np.arange(50, 80)  # ten nights with both


def devices(old=OLD, new=NEW, offset=0):
    return {
        "old": {"sleep_duration": nights(old, slept(old) - 30.0, offset)},
        "new": {"sleep_duration": nights(new, slept(new), offset)},
    }


def forecasts(of, recipe=SLEEP):
    time = recipe.questions(of["new"]).time
    return int(time[0]), int(time[-1])


def history(of, recipe=SLEEP, **given):
    return past_device(of, recipe, "new", forecasts(of, recipe), **given)


def test_nights_of_an_old_device_come_along_by_their_map():
    pasts, why = history(devices())
    assert why == ""
    assert {one.device for one in pasts} == {"old"}
    assert pasts[-1].mapped == ("sleep_duration",)
    assert pasts[-1].recorded == ()
    raw = SLEEP.questions(devices()["old"])
    for drawn in pasts[-1].draws:
        n = len(drawn)  # what was told before the first forecast
        assert n > 40
        assert np.array_equal(drawn.time, raw.time[:n])
        assert np.array_equal(drawn.seen, raw.seen[:n])  # wear stays
    (alone,), _ = history(devices(), overlap=False)
    without, level = (np.mean([draw.base.mean() for draw in one.draws]) for one in (alone, pasts[-1]))
    assert abs(level - 420.0) < abs(without - 420.0)  # the overlap tells of the 30 minutes


def test_a_night_that_both_told_of_is_known_when_its_day_is_over():
    """Maps of what was known at the first forecast, of 3 nights, 12, 48, and of all for forecasts to come."""
    for offset in (0, 9 * HOUR):
        of = devices(old=np.arange(110), new=np.arange(50, 120), offset=offset)
        begins, ends = forecasts(of)
        over = [(FIRST + day + 1) * DAY - offset for day in range(50, 110)]
        pasts, _ = history(of)
        assert [one.known_from for one in pasts] == [ALWAYS, over[2], over[11], over[47], ends + 1]
        assert [one.map.card.overlap for one in pasts] == [sum(day <= begins for day in over), 3, 12, 48, 60]
    alone, _ = history(devices(), overlap=False)
    assert [one.map.card.overlap for one in alone] == [0]


def test_an_overlap_before_the_first_forecast_is_known_from_the_beginning():
    (past,), _ = history(devices(old=np.arange(52)))
    assert (past.known_from, past.map.card.overlap) == (ALWAYS, 2)


def test_nights_are_paired_by_the_person_s_date_whatever_the_clock_of_the_file():
    a = SLEEP.series({"sleep_duration": nights(OLD, slept(OLD))})["sleep_duration"]
    b = SLEEP.series({"sleep_duration": nights(NEW, slept(NEW), 14 * HOUR)})["sleep_duration"]
    both = shared(a, b, "sleep_duration")
    assert both.table["old"].to_list() == both.table["new"].to_list() == slept(OLD[50:]).tolist()
    assert both.known.max() == (FIRST + 60) * DAY
    assert shared(a.where(OLD < 50), b, "sleep_duration").table is None


def test_readings_are_known_when_the_later_of_two_is():
    at = FIRST * DAY + np.arange(20) * 15 * MINUTE
    old, new = (rows(t, t, 100.0 + np.arange(20.0)) for t in (at, at + 5 * MINUTE))
    assert shared(old, new, "glucose").known.tolist() == (at + 5 * MINUTE).tolist()


@pytest.mark.parametrize("hour", [-1, 0, 7])  # bedtime, the date, the morning
def test_days_of_a_table_are_known_when_they_are_over(hour):
    offset = 2 * HOUR
    days = SLEEP.series(devices(offset=offset)["old"])["sleep_duration"]
    time = pl.Series((FIRST + np.arange(50, 53)) * DAY + hour * HOUR - offset).cast(pl.Datetime("us", "UTC"))
    table = pl.DataFrame({"time": time, "old": [400.0, 410.0, 420.0], "new": [430.0, 440.0, 450.0]})
    over = (FIRST + 53 + (hour > 0)) * DAY - offset  # of a morning it may be the day after
    assert given_overlap(table, "sleep_duration", days).known.max() == over
    pasts, _ = history(devices(offset=offset), overlap=table)
    assert pasts[-1].map.card.overlap == 3


def test_a_mapped_history_has_the_map_s_errors_put_back():
    (without,), _ = history(devices(), overlap=False)
    assert len(without.draws) == DRAWS
    spread = np.std([draw.base for draw in without.draws], axis=0)
    error = 18.0 * 2**0.5  # as published, of a night
    assert 0.5 * error / 7**0.5 < spread.mean() < 1.5 * error / 7**0.5
    assert published("glucose").errors is NO_ERRORS  # readings minutes apart err alike, and how is not known
    mean = np.mean([draw.base.std() for draw in without.draws])
    assert mean > SLEEP.questions(devices()["old"]).base.std() * 0.85


def test_a_refused_map_stays_refused():
    prior = replace(published("sleep_duration"), card=replace(published("sleep_duration").card, refused="no use"))
    assert history(devices(), maps=prior) == ((), "history of old is not used: no use")
    steady = {name: {"sleep_duration": replace(one["sleep_duration"], value=np.full(len(one["sleep_duration"]), 400.0))}
              for name, one in devices().items()}  # fmt: skip
    pasts, why = history(steady, overlap=False)
    assert pasts == ()
    assert "too uncertain" in why
    bare = devices()
    bare["old"] = {"heart_rate": rows([FIRST * DAY], [FIRST * DAY], [70.0])}
    assert history(bare)[1] == "history of old is not used: it tells nothing from before new"
    lowest = make_recipe({"name": "resting_heart_rate_tomorrow", "of": "lowest"})
    pulse = {name: {"heart_rate": rows(t, t, np.full(len(t), 60.0))} for name, t in (
        ("old", FIRST * DAY + np.arange(500) * HOUR), ("new", (FIRST + 30) * DAY + np.arange(500) * HOUR)
    )}  # fmt: skip
    assert "no prior over maps of heart_rate is published" in history(pulse, lowest)[1]


def test_a_map_of_something_else_than_what_is_forecast_is_refused():
    with pytest.raises(ConfigError, match=r"maps = .glucose.: must be of sleep_duration"):
        history(devices(), maps=published("glucose"))
    walk = make_recipe("steps_tomorrow")
    totals = replace(published("steps_daily"), card=replace(published("steps_daily").card, metric="steps"))
    of = {name: {"steps_daily": one["sleep_duration"]} for name, one in devices().items()}
    assert (
        "must be" not in past_device(of, walk, "new", (60 * DAY + FIRST * DAY,) * 2, maps=totals)[1]
    )  # days' totals of steps are that too


def test_inputs_are_mapped_where_agreement_is_published_and_else_as_recorded():
    recipe = make_recipe("resting_heart_rate_tomorrow")
    of = devices()
    for name, days in (("old", OLD), ("new", NEW)):
        midnight = (FIRST + days) * DAY
        of[name]["resting_heart_rate"] = rows(midnight, midnight + DAY, 58.0 + 8.0 * np.sin(slept(days)))
        hours = np.concatenate([midnight + hour * HOUR for hour in range(8)])
        of[name]["heart_rate"] = rows(np.sort(hours), np.sort(hours), np.full(len(hours), 70.0))
    pasts, why = history(of, recipe)
    assert why == ""
    assert pasts[-1].mapped == ("resting_heart_rate", "sleep_duration")
    assert pasts[-1].recorded == ("heart_rate",)
    assert pasts[-1].map.card.metric == "resting_heart_rate"
    raw, names = recipe.questions(of["old"]), recipe.task.names
    sleep, pulse, worn = (names.index(name) for name in ("sleep", "heart_rate", "sleep_known"))
    for one in pasts[-1].draws:
        x = raw.x[: len(one)]
        assert np.array_equal(one.x[:, pulse], x[:, pulse])
        assert np.array_equal(one.x[:, worn], x[:, worn])
        assert not np.allclose(one.x[:, sleep], x[:, sleep])


def test_an_input_whose_map_is_refused_is_taken_as_recorded():
    recipe = make_recipe("resting_heart_rate_tomorrow")
    of = devices()
    of["old"]["sleep_duration"] = nights(OLD, np.full(60, 400.0))  # no spread to map
    for name, days in (("old", OLD), ("new", NEW)):
        midnight = (FIRST + days) * DAY
        of[name]["resting_heart_rate"] = rows(midnight, midnight + DAY, 58.0 + 8.0 * np.sin(slept(days)))
    (past,), why = history(of, recipe, overlap=False)
    assert why == ""
    assert (past.mapped, past.recorded) == (("resting_heart_rate",), ("sleep_duration",))


def test_steps_of_minutes_come_along_by_a_map_of_days_and_a_day_worn_too_little_pairs_with_none():
    recipe = make_recipe("steps_tomorrow")

    def walked(days, steps, short=-1):
        """Steps of twelve hours of each day, of two on the short one."""
        hours = [(day, hour) for day in days for hour in range(8, 10 if day == short else 20)]
        start = np.array([(FIRST + day) * DAY + hour * HOUR for day, hour in hours])
        return {"steps": rows(start, start + MINUTE, [steps[day] for day, _ in hours])}

    steps = np.random.default_rng(5).uniform(100.0, 1400.0, 90)
    of = {"old": walked(range(60), 0.8 * steps), "new": walked(range(50, 90), steps, short=50)}
    pasts, why = history(of, recipe)
    assert why == ""
    assert pasts[-1].mapped == ("steps_daily",)
    assert pasts[-1].map.card.overlap == 9
    raw = recipe.questions(of["old"])
    for drawn in pasts[-1].draws:
        assert np.array_equal(drawn.seen, raw.seen[: len(drawn)])
    level = np.mean([draw.base.mean() for draw in pasts[-1].draws])
    assert abs(level / raw.base.mean() - 1.25) < 0.1
