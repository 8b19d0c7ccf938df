"""A week's plan: small steps towards published ranges, and nothing where there is too little to go by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.personal.plan import GUIDELINES, NO_ADVICE, STEP, WEEKS, target_of, weekly_plan
from metapulse.record.clock import DAY
from metapulse.record.schema import Device, Row
from metapulse.record.store import write_rows
from metapulse.record.tally import FileTally

WATCH = Device("Acme", "Watch 3")


@given(
    guideline=st.sampled_from(GUIDELINES),
    shares=st.lists(st.floats(0.05, 3.0), min_size=WEEKS, max_size=20),
)
def test_a_target_is_a_small_step_and_never_beyond_the_range(guideline, shares):
    weeks = guideline.low * np.array(shares)
    found = target_of(guideline, weeks)
    assert found.low <= found.median <= found.high
    if found.median < guideline.low:
        rounding = 0.5 * guideline.step
        assert found.target <= guideline.low + rounding
        assert found.target - found.median <= max(STEP * found.median, guideline.step) + rounding
        assert found.target >= found.median - rounding
    else:
        assert found.target == min(found.median, guideline.high)


@pytest.mark.parametrize("n", range(WEEKS))
def test_too_few_weeks_have_no_target(n):
    found = target_of(GUIDELINES[0], np.full(n, 100.0))
    assert found.target is None
    assert found.why.startswith("too little data")
    assert "weeks more" in found.changed_by


def test_the_same_weeks_give_the_same_plan():
    weeks = np.array([90.0, 120, 60, 100, 80])
    assert target_of(GUIDELINES[0], weeks) == target_of(GUIDELINES[0], weeks)


def days(n, steps, minutes, hours):
    """A record's rows: steps every day, active minutes every other day, and a night."""
    first = 19_800 * DAY  # a Monday
    for day in range(n):
        at = first + day * DAY
        hour = DAY // 24
        yield Row("steps", at + 9 * hour, float(steps), end=at + 10 * hour, device=WATCH)
        yield Row("sleep_stage", at, end=at + round(hours * hour), code="asleep", device=WATCH)
        if day % 2 == 0:
            yield Row("exercise_minutes", at + 9 * hour, float(minutes), end=at + 10 * hour, device=WATCH)


def test_from_a_record(tmp_path):
    path = tmp_path / "person.parquet"
    rows = [row._replace(row=i) for i, row in enumerate(days(42, 5000, 30, 6.5))]
    write_rows(rows, path, FileTally("test", "test"))
    plan = weekly_plan(path)
    activity, steps, sleep = plan.targets
    assert activity.median == pytest.approx(105.0, rel=0.2)  # 30 min every other day, days without counted as none
    assert activity.target == pytest.approx(120.0, abs=10)
    assert (steps.median, steps.target) == (5000.0, 5500.0)
    assert (sleep.median, sleep.target) == (6.5, 7.0)
    assert plan.lines()[-1] == NO_ADVICE


def test_a_record_of_something_else_has_no_targets(tmp_path):
    path = tmp_path / "person.parquet"
    write_rows([Row("glucose", 19_800 * DAY, 100.0, device=WATCH)], path, FileTally("test", "test"))
    assert [one.target for one in weekly_plan(path).targets] == [None] * 3
