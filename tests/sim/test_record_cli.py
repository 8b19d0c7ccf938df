"""``metapulse record``: what it prints, what it writes, and what it refuses."""

import signal
import zipfile
from pathlib import Path

import polars as pl
import pytest

from metapulse.record import recognise
from metapulse.record.readers import readers
from metapulse.record.readers.base import Reader
from metapulse.sim.stopping import Stopped
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
    assert err.splitlines()[-2].startswith("metapulse: bad.csv: its reader failed after 0 rows (KeyError: 'pulse', ")
    assert "its reader failed" in out
    assert set(pl.read_parquet("person.parquet")["source"].struct.field("file")) == {"a.csv"}


def test_export_tells_what_the_standard_cannot_say_and_reads_back(call, here):
    written(here / "given", dict(SAMPLES))
    assert call("record", "import", "given", "--timezone", "Europe/Berlin")[0] == 0
    made = pl.read_parquet("person.parquet")
    for to, name in (("fhir", "a.json"), ("openmhealth", "a.jsonl"), ("csv", "a.csv")):
        code, out, _ = call("record", "export", "person.parquet", "--to", to, "--out", name)
        assert code == 0
        assert out.splitlines()[-1] == f"{name}: {len(made)} of {len(made)} records"
        assert ("not the standard's" in out) == (to != "csv")
        assert call("record", "import", name, "--out", f"{to}.parquet")[0] == 0
        assert pl.read_parquet(f"{to}.parquet").equals(made)


def test_a_vendors_file_is_not_written_over(call, refused, here):
    vendors = {name: text for name, text in SAMPLES.items() if name.startswith("libre")}
    (name,) = written(here / "given", vendors)[:1]
    assert call("record", "import", "given", "--timezone", "Europe/Berlin")[0] == 0
    before = name.read_bytes()
    said = refused("record", "export", "person.parquet", "--to", "csv", "--out", str(name))
    assert "a file that is no export of FreeStyle Libre" in said
    assert name.read_bytes() == before
    for _ in range(2):  # its own it does write over
        assert call("record", "export", "person.parquet", "--to", "csv", "--out", "a.csv.zip")[0] == 0


def test_a_file_that_the_record_was_read_from_is_not_written_over(call, refused, here):
    """A file of our own kinds may be all that a person has of it, as a log that is kept by hand."""
    written(
        here,
        {"own.csv": SAMPLES["own.csv"], "bundle.json": SAMPLES["bundle.json"], "log.html": SAMPLES["own.csv"] + "\n"},
    )
    given = ("own.csv", "bundle.json", "log.html")
    assert call("record", "import", *given)[0] == 0
    assert call("record", "export", "person.parquet", "--to", "openmhealth", "--out", "points.json")[0] == 0
    assert call("record", "import", "points.json")[0] == 0
    before = {path: path.read_bytes() for path in here.iterdir()}
    for to, name in (("csv", "own.csv"), ("fhir", "bundle.json"), ("openmhealth", "points.json")):
        said = refused("record", "export", "person.parquet", "--to", to, "--out", name)
        assert said == f"out = '{name}': another file than {name}, which the record was read from"
    assert "which the record was read from" in refused("record", "show", "person.parquet", "--out", "log.html")
    assert {path: path.read_bytes() for path in here.iterdir()} == before
    Path("own.csv").rename("kept.csv")  # known by what is in it
    said = refused("record", "export", "person.parquet", "--to", "csv", "--out", "kept.csv")
    assert said == "out = 'kept.csv': another file than own.csv, which the record was read from"
    Path("own.csv").write_text(
        SAMPLES["own.csv"] + "2024-04-05T08:00:00Z,heart_rate,60,/min\n"
    )  # and by its name, as it grows
    assert "than own.csv," in refused("record", "export", "person.parquet", "--to", "csv", "--out", "own.csv")


def test_what_is_no_record_is_not_written_over_by_one(call, refused, here):
    written(here, {"own.csv": SAMPLES["own.csv"], "log.parquet": SAMPLES["own.csv"]})
    assert call("record", "import", "own.csv")[0] == 0
    before = {path: path.read_bytes() for path in here.iterdir()}
    for words in (
        ("map", "person.parquet", "--from", "a", "--to", "b", "--metric", "glucose"),
        ("unmap", "person.parquet"),
        ("clocks", "person.parquet", "--undo"),
        ("import", "person.parquet"),
        ("merge", "person.parquet"),
    ):
        assert refused("record", *words, "--out", "own.csv") == "out = 'own.csv': a file that is named .parquet"
        assert refused("record", *words, "--out", "log.parquet").startswith("log.parquet: no Parquet file")
    assert {path: path.read_bytes() for path in here.iterdir()} == before


