"""Merging: a union of inputs, in any order and grouping; what repeats is marked, whatever its bookkeeping."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import permutations
from operator import add, or_
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metapulse.errors import ConfigError, DataError
from metapulse.record.daily import daily_totals, daily_totals_by_source
from metapulse.record.frame import load_record, without
from metapulse.record.merge import merge_records
from metapulse.record.store import import_files, metadata
from metapulse.sim.cli import main
from tests.metapulse.record.conftest import Import, written

HEADER = "time,metric,value,unit,end,code,device\n"
START = datetime(2024, 4, 3, 8, tzinfo=UTC)
#: (minute, minutes, metric, value, device) of few kinds, so that sources overlap and rows repeat.
ROWS = st.lists(
    st.tuples(
        st.integers(0, 12),
        st.integers(1, 5),
        st.sampled_from(["steps", "heart_rate"]),
        st.integers(50, 52),
        st.sampled_from(["", "iPhone", "Watch"]),
    ),
    min_size=1,
    max_size=15,
)


def csv(rows: Sequence[tuple[int, int, str, int, str]], late: timedelta = timedelta(0)) -> str:
    lines = []
    for minute, minutes, metric, value, device in rows:
        start = START + timedelta(minutes=minute) + late
        end = (start + timedelta(minutes=minutes)).isoformat() if metric == "steps" else ""
        lines.append(f"{start.isoformat()},{metric},{value},,{end},,{device}")
    return HEADER + "\n".join(lines)


def records(folder: Path, texts: Sequence[str], *, one_account: bool = False) -> list[Path]:
    """A record of each text, from files of names of their own, or as later exports of one account are called."""
    names = [f"export {i}.csv" if one_account else f"{'abcdef'[i]}.csv" for i in range(len(texts))]
    given = written(folder, dict(zip(names, texts, strict=True)))
    for path in given:
        import_files([path], path.with_suffix(".parquet"))
    return [path.with_suffix(".parquet") for path in given]


def merged(out: Path, *inputs: Path, prefer: Sequence[str] = ()) -> bytes:
    merge_records(inputs, out, prefer)
    return out.read_bytes()


@settings(max_examples=8)
@given(ROWS, ROWS, ROWS, st.booleans(), st.randoms(use_true_random=False))
def test_merging_is_a_union(
    tmp_path_factory: pytest.TempPathFactory, a: list, b: list, c: list, one_account: bool, draw: random.Random
) -> None:
    """Idempotent, in any order, in any grouping; and every row of every content is in it, as often as there.

    Of equal texts under several names one counts: they are copies.
    """
    folder = tmp_path_factory.mktemp("merge")
    parts = records(folder, [csv(a), csv(b), csv(c)], one_account=one_account)
    whole = merged(folder / "all.parquet", *parts)
    assert merged(folder / "again.parquet", folder / "all.parquet") == whole
    assert merged(folder / "all.parquet", parts[0]) == whole
    shuffled = draw.sample(parts, 3)
    assert merged(folder / "order.parquet", *shuffled) == whole
    merge_records(shuffled[:2], folder / "two.parquet")
    assert merged(folder / "grouped.parquet", shuffled[2], folder / "two.parquet") == whole
    contents = {csv(rows): Counter(said(load_record(part))) for rows, part in zip((a, b, c), parts, strict=True)}
    one, *others = contents.values()
    wanted = reduce(or_ if one_account else add, others, one)
    assert Counter(said(load_record(folder / "all.parquet"))) == wanted


def test_records_of_copies_are_the_record_of_one(tmp_path: Path) -> None:
    """In any order and grouping; also where a later export of one copy is there, which then is one of all copies."""
    rows = [(minute, 1, "heart_rate", 50 + minute % 3, "Watch") for minute in range(5)] * 2
    later = [*rows, (7, 1, "heart_rate", 60, "Watch")]
    texts = {"own 1.csv": csv(rows), "b.csv": csv(rows), "a.csv": csv(rows), "own 2.csv": csv(later)}
    parts = dict.fromkeys(texts, tmp_path)
    for path in written(tmp_path / "given", texts):
        parts[path.name] = tmp_path / f"{path.stem}.parquet"
        import_files([path], parts[path.name])
    copies, later_one = list(parts.values())[:3], parts["own 2.csv"]
    whole = merged(tmp_path / "whole.parquet", *copies)
    assert load_record(tmp_path / "whole.parquet").equals(load_record(parts["a.csv"]))
    longest = merged(tmp_path / "longest.parquet", *copies, later_one)
    assert len(load_record(tmp_path / "longest.parquet")) == len(later)
    for one, two, three in permutations(copies):
        assert merged(tmp_path / "order.parquet", one, two, three) == whole
        merged(tmp_path / "two.parquet", two, later_one)
        merged(tmp_path / "more.parquet", one, three)
        assert merged(tmp_path / "grouped.parquet", tmp_path / "two.parquet", tmp_path / "more.parquet") == longest


def said(rows: pl.DataFrame) -> list[tuple]:
    """What each row says, without where it stood and its marks."""
    device = pl.col("device").struct.field("model")
    return rows.select("start", "end", "metric", "value", device).rows()


@settings(max_examples=20)
@given(ROWS, ROWS)
def test_a_day_is_between_the_preferred_source_and_the_sum(
    tmp_path_factory: pytest.TempPathFactory, a: list, b: list
) -> None:
    """Not at least the greatest: of two that overlap the preferred counts, also where it counted fewer."""
    folder = tmp_path_factory.mktemp("sums")
    rows = load_record(records(folder, [csv([*a, *b])])[0])
    alone = daily_totals_by_source(rows).filter(pl.col("metric") == "steps")
    for first in alone["by"].to_list():
        total = daily_totals(rows, [first] if first else []).filter(pl.col("metric") == "steps")["value"].sum()
        assert total <= alone["value"].sum() + 1e-6
        if first:
            assert total >= alone.filter(pl.col("by") == first)["value"].sum() - 1e-6


def test_what_another_source_covers_is_marked_and_stays(tmp_path: Path) -> None:
    phone = [(0, 10, "steps", 600, "iPhone"), (10, 10, "steps", 400, "iPhone"), (60, 10, "steps", 300, "iPhone")]
    watch = [(0, 10, "steps", 570, "Watch"), (10, 5, "steps", 420, "Watch")]
    parts = records(tmp_path, [csv(phone), csv(watch)])
    table = merge_records(parts, tmp_path / "p.parquet")
    rows = load_record(tmp_path / "p.parquet")
    covered = rows.filter(pl.col("quality").list.contains("covered"))
    assert covered["value"].to_list() == [600]  # half of the 400 counts
    assert daily_totals(rows)["value"].to_list() == [570 + 420 + 200 + 300]
    assert [(row["source"], row["covered"]) for row in table] == [("Watch", 0), ("iPhone", 1)]
    merge_records(parts, tmp_path / "p.parquet", ["phone"])
    rows = load_record(tmp_path / "p.parquet")
    assert daily_totals(rows, ["phone"])["value"].to_list() == [1300]
    assert metadata(tmp_path / "p.parquet")["prefer"] == ["phone"]
    import_files([tmp_path / "a.csv"], tmp_path / "p.parquet")  # marks of a merge are not those of an import
    assert not load_record(tmp_path / "p.parquet")["quality"].list.contains("covered").any()


def test_a_later_export_adds_only_what_is_new(record: Import, tmp_path: Path) -> None:
    """Its rows have moved, and its name has another date; what one file repeats stays repeated."""
    rows = [(minute, 1, "heart_rate", 60 + minute % 7, "Watch") for minute in range(50)]
    rows += [rows[3], rows[3]]
    first = csv(rows)
    later = csv([(-5, 1, "heart_rate", 70, "Watch"), (-4, 1, "heart_rate", 71, "Watch"), *rows])
    made, tally = record({"export 2024-04-03.csv": first, "export 2024-05-01 (1).csv": later})
    assert (len(made), len(without(made)), tally.again) == (54, 52, len(rows))
    alone, _ = record({"export 2024-05-01 (1).csv": later})
    columns = ["start", "metric", "value", "quality"]
    assert made.select(columns).equals(alone.select(columns))


def test_an_update_of_firmware_or_app_makes_no_other_device(record: Import) -> None:
    apple = (
        '<HealthData locale="en_US">\n'
        + "".join(
            f'<Record type="HKQuantityTypeIdentifierHeartRate" sourceName="Oura {app}" unit="count/min"'
            f' device="&lt;&lt;HKDevice: 0x1&gt;, name:Ring, software:{version}&gt;"'
            ' startDate="2024-04-03 08:00:00 +0000" endDate="2024-04-03 08:00:00 +0000" value="61"/>\n'
            for version, app in (("2.9.1", "5.1.0"), ("2.9.2", "5.2.0"))
        )
        + "</HealthData>\n"
    )
    made, _ = record({"export.xml": apple})
    assert (len(made), len(without(made))) == (2, 1)


def test_what_apple_carries_of_another_vendor_is_a_repeat(record: Import) -> None:
    """The ring's samples, in its own export and in Apple's."""
    items = [54.0, None, 52.0, 51.0]
    start = datetime(2024, 4, 2, 21, tzinfo=UTC)
    series = {"interval": 300.0, "items": items, "timestamp": start.isoformat()}
    night = {"id": "s", "day": "2024-04-03", "bedtime_start": start.isoformat(), "type": "long_sleep"}
    night |= {"bedtime_end": (start + timedelta(minutes=20)).isoformat(), "heart_rate": series}
    stamps = [start + timedelta(minutes=5 * i) for i, item in enumerate(items) if item]
    apple = "".join(
        '<Record type="HKQuantityTypeIdentifierHeartRate" sourceName="Oura" unit="count/min"'
        f' startDate="{t:%Y-%m-%d %H:%M:%S} +0000" endDate="{t:%Y-%m-%d %H:%M:%S} +0000" value="{value:.0f}"/>\n'
        for t, value in zip(stamps, filter(None, items), strict=True)
    )
    files = {"sleep.json": json.dumps({"data": [night]}), "export.xml": f"<HealthData>\n{apple}</HealthData>\n"}
    made, _ = record(files)
    pulse = made.filter((pl.col("metric") == "heart_rate") & pl.col("code").is_null())
    assert (len(pulse), len(without(pulse))) == (6, 3)


@pytest.mark.parametrize("late", [timedelta(hours=2), timedelta(seconds=-7), timedelta(microseconds=400_000)])
def test_an_export_whose_stamps_are_all_off_is_repeats(tmp_path: Path, late: timedelta) -> None:
    """Another zone, whole seconds, and fractions of a second that one of the exports has cut off."""
    draw = random.Random(1)
    rows = [(minute, 1, "heart_rate", draw.randrange(55, 90), "Watch") for minute in range(60)]
    out = tmp_path / "p.parquet"
    merge_records(records(tmp_path, [csv(rows), csv(rows, late)]), out)
    made = load_record(out)
    shifted = made.filter(pl.col("quality").list.contains("shifted_repeat"))
    assert (len(made), len(shifted), len(without(made))) == (120, 60, 60)
    assert set(shifted["source"].struct.field("file")) == {"b.csv"}
    again = out.read_bytes()
    assert merged(tmp_path / "again.parquet", out) == again


@pytest.mark.parametrize("days", [1, 3])
def test_what_comes_again_every_day_by_the_clock_is_no_shifted_export(tmp_path: Path, days: int) -> None:
    """The schedule of a pump: two exports of days that follow each other have no row in common."""
    draw = random.Random(4)
    rates = [draw.randrange(40, 130) for _ in range(24)]
    rows = [
        (1440 * day + 60 * hour, 1, "heart_rate", rates[hour], "Pump") for day in range(2 * days) for hour in range(24)
    ]
    merge_records(records(tmp_path, [csv(rows[: 24 * days]), csv(rows[24 * days :])]), tmp_path / "p.parquet")
    made = load_record(tmp_path / "p.parquet")
    assert len(without(made)) == len(made) == 48 * days


def test_a_source_says_no_word_twice_and_no_control_character(tmp_path: Path) -> None:
    lines = ["Garmin,,Garmin Connect", "Polar,Polar,", "Apple,Watch,Watchful", "A\x07\x1b[2J,B\x01,"]
    text = "time,metric,value,unit,manufacturer,device,app\n" + "\n".join(
        f"2024-04-03T08:0{i}:00Z,heart_rate,60,,{line}" for i, line in enumerate(lines)
    )
    (path,) = written(tmp_path / "given", {"a.csv": text})
    table = merge_records([path], tmp_path / "p.parquet")
    assert [row["source"] for row in table] == ["A [2J B", "Apple Watch Watchful", "Garmin Connect", "Polar"]


def test_two_that_measure_alike_are_no_repeats(tmp_path: Path) -> None:
    draw = random.Random(2)
    one, other = (
        [(minute, 1, "heart_rate", draw.randrange(58, 62), name) for minute in range(300)] for name in ("", "")
    )
    merge_records(records(tmp_path, [csv(one), csv(other)]), tmp_path / "p.parquet")
    made = load_record(tmp_path / "p.parquet")
    assert not made["quality"].list.contains("shifted_repeat").any()


def test_the_command_merges_and_says_what_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text(csv([(0, 10, "steps", 60, "iPhone"), (0, 10, "steps", 50, "Watch")]))
    assert main(["record", "merge", "a.csv", "--out", "p.parquet"]) == 0
    assert "p.parquet: 2 records, 0 repeats, 0 at shifted times, 1 covered" in capsys.readouterr().out
    assert main(["record", "merge", "a.csv", "--out", "q.parquet", "--prefer", "ring"]) == 2
    assert "prefer = 'ring': a part of the name of one of the sources: Watch, iPhone" in capsys.readouterr().err
    assert not (tmp_path / "q.parquet").exists()
    assert main(["record", "merge", "a.csv", "--out", "a.csv"]) == 2
    assert (tmp_path / "a.csv").read_text().startswith("time,")


def test_a_preferred_source_has_to_be_there(tmp_path: Path) -> None:
    (part,) = records(tmp_path, [csv([(0, 1, "steps", 50, "Watch")])])
    with pytest.raises(ConfigError, match="ring"):
        merge_records([part], tmp_path / "p.parquet", ["ring"])
    with pytest.raises(DataError, match="no such file"):
        merge_records([tmp_path / "none.parquet"], tmp_path / "p.parquet")
    assert not (tmp_path / "p.parquet").exists()
