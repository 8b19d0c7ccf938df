"""Our own CSV: stamps that could be a count of seconds as well."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

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
