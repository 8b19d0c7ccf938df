"""Exports as their vendors write them, where the law alone does not show it: bytes, lists, order, escapes."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import fitdecode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.record.clock import HOUR, MINUTE, US
from metapulse.record.schema import Device, Row
from metapulse.sim.fake.formats import formats
from metapulse.sim.fake.formats.base import Making
from metapulse.sim.fake.formats.items import chained, gathered
from tests.sim.fake.test_formats import assert_same, expected, read_back

NIGHT = 1729983600 * US  # 2024-10-27 01:00 in Berlin: clocks go back two hours later
FIVE = 5 * MINUTE


def texts_of(name: str, rows: Sequence[Row], folder: Path, traps: bool = False) -> dict[str, bytes]:
    """The files that a format writes, by name."""
    folder.mkdir()
    formats()[name].write(rows, Making(folder, "Europe/Berlin", traps))
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def readings(metric: str, count: int, step: int = FIVE, **facts: object) -> list[Row]:
    return [Row(metric, NIGHT + at * step, 100.0 + at, offset_min=120)._replace(**facts) for at in range(count)]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2))))
def test_items_hold_every_row_once_and_no_name_twice(pairs: list[tuple[int, int]]) -> None:
    rows = [Row("steps", key, float(name), row=at) for at, (key, name) in enumerate(pairs)]
    items = gathered(rows, lambda row: row.start, lambda row: row.value)
    assert sorted(row.row for item in items for row in item.values()) == list(range(len(rows)))
    assert all(len({row.start for row in item.values()}) == 1 for item in items)
    fullest = max((pairs.count(pair) for pair in pairs), default=0)
    assert fullest <= len(items) <= len({key for key, _ in pairs}) * max(fullest, 1)


def test_chains_end_where_the_next_row_does_not_begin() -> None:
    rows = [Row("steps", at * 10, 1.0, end=at * 10 + 10) for at in (0, 1, 3, 4, 5)]
    chains = chained(rows, lambda row: row.start, lambda row: row.end)
    assert [[row.start for row in chain] for chain in chains] == [[0, 10], [30, 40, 50]]


def test_clarity_has_each_local_time_of_the_hour_that_exists_twice_twice(tmp_path: Path) -> None:
    (data,) = texts_of("dexcom", readings("glucose", 48), tmp_path / "x").values()
    lines = list(csv.reader(io.StringIO(data.decode())))
    stamps = [line[1] for line in lines if line[2] == "EGV" and line[7]]
    assert stamps.count("2024-10-27T02:30:00") == 2
    seconds = [int(line[12]) for line in lines if line[2] == "EGV"]
    assert seconds == [0, *range(7200, 7200 + 48 * 300, 300)]


def test_carelink_leads_over_that_hour_and_over_no_other(tmp_path: Path) -> None:
    (data,) = texts_of("carelink", readings("glucose", 48), tmp_path / "x").values()
    (summer,) = texts_of("carelink", readings("glucose", 48, start=NIGHT - 90 * 24 * HOUR), tmp_path / "y").values()
    assert data.count(b"23.90") > 20
    assert summer.count(b"23.90") == 0


def test_withings_lists_are_of_what_follows_one_another(tmp_path: Path) -> None:
    minutes = [row._replace(end=row.start + MINUTE) for row in readings("steps", 4, MINUTE) if row.value != 102]
    (data,) = texts_of("withings", minutes, tmp_path / "x").values()
    assert data.decode().splitlines()[1:] == [
        '2024-10-27T01:00:00+02:00,"[60,60]","[100,101]"',
        "2024-10-27T01:03:00+02:00,[60],[103]",
    ]


def test_oura_keeps_the_place_of_what_is_missing(tmp_path: Path) -> None:
    samples = [row for row in readings("hrv_rmssd", 4) if row.value != 101]
    assert b'"items":[100,null,102,103]' in texts_of("oura", samples, tmp_path / "x")["sleep.json"]


def test_fit_is_read_by_another_program_with_its_crc(tmp_path: Path) -> None:
    (data,) = texts_of("fit", readings("heart_rate", 3, device=Device(unit="77")), tmp_path / "x").values()
    with fitdecode.FitReader(io.BytesIO(data), check_crc=fitdecode.CrcCheck.RAISE) as frames:
        found = [frame for frame in frames if frame.frame_type == fitdecode.FIT_FRAME_DATA]
    assert [frame.get_value("heart_rate") for frame in found if frame.name == "monitoring"] == [100, 101, 102]
    assert found[0].get_value("serial_number") == 77
    assert found[1].get_raw_value("local_timestamp") - found[1].get_raw_value("timestamp") == 7200


@pytest.mark.parametrize("name", ["carelink", "dexcom", "hl7", "libre", "nightscout", "tidepool"])
@pytest.mark.parametrize("traps", [False, True])
def test_limits_and_errors_of_sensors_stay_what_they_are(name: str, traps: bool) -> None:
    """Nightscout alone has no mark for a limit, but a number."""
    values = (20.0, 38.4, 38.6, 39.4, 39.6, 40.4, 399.6, 400.4, 400.6, 401.4, 500.4, 500.6, 550.0)
    rows = [row._replace(value=value) for row, value in zip(readings("glucose", 13), values, strict=True)]
    marks = ("censored_low", "censored_high", "sensor_error")
    rows += [Row("glucose", NIGHT + at * FIVE + MINUTE, 100.0 + at, quality=(mark,)) for at, mark in enumerate(marks)]
    rows[-1] = rows[-1]._replace(value=None)
    wanted = expected(formats()[name], rows)
    found = set(wanted["quality"].explode().drop_nulls())
    assert_same(read_back(formats()[name], rows, traps), wanted)
    assert {"censored_low", "censored_high"} <= found or name == "nightscout"
    assert "sensor_error" in found or name not in ("nightscout", "carelink")


def test_hl7_escapes_what_separates(tmp_path: Path) -> None:
    (data,) = texts_of("hl7", readings("heart_rate", 1, device=Device(unit="A|B^C~D&E\\F")), tmp_path / "x").values()
    assert rb"A\F\B\S\C\R\D\T\E\E\F" in data


@pytest.mark.parametrize("name", sorted(formats()))
def test_traps_change_the_files_and_the_same_call_writes_the_same_bytes(name: str, tmp_path: Path) -> None:
    format = formats()[name]
    rows = [Row(metric, NIGHT + at * HOUR, 30.0, end=NIGHT + (at + 8) * HOUR, offset_min=120)
            for at, metric in enumerate(sorted(format.metrics))]  # fmt: skip
    rows += [row._replace(end=None) for row in rows]
    plain, again, trapped = (texts_of(name, rows, tmp_path / at, at == "c") for at in "abc")
    assert plain
    assert plain == again
    assert set(plain.values()) != set(trapped.values())
