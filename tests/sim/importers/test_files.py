"""What a publisher ships is not trusted: every defect is one line that names the file and what is allowed."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from metapulse.errors import DataError
from metapulse.sim.importers import files
from metapulse.sim.importers.files import codes, csv_columns, numbers, open_tree


def zipped(path: Path, members: dict[str, bytes], compression=zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def refused(call, *needles: str) -> str:
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for needle in needles:
        assert needle in message
    return message


def test_a_folder_and_a_zip_read_alike(tmp_path):
    folder = tmp_path / "f"
    (folder / "a").mkdir(parents=True)
    (folder / "a/x.csv").write_bytes(b"1")
    (folder / ".DS_Store").write_bytes(b"junk")
    archive = zipped(tmp_path / "z.zip", {"a/x.csv": b"1", "__MACOSX/a/._x.csv": b"junk", "a/._y.csv": b"junk"})
    for path in (folder, archive):
        with open_tree(path) as tree:
            assert tree.match(".csv") == ["a/x.csv"]
            assert tree.read("a/x.csv", 10) == b"1"


def test_a_link_out_of_a_folder_is_not_followed(tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a")
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "link.csv").symlink_to(secret)
    with open_tree(folder) as tree:
        assert tree.match(".csv") == []


@pytest.mark.parametrize("name", ["../evil.csv", "/etc/evil.csv", "a/../../evil.csv", "C:/evil.csv", "a\\..\\evil.csv"])
def test_paths_that_lead_outside_are_refused(tmp_path, name):
    archive = zipped(tmp_path / "z.zip", {"ok.csv": b"1", name: b"2"})
    refused(lambda: open_tree(archive), "z.zip", "leads outside")


def test_bombs_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    archive = zipped(tmp_path / "bomb.zip", {"a.csv": bytes(3_000_000)})
    assert archive.stat().st_size < 10_000
    monkeypatch.setattr(files, "MAX_TOTAL", 2_000_000)
    refused(lambda: open_tree(archive), "3000000 bytes unpacked", "at most 2000000")
    monkeypatch.setattr(files, "MAX_TOTAL", 10_000_000)
    with open_tree(archive) as tree:
        refused(lambda: tree.read("a.csv", 1_000_000), "a.csv", "at most 1000000")
    monkeypatch.setattr(files, "MAX_FILES", 2)
    refused(lambda: open_tree(zipped(tmp_path / "many.zip", dict.fromkeys("abc", b""))), "3 files", "at most 2")
    monkeypatch.setattr(files, "MAX_ARCHIVE", 100)
    refused(lambda: open_tree(archive), "bomb.zip", "at most 100")


def test_a_lie_about_the_size_gives_an_error_and_not_more_bytes(tmp_path):
    """The directory claims 10 bytes where 3 million are packed."""
    archive = zipped(tmp_path / "liar.zip", {"a.csv": bytes(3_000_000)})
    data = bytearray(archive.read_bytes())
    real = (3_000_000).to_bytes(4, "little")
    while (at := data.find(real)) >= 0:
        data[at : at + 4] = (10).to_bytes(4, "little")
    archive.write_bytes(bytes(data))
    with open_tree(archive) as tree:
        assert tree.sizes["a.csv"] == 10
        refused(lambda: tree.read("a.csv", 100), "a.csv", "cannot be read")


def test_damage_is_named(tmp_path):
    good = zipped(tmp_path / "good.zip", {"a.csv": b"0123456789" * 100}, zipfile.ZIP_STORED)
    data = good.read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[: len(data) // 2])
    refused(lambda: open_tree(tmp_path / "cut.zip"), "cut.zip", "not a readable zip")
    (tmp_path / "text.zip").write_bytes(b"hello")
    refused(lambda: open_tree(tmp_path / "text.zip"), "text.zip", "not a readable zip")
    flipped = data.replace(b"0123456789", b"0123456780", 1)
    (tmp_path / "flip.zip").write_bytes(flipped)
    with open_tree(tmp_path / "flip.zip") as tree:
        refused(lambda: tree.read("a.csv", 10_000), "a.csv", "cannot be read")
    refused(lambda: open_tree(tmp_path / "absent.zip"), "absent.zip", "no such file")


def test_a_zip_in_a_zip_opens(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("deep/a.csv", b"7")
    outer = zipped(tmp_path / "outer.zip", {"inner.zip": inner.getvalue(), "not.zip": b"no"})
    with open_tree(outer) as tree:
        with tree.inner("inner.zip") as deep:
            assert deep.read("deep/a.csv", 10) == b"7"
        refused(lambda: tree.inner("not.zip"), "not.zip", "not a readable zip")


WANTED = {"a": ("a",), "b": ("b", "bee")}


def rows(text: bytes, optional=()):
    return list(csv_columns(io.BytesIO(text), "f.csv", WANTED, optional))


def test_csv_columns_come_by_name_in_chunks(monkeypatch):
    assert rows(b"\xef\xbb\xbfbee,c,a\r\n1,x,2\r\n3,y,4\r\n\r\n") == [(2, {"a": ["2", "4"], "b": ["1", "3"]})]
    assert rows(b'a,b\n"1,5","2"') == [(2, {"a": ["1,5"], "b": ["2"]})]
    assert rows(b"a\n1\n", optional=("b",)) == [(2, {"a": ["1"]})]
    monkeypatch.setattr(files, "CHUNK_ROWS", 2)
    assert [(first, len(c["a"])) for first, c in rows(b"a,b\n" + b"1,2\n" * 5)] == [(2, 2), (4, 2), (6, 1)]


@pytest.mark.parametrize(
    ("text", "needles"),
    [
        (b"", ("lacks column a", "empty")),
        (b"a,b\n", ("has a header but no rows",)),
        (b"x,y\n1,2\n", ("lacks column a", "it has x, y")),
        (b"a,c\n1,2\n", ("lacks column b or bee",)),
        (b"a,b\n1,2\n3\n", ("row 3: 1 fields", "the header has 2")),
        (b"a,b\n1,2\n\n3,4\n", ("row 3: 0 fields",)),
        (b"a,b\n1,\xff\n", ("cannot be read",)),
        (b'a,b\n1,"2\n', ("cannot be read",)),
        (b"a,b\n1," + b"9" * 200_000 + b"\n", ("cannot be read", "field larger")),
    ],
)
def test_bad_csv_names_file_and_row(text, needles):
    refused(lambda: rows(text), "f.csv", *needles)


def test_numbers_are_finite_and_in_range():
    assert numbers(["1", " 2.5", "-3e2"], "f", "a").tolist() == [1.0, 2.5, -300.0]
    assert len(numbers([], "f", "a")) == 0
    for text in ("nan", "inf", "-inf", "", "x", "1,5"):
        refused(lambda t=text: numbers(["1", t], "f.csv", "a", 10), "f.csv: row 11", f"a = '{text}'", "finite number")
    refused(lambda: numbers(["5", "11"], "f.csv", "a", 2, 0, 10), "row 3", "a number from 0 to 10")


def test_codes_name_what_is_allowed():
    assert np.array_equal(codes(["b", "a"], "f", "l", ("a", "b")), [1, 0])
    refused(lambda: codes(["a", "C"], "f.csv", "l", ("a", "b"), 5), "f.csv: row 6", "l = 'C'", "a, b")
