"""FIT files: real ones against what another tool decoded, and damage of every kind."""

from __future__ import annotations

import csv
import os
import struct
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from metapulse.errors import DataError
from metapulse.record.readers import fit_walk
from metapulse.record.store import import_files
from metapulse.record.tally import FileTally
from metapulse.sim.fake.fit_bytes import LAYOUTS, RAW, S8, S16, U8, U16, U32, definition, fit_file

TWINS = (
    "compressed-speed-distance",
    "garmin-edge-500-activity",
    "garmin-edge-820-bike",
    "garmin-fenix-5-bike",
    "garmin-fenix-5-run",
    "garmin-fenix-5-walk",
)
#: Metric of ours → column of a twin, in lower case, without its unit.
COLUMNS = {
    "heart_rate": "heart rate",
    "cadence": "cadence",
    "speed": "speed",
    "altitude": "altitude",
    "ambient_temperature": "temperature",
}
FIT = datetime(1989, 12, 31, tzinfo=UTC)
T0 = 1_078_488_000  # FIT's seconds of 2024-03-05T12:00:00Z


def imported(path: Path, out: Path) -> tuple[FileTally, pl.DataFrame]:
    (tally,) = import_files([path], out).files.values()
    assert not tally.unexplained, tally
    return tally, pl.read_parquet(out)


@pytest.mark.parametrize("name", TWINS)
def test_real_files_equal_their_csv_twins(name: str, tmp_path: Path) -> None:
    """Every number of every record, in its order."""
    data = os.environ.get("METAPULSE_DATA")
    folder = Path(data or "") / "exports" / "fit_garmin"
    if not data or not folder.is_dir():
        pytest.skip("real files: set METAPULSE_DATA to the folder of the data")
    _, record = imported(folder / f"{name}.fit", tmp_path / "person.parquet")
    twin = twin_rows(folder / f"{name}-records.csv")
    for metric, column in COLUMNS.items():
        wanted = [(time, value) for time, cells in twin if (value := cells.get(column)) is not None]
        found = record.filter(pl.col("metric") == metric).sort("start", "value").select("start", "value").rows()
        left = Counter((time, round(value, 6)) for time, value in wanted)
        ours = Counter((time, round(value, 6)) for time, value in found)
        assert bool(ours) == any(value for _, value in wanted), metric
        assert not ours - left, metric
        assert all(value == 0 and metric == "cadence" for _, value in left - ours), metric  # 0 stands for no value
    wanted = [value for _, cells in twin if (value := cells.get("distance")) is not None]
    added = record.filter(pl.col("metric") == "distance").sort(pl.col("source").struct["row"])
    assert list(accumulate(added["value"])) == pytest.approx(wanted, abs=1e-6)


def twin_rows(path: Path) -> list[tuple[datetime, dict[str, float]]]:
    """(time, number by column) of every line of a twin; the first value of several counts, as ours."""
    rows = []
    for line in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        cells = {key.strip().lower().replace("_", " ").split(" [")[0]: text for key, text in line.items()}
        stamp = cells.pop("timestamp")
        numbers = {key: float(text) for key, text in cells.items() if text not in ("", "null")}
        rows.append((twin_time(stamp), numbers))
    return rows


def twin_time(text: str) -> datetime:
    if text.isdigit():  # seconds since the device was switched on
        return FIT + timedelta(seconds=int(text))
    day, zone, year = text.rsplit(" ", 2)
    hours = {"PDT": 7, "PST": 8}[zone]
    return datetime.strptime(f"{day} {year}", "%a %b %d %H:%M:%S %Y").replace(tzinfo=UTC) + timedelta(hours=hours)


RECORD = definition(0, 20, (253, U32), (3, U8))


def beat(second: int, bpm: int) -> bytes:
    return struct.pack("<BIB", 0, T0 + second, bpm)


def record_of(tmp_path: Path, data: bytes) -> tuple[FileTally, pl.DataFrame]:
    (tmp_path / "some.fit").write_bytes(data)
    return imported(tmp_path / "some.fit", tmp_path / "person.parquet")


