"""The Apple Watch and Fitbit importer: against the independent copy on the real file, and bad rows."""

import numpy as np
import pytest

from metapulse.errors import DataError
from metapulse.registry import SOURCES
from metapulse.sim.sources.catalogue import import_dataset

HEADER = (
    ",X1,age,gender,height,weight,steps,heart_rate,calories,distance,entropy_heart,entropy_setps,resting_heart,"
    "corr_heart_steps,norm_heart,intensity_karvonen,sd_norm_heart,steps_times_distance,device,activity\n"
)


def row(age, device, activity, steps=1.0):
    return f"1,1,{age},1,170,65.4,{steps},70,1,1,1,1,59,1,1,1,1,1,{device},{activity}\n"


def test_the_official_file_gives_the_independent_copy(data_dir, tmp_path):
    path = import_dataset("aw_fitbit", data_dir / "aw_fitbit/aw_fb_data.csv", tmp_path)
    ours, theirs = (np.load(p, allow_pickle=False) for p in (path, data_dir / "aw_fitbit/aw_fitbit.npz"))
    for key in ("x", "y", "user", "device", "feature_names", "label_names", "device_names", "person_names"):
        assert np.array_equal(ours[key], theirs[key]), key
    assert np.array_equal(ours["person"][ours["user"]], theirs["person"])
    # Medians of steps per device as the data's description gives them: 60 and 5.6.
    source = SOURCES.make({"name": "aw_fitbit", "path": str(path)})
    medians = {}
    for device in source.devices:
        mine = [i for i in range(len(source)) if source.client(i).device == device]
        medians[device] = np.median(np.concatenate([source.samples(i).x[:, 0] for i in mine]))
    assert medians == {"apple_watch": pytest.approx(60, abs=0.5), "fitbit": pytest.approx(5.6, abs=0.05)}


def test_a_person_is_who_shares_age_gender_height_and_weight(tmp_path):
    file = tmp_path / "aw_fb_data.csv"
    file.write_text(
        HEADER
        + row(30, "fitbit", "Lying", 5)
        + row(20, "fitbit", "Lying", 1)
        + row(20, "apple watch", "Sitting", 2)
        + row(20, "fitbit", "Sitting", 3)
        + row(20, "fitbit", "Lying", 4)
    )
    path = import_dataset("aw_fitbit", tmp_path, tmp_path / "cache")  # a folder that holds it will do
    source = SOURCES.make({"name": "aw_fitbit", "path": str(path)})
    assert [(source.client(i).label, source.client(i).device) for i in range(3)] == [
        ("1", "apple_watch"),
        ("1", "fitbit"),
        ("2", "fitbit"),
    ]
    samples = source.samples(1)
    assert samples.x[:, 0].tolist() == [1, 3, 4]  # the order of the file
    assert samples.y.tolist() == [0, 1, 0]
    assert len(set(samples.group.tolist())) == 3  # lying twice is two bouts


@pytest.mark.parametrize(
    ("text", "needles"),
    [
        (HEADER + row(20, "garmin", "Lying"), ("row 2", "device = 'garmin'", "apple watch, fitbit")),
        (HEADER + row(20, "fitbit", "Lying") + row(20, "fitbit", "Flying"), ("row 3", "activity = 'Flying'")),
        (HEADER + row(20, "fitbit", "Lying", "NA"), ("row 2", "steps = 'NA'")),
        (HEADER.replace("heart_rate", "hr") + row(20, "fitbit", "Lying"), ("lacks column heart_rate",)),
        (HEADER + row(20, "fitbit", "Lying")[:40], ("row 2", "the header has 20")),
    ],
)
def test_bad_files_are_named(tmp_path, text, needles):
    file = tmp_path / "aw_fb_data.csv"
    file.write_text(text)
    with pytest.raises(DataError) as caught:
        import_dataset("aw_fitbit", file, tmp_path / "cache")
    for needle in ("aw_fb_data.csv", *needles):
        assert needle in str(caught.value)
    assert not (tmp_path / "cache").exists()
