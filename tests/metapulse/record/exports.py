"""Records of rows that a test makes up: of every metric, device, mark and clock; and reading their exports again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import polars as pl
from hypothesis import strategies as st

from metapulse.record.clock import DAY, MINUTE
from metapulse.record.metrics import metrics
from metapulse.record.readers.base import Options
from metapulse.record.runs import Runs
from metapulse.record.schema import DERIVED, MARKS, NO_DEVICE, STAGES, Device, Row
from metapulse.record.store import _write, import_files
from metapulse.record.tally import FileTally, Tally
from metapulse.record.writers import export_record
from metapulse.record.writers.base import Exported

NOON = 1_712_138_400_000_000  # 2024-04-03T10:00:00Z
MIDNIGHT = NOON - 10 * 60 * MINUTE
FORMATS = {"csv": "out.csv", "fhir": "out.json", "openmhealth": "out.json"}
NAMES = tuple(sorted(metrics()))

TEXTS = st.one_of(
    st.sampled_from(["Band 2", "Uhr „Ä“", ' "a",b\r\n', "", "'", "\ufeff1;2\t", "\0", '"x"']), st.text(max_size=8)
)
VALUES = st.one_of(
    st.integers(-50, 500).map(float),
    st.decimals(0, 500, places=3).map(float),
    st.floats(allow_nan=False, allow_infinity=False),
)
DEVICES = st.one_of(
    st.just(NO_DEVICE),
    st.sampled_from([Device(model="A"), Device("Acme", "A", None, "1", "S1"), Device(app="App")]),
    st.builds(Device, *(st.none() | TEXTS for _ in Device._fields)),
)
KINDS = st.sampled_from(
    [*STAGES, "minimum", "average", "average per d", "standard deviation", "scan", "sitting", "lead I"]
)
OFFSETS = st.none() | st.sampled_from([0, 120, -210, 345, 840, 1080, -1080]) | st.integers(-1080, 1080)
STARTS = st.sampled_from([NOON, NOON + 1, MIDNIGHT]) | st.integers(-(10**16), 10**17)
MARKED = st.lists(st.sampled_from(sorted(MARKS.keys() - set(DERIVED))), max_size=3, unique=True).map(tuple)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """Any row that can be in a record; some moments, devices and sources are frequent, so that there are repeats."""
    start = draw(STARTS)
    return Row(
        metric=draw(st.sampled_from([*NAMES, *("bp_diastolic", "bp_systolic", "sleep_stage", "heart_rate") * 8])),
        start=start,
        value=draw(st.none() | VALUES),
        unit=draw(st.none() | st.sampled_from(["", "wombat", " Gramm ", "g{fat}", "mmHg"])),
        row=draw(st.integers(0, 3) | st.integers(0, 2**53)),
        end=draw(st.none() | st.sampled_from([start, start + MINUTE, start + DAY, start - 1]) | STARTS),
        offset_min=draw(OFFSETS),
        code=draw(st.none() | KINDS | TEXTS),
        device=draw(DEVICES),
        quality=draw(MARKED),
        raw=draw(st.none() | TEXTS),
        file=draw(st.sampled_from(["export.zip/export.xml", "b.csv"]) | TEXTS.filter(bool)),
    )  # fmt: skip


def stored(path: Path, given: Iterable[Row]) -> pl.DataFrame:
    """A record of these rows, by the store's own way."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Path(folder))
        runs.add(runs.tables().block(list(given), "made", FileTally("made", "own")))
        with path.open("wb") as stream:
            _write(stream, runs, Tally())
    return pl.read_parquet(path)


def again(record: Path, to: str, name: str, options: Options = Options()) -> tuple[pl.DataFrame, Exported, Tally]:
    """Exported beside the record and imported again: (rows, account of the export, account of the import)."""
    out = record.with_name(name)
    exported = export_record(record, out, to, mapped=True)
    back = record.with_name("back.parquet")
    back.unlink(missing_ok=True)
    tally = import_files([out], back, options)
    return pl.read_parquet(back), exported, tally
