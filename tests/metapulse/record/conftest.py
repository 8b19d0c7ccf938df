"""What the tests of records share: reading texts as if they were files."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest

from metapulse.record.clock import zone
from metapulse.record.readers.base import Options
from metapulse.record.store import import_files
from metapulse.record.tally import Tally

BERLIN = Options(zone("Europe/Berlin"))

Import = Callable[..., tuple[pl.DataFrame, Tally]]


@pytest.fixture
def record(tmp_path: Path) -> Import:
    """Import texts as files of these names: (record, account)."""

    def read(files: Mapping[str, str | bytes], options: Options = BERLIN) -> tuple[pl.DataFrame, Tally]:
        out = tmp_path / "person.parquet"
        out.unlink(missing_ok=True)
        given = written(tmp_path / "given", files)
        tally = import_files(given, out, options)
        return pl.read_parquet(out), tally

    return read


def written(folder: Path, files: Mapping[str, str | bytes]) -> list[Path]:
    """Files of these names with these contents."""
    folder.mkdir(exist_ok=True)
    paths = [folder / name for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return paths


def in_other_orders(folder: Path, given: Sequence[Path], draw: random.Random) -> tuple[bytes, bytes]:
    """The record of these files when they are read one by one, and when records of two parts of them are merged."""
    by_one, merged = folder / "one.parquet", folder / "merged.parquet"
    for path in draw.sample(given, len(given)):
        import_files([path], by_one)
    parts: list[Path] = []
    cut = draw.randrange(len(given))
    for part in (given[:cut], given[cut:]):
        if part:
            parts.append(folder / f"part {len(parts)}.parquet")
            import_files(part, parts[-1])
    import_files(draw.sample(parts, len(parts)), merged)
    return by_one.read_bytes(), merged.read_bytes()
