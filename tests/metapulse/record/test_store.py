"""The record: the same whatever the order and the number of readings, whole, and its own input."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.errors import ConfigError, DataError
from metapulse.record import runs, store
from metapulse.record.clock import zone
from metapulse.record.readers import readers
from metapulse.record.readers.base import Options
from metapulse.record.schema import MARKS, Device, arrow_schema
from metapulse.record.store import import_files, metadata
from metapulse.record.tally import AGAIN
from tests.metapulse.record.conftest import BERLIN, Import, in_other_orders, written
from tests.metapulse.record.samples import SAMPLES

HEADER = "time,metric,value,unit,end,code,device\n"
METRICS = ("heart_rate", "glucose", "steps", "weight")
#: Lines of our CSV in which repeats are frequent: few moments, values and devices.
LINES = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(METRICS), st.integers(50, 53), st.sampled_from(["", "A", "B"])),
    min_size=1,
    max_size=25,
)


def csv(lines: Sequence[tuple[int, str, int, str]]) -> str:
    start = datetime(2024, 4, 3, tzinfo=UTC)
    rows = (
        f"{(start + timedelta(minutes=m)).isoformat()},{name},{value},,,,{device}" for m, name, value, device in lines
    )
    return HEADER + "\n".join(rows)


def made(folder: Path, files: dict[str, str], order: Sequence[str], *, at_once: bool = True) -> bytes:
    """The record of these files, read in this order, in one call or in one for each."""
    out = folder / "person.parquet"
    out.unlink(missing_ok=True)
    paths = dict(zip(files, written(folder / "given", files), strict=True))
    for part in [order] if at_once else [[name] for name in order]:
        import_files([paths[name] for name in part], out)
    return out.read_bytes()


@settings(max_examples=25)
@given(LINES, LINES, LINES, st.randoms(use_true_random=False))
def test_order_and_repetition_change_no_byte(
    tmp_path_factory: pytest.TempPathFactory, a: list, b: list, c: list, draw: random.Random
) -> None:
    files = {"a.csv": csv(a), "b.csv": csv(b), "c.csv": csv(c)}
    order = list(files)
    folder = tmp_path_factory.mktemp("order")
    first = made(folder, files, order)
    draw.shuffle(order)
    assert made(folder, files, order) == first
    assert made(folder, files, [*order, order[0]], at_once=False) == first


@given(LINES)
def test_of_rows_that_repeat_each_other_one_is_left(tmp_path_factory: pytest.TempPathFactory, lines: list) -> None:
    """One for each device that is told apart; a device that is not known may be any of them."""
    folder = tmp_path_factory.mktemp("repeats")
    made(folder, {"a.csv": csv(lines)}, ["a.csv"])
    record = pl.read_parquet(folder / "person.parquet")
    assert len(record) == len(lines)
    left = record.filter(~pl.col("quality").list.contains("duplicate_of"))
    wanted = set()
    for minute, name, value, _ in lines:
        devices = {d for m, n, v, d in lines if (m, n, v) == (minute, name, value)}
        wanted |= {(minute, name, value, device) for device in (devices - {""} or devices)}
    found = [
        (row["start"].minute, row["metric"], int(row["value"]), (row["device"] or {"model": ""})["model"])
        for row in left.iter_rows(named=True)
    ]
    assert sorted(found) == sorted(wanted)


def test_the_same_content_under_another_name_adds_a_count_and_no_row(tmp_path: Path) -> None:
    out, text = tmp_path / "person.parquet", csv([(minute, "heart_rate", 60, "A") for minute in range(3)])
    first, copy = written(tmp_path / "given", {"own.csv": text, "own (1).csv": text})
    import_files([first], out)
    rows = pl.read_parquet(out)
    (file,) = import_files([copy, copy.parent], out).files.values()
    assert (file.file, file.notes) == ("given/own.csv", {AGAIN: 3})
    assert pl.read_parquet(out).drop("source").equals(rows.drop("source"))
    assert set(pl.read_parquet(out)["source"].struct.field("file")) == {"given/own.csv"}
    held = out.read_bytes()
    for inputs in ([copy], [first], [copy, copy.parent]):
        import_files(inputs, out)
        assert out.read_bytes() == held
    assert import_files([first, copy], tmp_path / "again.parquet").records == 3
    assert made(tmp_path, {"b.csv": text, "a.csv": text}, ["a.csv", "b.csv"]) == (
        made(tmp_path, {"b.csv": text, "a.csv": text}, ["b.csv", "a.csv"])
    )


def test_content_that_is_there_is_read_anew_where_more_is_told_of_it(tmp_path: Path) -> None:
    text = "time,metric,value,unit\n2024-04-03 08:00,heart_rate,60,bpm\n2024-04-03T08:01:00Z,heart_rate,61,bpm\n"
    first, copy = written(tmp_path / "given", {"a.csv": text, "b.csv": text})
    assert import_files([first], tmp_path / "person.parquet").records == 2  # its local time is that of UTC
    tally = import_files([copy], tmp_path / "person.parquet", BERLIN)
    assert tally.records == 3  # so the row is there at two instants, which is told
    assert tally.in_two_zones == ["a.csv"]
    assert not import_files([copy], tmp_path / "other.parquet", BERLIN).in_two_zones


def test_a_zone_once_told_of_a_content_is_its_zone(tmp_path: Path) -> None:
    text = "time,metric,value,unit\n2024-04-03 08:00,heart_rate,60,bpm\n"
    first, copy, sure = written(
        tmp_path / "given", {"a.csv": text, "b.csv": text, "c.csv": text.replace(" 08:00", "T08:00Z")}
    )
    out, tokyo = tmp_path / "person.parquet", Options(zone("Asia/Tokyo"))
    import_files([first, sure], out, BERLIN)
    held = out.read_bytes()
    import_files([first], out)  # no zone: the one that was told
    assert out.read_bytes() == held
    for path in (first, copy):
        with pytest.raises(ConfigError, match=r"timezone = 'Asia/Tokyo': Europe/Berlin, with which a\.csv was read"):
            import_files([path], out, tokyo)
    assert out.read_bytes() == held
    import_files([sure], out, tokyo)  # what tells its offset needs none
    assert out.read_bytes() == held
    import_files([first], tmp_path / "tokyo.parquet", tokyo)
    with pytest.raises(DataError, match=r"a\.csv: read with --timezone Asia/Tokyo and with Europe/Berlin"):
        import_files([out, tmp_path / "tokyo.parquet"], tmp_path / "both.parquet")


def test_an_order_of_dates_once_told_of_a_content_is_its_order(tmp_path: Path) -> None:
    text = "time,metric,value,unit\n03/04/2024 08:00,heart_rate,60,bpm\n"
    asked, shown = written(tmp_path / "given", {"a.csv": text, "b.csv": text + "13/04/2024 08:00,heart_rate,60,bpm\n"})
    out, told = tmp_path / "person.parquet", Options(BERLIN.zone, "dmy")
    import_files([asked, shown], out, told)
    held = out.read_bytes()
    import_files([asked], out, BERLIN)
    assert out.read_bytes() == held
    import_files([shown], out, Options(BERLIN.zone, "mdy"))  # the column shows it
    assert out.read_bytes() == held
    with pytest.raises(ConfigError, match="date-order = 'mdy': dmy, with which"):
        import_files([asked], out, Options(BERLIN.zone, "mdy"))


def test_where_the_clock_stood_is_kept_once_a_zone_is_told(tmp_path: Path) -> None:
    """Of a file of instants, which has the same rows in every zone."""
    (path,) = written(tmp_path / "given", {"a.csv": "time,metric,value,unit\n1712131200,heart_rate,60,bpm\n"})
    for order in ((Options(), BERLIN), (BERLIN, Options())):
        out = tmp_path / f"{order.index(BERLIN)}.parquet"
        for options in order:
            tally = import_files([path], out, options)
        assert (pl.read_parquet(out)["offset_min"].to_list(), tally.in_two_zones) == ([120], [])


NAMES = ("a.csv", "a 2.csv", "b.csv", "c 1.csv", "d.csv")


@settings(max_examples=12)
@given(
    st.lists(LINES, min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(NAMES)), min_size=2, max_size=5, unique=True),
    st.randoms(use_true_random=False),
)
def test_copies_are_one_file_in_any_order_and_grouping(
    tmp_path_factory: pytest.TempPathFactory, texts: list, names: list, draw: random.Random
) -> None:
    """Also where a name is that of several contents, and a content is there before or after a later export of it."""
    folder = tmp_path_factory.mktemp("copies")
    given: list[Path] = []
    for number, (which, name) in enumerate(names):
        given += written(folder / str(number), {name: csv(texts[which % len(texts)])})
    whole = folder / "whole.parquet"
    import_files(given, whole)
    assert set(in_other_orders(folder, given, draw)) == {whole.read_bytes()}
    contents = {text: Counter(csv(text).splitlines()[1:]) for text in map(tuple, texts)}
    assert metadata(whole)["tally"]["records"] <= sum(counts.total() for counts in contents.values())


def test_runs_on_disk_give_what_memory_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(0)
    lines = [(draw.randrange(40), draw.choice(METRICS), draw.randrange(50, 53), draw.choice("AB")) for _ in range(3000)]
    files = {"a.csv": csv(lines[:2000]), "b.csv": csv(lines[2000:])}
    whole = made(tmp_path, files, list(files))
    monkeypatch.setattr(runs, "RUN", 400)
    monkeypatch.setattr(runs, "PIECE", 16)
    monkeypatch.setattr(store, "BATCH", 100)
    assert made(tmp_path, files, list(files)) == whole


def test_a_record_is_an_input_too(record: Import, tmp_path: Path) -> None:
    first, _ = record(dict(SAMPLES))
    (tmp_path / "given" / "moved.parquet").write_bytes((tmp_path / "person.parquet").read_bytes())
    import_files([tmp_path / "given" / "moved.parquet"], tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "person.parquet").read_bytes()
    assert len(first) == metadata(tmp_path / "again.parquet")["tally"]["records"]


def test_the_file_is_what_the_schema_says(record: Import, tmp_path: Path) -> None:
    made, tally = record(dict(SAMPLES))
    assert pq.read_schema(tmp_path / "person.parquet").remove_metadata() == arrow_schema()
    assert made.columns == arrow_schema().names
    assert made["device"].struct.fields == list(Device._fields)
    assert {mark for marks in made["quality"] for mark in marks} <= MARKS.keys()
    assert made["start"].is_sorted()
    facts = metadata(tmp_path / "person.parquet")
    assert facts["tally"] == json.loads(json.dumps(tally.facts()))


def test_every_row_of_every_file_is_in_the_record_or_counted(record: Import) -> None:
    made, tally = record(dict(SAMPLES))
    for file in tally.files.values():
        assert file.seen == file.used + file.skipped.total(), file
        assert file.given == file.kept + file.away.total(), file
    assert sum(file.kept for file in tally.files.values()) == len(made)
    assert tally.table()[0]["rows"]
    assert {row["what"] for row in tally.reasons()} >= {"counted away", "flagged"}


def test_values_are_converted_flagged_and_kept_as_they_were(record: Import) -> None:
    rows = [
        "2024-04-03T08:00:00Z,glucose,5.5,mmol/L",
        "2024-04-03T08:01:00Z,glucose,100,mmol/L",
        "2024-04-03T08:02:00Z,glucose,110,mg/dL",
        "2024-04-03T08:03:00Z,glucose,110,furlong",
        "1970-01-01T00:00:00Z,heart_rate,60,bpm",
        "1990-01-02T00:00:00Z,heart_rate,60,bpm",
        "2024-04-03T08:04:00Z,heart_rate,,bpm",
    ]
    made, tally = record({"own.csv": "time,metric,value,unit\n" + "\n".join(rows)})
    found = made.select("value", "unit", "raw", "quality").rows()
    assert found == [
        (60.0, "/min", None, ["time_implausible"]),
        (pytest.approx(99.0858), "mg/dL", "5.5 mmol/L", []),
        (pytest.approx(1801.56), "mg/dL", "100.0 mmol/L", ["implausible"]),
        (110.0, "mg/dL", None, []),
        (110.0, "furlong", None, ["unit_unknown"]),
    ]
    (file,) = tally.files.values()
    assert file.away == {"a placeholder for a time (1970)": 1}
    assert file.skipped == {"the header": 1, "its value is no number": 1}


def test_day_and_month_are_decided_from_the_column_or_asked_for(record: Import) -> None:
    lines = "time,metric,value,unit\n{},weight,70,kg\n05/04/2024 10:00,weight,71,kg\n"
    for first, options, wanted in (
        ("13/04/2024 10:00", BERLIN, ["2024-04-05", "2024-04-13"]),
        ("04/13/2024 10:00", BERLIN, ["2024-04-13", "2024-05-04"]),
        ("03/04/2024 10:00", Options(BERLIN.zone, "dmy"), ["2024-04-03", "2024-04-05"]),
        ("03/04/2024 10:00", Options(BERLIN.zone, "mdy"), ["2024-03-04", "2024-05-04"]),
    ):
        made, _ = record({"own.csv": lines.format(first)}, options)
        assert [str(start.date()) for start in made["start"]] == wanted
    made, tally = record({"own.csv": lines.format("03/04/2024 10:00")})
    assert made.is_empty()
    (file,) = tally.files.values()
    assert sum(n for reason, n in file.skipped.items() if "--date-order" in reason) == 2


def test_a_parquet_file_that_is_no_record_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "other.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1" + b"x" * 100)
    for name, cause in (("other", "no record of metapulse"), ("broken", "damaged record")):
        with pytest.raises(DataError, match=cause):
            import_files([tmp_path / f"{name}.parquet"], tmp_path / "person.parquet")


def test_what_is_no_record_is_not_written_over(record: Import, tmp_path: Path) -> None:
    paths = written(tmp_path / "given", {"own.csv": SAMPLES["own.csv"], "libre.csv": SAMPLES["libre.csv"]})
    with pytest.raises(DataError, match="no Parquet file"):
        import_files(paths[:1], paths[1])
    assert paths[1].read_text() == SAMPLES["libre.csv"]


def test_a_record_that_is_there_is_added_to(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    out = tmp_path / "person.parquet"
    for name in ("own.csv", "libre.csv"):
        (tmp_path / "given" / name).write_text(SAMPLES[name])
        tally = import_files([tmp_path / "given" / name], out)
    assert {file.file for file in tally.files.values()} == {"own.csv", "libre.csv"}
    assert set(pl.read_parquet(out)["source"].struct.field("file")) == {"own.csv", "libre.csv"}


def test_the_page_has_every_mark_and_every_reader() -> None:
    page = (Path(__file__).parents[3] / "docs" / "record.md").read_text(encoding="utf-8")
    named = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    assert named >= MARKS.keys() | {reader.name for reader in readers()}


def test_equal_contents_are_two_files_where_the_name_says_what_was_measured(record: Import) -> None:
    """A day of zeros is the same text for steps and for distance."""
    zeros = '[{"dateTime": "04/03/24 10:00:00", "value": "0"}]'
    made, tally = record({"steps-2024-04-03.json": zeros, "distance-2024-04-03.json": zeros})
    files = dict(zip(made["metric"], made["source"].struct.field("file"), strict=True))
    assert files == {"steps": "steps-2024-04-03.json", "distance": "distance-2024-04-03.json"}
    assert all(not file.unexplained for file in tally.files.values())
