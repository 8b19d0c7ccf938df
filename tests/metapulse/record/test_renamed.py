"""What a vendor takes for something else in a later export, and all that it scores anew."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metapulse.record.nights import nights
from tests.metapulse.record.test_garmin import DAY
from tests.metapulse.record.test_garmin import NIGHT as GARMIN
from tests.metapulse.record.test_oura import NIGHT, READINESS
from tests.metapulse.record.test_outdated import counting, states
from tests.metapulse.record.test_treatments import of_one_name
from tests.metapulse.record.test_whoop import WORKOUTS

SLEEPS = "Cycle start time,Cycle end time,Cycle timezone,Sleep onset,Wake onset,Asleep duration (min),Nap\n"


def whoop(minutes: int, nap: str, wake: str = "14:30:00") -> str:
    """A sleep of an afternoon, as a line."""
    return f"2024-04-03 00:03:04,,UTC+02:00,2024-04-03 14:00:00,2024-04-03 {wake},{minutes},{nap}\n"


@pytest.mark.parametrize("later", ["sleeps-2024-04-25.csv", "sleeps-2024-04-01.csv"])
def test_a_night_is_not_lost_for_a_nap_that_a_later_export_has_beside_it(later: str, tmp_path: Path) -> None:
    """The row that was there already stands in the later file as well, which a record does not know."""
    night, nap = whoop(25, "false"), whoop(20, "true")
    made = states(tmp_path, {"sleeps-2024-04-20.csv": SLEEPS + night}, {later: SLEEPS + nap + night})
    assert counting(made, "sleep_duration") == [("sleep_duration", 20), ("sleep_duration", 25)]


def test_a_night_of_oura_is_not_lost_for_a_nap_of_the_same_time(tmp_path: Path) -> None:
    night = {key: value for key, value in NIGHT.items() if key not in ("sleep_phase_5_min", "heart_rate")}
    nap = {**night, "id": "nap", "type": "late_nap", "total_sleep_duration": 3600}
    texts = [night], [night, nap]
    made = states(tmp_path, *({"sleep.json": json.dumps({"data": each})} for each in texts))
    assert [row for row in counting(made) if row[0] == "sleep_duration"] == [
        ("sleep_duration", 60), ("sleep_duration", NIGHT["total_sleep_duration"] // 60),
    ]  # fmt: skip


@pytest.mark.parametrize("wake", ["14:30:00", "15:30:00"])
def test_a_nap_beside_a_night_counts_too(wake: str, tmp_path: Path) -> None:
    """Where one file has both, or they end at different times."""
    both = SLEEPS + whoop(20, "true") + whoop(25, "false", wake)
    made = states(tmp_path, {"sleeps.csv": both}, {"sleeps.csv": both.replace(",25,", ",26,")})
    assert counting(made, "sleep_duration") == [("sleep_duration", 20), ("sleep_duration", 26)]


def test_a_workout_is_not_lost_for_one_that_was_added_at_its_moment(tmp_path: Path) -> None:
    other = WORKOUTS.splitlines()[1].replace("Running", "Weightlifting").replace(",520,", ",110,") + "\n"
    head, *rest = WORKOUTS.splitlines(keepends=True)
    made = states(tmp_path, WORKOUTS, head + other + "".join(rest))
    assert counting(made, "workout_energy") == [("workout_energy", 110), ("workout_energy", 520)]


def test_two_activities_of_one_moment_count_both(tmp_path: Path) -> None:
    other = WORKOUTS.splitlines()[1].replace("Running", "Activity").replace(",520,", ",100,") + "\n"
    made = states(tmp_path, WORKOUTS + other, WORKOUTS + other.replace(",100,", ",110,"))
    assert counting(made, "workout_energy") == [("workout_energy", 110), ("workout_energy", 520)]


def test_all_of_a_day_that_oura_or_garmin_scored_anew_counts_as_the_later_export_has_it(tmp_path: Path) -> None:
    """Also what is no part of a score: a deviation, a resting heart rate, amounts."""
    later = {**READINESS, "score": 77, "temperature_deviation": 0.1}
    day = {**DAY, "currentDayRestingHeartRate": 50, "totalSteps": 8000}
    made = states(
        tmp_path,
        {"readiness.json": json.dumps({"data": [READINESS]}), "UDSFile.json": json.dumps([DAY])},
        {"readiness.json": json.dumps({"data": [later]}), "UDSFile.json": json.dumps([day])},
    )
    assert counting(made, "readiness_score", "skin_temperature_deviation", "resting_heart_rate", "steps_daily") == [
        ("readiness_score", 77), ("resting_heart_rate", 50), ("skin_temperature_deviation", 0.1), ("steps_daily", 8000),
    ]  # fmt: skip


@pytest.mark.parametrize("first", ["late_nap", "long_sleep", "deleted"])
@pytest.mark.parametrize("files", [("sleep-1.json", "sleep-2.json"), ("sleep.json", "naps.json")])
def test_a_nap_or_night_that_oura_deleted_later_does_not_count(
    first: str, files: tuple[str, str], tmp_path: Path
) -> None:
    """Nor do its stages and samples; one that was restored counts."""
    kinds = (first, "late_nap" if first == "deleted" else "deleted")
    made = states(
        tmp_path,
        *({name: json.dumps([{**NIGHT, "type": kind}])} for name, kind in zip(files, kinds, strict=True)),
    )
    assert len(counting(made)) == (len(made) // 2 if first == "deleted" else 0)
    assert nights(made)["asleep_min"].to_list() == ([10] if first == "deleted" else [])


def test_a_nap_that_became_a_night_of_the_same_id_counts_once(tmp_path: Path) -> None:
    kinds = ("late_nap", "long_sleep")
    made = states(tmp_path, *({"sleep.json": json.dumps([{**NIGHT, "type": kind}])} for kind in kinds))
    assert counting(made, "sleep_duration") == [("sleep_duration", 410)]


def test_of_two_sleeps_of_one_beginning_the_deleted_one_alone_goes(tmp_path: Path) -> None:
    other = {**NIGHT, "id": "s2", "type": "deleted", "bedtime_end": "2024-04-03T08:30:00+02:00"}
    made = states(tmp_path, *({"sleep.json": json.dumps(items)} for items in ([NIGHT], [NIGHT, other])))
    assert counting(made, "sleep_duration") == [("sleep_duration", 410)]


@pytest.mark.parametrize("kind", ["AUTO_CONFIRMED_TENTATIVE", "UNCONFIRMED"])
def test_a_final_night_of_garmins_json_counts_whatever_its_export_is_called(kind: str, tmp_path: Path) -> None:
    doubted = {**GARMIN, "sleepWindowConfirmationType": kind, "remSleepSeconds": 5300}
    made = states(tmp_path, *({"sleep.json": json.dumps([each])} for each in (GARMIN, doubted)))
    assert counting(made, "sleep_rem") == [("sleep_rem", 90)]
    (marks,) = made.filter(metric="sleep_rem", value=5300 / 60)["quality"].to_list()
    assert marks == ["low_confidence", "outdated"]


@pytest.mark.parametrize("before", [None, "OFF_WRIST", "ENHANCED_CONFIRMED_FINAL", "MANUALLY_CONFIRMED", "UNCONFIRMED"])
@pytest.mark.parametrize("kind", ["MANUALLY_CONFIRMED", "ENHANCED_CONFIRMED_FINAL", "OFF_WRIST", None])
def test_a_night_that_a_person_put_right_counts_as_any_final_one_does(
    before: str | None, kind: str | None, tmp_path: Path
) -> None:
    """Of states that are not tentative the later file's counts."""
    first = {**GARMIN, "sleepWindowConfirmationType": before}
    later = {**GARMIN, "sleepWindowConfirmationType": kind, "remSleepSeconds": 5300}
    made = states(tmp_path, *({"sleep.json": json.dumps([each])} for each in (first, later)))
    assert counting(made, "sleep_rem") == [("sleep_rem", 5300 / 60)]


