"""What people bring in a table: names stay text, days are the person's own, and what is left out is said."""

import os
import subprocess
import sys
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from metapulse.episodes import EpisodePlan
from metapulse.errors import ConfigError, DataError
from metapulse.registry import SOURCES

ROWS = [(f"w{i}", "ab"[i % 2], night, 60.0 + i + 10 * (k % 2), ("up", "down")[k % 2])
        for i in range(4) for night in range(2) for k in range(4)]  # fmt: skip
HEAD = ("person", "watch", "night", "pulse", "state")
ROLES = {"user": "person", "device": "watch", "group": "night", "y": "state"}


def csv(path, rows, head=HEAD, separator=",", encoding="utf-8"):
    path.write_text("\n".join(separator.join(map(str, row)) for row in (head, *rows)) + "\n", encoding=encoding)
    return path


def parquet(path, **changes):
    columns = {name: [row[i] for row in ROWS] for i, name in enumerate(HEAD)}
    pq.write_table(pa.table(columns | changes), path)
    return path


def own(path, **settings):
    return SOURCES.make({"name": "own", "path": str(path), **(settings or ROLES)})


def labels(source):
    return sorted({source.client(i).label for i in range(len(source))})


def renamed(name):
    return [(name(int(row[0][1:])), *row[1:]) for row in ROWS]


def refused(error, source, *needles):
    with pytest.raises(error) as caught:
        _ = source.task
    assert "\n" not in str(caught.value)
    for needle in needles:
        assert needle in str(caught.value)


@pytest.mark.parametrize(
    "ids",
    [
        ["001", "002", "1", "2"],
        [str(2**63 + 1000 * i) for i in range(4)],
        ["7", "7.0", "07", "7e0"],
        ["NA", "null", "true", "2024-03-01"],
        ["José", "Jose", "u1", "U1"],
    ],
)
def test_names_are_the_text_in_the_file(tmp_path, ids):
    source = own(csv(tmp_path / "a.csv", renamed(lambda i: ids[i])))
    assert source.users == 4
    assert labels(source) == sorted(ids)


def test_names_of_devices_groups_and_classes_are_text_too(tmp_path):
    rows = [(u, {"a": "007", "b": "7"}[d], f"0{n}", p, {"up": "01", "down": "10"}[s]) for u, d, n, p, s in ROWS]
    source = own(csv(tmp_path / "a.csv", rows))
    assert source.devices == ("007", "7")
    assert source.task.labels == ("01", "10")


@pytest.mark.parametrize("ids", [[10, 9, 8, 7], [2**63 + 1 + i for i in range(4)], [7.0, 8.0, 9.0, 10.0]])
@pytest.mark.parametrize("fmt", ["npz", "parquet"])
def test_whole_numbers_are_named_by_their_digits_and_ordered_by_value(tmp_path, ids, fmt):
    people = np.array([ids[int(row[0][1:])] for row in ROWS])
    if fmt == "parquet":
        path = parquet(tmp_path / "a.parquet", person=people)
    else:
        path = tmp_path / "a.npz"
        arrays = {name: np.array([row[i] for row in ROWS]) for i, name in enumerate(HEAD)}
        np.savez(path, **(arrays | {"person": people}))
    source = own(path)
    assert list(dict.fromkeys(source.client(i).label for i in range(len(source)))) == [str(int(v)) for v in sorted(ids)]


def test_ids_that_a_float_cannot_hold_are_refused(tmp_path):
    people = [float(2**60 + int(row[0][1:])) for row in ROWS]
    refused(DataError, own(parquet(tmp_path / "a.parquet", person=people)), "person", "2^53")


@pytest.mark.parametrize(
    ("column", "spell", "key"),
    [
        (0, lambda v: " w1" if v == "w0" else v, "give one person one id"),
        (0, lambda v: {"w0": "Jose\u0301", "w1": "José"}.get(v, v), "give one person one id"),
        (1, lambda v: {"a": "Watch", "b": "watch"}[v], "source.device"),
        (2, lambda v: {0: "1st", 1: "1 st"}[v], "source.group"),
    ],
)
def test_names_that_look_alike_are_refused(tmp_path, column, spell, key):
    rows = [(*row[:column], spell(row[column]), *row[column + 1 :]) for row in ROWS]
    refused(DataError, own(csv(tmp_path / "a.csv", rows)), key, "differ")


