"""A record's history in the new device's space: beside the raw rows, out again to the byte, never counted unasked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from metapulse.errors import ConfigError, DataError
from metapulse.migration.base import Map, MapCard, Mapped
from metapulse.migration.history import map_record, unmap_record
from metapulse.migration.overlap import pairs_of
from metapulse.migration.published import PUBLISHED
from metapulse.record import import_files, merge_records, metadata
from metapulse.record.clock_correct import correct_clock
from metapulse.record.daily import by_minute, daily_totals, daily_totals_by_source
from metapulse.record.frame import load_record, without
from metapulse.record.look import look
from metapulse.record.mapped import as_new_device, mapped_rows
from metapulse.record.nights import nights
from metapulse.record.recipes import make_recipe, take_record
from metapulse.record.schema import DERIVED, MAPPED, Device, Row
from metapulse.record.store import write_rows
from metapulse.record.tally import FileTally
from metapulse.record.writers import export_record
from metapulse.sim.cli import main

T0 = int(datetime(2024, 4, 1, tzinfo=UTC).timestamp()) * 1_000_000
MINUTE = 60_000_000
OLD, NEW = Device("Abbott", "Libre 2"), Device("Dexcom", "G7")


class Line(Map):
    """a·old + b, with a band; refuses what is above a limit."""

    kind = "test_line"

    def __init__(self, slope: float = 0.9, offset: float = 10.0, limit: float = 1e9) -> None:
        self.slope, self.offset, self.limit = slope, offset, limit
        self.card = MapCard("test_line", people=3, overlap=5)

    def at(self, time_us: np.ndarray, old: np.ndarray) -> Mapped:
        value = np.where(old > self.limit, np.nan, self.slope * old + self.offset)
        return Mapped(value, value - 7.0, value + 7.0)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"slope": self.slope, "offset": self.offset, "limit": self.limit}, {}

    @classmethod
    def from_state(cls, card: MapCard, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Line:
        return cls(**values)


def saved(path: Path, rows: list[Row]) -> Path:
    numbered = [row._replace(row=i) for i, row in enumerate(rows, 1)]
    write_rows(numbered, path.with_suffix(".raw"), FileTally("a.csv", "own"))
    import_files([path.with_suffix(".raw")], path)
    return path


def glucose(minute: float, value: float, device: Device = OLD, **more: Any) -> Row:
    return Row("glucose", T0 + int(minute * MINUTE), value, offset_min=0, device=device, **more)


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of one sensor, every 15 minutes, and the other from day 2 on, every 5 minutes, 20 mg/dL above."""
    level = 120 + 40 * np.sin(np.arange(3 * 288) / 23)
    rows = [glucose(15 * i, round(level[3 * i], 1)) for i in range(3 * 96)]
    rows += [glucose(5 * i + 1, round(level[i] + 20, 1), NEW) for i in range(2 * 288, 3 * 288)]
    return saved(tmp_path_factory.mktemp("person") / "p.parquet", rows)


def test_mapped_rows_stand_beside_the_raw_ones_and_are_gone_again_to_the_byte(person: Path, tmp_path: Path) -> None:
    whole, back = tmp_path / "w.parquet", tmp_path / "b.parquet"
    told = map_record(person, whole, Line(limit=155.0), "glucose", "libre", "g7")
    before, after = load_record(person), load_record(whole)
    found = mapped_rows(after)
    old = before.filter(pl.col("device").struct.field("model") == "Libre 2")
    kept = old.filter(pl.col("value") <= 155.0)
    assert (told.old, told.new, told.rows, told.refused) == (
        "Abbott Libre 2",
        "Dexcom G7",
        len(kept),
        len(old) - len(kept),
    )
    assert told.refused > 0
    assert_frame_equal(without(after, (MAPPED,)), before)
    assert found["start"].to_list() == kept["start"].to_list()
    np.testing.assert_array_equal(found["old"], kept["value"])
    np.testing.assert_array_equal(found["value"], 0.9 * kept["value"].to_numpy() + 10)
    np.testing.assert_array_equal(found["lower"], found["value"] - 7)
    np.testing.assert_array_equal(found["upper"], found["value"] + 7)
    assert set(found["map"]) == {told.map_id}
    assert set(found["old_by"]) == {"Abbott Libre 2"}
    assert {device["model"] for device in found["device"].to_list()} == {"G7"}
    account = [file for file in metadata(whole)["tally"]["files"] if file["format"] == "map"]
    assert [(one["file"], one["notes"]) for one in account] == [
        (f"map {told.map_id}", {"the map refuses": told.refused})
    ]
    assert "Abbott Libre 2 → Dexcom G7; test_line, of 3 people and 5 pairs" in account[0]["why"]
    assert (metadata(person)["version"], metadata(whole)["version"]) == (1, 2)
    assert unmap_record(whole, back) == len(found)
    assert back.read_bytes() == person.read_bytes()
    with pytest.raises(ConfigError, match="not mapped yet"):
        map_record(whole, tmp_path / "x.parquet", Line(), "glucose", "Libre", "G7")
    assert not (tmp_path / "x.parquet").exists()