def test_exports_of_one_account_in_two_zones_are_said(call, here):
    """A person who moved has them, too: so it is no reason to refuse them."""
    line = "2024-04-{:02d} 08:00,heart_rate,{},/min\n"
    for name, days in (("log 1.csv", range(1, 4)), ("log 2.csv", range(1, 6))):
        text = "".join(line.format(day, 60 + day) for day in days)
        written(here, {name: "time,metric,value,unit\n" + text})
    assert call("record", "import", "log 1.csv", "--timezone", "Europe/Berlin")[2] == ""
    code, _, err = call("record", "import", "log 2.csv", "--timezone", "Asia/Tokyo")
    assert code == 0
    assert err.startswith("metapulse: log 1.csv: exports of it were read in Asia/Tokyo and Europe/Berlin; what two of")
    assert len(err.splitlines()) == 1
    assert call("record", "import", "log 2.csv", "--timezone", "Asia/Tokyo", "--out", "b.parquet")[2] == ""


def test_two_zones_are_said_also_where_a_file_was_read_without_one(call, here):
    line = "2024-04-{:02d} 08:00,heart_rate,{},/min\n"
    for name, days in (("log 1.csv", range(1, 4)), ("log 2.csv", range(1, 6))):
        written(here, {name: "time,metric,value,unit\n" + "".join(line.format(day, 60 + day) for day in days)})
    for name, record, more in (
        ("log 1.csv", "a", ("--timezone", "Europe/Berlin")),
        ("log 1.csv", "utc", ()),
        ("log 2.csv", "b", ("--timezone", "Asia/Tokyo")),
    ):
        assert call("record", "import", name, "--out", f"{record}.parquet", *more)[0] == 0
    err = call("record", "merge", "a.parquet", "utc.parquet", "b.parquet", "--out", "all.parquet")[2]
    assert "log 1.csv: read as UTC once and once in a zone" in err
    assert "log 1.csv: exports of it were read in Asia/Tokyo and Europe/Berlin" in err


def test_exports_of_one_account_in_two_orders_of_dates_are_said(call, here):
    text = "time,metric,value,unit\n03/04/2024 08:00Z,heart_rate,60,/min\n"
    written(here, {"d1.csv": text, "d2.csv": text + "05/04/2024 08:00Z,heart_rate,61,/min\n"})
    assert call("record", "import", "d1.csv", "--timezone", "UTC", "--date-order", "dmy")[2] == ""
    code, _, err = call("record", "import", "d2.csv", "--timezone", "UTC", "--date-order", "mdy")
    assert code == 0
    assert err.startswith("metapulse: d1.csv: exports of it were read with dates in dmy and mdy; what two of them")
    assert len(err.splitlines()) == 1


def test_what_is_refused_is_named(refused, here):
    written(here / "given", {"own.csv": SAMPLES["own.csv"], "note.txt": "hello"})
    assert refused("record", "import", "given/none.csv") == "given/none.csv: no such file or folder"
    assert refused("record", "import", "given/note.txt").startswith("note.txt: no reader knows it")
    assert "Europe/Berlin" in refused("record", "import", "given/own.csv", "--timezone", "Mars")
    assert "dmy, mdy or ymd" in refused("record", "import", "given/own.csv", "--date-order", "ydm")
    assert not (here / "person.parquet").exists()
    assert refused("record", "export", "none.parquet", "--to", "csv", "--out", "a.csv").startswith(
        "none.parquet: no such file"
    )
    assert refused("record", "show", "given") == "given: a folder, and no Parquet file"
    assert refused("record", "export", "x", "--to", "csv", "--out", "a.parquet").startswith("out = 'a.parquet': ")
    assert refused("record", "show", "x", "--out", "a.parquet").startswith("out = 'a.parquet': ")
    assert refused("record", "export", "x", "--to", "xml", "--out", "a") == "to = 'xml': csv, fhir or openmhealth"
    for to, name in (("csv", "a.json"), ("csv", "a.jsonl.zip"), ("fhir", "a.CSV")):
        assert f"out = '{name}': a file named ." in refused("record", "export", "x", "--to", to, "--out", name)


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


