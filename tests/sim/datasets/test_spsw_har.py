"""The phone-and-watch importer: against the independent copy on the real zip, and on recordings made by hand."""

import zipfile

import numpy as np
import pytest

from metapulse.errors import DataError
from metapulse.registry import SOURCES
from metapulse.sim.sources.catalogue import import_dataset

HEADER = "x_acc,y_acc,z_acc,x_gyro,y_gyro,z_gyro,timestamp,label\n"


def recording(rows=200, label="WALKING", step=10.0, start=1_657_000_000_000):
    """At time t ms the channels are t, 2 t, … 6 t thousandths."""
    lines = []
    for i in range(rows):
        t = int(i * step)
        lines.append(",".join(str(k * t / 1000) for k in range(1, 7)) + f",{start + t},{label}\n")
    return HEADER + "".join(lines)


@pytest.fixture
def folder(tmp_path):
    """Two people, two devices, one execution each; person 12 has two."""
    base = tmp_path / "DATA"
    for name in ("s03/s03_01_sp", "s03/s03_01_sw", "s12/s12_01_sp", "s12/s12_01_sw", "s12/s12_02_sw"):
        file = base / f"{name}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        start = 1_657_000_000_000 + 60_000 * ("_02_" in name)  # executions follow each other
        file.write_text(recording(label="TURNING" if "s12" in name else "SEATED", start=start))
    (base / "subjects_info.csv").write_text("subject_id,age\ns03,1\n")
    return base


def test_the_official_zip_gives_the_independent_windows(data_dir, tmp_path):
    """Every one of the 4383 windows, labels, executions and start times; values to float32 rounding."""
    path = import_dataset("spsw_har", data_dir / "spsw_har/sp-sw-har-dataset-DATA.zip", tmp_path)
    ours, theirs = (np.load(p, allow_pickle=False) for p in (path, data_dir / "spsw_har/spsw_har.npz"))
    keys = ("user", "device", "execution", "t0_ms")
    a, b = (np.lexsort([z[k] for k in keys]) for z in (ours, theirs))
    for key in (*keys, "y"):
        assert np.array_equal(ours[key][a], theirs[key][b]), key
    for key in ("label_names", "channel_names"):
        assert ours[key].tolist() == theirs[key].tolist()
    # Both round to float32; the largest reading is 56 m/s², half a unit in the last place 1.9e-6, once for each.
    np.testing.assert_allclose(ours["x"][a], theirs["x"][b], rtol=0, atol=4e-6)
    source = SOURCES.make({"name": "spsw_har", "path": str(path)})
    assert (source.users, len(source), source.devices) == (23, 46, ("phone", "watch"))


def test_windows_made_by_hand(folder, tmp_path):
    path = import_dataset("spsw_har", folder, tmp_path / "cache")
    source = SOURCES.make({"name": "spsw_har", "path": str(path)})
    assert [source.client(i).label for i in range(len(source))] == ["3", "3", "12", "12"]
    samples = source.samples(3)  # person 12's watch: 1.99 s is 100 readings on the grid, windows at 0 and 0.64 s
    assert samples.group.tolist() == [1, 1, 2, 2]
    assert samples.y.tolist() == [source.task.labels.index("TURNING")] * 4
    grid = np.array([0.0, 640.0])[:, None] + 20.0 * np.arange(64)
    for channel in range(6):
        np.testing.assert_allclose(samples.x[:2, channel], (channel + 1) * grid / 1000, atol=1e-5)
    assert samples.time is not None
    np.testing.assert_allclose(samples.time - 1_657_000_000, [0.0, 0.64, 60.0, 60.64], atol=1e-6)


def test_zip_and_folder_agree_and_progress_is_told(folder, tmp_path):
    archive = tmp_path / "official.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for file in sorted(folder.rglob("*.csv")):
            out.write(file, file.relative_to(folder.parent))
    seen = []
    first = import_dataset("spsw_har", archive, tmp_path / "c1", lambda done, total: seen.append((done, total)))
    second = import_dataset("spsw_har", folder, tmp_path / "c2")
    a, b = (np.load(p, allow_pickle=False) for p in (first, second))
    assert all(np.array_equal(a[k], b[k]) for k in a.files)
    assert seen == [(i, 5) for i in range(1, 6)]


@pytest.mark.parametrize(
    ("change", "needles"),
    [
        (lambda t: t.replace("WALKING", "RUNNING", 1), ("row 2", "label = 'RUNNING'", "SEATED, STANDING_UP")),
        (lambda t: t.replace("x_gyro", "gyro_x"), ("lacks column x_gyro",)),
        (lambda t: t[: len(t) // 2], ("row", "fields; the header has 8")),
        (lambda t: t.replace("0.1,0.2,", "nan,0.2,", 1), ("row 12", "x_acc = 'nan'", "number from")),
        (lambda t: t.replace(",1657000000010,", ",9657000000010,"), ("timestamps span", "at most 1")),
        (lambda t: HEADER, ("has a header but no rows",)),
        (lambda t: "", ("lacks column", "empty")),
    ],
)
def test_a_bad_recording_is_named_and_nothing_is_written(tmp_path, change, needles):
    file = tmp_path / "DATA/s01/s01_01_sw.csv"
    file.parent.mkdir(parents=True)
    file.write_text(change(recording()))
    with pytest.raises(DataError) as caught:
        import_dataset("spsw_har", tmp_path / "DATA", tmp_path / "cache")
    assert "\n" not in str(caught.value)
    for needle in ("s01_01_sw.csv", *needles):
        assert needle in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_no_recording_and_the_same_twice(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no recording sXX_YY_sp\.csv"):
        import_dataset("spsw_har", tmp_path / "empty", tmp_path / "cache")
    (folder / "copy").mkdir()
    (folder / "copy/s03_01_sp.csv").write_text(recording())
    with pytest.raises(DataError, match="are the same recording"):
        import_dataset("spsw_har", folder, tmp_path / "cache")