def values(record: pl.DataFrame, metric: str) -> list[float]:
    return record.filter(pl.col("metric") == metric)["value"].to_list()


def test_bytes_lost_in_the_middle_cost_what_was_there(tmp_path: Path) -> None:
    data = fit_file(RECORD, *(beat(s, 60 + s % 100) for s in range(300)))
    at = 12 + len(RECORD) + 100 * 6 + 3
    tally, record = record_of(tmp_path, data[:at] + data[at + 2 :])
    found = values(record, "heart_rate")
    assert len(found) >= 297
    assert found[:100] == [60 + s % 100 for s in range(100)]
    assert found[-190:] == [60 + s % 100 for s in range(110, 300)]
    assert 1 <= tally.skipped["bytes that are no record, or one that is cut off"] <= 2


@pytest.mark.parametrize("at", range(0, 12, 2))
@pytest.mark.parametrize("change", ["lost", "more", "turned"])
def test_a_damaged_byte_costs_a_few_records(at: int, change: str, tmp_path: Path) -> None:
    """Wherever in a record it is. Of the values that come out for it one or two may be wrong; none is by time."""
    rich = definition(0, 20, (253, U32), (0, U32), (3, U8), (13, U8), (39, U16))
    records = [struct.pack("<BIIBBH", 0, T0 + s, 0xFFFFFFFF, 60 + s % 90, 0xFF, 0xFFFF) for s in range(400)]
    data = fit_file(rich, *records)
    where = 12 + len(rich) + 150 * len(records[0]) + at
    between = {"lost": b"", "more": data[where : where + 1] + b"\x9c", "turned": bytes([data[where] ^ 0xFF])}[change]
    _, record = record_of(tmp_path, data[:where] + between + data[where + 1 :])
    wanted = Counter((FIT + timedelta(seconds=T0 + s), 60.0 + s % 90) for s in range(400))
    found = Counter(record.filter(pl.col("metric") == "heart_rate").select("start", "value").rows())
    assert (wanted - found).total() <= 4
    assert (found - wanted).total() <= 2


def test_a_file_that_is_cut_off_keeps_its_whole_records(tmp_path: Path) -> None:
    data = fit_file(RECORD, *(beat(s, 60) for s in range(50)))
    tally, record = record_of(tmp_path, data[: 12 + len(RECORD) + 6 * 40 + 3])
    assert values(record, "heart_rate") == [60] * 40
    assert tally.skipped["bytes that are no record, or one that is cut off"] == 1


def test_several_files_after_one_another_and_bytes_between(tmp_path: Path) -> None:
    one, two = fit_file(RECORD, beat(0, 60)), fit_file(RECORD, beat(9, 70))
    tally, record = record_of(tmp_path, one + b"\1\2\3" + two + b"tail")
    assert values(record, "heart_rate") == [60, 70]
    assert tally.notes["bytes outside of the length that the header gives"] == 2


def test_records_after_the_length_that_the_header_gives(tmp_path: Path) -> None:
    data = bytearray(fit_file(RECORD, *(beat(s, 60) for s in range(50))))
    data[4:8] = struct.pack("<I", len(RECORD) + 6 * 20)
    assert values(record_of(tmp_path, bytes(data))[1], "heart_rate") == [60] * 50


def test_compressed_stamps_go_on_over_five_bits(tmp_path: Path) -> None:
    first = T0 + 30 - T0 % 32  # five low bits are 30
    brief = definition(1, 20, (3, U8))
    later = [bytes([0x80 | 1 << 5 | (30 + s) % 32, 60 + s]) for s in (1, 2, 5)]
    _, record = record_of(tmp_path, fit_file(RECORD, struct.pack("<BIB", 0, first, 60), brief, *later))
    assert [int((t - FIT).total_seconds()) - first for t in record["start"]] == [0, 1, 2, 5]


def test_a_record_without_a_stamp_is_not_given_the_one_before(tmp_path: Path) -> None:
    tally, record = record_of(tmp_path, fit_file(RECORD, beat(0, 60), struct.pack("<BIB", 0, 0xFFFFFFFF, 61)))
    assert values(record, "heart_rate") == [60]
    assert tally.skipped["a measurement without a time"] == 1


