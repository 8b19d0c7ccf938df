"""Files are whole or not there, whatever fails, and JSON has no NaN in it."""

import errno
import json
import math
import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metapulse.errors import RunError
from metapulse.files import replace_with
from metapulse.server.files import finite_or_null, read_json, write_atomic, write_json

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(2**53), 2**53)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def same(a, b):
    """Equal, with None where there was no finite number."""
    if isinstance(a, dict):
        return isinstance(b, dict) and set(a) == set(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and not math.isfinite(a):
        return b is None
    return a == b


@given(value=values)
def test_json_comes_back_as_it_went(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "value.json"
    write_json(path, value)
    assert same(value, read_json(path))


@given(value=values)
def test_finite_leaves_nothing_that_json_has_no_word_for(value):
    json.dumps(finite_or_null(value), allow_nan=False)


@pytest.mark.parametrize("step", ["fsync", "replace", "write"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "kept.json"
    write_atomic(path, b"old")

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step == "write":
        monkeypatch.setattr("pathlib.Path.open", full)
    else:
        monkeypatch.setattr({"fsync": "os.fsync", "replace": "pathlib.Path.replace"}[step], full)
    with pytest.raises(RunError, match=r"cannot write .*kept\.json: No space left on device"):
        write_atomic(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RunError, match="nowhere"):
        write_atomic(tmp_path / "nowhere" / "file", b"")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_damaged_json_is_one_line_with_its_path(tmp_path, content):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"bad\.json cannot be read") as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


def test_missing_json_says_so(tmp_path):
    with pytest.raises(RunError, match="does not exist"):
        read_json(tmp_path / "none.json")


def test_two_writers_at_once_each_write_a_whole_file(tmp_path):
    path = tmp_path / "page.html"

    def slow(stream):
        stream.write(b"first ")
        write_atomic(path, b"second")
        assert path.read_bytes() == b"second"
        stream.write(b"and last")

    replace_with(path, slow)
    assert path.read_bytes() == b"first and last"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_what_a_killed_writer_leaves_goes_with_the_next_write(tmp_path):
    path = tmp_path / "page.html"
    for _ in range(3):
        if not (child := os.fork()):
            replace_with(path, lambda stream: os.kill(os.getpid(), signal.SIGKILL))
        os.waitpid(child, 0)
        assert len(list(tmp_path.iterdir())) == 1
    write_atomic(path, b"whole")
    assert list(tmp_path.iterdir()) == [path]
