"""What a device keeps: the right state after any number of coordinators' deaths, in little room, and its own only."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from flwr.app import RecordDict
from hypothesis import given
from hypothesis import strategies as st

from metapulse.client.memory import RUNS, ContextMemory, FolderMemory, Memory, recall, remember
from metapulse.errors import RunError

MEMORIES: dict[str, Callable[[Path], Memory]] = {
    "context": lambda folder: ContextMemory(RecordDict()),
    "folder": lambda folder: FolderMemory(folder, "a1"),
}
memories = pytest.mark.parametrize("kind", MEMORIES)


def state(value: float) -> dict[str, torch.Tensor]:
    return {"head/weight": torch.full((2, 3), value), "scalar": torch.tensor(value)}


def value(found: dict[str, torch.Tensor]) -> float | None:
    return float(found["scalar"]) if found else None


@memories
def test_a_state_comes_back_to_the_bit(kind: str, tmp_path: Path) -> None:
    memory = MEMORIES[kind](tmp_path)
    assert recall(memory, 10) == {}
    remember(memory, 4, 0, state(0.1))
    found = recall(memory, 4)
    assert found.keys() == state(0.1).keys()
    assert all(torch.equal(found[name], p) for name, p in state(0.1).items())
    assert recall(memory, 3) == {}


@memories
@given(seed=st.integers(0, 2**32 - 1), every=st.integers(1, 5), chance=st.floats(0.1, 1.0))
def test_after_any_death_it_is_what_it_was(tmp_path_factory, kind: str, seed: int, every: int, chance: float) -> None:
    """A coordinator writes a checkpoint every so often, dies at random and goes on from the last; the device is in a
    round or not, by address. Before every round it recalls what a life without deaths would give it.
    """
    memory = MEMORIES[kind](tmp_path_factory.mktemp("device"))
    draw = random.Random(seed)
    asked = {round for round in range(1, 16) if draw.random() < chance}
    round, checkpoint, deaths = 1, 0, 0
    while round <= 15:
        before = [r for r in asked if r < round]
        assert value(recall(memory, round - 1)) == (float(max(before)) if before else None)
        if round in asked:
            remember(memory, round, checkpoint, state(float(round)))
            assert len(memory.rounds()) <= 2
        if deaths < 6 and draw.random() < 0.3:
            deaths, round = deaths + 1, checkpoint + 1
            continue
        if round % every == 0:
            checkpoint = round
        round += 1


def test_a_new_run_begins_empty_and_a_continued_one_does_not(tmp_path: Path) -> None:
    remember(FolderMemory(tmp_path, "a1"), 3, 0, state(1.0))
    assert recall(FolderMemory(tmp_path, "b2"), 9) == {}
    assert value(recall(FolderMemory(tmp_path, "a1"), 9)) == 1.0


def test_only_so_many_runs_are_remembered(tmp_path: Path) -> None:
    for i in range(RUNS + 3):
        remember(FolderMemory(tmp_path, f"run{i}"), 1, 0, state(float(i)))
        os.utime(tmp_path / f"run{i}", (i, i))
    assert len(list(tmp_path.iterdir())) == RUNS
    assert value(recall(FolderMemory(tmp_path, f"run{RUNS + 2}"), 1)) == RUNS + 2
    assert recall(FolderMemory(tmp_path, "run0"), 1) == {}


def test_folders_that_are_not_its_own_stay(tmp_path: Path) -> None:
    """Where a person names a folder with other things in it: folders, links, and a run's with something beside it."""
    for i in range(12):
        (tmp_path / f"photos{i}").mkdir()
        (tmp_path / f"photos{i}" / "a.jpg").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run1")
    before = set(tmp_path.iterdir())
    for i in range(RUNS + 4):
        remember(FolderMemory(tmp_path, f"run{i}"), 1, 0, state(float(i)))
        (tmp_path / "run0" / "notes.txt").write_text("mine")
        os.utime(tmp_path / f"run{i}", (i, i))
    left = {path.name for path in set(tmp_path.iterdir()) - before}
    assert set(tmp_path.iterdir()) >= before
    assert left == {"run0", *(f"run{i}" for i in range(4, RUNS + 4))}
    assert all((tmp_path / f"photos{i}" / "a.jpg").exists() for i in range(12))


@pytest.mark.parametrize("run", ["", "..", "../a", "a/b", "a" * 65])
def test_an_identity_that_would_be_a_path_is_refused(run: str, tmp_path: Path) -> None:
    """It comes from the coordinator, whom the device's disk is none of the business of."""
    with pytest.raises(RunError, match="letters and digits"):
        FolderMemory(tmp_path / "device", run)


def test_a_damaged_file_and_a_full_disk_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = FolderMemory(tmp_path, "a1")
    remember(memory, 1, 0, state(1.0))
    (tmp_path / "a1" / "000001.safetensors").write_bytes(b"\x00" * 7)
    with pytest.raises(RunError, match=r"000001\.safetensors cannot be read"):
        recall(memory, 1)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match=r"cannot write .*000002.*: No space left"):
        remember(memory, 2, 0, state(2.0))
    assert memory.rounds() == [1]


@pytest.mark.parametrize("kind", MEMORIES)
def test_a_round_whose_state_is_forgotten_is_refused_and_one_before_the_first_is_fresh(kind, tmp_path):
    memory = MEMORIES[kind](tmp_path)
    for round in range(3, 8):
        remember(memory, round, round - 1, state(float(round)))
    assert recall(memory, 2) == {}
    with pytest.raises(RunError, match=r"round 5: the device has kept no state of so early a round, only of \[6, 7\]"):
        recall(memory, 4)


def test_a_flipped_byte_of_a_state_is_refused(tmp_path):
    remember(FolderMemory(tmp_path, "a1"), 3, 0, state(1.0))
    (path,) = (tmp_path / "a1").glob("*.safetensors")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RunError, match="its checksum does not fit"):
        recall(FolderMemory(tmp_path, "a1"), 3)
