"""``metapulse record``: what it prints, what it writes, and what it refuses."""

from pathlib import Path

import polars as pl

from metapulse.record import recognise
from metapulse.record.readers import readers
from metapulse.record.readers.base import Reader
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
    repeats = made["quality"].list.contains("duplicate_of").sum()
    assert repeats
    assert out.splitlines()[-1] == f"me.parquet: {len(made)} records, {repeats} of them repeats"
    assert "counted away" in out
    before = Path("me.parquet").read_bytes()
    assert call("record", "import", "given", "--out", "me.parquet", "--timezone", "Europe/Berlin")[0] == 0
    assert Path("me.parquet").read_bytes() == before


def test_a_file_whose_reader_failed_is_said_last_and_by_the_exit_code(call, here, monkeypatch):
    def read(context):
        if context.file.name == "bad.csv":
            raise KeyError("pulse")
        return right.read(context)

    right = next(reader for reader in readers() if reader.name == "own")
    monkeypatch.setattr(recognise, "readers", lambda: [Reader("own", right.title, right.sniff, read)])
    written(here / "given", {"a.csv": SAMPLES["own.csv"], "bad.csv": SAMPLES["own.csv"] + "\n"})
    code, out, err = call("record", "import", "given/a.csv", "given/bad.csv")
    assert code == 1
    assert err.splitlines()[-1].startswith("metapulse: bad.csv: its reader failed after 0 rows (KeyError: 'pulse', ")
    assert "its reader failed" in out
    assert set(pl.read_parquet("person.parquet")["source"].struct.field("file")) == {"a.csv"}


def test_what_is_refused_is_named(refused, here):
    written(here / "given", {"own.csv": SAMPLES["own.csv"], "note.txt": "hello"})
    assert refused("record", "import", "given/none.csv") == "given/none.csv: no such file or folder"
    assert refused("record", "import", "given/note.txt").startswith("note.txt: no reader knows it")
    assert "Europe/Berlin" in refused("record", "import", "given/own.csv", "--timezone", "Mars")
    assert "dmy, mdy or ymd" in refused("record", "import", "given/own.csv", "--date-order", "ydm")
    assert not (here / "person.parquet").exists()


def test_fake_writes_exports_and_says_how_to_read_them(call, refused, here):
    assert "Health Connect" in call("record", "fake", "--list")[1]
    code, out, _ = call("record", "fake", "--devices", "fitbit,apple", "--days", "1", "--out", "f", "--no-traps")
    assert code == 0
    assert (here / "f/apple/export.zip").exists()
    line = out.splitlines()[-1]
    assert line == "metapulse record import f/fitbit f/apple --timezone Europe/Berlin"
    assert call(*line.split()[1:])[0] == 0
    assert "f/apple is there already" in refused("record", "fake", "--days", "1", "--out", "f")
    assert "some of apple" in refused("record", "fake", "--devices", "appel", "--out", "g")