def test_a_merged_record_and_one_that_grows_give_the_same(person: Path, tmp_path: Path) -> None:
    merged, whole, back, grown = (tmp_path / f"{name}.parquet" for name in ("m", "w", "b", "g"))
    merge_records([person], merged, ["G7"])
    map_record(merged, whole, Line(), "glucose", "Libre", "G7")
    unmap_record(whole, back)
    assert back.read_bytes() == merged.read_bytes()
    more = saved(tmp_path / "more.parquet", [glucose(5000, 111.0, NEW)])
    import_files([whole, more], grown)  # mapped rows are rows: they stay when the record grows
    assert_frame_equal(mapped_rows(load_record(grown)), mapped_rows(load_record(whole)))
    import_files([person, more], tmp_path / "plain.parquet")
    unmap_record(grown, back)
    assert back.read_bytes() == (tmp_path / "plain.parquet").read_bytes()


def test_nothing_takes_a_mapped_row_for_a_measurement(person: Path, tmp_path: Path) -> None:
    whole = tmp_path / "w.parquet"
    told = map_record(person, whole, Line(), "glucose", "Libre", "G7")
    before, after = load_record(person), load_record(whole)
    assert_frame_equal(by_minute(after, "glucose"), by_minute(before, "glucose"))
    assert_frame_equal(pairs_of(after, "glucose", "Libre", "G7"), pairs_of(before, "glucose", "Libre", "G7"))
    recipe = make_recipe("glucose_30min")
    plain, same = take_record(person, recipe), take_record(whole, recipe)
    assert plain.keys() == same.keys()
    for name in plain:
        a, b = plain[name].samples, same[name].samples
        assert a is not None
        assert b is not None
        np.testing.assert_array_equal(a.x, b.x)
    assert same["G7"].left_out[f"rows marked {MAPPED}"] == told.rows
    shown = look([whole]).contents()[0]
    assert (shown["rows"], shown["mapped"]) == (len(before), told.rows)
    for to, name in (("csv", "o.csv"), ("fhir", "o.json"), ("openmhealth", "o.jsonl")):
        export_record(person, tmp_path / f"1{name}", to)
        exported = export_record(whole, tmp_path / f"2{name}", to)
        assert (tmp_path / f"2{name}").read_bytes() == (tmp_path / f"1{name}").read_bytes()
        assert sum(exported.left_out.values()) == told.rows
        asked = export_record(whole, tmp_path / f"3{name}", to, mapped=True)
        assert asked.written == len(after)
    import_files([tmp_path / "3o.csv"], tmp_path / "again.parquet")
    columns = ["start", "value", "map", "lower", "upper", "old", "old_by"]
    assert_frame_equal(
        mapped_rows(load_record(tmp_path / "again.parquet")).select(columns), mapped_rows(after).select(columns)
    )
    with pytest.raises(ConfigError, match="record unmap"):
        correct_clock(whole, tmp_path / "x.parquet", "G7")


def test_asked_for_a_history_counts_each_moment_once(person: Path, tmp_path: Path) -> None:
    whole = tmp_path / "w.parquet"
    told = map_record(person, whole, Line(1.0, 20.0), "glucose", "Libre", "G7")
    rows = as_new_device(load_record(whole))
    assert not rows["quality"].list.contains(MAPPED).any()
    assert rows["start"].is_sorted()
    mapped = rows.filter(pl.col("map") == told.map_id)
    own = rows.filter(pl.col("map").is_null())
    assert {one["model"] for one in own["device"].to_list()} == {"G7"}  # the old rows are stood for
    assert len(mapped) == 2 * 96
    assert len(own) == 288
    minutes = by_minute(rows, "glucose")
    assert minutes["minute"].is_unique().all()
    assert len(minutes) == 2 * 96 + 288
    assert set(minutes["by"]) == {"Dexcom G7", f"Dexcom G7 map {told.map_id}"}
    before = take_record(person, make_recipe("glucose_30min"))
    asked = take_record(whole, make_recipe({"name": "glucose_30min", "keep": [MAPPED]}))
    assert list(asked) == ["G7"]
    assert asked["G7"].samples is not None
    assert before["G7"].samples is not None
    assert len(asked["G7"].samples.x) > 1.3 * len(before["G7"].samples.x)


