"""Laws of every export: read again it is the same record; written twice it has the same bytes; nothing is uncounted."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from metapulse.errors import ConfigError, DataError
from metapulse.record.clock import Clock, zone
from metapulse.record.readers.base import Options
from metapulse.record.schema import Device, Row
from metapulse.record.store import import_files
from metapulse.record.verbatim import quoted, unquoted
from metapulse.record.writers import export_record
from metapulse.record.writers.base import day_alone, identity, stamp
from tests import thorough
from tests.metapulse.record.conftest import BERLIN, written
from tests.metapulse.record.exports import FORMATS, NAMES, NOON, again, rows, stored
from tests.metapulse.record.samples import SAMPLES

TOLD = Options(zone("Pacific/Auckland"))  # what is told at the import changes nothing


@pytest.mark.parametrize("to", FORMATS)
@settings(max_examples=thorough.of(20, 300))
@given(made=st.lists(rows(), min_size=1, max_size=12))
def test_what_is_exported_and_imported_is_the_same_to_the_digit(
    tmp_path_factory: pytest.TempPathFactory, to: str, made: list[Row]
) -> None:
    record = tmp_path_factory.mktemp("export") / "person.parquet"
    before = stored(record, made)
    assume(len(before))  # a list of nothing is of no format
    after, exported, tally = again(record, to, FORMATS[to])
    assert exported.rows == exported.written == len(before)
    (file,) = tally.files.values()
    assert not file.unexplained
    assert_frame_equal(after, before)


@pytest.mark.parametrize("to", FORMATS)
@settings(max_examples=thorough.of(10, 100))
@given(made=st.lists(rows(), min_size=1, max_size=6))
def test_the_same_record_gives_the_same_bytes_and_adds_nothing(
    tmp_path_factory: pytest.TempPathFactory, to: str, made: list[Row]
) -> None:
    """Also the record of its export; and an export that is read into its own record is there already."""
    record = tmp_path_factory.mktemp("export") / "person.parquet"
    before = stored(record, made)
    assume(len(before))
    again(record, to, FORMATS[to], TOLD if to == "csv" else Options())
    out, back, twice = (record.with_name(name) for name in (FORMATS[to], "back.parquet", "twice"))
    for source in (record, back):
        export_record(source, twice, to, mapped=True)
        assert twice.read_bytes() == out.read_bytes()
        twice.unlink()  # ``back`` was read from the same content, which it does not write over
    import_files([out], record)
    assert_frame_equal(pl.read_parquet(record), before)


@pytest.mark.parametrize("to", FORMATS)
def test_every_metric_comes_back(tmp_path: Path, to: str) -> None:
    record = tmp_path / "person.parquet"
    before = stored(record, [Row(name, NOON, 50.0, row=n, end=NOON + 1, file="a") for n, name in enumerate(NAMES)])
    after, _, _ = again(record, to, FORMATS[to])
    assert_frame_equal(after, before)
    assert set(after["metric"]) == set(NAMES)


@pytest.mark.parametrize(
    ("to", "name"),
    [
        *product(("fhir", "openmhealth"), ("out.json", "out.ndjson", "out.jsonl.zip")),
        *product(("csv",), ("out.csv", "out", "out.csv.zip")),
    ],
)
def test_what_vendors_wrote_comes_back(tmp_path: Path, to: str, name: str) -> None:
    record = tmp_path / "person.parquet"
    import_files(written(tmp_path / "given", dict(SAMPLES)), record, BERLIN)
    after, exported, tally = again(record, to, name, TOLD if to == "csv" else Options())
    assert_frame_equal(after, pl.read_parquet(record))
    assert not exported.left_out
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name) as archive:
            assert archive.namelist() == [Path(name).stem]
    assert all(file.error == "" and not file.unexplained for file in tally.files.values())


@pytest.mark.parametrize("to", FORMATS)
def test_what_cannot_be_written_is_counted(tmp_path: Path, to: str) -> None:
    record = tmp_path / "person.parquet"
    far = 400_000_000_000_000_000  # in the year 14645
    before = stored(
        record, [Row("heart_rate", NOON, 60.0), Row("heart_rate", far, 60.0), Row("steps", 0, 1.0, end=far)]
    )
    after, exported, _ = again(record, to, FORMATS[to])
    assert (exported.rows, exported.written) == (2, 1)  # the third is a placeholder of 1970
    assert exported.left_out == {"a time before the year 1 or after 9999": 1}
    assert_frame_equal(after.drop("source"), before.head(1).drop("source"))


def test_what_is_refused_is_named(tmp_path: Path) -> None:
    record, other = tmp_path / "person.parquet", tmp_path / "other.parquet"
    stored(record, [Row("heart_rate", NOON, 60.0)])
    pl.DataFrame({"start": [1]}).write_parquet(other)
    with pytest.raises(ConfigError, match="to = 'xml': csv, fhir or openmhealth"):
        export_record(record, tmp_path / "out", "xml")
    with pytest.raises(ConfigError, match="another file than the record"):
        export_record(record, record, "csv")
    with pytest.raises(DataError, match="no record of metapulse"):
        export_record(other, tmp_path / "out", "csv")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("offset", "text"),
    [
        (None, "2024-04-03T10:00:00.00025-00:00"),
        (0, "2024-04-03T10:00:00.00025+00:00"),
        (-210, "2024-04-03T06:30:00.00025-03:30"),
    ],
)
def test_a_stamp_says_where_the_clock_stood(offset: int | None, text: str) -> None:
    assert stamp(NOON + 250, offset) == text
    found = Clock(zone("Europe/Berlin")).read(text)
    assert found is not None
    assert found == (NOON + 250, offset, (), None)


def test_a_day_is_a_date_only_on_a_clock_that_is_not_known() -> None:
    day = Row("steps_daily", NOON - 36_000_000_000, 1.0, end=NOON + 50_400_000_000, quality=("date_only",))
    assert day_alone(day) == "2024-04-03"
    assert day_alone(day._replace(offset_min=120)) == day_alone(day._replace(quality=())) == ""


@given(st.text())
def test_any_text_comes_back_in_quotes_or_plain(text: str) -> None:
    told = quoted(text)
    assert unquoted(told) == text
    assert told.isprintable()
    assert told.strip() == told != ""


def test_what_is_no_quoted_text_stays() -> None:
    assert [unquoted(text) for text in ('"', '"a', '"\\ud800"', "a")] == ['"', '"a', "?", "a"]


def test_marks_of_a_merge_are_known_words_of_our_csv_and_left_to_the_next_merge(tmp_path: Path) -> None:
    head, line = "time,metric,value,unit,quality", "2024-04-03T08:00:00Z,heart_rate,61,/min,"
    words = ("covered manual", "shifted_repeat", "covered odd")
    given = written(tmp_path / "given", {"own.csv": "\n".join([head, *(line + word for word in words)])})
    (account,) = import_files(given, tmp_path / "person.parquet").files.values()
    assert account.notes == {"a word in quality that is no mark": 1}
    assert account.flagged == {"manual": 1}


def test_an_identity_is_of_all_that_it_is_told() -> None:
    assert identity("a", 1.0) == identity("a", 1.0) != identity("a", 1)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value within."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(inner, (*path, key))


@pytest.mark.parametrize("to", ["fhir", "openmhealth"])
def test_no_damage_to_one_value_costs_a_reader_or_another_row(tmp_path: Path, to: str) -> None:
    """Every value of an export in turn is something else: its own row may go, counted; no reader fails."""
    record, name = tmp_path / "person.parquet", "out.jsonl"
    device = Device("Acme", "A", "B", "1", "S", "App")
    made = [Row("bp_diastolic", NOON, 80.0, device=device, code="sitting", raw="x", quality=("manual",), file="a")]
    stored(record, [*made, made[0]._replace(metric="bp_systolic", value=120.0), Row("sleep_stage", NOON, code="rem")])
    export_record(record, tmp_path / name, to)
    lines = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
    damaged = [line for line in lines if line.get("resourceType") == "Device"]
    for line in lines:
        for path in places(line):
            for wrong in (None, 5, -1e30, True, "x", [], [5], {}, {"url": 5, "system": [], "value": {}}):
                copy = inner = json.loads(json.dumps(line))
                for key in path[:-1]:
                    inner = inner[key]
                inner[path[-1]] = wrong
                damaged.append(copy)
    (tmp_path / name).write_text("\n".join(map(json.dumps, [*damaged, *lines])))
    tally = import_files([tmp_path / name], tmp_path / "back.parquet")
    (file,) = tally.files.values()
    assert not tally.failures
    assert not file.unexplained
    assert file.seen == len(damaged) + len(lines)
    whole = pl.read_parquet(record).drop("quality").rows()
    assert set(map(repr, whole)) <= set(map(repr, pl.read_parquet(tmp_path / "back.parquet").drop("quality").rows()))