def test_low_bits_of_a_stamp_may_step_back(tmp_path: Path) -> None:
    info = definition(0, 55, (253, U32), (27, U8)) + struct.pack("<BIB", 0, T0, 60)
    brief = definition(1, 55, (26, U16), (27, U8))
    lows = [struct.pack("<BHB", 1, (T0 + s) & 0xFFFF, 61) for s in (60, 30, 40_000, 70_000)]
    _, record = record_of(tmp_path, fit_file(info, brief, *lows))
    assert [int((t - FIT).total_seconds()) - T0 for t in record["start"]] == [0, 30, 60, 40_000, 70_000]


def test_beats_of_a_strap_have_their_own_times(tmp_path: Path) -> None:
    """Twelve bits of 1/1024 s each; the clock of the strap is tied to UTC by the first."""
    first = definition(0, 132, (253, U32), (9, U32), (6, U8)) + struct.pack("<BIIB", 0, T0, 1_000_000, 70)
    ticks = [1_000_000 + 900 * (k + 1) for k in range(8)]
    low = [t & 0xFFF for t in ticks]
    packed = [b for a, c in zip(low[::2], low[1::2], strict=True) for b in (a & 255, a >> 8 | (c & 15) << 4, c >> 4)]
    rest = definition(1, 132, (6, U8, 8), (10, RAW, 12))
    _, record = record_of(tmp_path, fit_file(first, rest, bytes([1, *range(71, 79), *packed])))
    seconds = [(t - FIT).total_seconds() - T0 for t in record["start"]]
    assert seconds == pytest.approx([900 * k / 1024 for k in range(9)], abs=1e-5)
    assert values(record, "heart_rate") == list(range(70, 79))


def test_a_total_that_a_file_begins_with_was_added_before_it(tmp_path: Path) -> None:
    info = definition(0, 103, (253, U32), (0, U32)) + struct.pack("<BII", 0, T0, T0)
    counts = definition(1, 55, (253, U32), (5, U8), (3, U32))
    rows = [struct.pack("<BIBI", 1, T0 + s, 6, n) for s, n in ((0, 3000), (600, 3100), (1200, 3250))]
    _, record = record_of(tmp_path, fit_file(info, counts, *rows))
    assert values(record, "steps") == [100, 150]


def test_totals_begin_again_at_the_persons_midnight(tmp_path: Path) -> None:
    """A total that is greater than the day before's last is none that went on from it."""
    info = definition(0, 103, (253, U32), (0, U32)) + struct.pack("<BII", 0, T0 - 43_200, T0 - 43_200)
    counts = definition(1, 55, (253, U32), (5, U8), (3, U32))
    rows = [struct.pack("<BIBI", 1, T0 + s, 6, n) for s, n in ((0, 100), (43_200, 150), (86_400, 500))]
    _, record = record_of(tmp_path, fit_file(info, counts, *rows))
    assert values(record, "steps") == [100, 50, 500]


def test_where_midnight_is_not_known_a_total_begins_again_where_it_is_less(tmp_path: Path) -> None:
    """Midnight of UTC may be in the person's afternoon."""
    counts = definition(1, 55, (253, U32), (5, U8), (3, U32))
    noon = T0 - T0 % 86_400 + 43_200
    rows = [struct.pack("<BIBI", 1, noon + s, 6, n) for s, n in ((0, 100), (40_000, 150), (50_000, 500), (60_000, 20))]
    tally, record = record_of(tmp_path, fit_file(counts, *rows))
    assert values(record, "steps") == [50, 350, 20]
    assert tally.skipped["a running total from before the file"] == 1


