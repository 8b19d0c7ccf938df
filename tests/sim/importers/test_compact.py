"""The cache: whole files or none, no pickle, bounded, and found where the order says."""

import errno
import zipfile

import numpy as np
import pytest

from metapulse.errors import DataError
from metapulse.sim.importers import compact
from metapulse.sim.importers.compact import cache_folder, find_imported, read_npz, write_npz


def test_round_trip(tmp_path):
    path = write_npz(tmp_path / "new/a.npz", {"x": np.arange(3), "names": np.array(["a", "ü"])})
    data = read_npz(path, ("x",))
    assert data["x"].tolist() == [0, 1, 2]
    assert data["names"].tolist() == ["a", "ü"]
    assert [p.name for p in path.parent.iterdir()] == ["a.npz"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write_npz(tmp_path / "a.npz", {"x": np.zeros(3)})

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(DataError, match=r"a\.npz: cannot be written \(No space left on device\)"):
        write_npz(path, {"x": np.ones(3)})
    monkeypatch.undo()
    assert read_npz(path)["x"].tolist() == [0, 0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_npz(tmp_path / "a.npz", {"x": np.ones(3)})
    assert list(tmp_path.iterdir()) == []


def test_objects_are_never_pickled_or_unpickled(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle"):
        write_npz(tmp_path / "a.npz", {"x": np.array([{}], dtype=object)})
    assert list(tmp_path.iterdir()) == []
    np.savez(tmp_path / "evil.npz", x=np.array([{}], dtype=object))
    with pytest.raises(DataError, match=r"evil\.npz: not a readable \.npz"):
        read_npz(tmp_path / "evil.npz")


def test_damage_and_size_are_named(tmp_path):
    path = write_npz(tmp_path / "a.npz", {"x": np.zeros(100_000)})
    with pytest.raises(DataError, match=r"a\.npz: \d+ bytes unpacked; allowed are at most 1000"):
        read_npz(path, limit=1000)
    with pytest.raises(DataError, match=r"a\.npz: lacks y; it has x"):
        read_npz(path, ("x", "y"))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"a\.npz: not a readable \.npz"):
        read_npz(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.npz: not a readable \.npz"):
        read_npz(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"not an array")
    with pytest.raises(DataError, match=r"a\.npz: not a readable \.npz"):
        read_npz(path)
    with pytest.raises(DataError, match="no such file"):
        read_npz(tmp_path / "absent.npz")


def test_a_header_that_claims_a_terabyte_is_refused(tmp_path):
    """The array's own header is no more to be believed than the zip's."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (137438953472,), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(8))
    with pytest.raises(DataError, match=r"a\.npz"):
        read_npz(tmp_path / "a.npz")


def test_the_cache_comes_before_the_prepared_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("METAPULSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("METAPULSE_DATA", str(tmp_path / "data"))
    assert cache_folder() == tmp_path / "cache"
    assert find_imported("a", ("other/b.npz",)) is None
    other = write_npz(tmp_path / "data/other/b.npz", {"x": np.zeros(1)})
    assert find_imported("a", ("other/b.npz",)) == other
    prepared = write_npz(tmp_path / "data/a/a.npz", {"x": np.zeros(1)})
    assert find_imported("a", ("other/b.npz",)) == prepared
    cached = write_npz(tmp_path / "cache/a.npz", {"x": np.zeros(1)})
    assert find_imported("a", ("other/b.npz",)) == cached
    monkeypatch.delenv("METAPULSE_CACHE")
    monkeypatch.setattr(compact.Path, "home", lambda: tmp_path / "home")
    assert cache_folder() == tmp_path / "home/.cache/metapulse"
