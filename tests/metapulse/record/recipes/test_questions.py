"""What a recipe asks: the windows it learns from, and those whose outcome has still to come; nothing of later times."""

import numpy as np
import pytest

from metapulse.errors import ConfigError
from metapulse.record.clock import DAY, HOUR, MINUTE
from metapulse.record.recipes import make_recipe
from metapulse.record.schema import Row
from tests.metapulse.record.recipes.taking import DAY_0, WATCH, rows_of, samples

SHORT = {"name": "glucose_30min", "history_min": 60}


def asked(rows, recipe):
    return make_recipe(recipe).questions(rows_of(rows, recipe))


def glucose(minutes, values):
    return [Row("glucose", DAY_0 + m * MINUTE, v, device=WATCH) for m, v in zip(minutes, values, strict=True)]


def series(n, seed=0, every=5):
    values = 120 + 5 * np.cumsum(np.random.default_rng(seed).normal(size=n))
    return list(range(0, every * n, every)), np.clip(values, 45, 400).round(1).tolist()


def test_windows_of_one_day_are_those_that_are_learned_from():
    rows = glucose(*series(60))
    taken, found = samples(rows, SHORT), asked(rows, SHORT)
    known = ~np.isnan(found.y)
    assert np.array_equal(found.x[known], taken.x)
    assert np.allclose(found.y[known], taken.y[:, 0], atol=1e-6)
    assert (~known).sum() == 6  # the last half hour
    assert np.array_equal(found.due[~known], found.time[~known] + 30 * MINUTE)


def test_windows_go_on_over_midnight_and_stop_at_a_silence():
    minutes, values = series(60)
    late = asked(glucose([m + 1300 for m in minutes], values), SHORT)
    assert len(late) == 60 - 11
    apart = asked(glucose([m + 25 * (m >= 150) for m in minutes], values), SHORT)
    assert len(apart) == 2 * (30 - 11)
    before = apart.time < DAY_0 + 150 * MINUTE
    assert np.isnan(apart.y[before]).sum() == 6  # what came after the silence settles nothing before it


def test_no_input_knows_a_later_reading_and_due_is_the_reading_that_settles():
    minutes, values = series(40, every=7)  # no grid: the outcome lies between two readings
    found = asked(glucose(minutes, values), SHORT)
    moment = found.time[10]
    other = [v if DAY_0 + m * MINUTE <= moment else 300.0 for m, v in zip(minutes, values, strict=True)]
    again = asked(glucose(minutes, other), SHORT)
    assert np.array_equal(found.x[:11], again.x[:11])
    settled = found.due <= moment
    assert np.array_equal(found.y[settled], again.y[settled])
    assert set(found.due[~np.isnan(found.y)]) <= {DAY_0 + m * MINUTE for m in minutes}


def test_what_was_measured_of_a_window():
    minutes, values = series(60)
    whole = asked(glucose(minutes, values), SHORT)
    assert (whole.seen == 1.0).all()
    kept = [i for i in range(60) if not 20 <= i < 40 or i % 4 == 0]
    thin = asked(glucose([minutes[i] for i in kept], [values[i] for i in kept]), SHORT)
    assert thin.seen.min() < 0.5


def test_what_was_measured_is_judged_by_the_readings_until_then():
    slow, values = series(40, every=15)
    quick = list(range(slow[-1] + 5, slow[-1] + 1000, 5))
    minutes = [*slow, *quick]
    found = asked(glucose(minutes, [*values, *series(len(quick))[1]]), SHORT)
    alone = asked(glucose(slow, values), SHORT)
    assert np.array_equal(found.seen[: len(alone)], alone.seen)
    assert (found.seen == 1.0).all()


def test_no_rows_ask_nothing_and_say_what_is_lacking():
    found = asked(glucose(*series(5)), SHORT)
    assert len(found) == 0
    assert found.lacks == "5 readings, never 55 min unbroken"


def days(n, seed=0):
    rng = np.random.default_rng(seed)
    for day in range(n):
        at = DAY_0 + day * DAY
        for hour in range(8, 20):
            yield Row(
                "steps", at + hour * HOUR, float(rng.integers(300, 900)), end=at + (hour + 1) * HOUR, device=WATCH
            )


def test_days_that_are_asked_are_those_learned_from_and_tomorrow():
    rows = list(days(20))
    taken, found = samples(rows, "steps_tomorrow"), asked(rows, "steps_tomorrow")
    known = ~np.isnan(found.y)
    assert np.array_equal(found.x[known], taken.x)
    assert np.allclose(found.y[known], taken.y[:, 0], atol=1e-6)
    assert np.array_equal(found.time[known], (taken.time * MINUTE).astype(np.int64))
    assert (~known).tolist() == [False] * (len(found) - 1) + [True]
    assert found.time[-1] == DAY_0 + 20 * DAY
    total = sum(row.value for row in rows[-12:])
    assert found.value(found.y)[-2] == pytest.approx(total)


def test_tomorrow_s_inputs_know_no_later_day():
    rows = list(days(20))
    found = asked(rows, "steps_tomorrow")
    other = [row._replace(value=row.value + 500) if row.start >= DAY_0 + 12 * DAY else row for row in rows]
    again = asked(other, "steps_tomorrow")
    earlier = found.time <= DAY_0 + 12 * DAY
    assert earlier.sum() > 5
    assert np.array_equal(found.x[earlier], again.x[earlier])


def test_a_recipe_of_classes_forecasts_no_number():
    with pytest.raises(ConfigError, match="forecasts no number"):
        make_recipe("sleep_wake").questions({})