def test_without_a_terminal_nothing_but_the_message_is_on_stderr(call, here):
    written(here / "given", {"own.csv": SAMPLES["own.csv"]})
    assert call("record", "import", "given")[2] == ""
    assert call("record", "inspect", "none.csv")[2] == "metapulse: none.csv: no such file or folder\n"


@pytest.mark.parametrize(("signum", "code"), [(None, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_is_said_and_leaves_nothing(call, here, monkeypatch, signum, code):
    def pressed(*given):
        raise KeyboardInterrupt if signum is None else Stopped(signum)

    monkeypatch.setattr("metapulse.record.store.import_files", pressed)
    before = set(here.rglob("*"))
    assert call("record", "import", "given") == (code, "", "metapulse: interrupted\n")
    assert set(here.rglob("*")) == before


def test_local_times_without_a_zone_are_said_with_what_to_do(call, here):
    lines = "time,metric,value,unit\n2024-05-04 10:00,heart_rate,60,/min\n2024-05-04T11:00Z,heart_rate,61,/min\n"
    written(here / "given", {"own.csv": lines})
    out = call("record", "import", "given")[1].splitlines()
    assert out[-2] == "1 local times were read as UTC: for another zone import anew, with --timezone and another --out"
    assert "--timezone" not in call("record", "import", "given", "--timezone", "Asia/Tokyo", "--out", "b.parquet")[1]
    code, _, err = call("record", "import", "given", "--timezone", "Asia/Tokyo")
    assert (code, err) == (
        0,
        "metapulse: given/own.csv: read as UTC once and once in a zone, its rows are there twice\n",
    )


def test_a_file_that_is_damaged_is_said_after_the_account(call, here):
    with zipfile.ZipFile("a.zip", "w") as made:
        made.writestr("own.csv", SAMPLES["own.csv"] * 50)
    data = bytearray(Path("a.zip").read_bytes())
    data[len(data) // 2] ^= 1  # a value, so that the sum of the file is wrong
    Path("a.zip").write_bytes(data)
    code, out, err = call("record", "import", "a.zip")
    assert code == 1
    assert out.splitlines()[-1].startswith("person.parquet: ")
    first, last = err.splitlines()
    assert first.startswith("metapulse: a.zip/own.csv: cannot be read to its end: damaged")
    assert last == "metapulse: a file could not be read, or not to the end; what the others gave is in"
    assert call("record", "merge", "a.zip", "--out", "b.parquet")[::2] == (1, err)
    assert call("record", "merge", "b.parquet", "--out", "c.parquet")[::2] == (0, "")  # which was read whole


def test_of_many_files_the_formats_are_shown_and_what_was_not_read(call, here):
    day = "time,metric,value,unit\n2024-05-{:02}T10:00Z,heart_rate,60,/min\n"
    written(here / "given", {f"{at:02}.csv": day.format(at) for at in range(1, 31)} | {"note.txt": "hello"})
    code, out, _ = call("record", "import", "given")
    assert code == 0
    row = next(line for line in out.splitlines() if "own" in line).replace("│", " ").split()
    assert row == ["own", "30", "60", "30", "30", "30", "0"]
    assert "given/note.txt" in out
    assert "given/01.csv" not in out


def test_control_characters_of_a_file_do_not_reach_the_terminal(call, refused, here):
    lines = "time,metric,value,unit,device\n2024-05-04T10:00Z,heart_rate,60,/min,a\x1b[2Jb\u202ec\n"
    written(here / "given", {"own.csv": lines, "\x1b[2J.txt": "hello"})
    code, out, _ = call("record", "inspect", "given")
    assert code == 0
    assert "a\\x1b[2Jb\\u202ec" in out
    assert "\\x1b[2J.txt" in out
    assert "\x1b" not in out
    assert refused("record", "import", "given/\x1b[2J.txt").startswith("\\x1b[2J.txt: no reader knows it")


def test_clocks_of_one_device_are_nothing_to_compare(call, here):
    written(here / "given", {"own.csv": SAMPLES["own.csv"]})
    assert call("record", "import", "given")[0] == 0
    code, out, _ = call("record", "clocks", "person.parquet")
    assert code == 0
    assert out == "person.parquet: no two devices that saw the same heart rate, steps, glucose or sleep\n"


def test_an_input_of_which_nothing_was_read_is_said_and_by_the_exit_code(call, here):
    """Also beside others, since it was asked for; not so a file of a folder of which others were read."""
    pl.DataFrame({"x": [1]}).write_parquet(here / "table.parquet")
    files = {"a.csv": SAMPLES["own.csv"], "note.txt": "hello", "table.parquet": Path("table.parquet").read_bytes()}
    written(here / "given", files)
    written(here, {"note.txt": "hello", "empty.zip": ""})
    code, out, err = call("record", "import", "given", "note.txt", "empty.zip")
    assert code == 1
    assert out.splitlines()[-1].startswith("person.parquet: ")
    assert err.splitlines() == [
        "metapulse: given/table.parquet: a Parquet file, but no record of metapulse",
        "metapulse: empty.zip: empty",
        "metapulse: note.txt: no reader knows it: text, begins with 'hello'",
        "metapulse: 3 files could not be read, or not to the end; what the others gave is in",
    ]
    assert set(pl.read_parquet("person.parquet")["source"].struct.field("file")) == {"given/a.csv"}


def test_a_damaged_record_is_one_line_that_names_it(call, refused, here):
    written(here / "given", dict(SAMPLES))
    assert call("record", "import", "given", "--timezone", "Europe/Berlin")[0] == 0
    data = bytearray(Path("person.parquet").read_bytes())
    Path("bad.parquet").write_bytes(data[:4] + bytes(byte ^ 255 for byte in data[4:90]) + data[90:])
    before = set(here.rglob("*"))
    for words in (
        ("show", "bad.parquet"),
        ("clocks", "bad.parquet"),
        ("clocks", "bad.parquet", "--undo", "--out", "b.parquet"),
        ("export", "bad.parquet", "--to", "csv", "--out", "b.csv"),
        ("unmap", "bad.parquet", "--out", "b.parquet"),
        ("import", "bad.parquet"),
        ("merge", "bad.parquet", "--out", "b.parquet"),
    ):
        assert refused("record", *words).startswith("bad.parquet: a damaged record (")
    assert set(here.rglob("*")) == before
    data[70] ^= 1  # of a value, which can be read all the same
    Path("bad.parquet").write_bytes(data)
    for words in (
        ("show", "bad.parquet"),
        ("clocks", "bad.parquet"),
        ("import", "bad.parquet"),
        ("export", "bad.parquet", "--to", "csv", "--out", "b.csv"),
    ):
        assert "CRC checksum verification failed" in refused("record", *words)
    Path("bad.parquet").rename("given/bad.parquet")
    code, _, err = call("record", "import", "given", "--out", "c.parquet", "--timezone", "Europe/Berlin")
    assert code == 1
    assert err.startswith("metapulse: given/bad.parquet: a damaged record (")
    assert pl.read_parquet("c.parquet").equals(pl.read_parquet("person.parquet"))


def test_a_slip_of_the_hand_is_refused(refused, here):
    written(here, {"a.csv": SAMPLES["own.csv"], "b.csv": SAMPLES["own.csv"]})
    assert refused("record", "import", "") == "input = '': a file, a zip or a folder"
    assert refused("record", "import", "a.csv", "--out", "b.csv") == "out = 'b.csv': a file that is named .parquet"
    assert refused("record", "merge", "a.csv", "--out", "c.csv") == "out = 'c.csv': a file that is named .parquet"
    assert refused("record", "show", "x.parquet", "--out", "b.csv") == "out = 'b.csv': a file that is named .html"


def test_a_time_that_is_before_the_year_1_in_utc_is_left_out_of_every_format(call, here):
    written(here, {"a.csv": "time,metric,value,unit\n0001-01-01T00:00:00+02:00,heart_rate,60,/min\n"})
    assert call("record", "import", "a.csv")[0] == 0
    for to, name in (("fhir", "a.json"), ("openmhealth", "a.jsonl"), ("csv", "b.csv")):
        code, out, _ = call("record", "export", "person.parquet", "--to", to, "--out", name)
        assert (code, out.splitlines()[-1]) == (0, f"{name}: 0 of 1 records")
        assert "a time before the year 1 or after 9999" in out