@pytest.mark.parametrize("other", ["Up", " up", "up ", "ＵＰ"])
def test_spellings_of_a_class_are_refused(tmp_path, other):
    rows = [(*row[:4], other if i == 1 else row[4]) for i, row in enumerate(ROWS)]
    refused(DataError, own(csv(tmp_path / "a.csv", rows)), "source.y", repr(other), "differ by")


def test_one_number_written_in_two_ways_is_refused(tmp_path):
    rows = [(*row[:4], ("1", "1.0", "0")[i % 3]) for i, row in enumerate(ROWS)]
    refused(DataError, own(csv(tmp_path / "a.csv", rows)), "state writes one number in several ways")


def test_a_word_for_missing_among_numbered_classes_is_missing_and_a_class_among_words(tmp_path):
    rows = [(*row[:4], "NA" if i == 5 else i % 2) for i, row in enumerate(ROWS)]
    refused(DataError, own(csv(tmp_path / "a.csv", rows)), "1 of 32 samples", "sample 6, state")
    words = [(*row[:4], "NA" if i == 5 else row[4]) for i, row in enumerate(ROWS)]
    assert own(csv(tmp_path / "b.csv", words)).task.labels == ("NA", "down", "up")


def test_stated_classes_number_the_labels_and_must_hold_them_all(tmp_path):
    path = csv(tmp_path / "a.csv", ROWS)
    source = own(path, **ROLES, classes=["up", "asleep", "down"])
    assert source.task.labels == ("up", "asleep", "down")
    assert source.samples(0).y.tolist() == [0, 2] * 4
    assert source.task.names == ("pulse",)
    refused(ConfigError, own(path, **ROLES, classes=["up", "asleep"]), "source.classes", "'down'")
    one = csv(tmp_path / "b.csv", [row for row in ROWS if row[4] == "up"])
    assert own(one, **ROLES, classes=["up", "down"]).task.outputs == 2
    with pytest.raises(ConfigError, match=r"source\.classes.*each once"):
        own(path, **ROLES, classes=["up", "up"])


# Forms of a file


def test_semicolons_with_decimal_commas_and_tabs_are_read(tmp_path):
    expected = own(csv(tmp_path / "a.csv", [(*r[:3], f"{r[3]:.2f}", r[4]) for r in ROWS])).samples(1).x
    commas = [(*r[:3], f"{r[3]:.2f}".replace(".", ","), r[4]) for r in ROWS]
    np.testing.assert_array_equal(own(csv(tmp_path / "b.csv", commas, separator=";")).samples(1).x, expected)
    np.testing.assert_array_equal(own(csv(tmp_path / "c.csv", ROWS, separator="\t")).samples(1).x, expected)
    np.testing.assert_array_equal(own(csv(tmp_path / "d.csv", ROWS, encoding="utf-8-sig")).samples(1).x, expected)


def test_a_comma_that_could_separate_thousands_is_refused(tmp_path):
    rows = [(*r[:3], f"1,{int(r[3]):03}", r[4]) for r in ROWS]
    refused(DataError, own(csv(tmp_path / "a.csv", rows, separator=";")), "pulse = '1,060'", "thousands")


@pytest.mark.parametrize(
    ("encoding", "said"), [("utf-16", "UTF-16"), ("utf-16-le", "UTF-16"), ("latin-1", "line 10 is not UTF-8")]
)
def test_other_encodings_are_named(tmp_path, encoding, said):
    path = csv(tmp_path / "a.csv", renamed(lambda i: ("w0", "José", "w2", "w3")[i]), encoding=encoding)
    refused(DataError, own(path), said, "UTF-8")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    people = np.array([row[0].encode() + b"\xe9" for row in ROWS])
    np.savez(tmp_path / "a.npz", person=people, state=np.arange(32) % 2, x=np.zeros((32, 1)))
    refused(DataError, own(tmp_path / "a.npz", user="person", y="state"), "person", "not UTF-8")
    refused(DataError, own(parquet(tmp_path / "a.parquet", person=people.tolist())), "person", "binary")