def test_a_date_of_mongoexport_before_all_calendars_is_doubted_alone(tmp_path: Path) -> None:
    bolus = {"_id": {"$oid": "a1"}, "eventType": "Bolus", "insulin": 3, "created_at": "2024-04-03T10:00:00Z"}
    lost = {**bolus, "_id": {"$oid": "a2"}, "created_at": {"$date": {"$numberLong": "-99999999999999"}}}
    made = of_one_name(tmp_path, [lost, bolus])
    doubted = ["time_implausible" in marks for marks in made["quality"].to_list()]
    assert dict(zip(doubted, made["value"].to_list(), strict=True)) == {True: 3.0, False: 3.0}


def test_a_canonical_date_of_mongoexport_is_read(tmp_path: Path) -> None:
    bolus = {"_id": {"$oid": "a1"}, "eventType": "Bolus", "insulin": {"$numberInt": "3"}}
    bolus["created_at"] = {"$date": {"$numberLong": "1712138400000"}}
    made = of_one_name(tmp_path, [bolus])
    assert counting(made) == [("insulin_rapid", 3)]
    assert made["start"].to_list() == [datetime(2024, 4, 3, 10, tzinfo=UTC)]


def test_ids_and_stamps_as_mongoexport_writes_them_are_read(tmp_path: Path) -> None:
    meal = {"eventType": "Meal Bolus", "created_at": {"$date": "2024-04-03T10:00:00Z"}, "insulin": 4.0}
    meal |= {"_id": {"$oid": "65f1a2b3c4d5e6f7a8b9c0d1"}}
    first = {**meal, "srvModified": {"$numberLong": "1712138500000"}}
    later = {**meal, "srvModified": {"$numberLong": "1712140000000"}, "insulin": {"$numberDouble": "3.5"}}
    made = of_one_name(tmp_path, [first], [later])
    assert counting(made) == [("insulin_rapid", 3.5)]
    assert "id 65f1a2b3c4d5e6f7a8b9c0d1 1712138500000000" in made["raw"].to_list()
