"""Export files with traps: every case whose format has a reader gives the records that its expectation says.

The cases lie beside the data (METAPULSE_DATA/../cases/record); they are read there and not copied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl
import pytest

from metapulse.record.clock import zone
from metapulse.record.readers import readers
from metapulse.record.readers.base import Options
from metapulse.record.store import import_files
from metapulse.record.tally import Tally
from tests.metapulse.record.case_facts import held, must_not

#: Format of a case → the reader that reads it. A line here, and the cases of the format run.
FORMATS = {
    "apple_health": "apple",
    "fitbit_csv": "fitbit_csv",
    "fitbit_takeout": "fitbit",
    "libreview": "libre",
    "nightscout": "nightscout",
    "carelink": "carelink",
    "medtronic_carelink": "carelink",
    "dexcom_clarity": "dexcom",
    "fhir_r4": "fhir",
    "garmin_fit": "fit",
    "google_fit_takeout": "googlefit",
    "health_connect": "healthconnect",
    "hl7v2_oru": "hl7",
    "open_mhealth": "openmhealth",
    "oura_v2": "oura",
    "samsung_health": "samsung",
    "whoop_csv": "whoop",
    "withings_csv": "withings",
}
#: A case's metric → ours, where they differ.
NAMES = {"steps": ("steps", "steps_daily")}
#: Marks of ours with which a value is none to be used.
UNUSED = {"duplicate_of", "superseded"}
#: A case's mark → ours, where they differ.
MARKS = {"time_implausible": ("time_implausible", "clock_corrected")}

Case: TypeAlias = tuple[dict[str, Any], Tally, pl.DataFrame, Path]


def folder() -> Path | None:
    """Where the cases are; None if they are not on this machine."""
    import os

    data = os.environ.get("METAPULSE_DATA")
    found = Path(data).parent / "cases" / "record" if data else None
    return found if found and found.is_dir() else None


def cases() -> list[str]:
    """Every case of a format that has a reader; one name that skips where there are none."""
    if (here := folder()) is None:
        return ["none"]
    names = {reader.name for reader in readers()}
    formats = {
        path: json.loads(path.read_text(encoding="utf-8"))["format"] for path in sorted(here.glob("*/expect.json"))
    }
    return [path.parent.name for path, format in formats.items() if FORMATS.get(format) in names]


@pytest.fixture(params=cases(), scope="module")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Expectation, account and record of a case, and its file: read once for all tests, which change none of them."""
    if (here := folder()) is None:
        pytest.skip("cases: set METAPULSE_DATA to a folder beside which lies cases/record")
    out = tmp_path_factory.mktemp("case") / "person.parquet"
    return *imported(here / request.param, out), out


def imported(place: Path, out: Path) -> tuple[dict[str, Any], Tally, pl.DataFrame]:
    expected = json.loads((place / "expect.json").read_text(encoding="utf-8"))
    told = expected["options"]
    options = Options(zone(told["timezone"]) if "timezone" in told else None, told.get("date_order", ""))
    inputs = [path for path in sorted(place.iterdir()) if path.name != "expect.json"]
    tally = import_files(inputs, out, options)
    return expected, tally, pl.read_parquet(out)


def used(record: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows that are values to be used."""
    return [row for row in record.iter_rows(named=True) if UNUSED.isdisjoint(row["quality"])]


def meets(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a row of ours is a record that was expected."""
    names = NAMES.get(wanted["metric"], (wanted["metric"],))
    return (
        row["metric"] in names
        and same_time(row, wanted)
        and same_value(row, wanted)
        and (wanted["offset_min"] is None or row["offset_min"] == wanted["offset_min"])
        and set(named(wanted)) <= set((row["device"] or {}).values())
        and all(set(row["quality"]) & set(MARKS.get(mark, (mark,))) for mark in wanted["quality"])
    )


def named(wanted: Mapping[str, Any]) -> list[str]:
    """Words that the device has to say of itself."""
    return [wanted[key] for key in ("device", "source", "transmitter", "device_serial") if wanted.get(key)]


def same_time(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    if wanted.get("day"):  # the person's day
        local = row["start"] + timedelta(minutes=row["offset_min"] or 0)
        return "date_only" in row["quality"] and local.date().isoformat() == wanted["t0"]
    close = timedelta(seconds=1)
    if abs(row["start"] - instant(wanted["t0"])) > close:
        return False
    if wanted["t1"] is None or row["end"] is None:
        return wanted["t1"] is row["end"] is None
    return bool(abs(row["end"] - instant(wanted["t1"])) <= close)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def same_value(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    if isinstance(wanted["value"], str):
        return row["code"] == wanted["value"]
    if wanted["value"] is None or row["value"] is None:
        return wanted["value"] is row["value"]
    return row["unit"] == wanted["unit"] and row["value"] == pytest.approx(wanted["value"], rel=2e-3)


def test_expected_records_are_there(case: Case) -> None:
    expected, _, record, _ = case
    left = used(record)
    for wanted in expected["records"]:
        found = next((row for row in left if meets(row, wanted)), None)
        assert found is not None, f"no record for {wanted} among {[r for r in left if r['metric'] == wanted['metric']]}"
        left.remove(found)
    if not expected["other_records_allowed"]:
        assert not left


def test_every_row_is_in_the_record_or_counted_away(case: Case) -> None:
    _, tally, record, _ = case
    for file in tally.files.values():
        assert not file.unexplained, file
        assert file.given == file.kept + file.away.total()
    assert tally.records == len(record)


def test_summaries_hold(case: Case) -> None:
    expected, _, record, _ = case
    assert held(expected["summary"], record) == []


def test_what_must_not_be_is_not(case: Case) -> None:
    expected, _, record, _ = case
    assert [text for text in expected["must_not"] if must_not(text)(record)] == []


def test_reading_again_changes_nothing(case: Case, tmp_path: Path) -> None:
    """Not a byte: neither the record alone, nor the record with what it was made of."""
    expected, _, _, first = case
    out, here = tmp_path / "person.parquet", folder()
    out.write_bytes(first.read_bytes())
    assert here is not None
    imported(here / expected["case"], out)
    assert out.read_bytes() == first.read_bytes()