def test_decimals_and_unsigned_numbers_are_numbers_and_text_is_named(tmp_path):
    pulse = [row[3] for row in ROWS]
    plain = own(parquet(tmp_path / "a.parquet")).samples(1).x
    decimals = own(parquet(tmp_path / "b.parquet", pulse=[Decimal(f"{v:.2f}") for v in pulse]))
    np.testing.assert_array_equal(decimals.samples(1).x, plain)
    unsigned = own(parquet(tmp_path / "c.parquet", pulse=pa.array([int(v) for v in pulse], pa.uint64())))
    np.testing.assert_array_equal(unsigned.samples(1).x, plain)
    text = own(parquet(tmp_path / "d.parquet", pulse=[f"{v:.2f}" for v in pulse]))
    refused(DataError, text, "pulse is stored as text ('60.00')")
    length = own(parquet(tmp_path / "e.parquet", pulse=pa.array([timedelta(seconds=v) for v in pulse])))
    refused(DataError, length, "pulse", "stored as duration")


@pytest.mark.parametrize(
    ("role", "key"),
    [("person", "source.user"), ("watch", "source.device"), ("night", "source.group"), ("state", "source.y")],
)
def test_two_columns_in_one_role_are_refused_with_their_shape(tmp_path, role, key):
    arrays = {name: np.array([row[i] for row in ROWS]) for i, name in enumerate(HEAD)}
    np.savez(tmp_path / "a.npz", **(arrays | {role: np.stack([arrays[role]] * 2, 1)}))
    refused(ConfigError, own(tmp_path / "a.npz"), key, "(32, 2)")


# Time


def series(folder, fmt, stamps):
    table = {"user": ["eve"] * len(stamps), "time": stamps, "value": [100.0 + i for i in range(len(stamps))]}
    if fmt == "parquet":
        pq.write_table(pa.table(table), folder / "a.parquet")
    else:
        csv(folder / "a.csv", zip(*table.values(), strict=True), head=tuple(table))
    return own(folder / f"a.{fmt}", kind="forecasting", y="value", history=2, step=60.0, horizon=60.0, max_gap=90.0)


WALL = [datetime(2024, 3, 4, 20) + timedelta(hours=i) for i in range(12)]


def days(source):
    return (source.samples(0).group - source.samples(0).group[0]).tolist()


@pytest.mark.parametrize(
    "form", ["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.123456", "%Y-%m-%dT%H:%M:%S.123456789"]
)
@pytest.mark.parametrize("offset", ["", "-08:00", "+0530", " +01"])
def test_stamps_in_a_csv_are_the_clock_on_the_wall(tmp_path, form, offset):
    naive = series(tmp_path, "parquet", WALL)
    assert days(naive) == [0] * 2 + [1] * 6  # windows of 23:00 and earlier, and of the next day
    assert days(series(tmp_path, "csv", [t.strftime(form) + offset for t in WALL])) == days(naive)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "America/Los_Angeles", "Asia/Kathmandu"])
def test_stamps_in_parquet_are_the_clock_on_the_wall(tmp_path, unit, zone):
    stamps = pa.array(WALL, pa.timestamp("us")).cast(pa.timestamp(unit))
    stamps = pc.assume_timezone(stamps, zone) if zone else stamps
    assert days(series(tmp_path, "parquet", stamps)) == [0] * 2 + [1] * 6


def test_stamps_that_tell_no_day_of_the_person_are_refused(tmp_path):
    refused(DataError, series(tmp_path, "csv", [f"{t:%Y-%m-%dT%H:%M}Z" for t in WALL]), "sample 1", "in UTC")
    utc = pc.assume_timezone(pa.array(WALL, pa.timestamp("us")), "UTC")
    refused(DataError, series(tmp_path, "parquet", utc), "'time'", "in UTC")


@pytest.mark.parametrize("form", ["%d.%m.%Y %H:%M", "%m/%d/%Y", "%H:%M"])
def test_other_forms_of_time_are_told_which_are_read(tmp_path, form):
    refused(DataError, series(tmp_path, "csv", [t.strftime(form) for t in WALL]), "sample 1: time", "2024-03-01T08:00")


def test_a_stamp_that_does_not_exist_is_refused(tmp_path):
    refused(DataError, series(tmp_path, "csv", ["2024-02-30 08:00"] * 12), "time")


