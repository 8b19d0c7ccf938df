"""Own data: three formats give the same samples, three kinds work, and bad input is one line that says where."""

import copy
import dataclasses
import os
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metapulse.data import Outline, Source, check_samples, outline
from metapulse.errors import ConfigError, DataError
from metapulse.registry import SOURCES

N = 24
TABLE = {
    "hr": [60.0 + i for i in range(N)],
    "steps": [float(i % 5) for i in range(N)],
    "activity": [("walk", "sit", "run")[i % 3] for i in range(N)],
    "person": [("eve", "bob")[i // 12] for i in range(N)],
    "gadget": [("old", "new")[i // 6 % 2] for i in range(N)],
    "session": [i // 3 for i in range(N)],
}
ROLES = {"y": "activity", "user": "person", "device": "gadget", "group": "session"}


def write(folder, fmt, table, name="own"):
    path = folder / f"{name}.{fmt}"
    if fmt == "npz":
        np.savez(path, **{k: np.array(v) for k, v in table.items()})
    elif fmt == "parquet":
        pq.write_table(pa.table(table), path)
    else:
        header = ",".join(table)
        rows = [",".join("" if v is None else str(v) for v in row) for row in zip(*table.values(), strict=True)]
        path.write_text("\n".join([header, *rows]) + "\n")
    return path


def own(path, **settings):
    return SOURCES.make({"name": "own", "path": str(path), **settings})


def refused(error, call, *needles):
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in str(caught.value)
    for needle in needles:
        assert needle in str(caught.value)


@pytest.mark.parametrize("fmt", ["npz", "parquet", "csv"])
def test_classification_from_every_format(tmp_path, fmt):
    source = own(write(tmp_path, fmt, TABLE), **ROLES)
    assert isinstance(source, Source)
    assert source.task.kind == "classification"
    assert source.task.features == (2,)  # what is left over: hr, steps
    assert source.task.labels == ("run", "sit", "walk")
    assert (source.users, len(source), source.devices) == (2, 4, ("new", "old"))
    assert [(source.client(i).label, source.client(i).device) for i in range(4)] == [
        ("bob", "new"),
        ("bob", "old"),
        ("eve", "new"),
        ("eve", "old"),
    ]
    samples = check_samples(source.samples(3), source.task, "eve")
    assert samples.x.tolist() == [[60.0 + i, float(i % 5)] for i in range(6)]
    assert [source.task.labels[y] for y in samples.y] == TABLE["activity"][:6]
    assert samples.group.tolist() == [0, 0, 0, 1, 1, 1]
    assert list(source.clients_of(1)) == [2, 3]


def test_left_over_columns_keep_the_order_of_the_file(tmp_path):
    names = [f"f{7 * i % 20}" for i in range(20)]
    table = {"y": [0, 1], "user": [1, 2]} | {name: [float(name[1:])] * 2 for name in names}
    assert own(write(tmp_path, "csv", table)).samples(0).x[0].tolist() == [float(name[1:]) for name in names]


@pytest.mark.parametrize("fmt", ["npz", "parquet", "csv"])
def test_regression_with_one_device_and_days(tmp_path, fmt):
    start = datetime(2024, 1, 1)
    table = {
        "a": [float(i) for i in range(N)],
        "y": [2.0 * i for i in range(N)],
        "user": [7 + 3 * (i // 12) for i in range(N)],
        "time": [start + timedelta(hours=3 * i) for i in range(N)],
    }
    if fmt == "npz":
        table["time"] = np.array(table["time"], dtype="datetime64[s]")
    source = own(write(tmp_path, fmt, table), kind="regression", unit="bpm")
    assert (source.task.kind, source.task.outputs, source.task.unit) == ("regression", 1, "bpm")
    assert [source.client(i).label for i in range(2)] == ["7", "10"]
    samples = source.samples(0)
    assert samples.y[:, 0].tolist() == table["y"][:12]
    assert (samples.group - samples.group[0]).tolist() == [0] * 8 + [1] * 4  # eight samples a day


def test_centre_and_scale_are_of_a_regressions_target(tmp_path):
    table = {"a": [float(i) for i in range(N)], "y": [60.0 + i for i in range(N)], "user": [i // 12 for i in range(N)]}
    source = own(write(tmp_path, "npz", table), kind="regression", unit="bpm", centre=70.0, scale=10.0)
    assert source.samples(0).y[:, 0].tolist() == pytest.approx([(60.0 + i - 70.0) / 10.0 for i in range(12)])
    assert source.task.unit == "10 bpm"
    with pytest.raises(ConfigError, match=r"source\.scale = 10\.0: has no meaning for kind = 'classification'"):
        own(tmp_path / "any.npz", scale=10.0)


def test_windows_stored_as_arrays_and_reshaped_columns(tmp_path):
    x = np.random.default_rng(0).normal(size=(10, 3, 4)).astype(np.float32)
    y, user = np.arange(10) % 2, np.repeat([1, 2], 5)
    held = np.arange(10) >= 8
    source = own(write(tmp_path, "npz", {"x": x, "y": y, "user": user, "held": held}), held_out="held")
    assert source.task.features == (3, 4)
    assert np.array_equal(source.samples(1).x, x[5:])
    assert source.samples(1).held_out.tolist() == [False] * 3 + [True] * 2
    flat = own(write(tmp_path, "npz", {"x": x.reshape(10, 12), "y": y, "user": user}, "flat"), shape=[3, 4])
    assert np.array_equal(flat.samples(1).x, x[5:])
    lists = own(write(tmp_path, "parquet", {"x": x.reshape(10, 12).tolist(), "y": y, "user": user}), shape=[3, 4])
    assert np.array_equal(lists.samples(1).x, x[5:])
    refused(ConfigError, lambda: own(tmp_path / "own.npz", shape=[5, 5]).task, "source.shape", "12 values")
    multi = {"x": x, "y": np.stack([y, -y], 1).astype(float), "user": user}
    both = own(write(tmp_path, "npz", multi, "multi"), kind="regression")
    assert both.task.outputs == 2
    assert both.samples(0).y.shape == (5, 2)


@pytest.mark.parametrize("fmt", ["npz", "parquet", "csv"])
def test_forecasting(tmp_path, fmt):
    """Bob's value rises by 2 a minute, Eve's falls by 1: 10 minutes ahead that is 20 and −10; a gap breaks both."""
    minutes = [5.0 * i for i in range(20)] + [300 + 5.0 * i for i in range(20)]
    table = {
        "value": [100 + 2 * m for m in minutes] + [500 - m for m in minutes],
        "user": ["bob"] * 40 + ["eve"] * 40,
        "time": minutes * 2,
    }
    settings = {"kind": "forecasting", "y": "value", "history": 4, "step": 5.0, "horizon": 10.0, "unit": "mg/dL"}
    source = own(write(tmp_path, fmt, table), **settings)
    assert (source.task.features, source.task.outputs, source.task.unit) == ((1, 4), 1, "mg/dL")
    for index, change in enumerate((20.0, -10.0)):
        samples = source.samples(index)
        assert len(samples) == 2 * (20 - 3 - 2)
        assert samples.y[:, 0].tolist() == [change] * len(samples)
        np.testing.assert_allclose(np.diff(samples.x[:, 0], axis=1), change / 2)
    scaled = own(tmp_path / f"own.{fmt}", **settings, centre=100.0, scale=10.0)
    assert scaled.task.unit == "10 mg/dL"
    assert scaled.samples(0).y[:, 0].tolist() == [2.0] * 30
    np.testing.assert_allclose(scaled.samples(0).x, (source.samples(0).x - 100) / 10, rtol=1e-6)


def test_a_description_beside_the_file(tmp_path):
    write(tmp_path, "csv", TABLE)
    lines = ["path = 'own.csv'", *(f"{k} = '{v}'" for k, v in ROLES.items()), "x = ['hr']"]
    (tmp_path / "data.toml").write_text("\n".join(lines))
    by_file, by_folder = own(tmp_path / "data.toml"), own(tmp_path)
    assert by_file.task == by_folder.task
    assert by_file.task.features == (1,)
    assert np.array_equal(by_file.samples(2).x, own(tmp_path / "own.csv", x=["hr"], **ROLES).samples(2).x)
    refused(ConfigError, lambda: own(tmp_path, group="m").task, "source.group", "data.toml")
    (tmp_path / "data.toml").write_text("path = 'own.csv'\nusr = 'person'\n")
    refused(ConfigError, lambda: own(tmp_path).task, "data.toml.usr", "did you mean 'user'?")
    (tmp_path / "data.toml").write_text("path = 'data.toml'\n")
    refused(ConfigError, lambda: own(tmp_path).task, "data.toml.path", ".npz, .parquet, .csv")
    (tmp_path / "data.toml").write_text("path = \n")
    refused(DataError, lambda: own(tmp_path).task, "data.toml", "cannot be read")


def test_a_changed_file_is_read_by_the_next_source(tmp_path):
    """One source gives the same samples for as long as it lives, whatever happens to the file."""
    path = write(tmp_path, "csv", TABLE)
    source = own(path, **ROLES)
    before = source.samples(0).x
    write(tmp_path, "csv", TABLE | {"hr": [0.0] * N})
    os.utime(path, ns=(1, 1))
    assert np.array_equal(source.samples(0).x, before)
    assert own(path, **ROLES).samples(0).x[:, 0].tolist() == [0.0] * 6


def test_a_source_travels_without_its_data(tmp_path):
    source = own(write(tmp_path, "csv", TABLE | {"hr": [float(i) for i in range(N)]}), **ROLES)
    samples = source.samples(1)
    sent = copy.copy(source)  # by __getstate__, as every way to another process
    assert set(vars(sent)) == {f.name for f in dataclasses.fields(source)}
    assert sent == source
    assert np.array_equal(sent.samples(1).x, samples.x)


@pytest.mark.parametrize("fmt", ["npz", "parquet", "csv"])
def test_missing_values_are_refused_or_dropped_and_counted(tmp_path, fmt):
    hole = float("nan") if fmt == "npz" else None
    table = TABLE | {"hr": [hole if i in (3, 17) else 60.0 + i for i in range(N)]}
    path = write(tmp_path, fmt, table)
    refused(DataError, lambda: own(path, **ROLES).task, "2 of 24 samples", "first: sample 4, hr", "drop_nan = true")
    source = own(path, drop_nan=True, **ROLES)
    assert source.dropped == 2
    assert sum(len(source.samples(i)) for i in range(len(source))) == N - 2
    assert source.samples(3).x[:, 0].tolist() == [60.0, 61.0, 62.0, 64.0, 65.0]
    whole = write(tmp_path, fmt, TABLE | {"hr": [float("inf")] * N}, "inf")
    refused(DataError, lambda: own(whole, drop_nan=True, **ROLES).task, "every sample")


def test_somebody_must_be_named(tmp_path):
    path = write(tmp_path, "parquet", TABLE | {"person": [None if i == 5 else "a" for i in range(N)]})
    refused(DataError, lambda: own(path, **ROLES).task, "1 of 24 samples", "first: sample 6, person")


@pytest.mark.parametrize(
    ("change", "settings", "error", "needles"),
    [
        ({}, {"user": "persn"}, ConfigError, ("source.user", "'persn'", "did you mean 'person'?", "hr, steps")),
        ({}, {"x": ["hr", "stesp"]}, ConfigError, ("source.x", "did you mean 'steps'?")),
        ({}, {"y": "label"}, ConfigError, ("source.y", "no such column")),
        ({}, {"y": "activity", "x": ["hr", "activity"]}, ConfigError, ("source.x", "to be predicted")),
        ({}, {"device": "watch"}, ConfigError, ("source.device", "no such column")),
        ({"activity": ["walk"] * N}, {}, DataError, ("activity holds one class only ('walk')",)),
        ({"activity": [0.5, 1.0] * 12}, {}, DataError, ("activity = 0.5", "whole number or text")),
        ({"note": ["hello"] * N}, {}, DataError, ("sample 1", "note = 'hello'", "must be a number")),
        ({}, {"kind": "regression"}, DataError, ("sample 1", "activity = 'walk'", "must be a number")),
        ({}, {"kind": "forecasting", "y": "hr", "group": ""}, ConfigError, ("source.time", "needs a time column")),
        (
            {},
            {"kind": "forecasting", "y": "hr", "group": "", "user": "", "time": "hr"},
            ConfigError,
            ("source.user", "needs a user column"),
        ),
        ({}, {"kind": "forecasting"}, ConfigError, ("source.group", "no meaning")),
        ({}, {"kind": "ranking"}, ConfigError, ("source.kind", "classification, regression, forecasting")),
        ({}, {"history": 0}, ConfigError, ("source.history", "≥ 1")),
    ],
)
def test_bad_descriptions_are_named(tmp_path, change, settings, error, needles):
    path = write(tmp_path, "csv", TABLE | change)
    refused(error, lambda: own(path, **(ROLES | settings)).task, *needles)


def test_paths_that_no_file_can_have_are_one_short_line():
    refused(DataError, lambda: own("x" * 3000).task, "xxx'", "name too long")
    refused(DataError, lambda: own("two\nlines.csv").task, "'two\\nlines.csv'", "no such file")


def test_there_must_be_a_user_column(tmp_path):
    table = {k: v for k, v in TABLE.items() if k != "person"}
    path = write(tmp_path, "csv", table)
    refused(DataError, lambda: own(path, y="activity").task, "source.user is not given, and no column is called 'user'")
    refused(DataError, lambda: own(path, user=next(iter(table))).task, "source.y is not given")


def test_series_too_short(tmp_path):
    table = {"y": [1.0] * 5, "user": ["a"] * 5, "time": [0.0, 5.0, 10.0, 15.0, 20.0]}
    path = write(tmp_path, "csv", table)
    refused(DataError, lambda: own(path, kind="forecasting").task, "no series runs for 145")


@pytest.mark.parametrize(
    ("name", "data", "needles"),
    [
        ("a.csv", b"", ("a.csv: the file is empty",)),
        ("a.csv", b"hr,y,user\n", ("a.csv: holds no rows",)),
        ("a.csv", b"hr,y,user\n1,2\n", ("a.csv: cannot be read", "Expected 3 columns, got 2")),
        ("a.csv", b"hr,hr,user\n1,2,3\n", ("a.csv: column 'hr' is there twice",)),
        ("a.csv", b"hr,y,user\n1,\xff\xfe,3\n", ("a.csv",)),
        ("a.parquet", b"PAR1 nonsense", ("a.parquet: cannot be read",)),
        ("a.npz", b"PK nonsense", ("a.npz: not a readable .npz",)),
        ("a.xlsx", b"x", ("a.xlsx: must be one of .npz, .parquet, .csv",)),
    ],
)
def test_bad_files_are_named(tmp_path, name, data, needles):
    (tmp_path / name).write_bytes(data)
    refused(DataError, lambda: own(tmp_path / name).task, *needles)


def test_no_file_and_unequal_arrays(tmp_path):
    refused(DataError, lambda: own(tmp_path / "absent.csv").task, "source.path leads to", "absent.csv: no such file")
    refused(ConfigError, lambda: SOURCES.make({"name": "own"}).task, "source.path")
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((4, 2)), y=np.zeros(3), user=np.zeros(4))
    refused(DataError, lambda: own(path).task, "user 4, x 4, y 3")
    np.savez(path, x=np.zeros((4, 2)), y=np.zeros(4), user=np.float64(3))
    refused(DataError, lambda: own(path).task, "source.user is not given")
    np.savez(path, x=np.array([{}] * 3, dtype=object))
    refused(DataError, lambda: own(path).task, "not a readable .npz")


def test_real_recordings_as_own_data(data_dir):
    """The phone-and-watch windows described as own data are the windows of their own source."""
    path = data_dir / "spsw_har/spsw_har.npz"
    theirs = SOURCES.make({"name": "spsw_har", "path": str(path)})
    ours = own(path, group="execution")
    assert (len(ours), ours.users, ours.task.features) == (len(theirs), theirs.users, theirs.task.features)
    for index in (0, 7, 45):
        assert ours.client(index).label == theirs.client(index).label
        a, b = ours.samples(index), theirs.samples(index)
        assert np.array_equal(a.x, b.x)
        assert np.array_equal(a.y, b.y)


def test_ids_that_differ_in_blanks_are_one_person_or_an_error(tmp_path):
    people = [("u1", " u1")[i // 12] for i in range(N)]
    path = write(tmp_path, "npz", {**TABLE, "person": people})
    refused(DataError, lambda: own(path, **ROLES).users, "'u1'", "' u1'", "give one person one id")


@pytest.mark.parametrize("role", ["time", "held_out"])
def test_a_column_of_names_is_no_column_of_numbers(tmp_path, role):
    path = tmp_path / "own.csv"
    path.write_text("user,y,x\n" + "".join(f"u{i},{'ab'[i % 2]},{i}\n" for i in range(8)))
    refused(ConfigError, lambda: own(path, **{role: "y"}).samples(0), f"source.{role} = 'y'", "holds text")


@pytest.mark.parametrize(
    "settings",
    [
        {"y": "activity", "x": ["hr", "steps"]},
        {"y": "activity", "x": ["hr", "steps"], "shape": [1, 2]},
        {"kind": "regression", "y": "hr", "x": ["steps"]},
        {"kind": "forecasting", "y": "hr", "time": "t", "history": 2, "step": 1.0, "horizon": 1.0, "max_gap": 2.0},
    ],
    ids=["vectors", "windows", "regression", "forecasting"],
)
def test_what_settings_tell_of_the_task_is_so(tmp_path, settings):
    told = outline(own(tmp_path / "none.csv", **settings))
    table = {**TABLE, "t": [float(i) for i in range(N)]}
    task = own(write(tmp_path, "csv", table), user="person", **settings).task
    assert told == Outline(task.kind, len(task.features))
