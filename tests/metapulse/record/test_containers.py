"""Files, folders and zips: what is in them, what is refused, and why."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from metapulse.errors import DataError
from metapulse.record.containers import ContainerLimits, Inputs
from metapulse.record.store import import_files
from tests.metapulse.record.conftest import Import, written
from tests.metapulse.record.samples import APPLE, LIBRE, OWN


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def names(path: Path, limits: ContainerLimits = ContainerLimits()) -> list[str]:
    with Inputs([path], limits) as inputs:
        return [file.name for file in inputs.files]


def test_a_zip_in_a_zip_in_a_folder(record: Import, tmp_path: Path) -> None:
    inner = zipped({"apple_health_export/导出.xml": APPLE.encode()})
    given = zipped({"inner.zip": inner, "libre.csv": LIBRE.encode(), "__MACOSX/._libre.csv": b"x"})
    made, tally = record({"outer.zip": given})
    found = {(file.file, file.format) for file in tally.files.values()}
    assert found == {("outer.zip/inner.zip/apple_health_export/导出.xml", "apple"), ("outer.zip/libre.csv", "libre")}
    assert {"heart_rate", "glucose"} <= set(made["metric"])


def test_the_same_file_given_twice_is_read_once(record: Import) -> None:
    _, tally = record({"a.zip": zipped({"own.csv": OWN.encode()})})
    (file,) = tally.files.values()
    assert file.seen == 6


def test_a_name_that_leaves_its_archive_is_only_a_name(tmp_path: Path) -> None:
    path = tmp_path / "evil.zip"
    path.write_bytes(
        zipped({"../../up.csv": OWN.encode(), "/etc/own.csv": OWN.encode(), "c\\..\\..\\d.csv": OWN.encode()})
    )
    before = set(tmp_path.parent.rglob("*"))
    assert names(path) == ["evil.zip/up.csv", "evil.zip/etc/own.csv", "evil.zip/d.csv"]
    with Inputs([path]) as inputs:
        file = inputs.files[0]
        assert file.companion("../../../../etc/passwd") is None
        assert file.companion("/etc/own.csv").name == "evil.zip/etc/own.csv"  # type: ignore[union-attr]
    import_files([path], tmp_path / "person.parquet")
    assert set(tmp_path.parent.rglob("*")) - before == {tmp_path / "person.parquet"}


def test_limits_hold_before_anything_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    path.write_bytes(zipped({"export.xml": b"<HealthData>" + b"0" * 5_000_000, "own.csv": OWN.encode()}))
    with Inputs([path], ContainerLimits(free=1_000_000)) as inputs:
        assert [file.name for file in inputs.files] == ["bomb.zip/own.csv"]
        assert "packed" in inputs.broken["bomb.zip/export.xml"]
    for limits in (ContainerLimits(bytes=1_000_000), ContainerLimits(total=1_000_000), ContainerLimits(files=1)):
        with pytest.raises(DataError, match=r"limit|allowed"):
            names(path, limits)


def test_many_files_that_are_dense_together_are_a_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    path.write_bytes(zipped({f"{i}.csv": OWN.encode() + b"\n" * 900_000 for i in range(8)}))
    with pytest.raises(DataError, match="over 400 times as large unpacked"):
        names(path, ContainerLimits(free=1_000_000))
    outer = tmp_path / "outer.zip"
    outer.write_bytes(zipped({"inner.zip": path.read_bytes(), "own.csv": OWN.encode()}))
    with Inputs([outer], ContainerLimits(free=1_000_000)) as inputs:
        assert [file.name for file in inputs.files] == ["outer.zip/own.csv"]
        assert "over 400 times" in inputs.broken["outer.zip/inner.zip"]


def test_a_zip_that_cannot_be_read_is_an_error_with_its_cause(tmp_path: Path) -> None:
    whole = zipped({"export.xml": APPLE.encode() * 20})
    for content, cause in ((whole[:200], "cut off"), (zipped({}), "empty zip")):
        path = tmp_path / "export.zip"
        path.write_bytes(content)
        with pytest.raises(DataError, match=cause):
            import_files([path], tmp_path / "person.parquet")
    assert not (tmp_path / "person.parquet").exists()


def test_a_broken_zip_in_a_folder_costs_itself_alone(tmp_path: Path) -> None:
    whole = zipped({"export.xml": APPLE.encode() * 20})
    written(tmp_path / "given", {"own.csv": OWN, "cut.zip": whole[:200], "void.zip": zipped({}), "none.csv": ""})
    tally = import_files([tmp_path / "given"], tmp_path / "person.parquet")
    assert tally.records
    assert [line.partition(": ")[::2] for line in tally.unread] == [
        ("given/cut.zip", "a zip that ends before its list of files, as a download that was cut off"),
        ("given/void.zip", "an empty zip; export it again"),
    ]
    with pytest.raises(DataError, match="limit"):  # what is too much is no matter of one file
        names(tmp_path / "given", ContainerLimits(total=10))


def test_damage_within_a_zip_costs_the_tail_of_one_file(tmp_path: Path) -> None:
    """The stored bytes are changed: what was read before the checksum failed is kept, and the account says so."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("export.xml", APPLE * 20)
    path = tmp_path / "export.zip"
    path.write_bytes(stream.getvalue().replace(b'value="61"', b'value="62"'))
    tally = import_files([path], tmp_path / "person.parquet")
    (file,) = tally.files.values()
    assert "cannot be read to its end" in file.error
    assert file.used + file.skipped.total() == file.seen > 60


def test_a_zip_that_lies_too_deep_is_named(tmp_path: Path) -> None:
    content, path = zipped({"own.csv": OWN.encode()}), tmp_path / "0.zip"
    for depth in range(3):
        content = zipped({f"{3 - depth}.zip": content, "own.csv": OWN.encode()})
    path.write_bytes(content)
    with Inputs([path]) as inputs:
        assert inputs.broken == {"0.zip/1.zip/2.zip/3.zip": "a zip within 3 zips; unpack the outer ones"}


def test_bytes_that_are_not_those_of_a_zip_are_another_content(tmp_path: Path) -> None:
    """Its checksum is the whole one's, and so would be its account: what is known of the damage must not go with it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("export.xml", APPLE * 20)
    whole = stream.getvalue()
    path, out = tmp_path / "export.zip", tmp_path / "person.parquet"
    for content in (whole.replace(b'value="61"', b'value="62"'), whole) * 2:
        path.write_bytes(content)
        tally = import_files([path], out)
    assert [bool(file.error) for file in tally.in_order()] == [False, True]


def test_what_is_not_there_and_what_is_empty(tmp_path: Path) -> None:
    for path, cause in ((tmp_path / "none.csv", "no such file"), (tmp_path, "a folder without files")):
        with pytest.raises(DataError, match=cause):
            names(path)
    (tmp_path / "empty.csv").touch()
    with pytest.raises(DataError, match="empty"):
        import_files([tmp_path / "empty.csv"], tmp_path / "person.parquet")


def test_what_no_reader_knows_is_an_error_alone_and_told_of_beside_others(record: Import, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no reader knows it: text, begins with 'hello'"):
        record({"note.txt": "hello"})
    _, tally = record({"note.txt": "hello", "own.csv": OWN})
    assert {file.format for file in tally.files.values()} == {"", "own"}


def test_an_encrypted_entry_is_told_of(tmp_path: Path) -> None:
    content = bytearray(zipped({"own.csv": OWN.encode()}))
    for header, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + at] |= 1
    path = tmp_path / "export.zip"
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="encrypted with a password"):
        import_files([path], tmp_path / "person.parquet")
