"""The glucose importer: both layouts, the independent copy written out and read back, and bad rows."""

import zipfile
from datetime import datetime, timedelta

import numpy as np
import pytest

from metapulse.errors import DataError
from metapulse.registry import SOURCES
from metapulse.sim.importers.compact import read_npz
from metapulse.sim.sources.catalogue import import_dataset

EPOCH = datetime(1970, 1, 1)


def test_one_file_of_everybody(tmp_path):
    file = tmp_path / "cgm.csv"
    file.write_text(
        "user,dataset,mg_dl,time\n"
        "b,S2,100,2024-01-01 00:05:59\n"
        "b,S2,110,2024-01-01T00:00\n"
        "a,S1,90.5,1970-01-02 00:00:00\n"
        "b,S2,120,2024-01-01 00:05:00+01:00\n"  # the clock on the wall, and the same minute again
    )
    data = np.load(import_dataset("cgm_open", file, tmp_path / "c"), allow_pickle=False)
    assert data["dataset_names"].tolist() == ["S1", "S2"]
    assert data["user_names"].tolist() == ["a", "b"]
    midnight = (datetime(2024, 1, 1) - EPOCH) // timedelta(minutes=1)
    assert data["t_min"].tolist() == [1440, midnight, midnight + 5]
    assert data["mg_dl"].tolist() == [90.5, 110, 110]  # the mean of 100 and 120
    assert data["dataset"].tolist() == data["user"].tolist() == [0, 1, 1]


def test_a_collection_of_studies_with_sensors(tmp_path):
    """Four hours of a straight line per person: y is slope · horizon everywhere."""
    for study, person, slope in (("AZT1D", "Subject 1", 1), ("AZT1D", "Subject 2", 2), ("UOM", "P1", -1)):
        folder = tmp_path / "in" / study / f"{study}-extracted-glucose-files"
        folder.mkdir(parents=True, exist_ok=True)
        rows = [f"{EPOCH + timedelta(days=20_000, minutes=5 * i)},{200 + slope * i}\n" for i in range(49)]
        (folder / f"{person}.csv").write_text("timestamp,glucose_value_mg_dl\n" + "".join(rows))
    (tmp_path / "in/AZT1D/AZT1D-metadata.csv").write_text(
        "person_id,age,CGM_type\nSubject 1,65,Dexcom G6\nSubject 2,7,\n"
    )
    (tmp_path / "in/AZT1D/README.md").write_text("text")
    (tmp_path / "in/UOM/UOM-extracted-glucose-files/P1.csv").rename(tmp_path / "P1.csv")
    with zipfile.ZipFile(tmp_path / "in/UOM/UOM-all.zip", "w") as archive:  # some studies come as a zip
        archive.write(tmp_path / "P1.csv", "files/P1.csv")
    path = import_dataset("cgm_open", tmp_path / "in", tmp_path / "c")
    source = SOURCES.make({"name": "cgm_open", "path": str(path), "target_scale": 1.0})
    assert [(source.client(i).label, source.client(i).device) for i in range(3)] == [
        ("AZT1D/Subject 1", "Dexcom G6"),
        ("AZT1D/Subject 2", "AZT1D"),
        ("UOM/P1", "UOM"),
    ]
    assert source.task.unit == "mg/dL"
    for index, slope in enumerate((1, 2, -1)):
        samples = source.samples(index)
        assert len(samples) == 49 - 23 - 6
        np.testing.assert_allclose(samples.y, slope * 6.0, atol=1e-4)
        np.testing.assert_allclose(np.diff(samples.x[:, 0], axis=1), slope / 50, atol=1e-6)


