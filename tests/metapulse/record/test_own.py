"""Our own CSV: stamps that could be a count of seconds as well, and units that are none."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from metapulse.record.look import look
from metapulse.record.readers.base import Options
from tests.metapulse.record.conftest import Import


@pytest.mark.parametrize(
    ("stamp", "instant"),
    [
        ("202404030801", datetime(2024, 4, 3, 8, 1, tzinfo=UTC)),
        ("20240403080102", datetime(2024, 4, 3, 8, 1, 2, tzinfo=UTC)),
        ("1712131262", datetime(2024, 4, 3, 8, 1, 2, tzinfo=UTC)),
        ("1712131262000", datetime(2024, 4, 3, 8, 1, 2, tzinfo=UTC)),
        ("1712131262000000", datetime(2024, 4, 3, 8, 1, 2, tzinfo=UTC)),
    ],
)
def test_digits_that_are_a_day_and_a_time_are_no_count(stamp: str, instant: datetime, record: Import) -> None:
    frame, _ = record({"own.csv": f"time,metric,value,unit\n{stamp},weight,72,kg\n"}, Options())
    assert frame["start"].to_list() == [instant]


@pytest.mark.parametrize("names", [("a.csv", "b.csv"), ("b.csv", "a.csv")])
def test_a_value_in_a_unit_that_is_not_known_repeats_none(names: tuple[str, str], record: Import) -> None:
    """Nor is it repeated: the number is the same, and what it says is not."""
    rows = ("2024-04-03T08:00Z,glucose,100,furlong", "2024-04-03T08:00Z,glucose,100,mg/dL")
    frame, _ = record(
        {name: f"time,metric,value,unit\n{row}\n" for name, row in zip(names, rows, strict=True)}, Options()
    )
    assert sorted(frame["quality"].to_list()) == [[], ["unit_unknown"]]


def test_a_value_under_a_name_that_stands_twice_is_not_lost(record: Import) -> None:
    """The first is read, and that there is another is noted."""
    frame, tally = record({"own.csv": "time,metric,value,value,unit\n2024-04-03T08:00:00Z,weight,72.5,80,kg\n"})
    assert frame["value"].to_list() == [72.5]
    assert next(iter(tally.files.values())).notes == {"two columns of one name: the first counts": 1}


def test_a_look_says_on_which_side_of_all_calendars_a_time_is(tmp_path: Path) -> None:
    times = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00")
    (tmp_path / "own.csv").write_text("time,metric,value,unit\n" + "".join(f"{time},steps,6,\n" for time in times))
    (found,) = look([tmp_path / "own.csv"]).contents()
    assert (found["from"], found["to"]) == ("before year 1", "after year 9999")
