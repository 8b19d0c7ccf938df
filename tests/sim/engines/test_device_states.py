"""What simulated devices keep: sparse rows that come back to the bit, from memory, from disk, from a checkpoint."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from metapulse.errors import EngineError, RunError
from metapulse.sim.engines.device_states import DeviceStates

MILLION = 1_000_000


def rows(clients: list[int], version: int) -> dict[str, torch.Tensor]:
    """States that say whose they are, and when."""
    index = torch.tensor(clients, dtype=torch.float32)
    return {"head/weight": (index[:, None, None] + version).expand(-1, 2, 3), "step": torch.full_like(index, version)}


def holds(devices: DeviceStates, expected: dict[int, int]) -> None:
    found = devices.of(sorted(expected))
    assert sorted(found) == sorted(expected)
    for client, version in expected.items():
        own = rows([client], version)
        assert found[client].keys() == own.keys()
        assert all(torch.equal(p, own[name][0]) for name, p in found[client].items())


def test_few_of_a_million_through_growth_and_checkpoints(tmp_path: Path) -> None:
    draw = random.Random(3)
    devices, expected = DeviceStates(tmp_path), dict[int, int]()
    for version in range(12):
        clients = sorted(draw.sample(range(MILLION), 50) + draw.sample(sorted(expected), min(len(expected), 10)))
        devices.keep(clients, rows(clients, version))
        expected |= dict.fromkeys(clients, version)
    holds(devices, expected)
    assert devices.of([c for c in range(100) if c not in expected]) == {}
    devices.save(tmp_path / "first")
    again = DeviceStates()
    again.load(tmp_path / "first")
    holds(again, expected)
    again.save(tmp_path / "second")
    files = sorted(p.relative_to(tmp_path / "first") for p in (tmp_path / "first").rglob("*.npy"))
    assert [str(p) for p in files] == ["arrays/head%2Fweight.npy", "arrays/step.npy", "clients.npy"]
    assert all((tmp_path / "first" / p).read_bytes() == (tmp_path / "second" / p).read_bytes() for p in files)
    size = sum((tmp_path / "first" / p).stat().st_size for p in files)
    assert size == len(expected) * (2 * 3 * 4 + 4 + 8) + 3 * 128  # NumPy's header has 128 bytes


def test_a_checkpoint_does_not_follow_what_comes_after_it(tmp_path: Path) -> None:
    devices = DeviceStates()
    devices.keep([5, 7], rows([5, 7], 1))
    devices.save(tmp_path / "kept")
    devices.keep([7, 9], rows([7, 9], 2))
    devices.load(tmp_path / "kept")
    holds(devices, {5: 1, 7: 1})
    assert devices.of([9]) == {}


def test_a_state_that_was_handed_out_does_not_change(tmp_path: Path) -> None:
    devices = DeviceStates()
    devices.keep([1], rows([1], 1))
    found = devices.of([1])
    devices.keep([1], rows([1], 2))
    assert found[1]["step"] == 1


def test_nothing_kept_is_no_folder_and_no_folder_is_nothing_kept(tmp_path: Path) -> None:
    devices = DeviceStates(tmp_path)
    devices.keep([], {})
    devices.save(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    devices.keep([1], rows([1], 1))
    devices.load(tmp_path / "none")
    assert devices.of([1]) == {}


def test_mapped_files_have_no_name(tmp_path: Path) -> None:
    """So that a process that is killed leaves nothing behind."""
    devices = DeviceStates(tmp_path)
    devices.keep([1], rows([1], 1))
    assert list(tmp_path.iterdir()) == []
    devices.close()


def test_other_names_are_refused() -> None:
    devices = DeviceStates()
    devices.keep([1], rows([1], 1))
    with pytest.raises(EngineError, match=r"devices keep \['head/weight', 'step'\], not \['other'\]"):
        devices.keep([2], {"other": torch.zeros(1, 2)})


def test_damage_is_named(tmp_path: Path) -> None:
    devices = DeviceStates()
    devices.keep([1, 2], rows([1, 2], 1))
    devices.save(tmp_path / "kept")
    clients = tmp_path / "kept" / "clients.npy"
    np.save(clients, np.arange(3))
    with pytest.raises(RunError, match="one row for each of 3 clients"):
        devices.load(tmp_path / "kept")
    np.save(clients, np.array([object()]), allow_pickle=True)
    with pytest.raises(RunError, match="cannot be read"):
        devices.load(tmp_path / "kept")
    clients.write_bytes(b"")
    with pytest.raises(RunError, match="cannot be read"):
        devices.load(tmp_path / "kept")


def test_a_full_disk_is_an_error_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(EngineError, match="no room for what devices keep: No space left"):
        DeviceStates().keep([1], rows([1], 1))