def test_the_independent_copy_written_out_reads_back(data_dir, tmp_path):
    """Three studies of the prepared copy, written as the collection ships them, give the same windows and sensors."""
    stored = read_npz(data_dir / "cgm_open/cgm_open.npz")
    names = ("BIGIDEAs", "D1NAMO", "T1D-UOM")
    stamps = np.datetime_as_string(stored["t_min"].astype("datetime64[m]"))
    for study in names:
        code = stored["dataset_names"].tolist().index(study)
        for person in np.unique(stored["user"][stored["dataset"] == code])[:4]:
            rows = np.flatnonzero((stored["dataset"] == code) & (stored["user"] == person))[:3000]
            file = tmp_path / f"in/{study}/Extracted-glucose-files/{stored['user_names'][person]}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            lines = [f"{stamps[r].replace('T', ' ')}:00,{stored['mg_dl'][r]}\n" for r in rows]
            file.write_text("timestamp,glucose_value_mg_dl\n" + "".join(lines))
    (tmp_path / "in/participants.csv").write_bytes((data_dir / "cgm_open/participants.csv").read_bytes())
    path = import_dataset("cgm_open", tmp_path / "in", tmp_path / "c")
    ours = SOURCES.make({"name": "cgm_open", "path": str(path)})
    whole = SOURCES.make({"name": "cgm_open", "path": str(data_dir / "cgm_open/cgm_open.npz")})
    theirs = {whole.client(i).label: i for i in range(len(whole))}
    short = 0
    for index in range(len(ours)):
        who = ours.client(index)
        other = theirs[who.label]
        assert whole.client(other).device == who.device
        a, b = ours.samples(index), whole.samples(other)
        if len(a) == len(b) < 1000:
            assert np.array_equal(a.x, b.x)
            assert np.array_equal(a.y, b.y)
            assert np.array_equal(a.group, b.group)
            short += 1
    assert len(ours) == 12
    assert short >= 3  # the D1NAMO people have a few days each


def test_sensors_beside_one_file(tmp_path):
    rows = [f"s,{5 * i},{100 + i}\n" for i in range(60)]
    (tmp_path / "cgm.csv").write_text("user,t_min,mg_dl\n" + "".join(rows))
    (tmp_path / "participants.csv").write_text("dataset,person_id,CGM_type\ncgm,s,Dexcom G4\n")
    path = import_dataset("cgm_open", tmp_path / "cgm.csv", tmp_path / "c")
    source = SOURCES.make({"name": "cgm_open", "path": str(path)})
    assert (source.client(0).label, source.client(0).device) == ("cgm/s", "Dexcom G4")


@pytest.mark.parametrize(
    ("text", "needles"),
    [
        ("user,time,mg_dl\na,2024-13-01 00:00,100\n", ("row 2", "time = '2024-13-01 00:00'", "2024-01-31")),
        ("user,time,mg_dl\na,2024-01-01 00:00,100\na,,100\n", ("row 3", "time = ''")),
        ("user,time,mg_dl\na,1950-01-01 00:00,100\n", ("row 2", "time = '1950")),
        ("user,t_min,mg_dl\na,5,Low\n", ("row 2", "mg_dl = 'Low'", "from 1 to 1000")),
        ("user,t_min,mg_dl\na,5,nan\n", ("row 2", "mg_dl = 'nan'")),
        ("user,t_min,mg_dl\na,5,5000\n", ("row 2", "from 1 to 1000")),
        ("user,t_min,mg_dl\na,5,100\n,10,100\n", ("row 3", "user is empty")),
        ("user,mg_dl\na,5\n", ("lacks column t_min, time or timestamp",)),
        ("who,t_min,mg_dl\na,5,100\n", ("lacks column user",)),
        ("user,t_min,mg_dl\na,5\n", ("row 2: 2 fields",)),
    ],
)
def test_bad_files_are_named(tmp_path, text, needles):
    (tmp_path / "cgm.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        import_dataset("cgm_open", tmp_path / "cgm.csv", tmp_path / "c")
    assert "\n" not in str(caught.value)
    for needle in ("cgm.csv", *needles):
        assert needle in str(caught.value)
    assert not (tmp_path / "c").exists()


def test_a_folder_without_people(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/participants.csv").write_text("dataset,person_id,CGM_type\nA,s,Dexcom\n")
    with pytest.raises(DataError, match="holds no CSV of a person"):
        import_dataset("cgm_open", tmp_path / "in", tmp_path / "c")
