"""Of small files made to hurt, four times as much costs no larger table and no larger block, under small limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.record_hostile import KINDS
from metapulse.record import reading, run_files, runs, store
from metapulse.record.columns import Tables
from metapulse.record.texts import Block, Texts

LIMITS = [
    (reading, "BATCH", 64), (reading, "BATCH_TEXT", 2**14), (runs, "RUN", 256), (runs, "RUN_TEXT", 2**16),
    (runs, "INSTANT", 128), (runs, "MANY", 2), (run_files, "PIECE", 32), (run_files, "PIECE_TEXT", 2**13),
    (run_files, "LIGHT", 2**12), (store, "ROW_GROUP", 256), (store, "ROW_GROUP_TEXT", 2**16),
]  # fmt: skip
#: Of each kind such a part that it has 600 rows; texts of 10 kB are fewer.
SHARES = {
    **dict.fromkeys(("equal", "instant", "units", "codes", "sources"), 600 / 1e6),
    **dict.fromkeys(("devices", "rivals"), 600 / 4e5),
    **dict.fromkeys(("texts", "coded", "named"), 60 / 6e4),
    "xml": 10 / 3000,
}


class Seen:
    """The most of everything that was in memory at once."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.rows = self.entries = self.text = 0
        for module, name in ((runs, "known_again"), (runs, "write_run"), (store, "arrow")):
            patch.setattr(module, name, self.watched(getattr(module, name)))

    def watched(self, function: object) -> object:
        def call(block: Block, *more: object) -> object:
            self.rows = max(self.rows, block.rows)
            self.entries = max(self.entries, block.tables.entries)
            self.text = max(self.text, block.tables.characters + block["raw"].nbytes)
            return function(block, *more)  # type: ignore[operator]

        return call


@pytest.mark.parametrize("kind", SHARES)
def test_what_is_in_memory_does_not_grow_with_the_file(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, limit in LIMITS:
        monkeypatch.setattr(module, name, limit)
    monkeypatch.setattr("metapulse.record.columns.FULL", 128)
    monkeypatch.setattr("metapulse.record.columns.FULL_TEXT", 2**15)
    most = []
    for times in (1, 4):
        folder = tmp_path / str(times)
        folder.mkdir()
        with monkeypatch.context() as patch:
            seen = Seen(patch)
            tally = store.import_files([KINDS[kind][1](folder, times * SHARES[kind])], folder / "person.parquet")
        assert tally.records == (0 if kind == "xml" else round(times * (60 if SHARES[kind] == 60 / 6e4 else 600)))
        most.append(seen)
    few, many = most
    assert many.rows <= 1.5 * few.rows
    assert many.entries <= 1.5 * few.entries
    assert many.text <= 1.5 * few.text


def test_tables_are_begun_anew(tmp_path: Path) -> None:
    assert issubclass(Tables, Texts)
    own = runs.Runs(tmp_path)
    tables = own.tables()
    assert own.tables() is tables
    for n in range(2**15):
        tables.unit[f"unit {n}"]
    assert own.tables() is not tables
