"""Files that know when they have changed: any other bit, and any other file beside, is found."""

from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metapulse.errors import DataError
from metapulse.sealed import sealed_json, sealed_tensors, unsealed_json, unsealed_tensors

FACTS = {"version": 3, "a": [1.0, 0.1, None], "b": {"c": "é", "d": (1, 2)}}


def test_what_was_sealed_comes_back(tmp_path):
    assert unsealed_json(sealed_json(FACTS, b"map"), 3, b"map") == {**FACTS, "b": {"c": "é", "d": [1, 2]}}
    tensors = {"x": torch.arange(6.0).view(2, 3), "none": torch.empty(0, 4)}
    (tmp_path / "a").write_bytes(sealed_tensors(tensors, FACTS))
    again, facts = unsealed_tensors(tmp_path / "a")
    assert facts == {**FACTS, "b": {"c": "é", "d": [1, 2]}}
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("beside", [(), (b"other",), (b"map", b"map")])
def test_other_files_beside_are_refused(beside):
    with pytest.raises(ValueError, match="not of the files beside"):
        unsealed_json(sealed_json(FACTS, b"map"), 3, *beside)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b"3", sealed_json({"version": 2})])
def test_what_is_not_sealed_or_of_another_version_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  # callers say which file it is
        unsealed_json(text, 3)


@given(st.data())
def test_a_flipped_bit_is_found_or_means_nothing(tmp_path_factory, data):
    whole = sealed_json(FACTS)
    place = data.draw(st.integers(0, 8 * len(whole) - 1))
    flipped = bytearray(whole)
    flipped[place // 8] ^= 1 << place % 8
    with suppress(ValueError):
        assert unsealed_json(bytes(flipped), 3) == unsealed_json(whole, 3)  # white space
    path = tmp_path_factory.mktemp("flipped") / "a"
    tensors = {"x": torch.from_numpy(np.linspace(0.0, 1.0, 7))}
    whole = sealed_tensors(tensors, FACTS)
    place = data.draw(st.integers(0, 8 * len(whole) - 1))
    flipped = bytearray(whole)
    flipped[place // 8] ^= 1 << place % 8
    path.write_bytes(flipped)
    with suppress(DataError):
        assert torch.equal(unsealed_tensors(path)[0]["x"], tensors["x"])
