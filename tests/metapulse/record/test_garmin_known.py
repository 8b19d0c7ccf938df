"""Garmin Connect: a file alone, without its folder, is known by what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metapulse.errors import DataError
from metapulse.record.store import import_files
from tests.metapulse.record.test_garmin import record_of, values


def test_a_file_of_one_series_or_of_stages_alone_is_known(tmp_path: Path) -> None:
    stage = {"startGMT": "2024-04-02T21:10:00.0", "endGMT": "2024-04-02T21:40:00.0", "activityLevel": 1.0}
    _, saturation = record_of(tmp_path, [{"spO2SingleValues": [[1712124000000, 96]]}], "a.json")
    _, stages = record_of(tmp_path, [{"sleepLevels": [stage]}], "b.json")
    assert values(saturation, "spo2") == [96]
    assert stages["code"].to_list() == ["light"]


@pytest.mark.parametrize(
    "told",
    [
        {"totalSteps": 8123},
        {"userProfilePK": 1, "uuid": "a", "durationInMilliseconds": 86400000, "totalKilocalories": 2100.0},
        {"restingHeartRate": 51, "currentDayRestingHeartRate": 50},
        {"allDayStress": {"aggregatorList": [{"type": "TOTAL", "averageStressLevel": 31}]}},
        {"bodyBattery": {"bodyBatteryStatList": [{"bodyBatteryStatType": "HIGHEST", "statsValue": 90}]}},
        {"respiration": {"avgWakingRespirationValue": 14.0}},
    ],
)
@pytest.mark.parametrize("date", ["2024-04-03", {"date": "2024-04-03"}])
def test_a_file_of_days_is_known_by_what_is_in_it(date: Any, told: dict[str, Any], tmp_path: Path) -> None:
    """A device without a pulse, or a day on which it lay there, tells few of the values."""
    tally, record = record_of(tmp_path, [{"calendarDate": date, **told}], "days.json")
    assert tally.format == "garmin"
    assert len(record) == 1


def test_a_date_alone_is_no_day_of_garmin(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('[{"calendarDate": "2024-04-03", "title": "Dentist"}]')
    with pytest.raises(DataError, match="no reader knows it"):
        import_files([tmp_path / "plan.json"], tmp_path / "person.parquet")
