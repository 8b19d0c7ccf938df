"""The UCI HAR importer on the published layout, made small: folder, zip, zip in a zip, and bad rows."""

import io
import zipfile

import numpy as np
import pytest

from metapulse.errors import DataError
from metapulse.registry import SOURCES
from metapulse.sim.sources.catalogue import import_dataset

FEATURES = ["tBodyAcc-mean()-X", "tBodyAcc-mean()-Y", "fBodyAcc-mean()-X", "angle(X,gravityMean)"]
TRAIN = [(1, 5, [0.1, -0.2, 0.3, 1.0]), (1, 5, [0.2, 0.0, 0.0, -1.0]), (1, 4, [0.3, 0, 0, 0]), (3, 1, [0.4, 0, 0, 0])]
TEST = [(2, 6, [0.5, 0, 0, 0]), (2, 5, [0.6, 0, 0, 0])]


def layout(**changed):
    files = {"features.txt": "".join(f"{i} {name}\n" for i, name in enumerate(FEATURES, 1)), "README.txt": "hello"}
    for part, rows in (("train", TRAIN), ("test", TEST)):
        files[f"{part}/X_{part}.txt"] = "".join(
            "  " + " ".join(f"{v: .7e}".replace("e-", "e-0").replace("e+", "e+0") for v in x) + "\n" for _, _, x in rows
        )
        files[f"{part}/y_{part}.txt"] = "".join(f"{y}\n" for _, y, _ in rows)
        files[f"{part}/subject_{part}.txt"] = "".join(f"{user}\n" for user, _, _ in rows)
        files[f"{part}/Inertial Signals/body_acc_x_{part}.txt"] = "1 2 3\n"
    files |= {name.replace("__", "/") + ".txt": text for name, text in changed.items()}
    return {f"UCI HAR Dataset/{name}": text for name, text in files.items() if text is not None}


def folder(base, files):
    for name, text in files.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(text)
    return base


def packed(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_folder_zip_and_nested_zip_agree(tmp_path):
    (tmp_path / "one.zip").write_bytes(packed(layout() | {"__MACOSX/._X_train.txt": "junk"}))
    (tmp_path / "two.zip").write_bytes(packed({"UCI HAR Dataset.zip": packed(layout()), "UCI HAR Dataset.names": "n"}))
    folder(tmp_path / "f", layout())
    for path in ("f", "one.zip", "two.zip"):
        data = np.load(import_dataset("uci_har", tmp_path / path, tmp_path / "cache"), allow_pickle=False)
        np.testing.assert_allclose(data["x"], np.array([x for _, _, x in TRAIN + TEST]), rtol=1e-6)
        assert data["y"].tolist() == [4, 4, 3, 0, 5, 4]
        assert data["user"].tolist() == [1, 1, 1, 3, 2, 2]
        assert data["part"].tolist() == [0, 0, 0, 0, 1, 1]
        assert data["feature_names"].tolist() == FEATURES
    source = SOURCES.make({"name": "uci_har", "path": str(tmp_path / "cache/uci_har.npz")})
    assert source.task.features == (2,)  # the two of the time domain
    assert [source.client(i).label for i in range(3)] == ["1", "2", "3"]
    assert source.samples(0).group.tolist() == [0, 0, 1]
    whole = SOURCES.make({"name": "uci_har", "path": str(tmp_path / "cache/uci_har.npz"), "domain": "all"})
    assert whole.task.features == (4,)


def test_the_prepared_copy_has_the_published_time_domain_features(data_dir):
    """The published file names 561 features, 265 of them starting with t; the copy holds those."""
    source = SOURCES.make({"name": "uci_har", "path": str(data_dir / "uci_har/uci_har.npz")})
    assert source.task.features == (265,)
    whole = SOURCES.make({"name": "uci_har", "path": str(data_dir / "uci_har/uci_har.npz"), "domain": "all"})
    with pytest.raises(DataError, match=r"source\.domain = 'all'.*265"):
        whole.samples(0)


@pytest.mark.parametrize(
    ("changed", "needles"),
    [
        ({"train__y_train": "5\n5\n7\n1\n"}, ("y_train.txt: row 3", "label = '7'", "1, 2, 3, 4, 5, 6")),
        ({"train__y_train": "5\n5\n4\n"}, ("hold 4, 3 and 4 rows",)),
        ({"test__subject_test": "2\nx\n"}, ("subject_test.txt: row 2", "'x'")),
        ({"test__X_test": " 0.1 0.2 0.3 0.4\n 0.1 0.2 0.3\n"}, ("X_test.txt: row 2: 3 values", "names 4")),
        ({"test__X_test": " 0.1 0.2 0.3 nan\n 0.1 0.2 0.3 0\n"}, ("X_test.txt: row 1", "from -1 to 1")),
        ({"test__X_test": " 0.1 0.2 0.3 0\n 0.1 0.2 0.3 7\n"}, ("X_test.txt: row 2", "from -1 to 1")),
        ({"test__X_test": None}, ("lacks X_test.txt",)),
        ({"features": None}, ("lacks features.txt",)),
        ({"features": "tBodyAcc\n"}, ("features.txt: row 1",)),
    ],
)
def test_bad_files_are_named(tmp_path, changed, needles):
    with pytest.raises(DataError) as caught:
        import_dataset("uci_har", folder(tmp_path / "f", layout(**changed)), tmp_path / "cache")
    assert "\n" not in str(caught.value)
    for needle in needles:
        assert needle in str(caught.value)
    assert not (tmp_path / "cache").exists()
