"""A copy of an earlier export is an earlier export, whatever it is called and wherever it lies."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from metapulse.record.frame import load_record
from tests.metapulse.record.test_outdated import FINISHED, counting, record_of

NEW = FINISHED.replace(",405,", ",400,")
NAMES = (
    ("w 2024-04-20.csv", "w 2024-04-25.csv", "copy 2024-05-01.csv"),
    ("w 2024-04-20.csv", "w 2024-04-25.csv", "a 2024-05-01.csv"),
    ("z 2024-04-20.csv", "w 2024-04-25.csv", "w 2024-05-01.csv"),
)


@pytest.mark.parametrize(("names", "packed"), [(NAMES[0], False), (NAMES[1], True), (NAMES[2], False)])
def test_a_copy_of_an_earlier_state_brings_it_not_back(names: tuple[str, ...], packed: bool, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in names]
    for path, text in zip(paths, (FINISHED, NEW, FINISHED), strict=True):
        path.write_text(text, encoding="utf-8")
    if packed:  # the first zip has what the second has, too
        paths = [_zip(tmp_path / "backup 2024-06-01.zip", paths[:2]), _zip(tmp_path / "b.zip", paths[2:]), paths[0]]
    made = record_of(tmp_path, paths)
    assert counting(made, "sleep_duration") == [("sleep_duration", 400)]
    old = made.filter(metric="sleep_duration", value=405)["source"].struct.field("file").to_list()
    assert old == [names[0]]


def test_a_copy_that_is_read_first_takes_the_name_of_the_export(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in NAMES[0]]
    for path, text in zip(paths, (FINISHED, NEW, FINISHED), strict=True):
        path.write_text(text, encoding="utf-8")
    assert counting(record_of(tmp_path, [paths[2], paths[1]]), "sleep_duration") == [("sleep_duration", 405)]
    (tmp_path / "more").mkdir()
    record_of(tmp_path / "more", [tmp_path / "person.parquet", paths[0]])
    assert counting(load_record(tmp_path / "more" / "person.parquet"), "sleep_duration") == [("sleep_duration", 400)]


def _zip(path: Path, files: list[Path]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, file.name)
    return path