@pytest.mark.parametrize(
    ("message", "fields", "numbers", "metric", "wanted"),
    [
        (211, ((253, U32), (0, U8), (1, U8)), (T0, 52, 50), "resting_heart_rate", [50, 52]),
        (227, ((0, U16), (1, U32)), (31, T0), "stress", [31]),
        (227, ((0, S16), (1, U32)), (-2, T0), "stress", []),
        (269, ((253, U32), (0, U8)), (T0, 96), "spo2", [96]),
        (297, ((253, U32), (0, S16)), (T0, 1525), "respiratory_rate", [15.25]),
        (297, ((253, U32), (0, S16)), (T0, -300), "respiratory_rate", []),
        (371, ((253, U32), (0, U16)), (T0, 45 * 128), "hrv_rmssd", [45]),
        (229, ((0, U32), (2, U16)), (T0, 472), "vo2max", [47.2]),
        (51, ((253, U32), (0, U16), (1, U16)), (T0, 121, 79), "bp_systolic", [121]),
        (308, ((253, U32), (0, U16), (2, U8, 3)), (T0, 60, 61, 62, 255), "heart_rate", [61, 62]),
        (304, ((253, U32), (0, U16), (1, U32, 2)), (T0, 60, 11, 12), "steps", [11, 12]),
        (314, ((253, U32), (0, U16), (1, S8, 2)), (T0, 60, 55, 54), "body_battery", [55, 54]),
        (290, ((253, U32), (0, U16), (1, U16, 2)), (T0, 500, 900, 910), "rr_interval", [900, 910]),
    ],
)
def test_what_else_a_watch_measures(
    message: int, fields: Any, numbers: Any, metric: str, wanted: list[float], tmp_path: Path
) -> None:
    layout = "".join(LAYOUTS[f[1]] * (f[2] if len(f) > 2 else 1) for f in fields)
    _, record = record_of(tmp_path, fit_file(definition(0, message, *fields), struct.pack(f"<B{layout}", 0, *numbers)))
    assert values(record, metric) == wanted
    assert all(start >= FIT + timedelta(seconds=T0) for start in record["start"])


def test_stages_of_sleep_last_until_the_next(tmp_path: Path) -> None:
    levels = definition(0, 275, (253, U32), (0, U8))
    rows = [struct.pack("<BIB", 0, T0 + s, level) for s, level in ((0, 1), (300, 2), (900, 3))]
    event = definition(1, 21, (253, U32), (0, U8), (1, U8)) + struct.pack("<BIBB", 1, T0 + 1500, 74, 1)
    _, record = record_of(tmp_path, fit_file(levels, *rows, event))
    minutes = [(end - start).total_seconds() / 60 for start, end in record.select("start", "end").iter_rows()]
    assert list(zip(record["code"], minutes, strict=True)) == [("awake", 5), ("light", 10), ("deep", 10)]


def test_time_since_switching_on_is_marked(tmp_path: Path) -> None:
    _, record = record_of(tmp_path, fit_file(RECORD, struct.pack("<BIB", 0, 200_000_000, 60)))
    assert record["start"][0].year == 1996
    assert record["quality"].to_list() == [["time_implausible"]]


def test_without_fitdecode_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fitdecode", None)
    with pytest.raises(DataError, match=r"^some\.fit: reading FIT needs fitdecode: pip install 'metapulse\[record\]'$"):
        record_of(tmp_path, fit_file(RECORD, beat(0, 60)))


def test_the_search_for_records_after_damage_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much of a file is none: a small one of which every byte was looked at in vain once took over a second."""
    looks: list[int] = []
    chain = fit_walk.Walk._chain

    def counted(walk: fit_walk.Walk, at: int, stop: int) -> bool:
        looks.append(at)
        return chain(walk, at, stop)

    monkeypatch.setattr(fit_walk.Walk, "_chain", counted)
    monkeypatch.setattr(fit_walk, "SEARCH", 2**10)
    record = b"\x00" + struct.pack("<IB", 1_100_000_000, 60)
    data = fit_file(definition(0, 20, (253, U32), (3, U8)), record, *[b"\x07\x00\x01"] * 2**12, record)
    assert sum(piece.kind == fit_walk.DATA for piece in fit_walk.pieces(data)) >= 1
    assert 2**9 < len(looks) <= 2**10