def test_an_equal_measurement_is_no_repeat_of_a_mapped_row(tmp_path: Path) -> None:
    """Same moment, value and device: the measured row stays unmarked, and two equal measurements are still repeats."""
    rows = [glucose(0, 100.0), glucose(0, 100.0, NEW), glucose(0, 100.0, NEW, file="b.csv"), glucose(5, 90.0, NEW)]
    whole = tmp_path / "w.parquet"
    map_record(saved(tmp_path / "p.parquet", rows), whole, Line(1.0, 0.0), "glucose", "Libre", "G7")
    marks = sorted(
        ",".join(row["quality"]) for row in load_record(whole).filter(pl.col("start").dt.epoch("us") == T0).to_dicts()
    )
    assert marks == ["", "", MAPPED, "duplicate_of"]
    assert by_minute(as_new_device(load_record(whole)), "glucose")["value"].to_list() == [100.0, 90.0]


VALUES = st.floats(40, 400).map(lambda value: round(value, 1))
ROWS = st.lists(
    st.builds(
        lambda minute, value, device, marks: glucose(minute, value, device, quality=marks),
        st.integers(0, 40), VALUES, st.sampled_from([OLD, NEW, Device("Other")]),
        st.sampled_from([(), ("manual",), ("interpolated", "low_confidence"), ("sensor_error",), ("superseded",)]),
    ),
    min_size=1, max_size=25,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(made=ROWS, merged=st.booleans(), slope=st.floats(0.2, 2), limit=st.floats(100, 500))
def test_unmap_is_the_inverse_of_map(
    tmp_path_factory: pytest.TempPathFactory, made: list[Row], merged: bool, slope: float, limit: float
) -> None:
    folder = tmp_path_factory.mktemp("law")
    path = saved(folder / "p.parquet", [glucose(-5, 80.0), glucose(-5, 90.0, NEW), *made])
    if merged:
        merge_records([path], folder / "m.parquet")
        path = folder / "m.parquet"
    whole, back = folder / "w.parquet", folder / "b.parquet"
    told = map_record(path, whole, Line(slope, limit=limit), "glucose", "Libre", "G7")
    before, after = load_record(path), load_record(whole)
    assert_frame_equal(without(after, (MAPPED,)), before)
    assert len(after) == len(before) + told.rows
    unmap_record(whole, back)
    assert back.read_bytes() == path.read_bytes()
    asked = as_new_device(after)
    used = without(asked).filter(pl.col("map").is_not_null())
    assert not set(used["start"]) & set(
        asked.filter(pl.col("map").is_null() & (pl.col("device").struct.field("model") == "G7"))["start"]
    )
    assert set(DERIVED).isdisjoint(mark for marks in mapped_rows(after)["quality"] for mark in marks)


def sleep(night: int, device: Device, code: str, begin: int, length: int) -> Row:
    start = T0 + (night * 1440 + begin) * MINUTE
    return Row("sleep_stage", start, end=start + length * MINUTE, code=code, offset_min=0, device=device)


def test_total_sleep_is_mapped_night_by_night_and_steps_day_by_day(tmp_path: Path) -> None:
    rows = [sleep(n, OLD, code, at, 150 + n) for n in range(4) for code, at in (("light", 60), ("deep", 211 + n))]
    rows += [sleep(n, NEW, "light", 60, 280 + n) for n in (2, 3, 4)]
    for n, h, device in product(range(4), (9, 15), (OLD, NEW)):
        if device is OLD or n > 2:
            start = T0 + (n * 1440 + h * 60) * MINUTE
            rows.append(Row("steps", start, 500.0, end=start + 30 * MINUTE, offset_min=0, device=device))
    path, whole, both, back = (tmp_path / f"{name}.parquet" for name in ("p", "w", "v", "b"))
    saved(path, rows)
    pairs = pairs_of(load_record(path), "sleep_duration", "Libre", "G7")
    assert pairs.select("old", "new").rows() == [(304.0, 282.0), (306.0, 283.0)]
    assert pairs_of(load_record(path), "steps", "Libre", "G7").select("old", "new").rows() == [(1000.0, 1000.0)]
    map_record(path, whole, Line(1.0, -20.0), "sleep_duration", "Libre", "G7")
    map_record(whole, both, Line(2.0, 0.0), "steps", "Libre", "G7")
    found = load_record(both)
    assert_frame_equal(nights(found), nights(load_record(path)))
    assert_frame_equal(daily_totals(found), daily_totals(load_record(path)))
    asked = as_new_device(found)
    assert nights(asked).filter("main")["asleep_min"].to_list() == [280.0, 282.0, 282.0, 283.0, 284.0]
    steps = daily_totals(asked)
    assert steps["value"].to_list() == [2000.0, 2000.0, 2000.0, 1000.0]
    by = dict(zip(daily_totals_by_source(asked)["day"], daily_totals_by_source(asked)["by"], strict=True))
    assert by[date(2024, 4, 1)].startswith("Dexcom G7 map ")
    assert by[date(2024, 4, 4)] == "Dexcom G7"
    unmap_record(both, back)
    assert back.read_bytes() == path.read_bytes()


def test_what_cannot_be_mapped_is_refused(person: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.parquet"
    for metric, old, new, said in (
        ("blood", "Libre", "G7", "a metric of the record"),
        ("glucose", "Ring", "G7", "one source alone: Abbott Libre 2, Dexcom G7"),
        ("glucose", "Libre", "libre", "another source than Abbott Libre 2"),
    ):
        with pytest.raises(ConfigError, match=said):
            map_record(person, out, Line(), metric, old, new)
    with pytest.raises(DataError, match="the map refuses all 288 readings"):
        map_record(person, out, Line(limit=0.0), "glucose", "Libre", "G7")
    assert not out.exists()


def test_the_command_maps_and_unmaps(
    person: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, back = tmp_path / "w.parquet", tmp_path / "b.parquet"
    words = ["record", "map", str(person), "--from", "Libre", "--to", "G7", "--metric", "glucose", "--out", str(whole)]
    assert main(words) == 0
    said = capsys.readouterr().out
    found = mapped_rows(load_record(whole))
    assert f"{len(found)} rows of Abbott Libre 2 mapped to Dexcom G7 (map {found['map'][0]})" in said
    assert abs(float((found["value"] - found["old"]).mean()) - 20.0) < 3.0  # type: ignore[arg-type]
    assert main(["record", "unmap", str(whole), "--out", str(back)]) == 0
    assert back.read_bytes() == person.read_bytes()
    for more, said in (
        (["--by", "magic"], "must be one of best"),
        (["--prior", str(tmp_path / "no")], "no prior can be read"),
    ):
        assert main([*words[:-1], str(tmp_path / "x.parquet"), *more]) == 2
        assert said in capsys.readouterr().err
    alone = saved(
        tmp_path / "alone.parquet", [glucose(15 * i, 100.0 + i) for i in range(9)] + [glucose(9000, 80.0, NEW)]
    )
    monkeypatch.delitem(PUBLISHED, "glucose")
    assert main(["record", "map", str(alone), *words[3:-1], str(tmp_path / "y.parquet")]) == 2
    assert "0 moments of glucose in common" in capsys.readouterr().err
    assert not (tmp_path / "y.parquet").exists()


def test_samples_pair_with_the_nearest_of_each_other_within_the_tolerance(tmp_path: Path) -> None:
    rows = [glucose(0, 100.0), glucose(15, 110.0), glucose(60, 120.0), glucose(90, 130.0, quality=("interpolated",))]
    rows += [glucose(m, 200.0 + m, NEW) for m in (1, 5, 14, 16, 68, 90)] + [glucose(2, 1.0, NEW, code="scan")]
    pairs = pairs_of(load_record(saved(tmp_path / "p.parquet", rows)), "glucose", "Libre", "G7", "p7")
    assert pairs.columns == ["person", "time", "old", "new"]
    start = datetime(2024, 4, 1, tzinfo=UTC)
    assert pairs.rows() == [("p7", start, 100.0, 201.0), ("p7", start + timedelta(minutes=15), 110.0, 214.0)]
