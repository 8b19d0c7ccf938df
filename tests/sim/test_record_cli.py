"""``metapulse record``: what it prints, what it writes, and what it refuses."""

from pathlib import Path

import polars as pl

from tests.metapulse.record.conftest import written
from tests.metapulse.record.samples import SAMPLES


def test_inspect_says_what_and_why_and_writes_nothing(call, here):
    written(here / "given", {"a.txt": SAMPLES["export.xml"], "note.txt": "hello"})
    before = set(here.rglob("*"))
    code, out, _ = call("record", "inspect", "given")
    assert code == 0
    assert "its root element is HealthData" in out
    assert "not recognised" in out
    assert "Watch6,2 (Uhr)" in out
    assert set(here.rglob("*")) == before


def test_import_prints_the_account_and_writes_the_record(call, here):
    written(here / "given", dict(SAMPLES))
    code, out, _ = call("record", "import", "given", "--out", "me.parquet", "--timezone", "Europe/Berlin")
    assert code == 0
    made = pl.read_parquet(here / "me.parquet")
    assert out.splitlines()[-1] == f"me.parquet: {len(made)} records, 1 of them repeats"
    assert "counted away" in out
    before = Path("me.parquet").read_bytes()
    assert call("record", "import", "given", "--out", "me.parquet", "--timezone", "Europe/Berlin")[0] == 0
    assert Path("me.parquet").read_bytes() == before


def test_what_is_refused_is_named(refused, here):
    written(here / "given", {"own.csv": SAMPLES["own.csv"], "note.txt": "hello"})
    assert refused("record", "import", "given/none.csv") == "given/none.csv: no such file or folder"
    assert refused("record", "import", "given/note.txt").startswith("note.txt: no reader knows it")
    assert "Europe/Berlin" in refused("record", "import", "given/own.csv", "--timezone", "Mars")
    assert "dmy, mdy or ymd" in refused("record", "import", "given/own.csv", "--date-order", "ydm")
    assert not (here / "person.parquet").exists()