def test_forward_goes_by_time_whatever_the_order_of_rows(tmp_path):
    order = np.random.default_rng(0).permutation(40)
    rows = [("eve", 10 * i, 10 * i, i % 2) for i in order.tolist()]
    source = own(csv(tmp_path / "a.csv", rows, ("user", "time", "minute", "y")), x=["minute"])
    samples = source.samples(0)
    assert samples.x[:, 0].tolist() == [10.0 * i for i in range(40)]
    cut = EpisodePlan("forward", 0).testing(samples, source.task, np.random.default_rng(0))
    for label in (0, 1):
        before, after = (samples.x[rows][samples.y[rows] == label] for rows in (cut.support, cut.query))
        assert before.max() < after.min()


# What becomes a feature, and what is said


def test_row_numbers_and_dates_are_no_features_unless_named(tmp_path):
    n = len(ROWS)
    extra = {"__index_level_0__": [3 * i for i in range(n)], "row": list(range(1, n + 1)), "taken": WALL * 2 + WALL[:8]}
    source = own(parquet(tmp_path / "a.parquet", **extra))
    assert source.task.features == (1,)
    said = " | ".join(source.remarks())
    assert "inputs: pulse" in said
    for name, why in {"__index_level_0__": "row numbers", "row": "row numbers", "taken": "dates"}.items():
        assert f"column {name!r} is not used: {why}" in said
    assert own(tmp_path / "a.parquet", **ROLES, x=["pulse", "taken"]).task.features == (2,)


@pytest.mark.parametrize("head", ["", "Unnamed: 0", "n"])
def test_the_index_that_a_frame_leaves_in_a_csv(tmp_path, head):
    rows = [(i, *row, row[3] + 1) for i, row in enumerate(ROWS)]
    source = own(csv(tmp_path / "a.csv", rows, (head, *HEAD, "sway")))
    assert source.task.features == (2,)
    assert any(f"column {head!r} is not used: row numbers" in line for line in source.remarks())


def test_dropped_rows_are_counted_by_person_and_class(tmp_path):
    hole = [(*r[:3], "" if r[0] == "w3" or i == 0 else r[3], r[4]) for i, r in enumerate(ROWS)]
    source = own(csv(tmp_path / "a.csv", hole), **ROLES, drop_nan=True)
    assert source.users == 3
    said = " | ".join(source.remarks())
    assert "9 of 32 rows left out" in said
    assert "of 2 people" in said
    assert "1 person left out altogether: w3" in said
    assert "down 4 of 16, up 5 of 16" in said


def test_series_without_a_window_are_counted(tmp_path):
    rows = [("eve", 5.0 * i, 1.0 * i) for i in range(60)] + [("bob", 5.0 * i, 1.0) for i in range(3)]
    source = own(csv(tmp_path / "a.csv", rows, ("user", "time", "y")), kind="forecasting")
    assert len(source) == 1
    assert any("1 series left out" in line for line in source.remarks())


def test_files_are_utf_8_whatever_the_locale(tmp_path):
    csv(tmp_path / "a.csv", renamed(lambda i: ("w0", "José", "w2", "w3")[i]))
    settings = {"name": "own", "path": "a.csv", "user": "person", "x": ["pulse"], "y": "state"}
    code = f"from metapulse.registry import SOURCES; print(ascii(SOURCES.make({settings}).client(0).label))"
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONPATH": str(Path.cwd())}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == ascii("José")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_a_number_that_is_infinite_in_single_precision_is_refused_with_its_place_or_dropped(tmp_path, kind):
    rows = [list(row) for row in ROWS]
    rows[5][3] = 1e300  # of column "pulse": an input of a class, a target of a regression
    head, roles = (HEAD, ROLES) if kind == "classification" else (HEAD[:4], {**ROLES, "y": "pulse", "x": ["level"]})
    if kind == "regression":
        head, rows = (*HEAD[:4], "level"), [[*row[:4], i] for i, row in enumerate(rows)]
    settings = {**roles, "kind": kind}
    path = csv(tmp_path / "t.csv", rows, head)
    refused(DataError, own(path, **settings), "1 of 32 samples", "sample 6, pulse = 1e+300", "drop_nan")
    dropping = own(path, **settings, drop_nan=True)
    assert dropping.dropped == 1
    assert sum(len(dropping.samples(i)) for i in range(len(dropping))) == len(rows) - 1
    assert any(
        "1 of 32 rows left out: missing or infinite values, or such beyond" in line for line in dropping.remarks()
    )
