"""What ``record export`` writes over: what it wrote itself, and nothing that may be all that a person has."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from metapulse.errors import ConfigError
from metapulse.migration.history import unmap_record
from metapulse.record.clock_correct import undo_correction
from metapulse.record.store import import_files, write_rows
from metapulse.record.tally import FileTally
from metapulse.record.writers import export_record
from metapulse.sim.report import write_record_page
from tests.metapulse.record.samples import SAMPLES

DIARY = "time,metric,value,unit\n2024-04-03T08:00:00Z,weight,80,kg\n2024-04-03T08:00:00Z,bp_systolic,120,mmHg\n"
GROWN = DIARY + "2024-04-04T08:00:00Z,weight,79,kg\n"
NAMES = {"csv": "out.csv", "fhir": "out.json", "openmhealth": "out.jsonl"}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    diary = tmp_path / "diary.csv"
    diary.write_text(DIARY)
    import_files([diary], tmp_path / "person.parquet")
    return tmp_path / "person.parquet"


def refused(record: Path, out: Path) -> str:
    """What is said of an export that is not made; the file stays as it is."""
    before = out.read_bytes()
    with pytest.raises(ConfigError) as caught:
        export_record(record, out, "csv")
    assert out.read_bytes() == before
    return str(caught.value)


def zipped(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


HOSPITAL = json.loads(SAMPLES["bundle.json"])
POINT = {
    "header": {"id": "1", "schema_id": {"namespace": "omh", "name": "body-weight", "version": "2.0"}},
    "body": {"body_weight": {"value": 80, "unit": "kg"}, "effective_time_frame": {"date_time": "2024-04-03T08:00:00Z"}},
}
BY_HAND = {
    "a hospital's bundle": SAMPLES["bundle.json"],
    "a hospital's bundle, a resource a line": "".join(json.dumps(e["resource"]) + "\n" for e in HOSPITAL["entry"]),
    "another app's points": json.dumps([POINT]),
    "another app's points, one a line": json.dumps(POINT) + "\n",
    "a diary": DIARY.replace("80", "81"),
    "the diary, renamed and grown": GROWN,
    "a diary with a source": "time,metric,value,unit,file,row\n2024-04-03T08:00:00Z,weight,80,kg,a,1\n",
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_what_another_wrote_is_not_written_over(kind: str, record: Path, tmp_path: Path) -> None:
    out = tmp_path / "kept.csv"
    out.write_text(BY_HAND[kind])
    assert "one that metapulse wrote" in refused(record, out)
    assert "one that metapulse wrote" in refused(record, zipped(tmp_path / "kept.zip", {"a.csv": BY_HAND[kind]}))


@pytest.mark.parametrize("to", NAMES)
@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_what_this_program_wrote_is_written_over(to: str, suffix: str, record: Path, tmp_path: Path) -> None:
    out = tmp_path / (NAMES[to] + suffix)
    export_record(record, out, to)
    before = out.read_bytes()
    export_record(record, out, to)
    assert out.read_bytes() == before
    for other in NAMES.keys() - {to} if suffix else ():
        export_record(record, out.with_name(NAMES[other] + suffix), other)


@pytest.mark.parametrize(("to", "name"), [("fhir", "out.ndjson"), ("openmhealth", "out.json")])
def test_the_other_shape_of_a_format_is_known_too(to: str, name: str, tmp_path: Path) -> None:
    """With devices, texts that are quoted, and pressures of two values."""
    record = tmp_path / "person.parquet"
    for given, text in SAMPLES.items():
        if given.startswith(("own", "bundle", "libre", "withings")):
            (tmp_path / given).write_bytes(text.encode() if isinstance(text, str) else text)
            import_files([tmp_path / given], record)
    for kind, out in ((to, name), ("csv", "out.csv")):
        for _ in range(2):
            assert export_record(record, tmp_path / out, kind).written


@pytest.mark.parametrize("to", NAMES)
def test_what_this_program_wrote_and_somebody_changed_is_not_written_over(
    to: str, record: Path, tmp_path: Path
) -> None:
    """Also where another file lies beside it in a zip."""
    out = tmp_path / NAMES[to]
    export_record(record, out, to)
    made = out.read_text()
    by_hand = {
        "csv": GROWN.splitlines()[-1],
        "fhir": json.dumps(HOSPITAL["entry"][0]),
        "openmhealth": json.dumps(POINT),
    }
    lines = made.splitlines(keepends=True)
    out.write_text("".join([*lines[:2], by_hand[to] + "\n", *lines[2:]]))
    assert "one that metapulse wrote" in refused(record, out)
    assert refused(record, zipped(tmp_path / "two.zip", {NAMES[to]: made, "notes.txt": "of mine"}))


def test_its_own_output_is_written_over_also_where_it_is_called_as_the_source(record: Path, tmp_path: Path) -> None:
    """But not the source, though it was written here, and not what it was when it was read."""
    out = tmp_path / "else" / "diary.csv"
    out.parent.mkdir()
    for _ in range(2):
        export_record(record, out, "csv")
    assert "which the record was read from" in refused(record, tmp_path / "diary.csv")
    other = tmp_path / "other.parquet"
    import_files([out], other)
    assert "which the record was read from" in refused(other, out)


def test_an_export_of_another_record_that_has_the_name_of_a_source_is_not_written_over(
    record: Path, tmp_path: Path
) -> None:
    export_record(record, tmp_path / "a.csv", "csv")
    other = tmp_path / "other.parquet"
    import_files([tmp_path / "a.csv"], other)
    (tmp_path / "diary.csv").write_text(GROWN)
    import_files([tmp_path / "diary.csv"], record)
    export_record(record, tmp_path / "a.csv", "csv")
    assert "than a.csv, which the record was read from" in refused(other, tmp_path / "a.csv")


def test_a_broken_zip_is_not_written_over_unless_there_is_nothing_in_it(record: Path, tmp_path: Path) -> None:
    whole = zipped(tmp_path / "vendor.zip", {"own.csv": GROWN}).read_bytes()
    torn = tmp_path / "torn.zip"
    torn.write_bytes(whole[:-30])
    assert "one that metapulse wrote" in refused(record, torn)
    for nothing in (b"", zipped(tmp_path / "empty.zip", {}).read_bytes()):
        torn.write_bytes(nothing)
        export_record(record, torn, "csv")


@pytest.mark.parametrize(
    "text", ["date,mood,pain\n2024-04-01,good,2\n", "time,metric,value\n", '{"settings":1}', "a photo"]
)
def test_what_no_reader_knows_is_not_written_over(text: str, record: Path, tmp_path: Path) -> None:
    out = tmp_path / "notes.csv"
    out.write_text(text)
    assert "one that metapulse wrote" in refused(record, out)
    page = tmp_path / "notes.html"
    page.write_text(text)
    with pytest.raises(ConfigError, match="one that metapulse wrote"):
        write_record_page(record, page)
    assert (out.read_text(), page.read_text()) == (text, text)


def test_a_page_is_drawn_again(record: Path, tmp_path: Path) -> None:
    page = tmp_path / "person.html"
    for _ in range(2):
        write_record_page(record, page)


DAY = b"<p>3 April: a good day.</p>"


@pytest.mark.parametrize(
    "change",
    [
        lambda page: page[:5000],
        lambda page: page[:5000] + DAY,
        lambda page: page + DAY,
        lambda page: page.replace(b"</main>", DAY + b"</main>"),
        lambda page: page[: page.index(b"<main>")] + DAY + page[page.index(b"</main>") :],
        lambda page: page[: page.rindex(b"<!--")],  # as an earlier metapulse ended it
        lambda page: page.replace(b"\n", b"\r\n"),
    ],
)
def test_a_page_that_is_not_as_it_was_written_is_not_written_over(
    change: Callable[[bytes], bytes], record: Path, tmp_path: Path
) -> None:
    page = tmp_path / "person.html"
    write_record_page(record, page)
    changed = change(page.read_bytes())
    page.write_bytes(changed)
    with pytest.raises(ConfigError, match="remove this one"):
        write_record_page(record, page)
    assert page.read_bytes() == changed


@pytest.mark.parametrize("name", ["e.jsonl.zip", "e.json", "e.json.zip"])
def test_an_empty_records_output_is_written_over(name: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty.parquet"
    write_rows(iter(()), empty, FileTally("made.csv", "own"))
    for _ in range(2):
        export_record(empty, tmp_path / name, "openmhealth")


def test_a_zip_that_no_reader_knows_is_not_written_over(record: Path, tmp_path: Path) -> None:
    photos = {f"{n}.jpg": "a photo" for n in range(3)}
    assert refused(record, zipped(tmp_path / "photos.zip", photos))


@pytest.mark.parametrize("make", [undo_correction, unmap_record])
def test_another_persons_record_is_not_written_over(
    make: Callable[[Path, Path], int], record: Path, tmp_path: Path
) -> None:
    """One of no more exports than the record itself is: it may be one of the same person, from before."""
    (tmp_path / "other.csv").write_text(GROWN)
    other, back = tmp_path / "other.parquet", tmp_path / "back.parquet"
    import_files([tmp_path / "other.csv"], other)
    before = other.read_bytes()
    with pytest.raises(ConfigError, match=r"not other\.csv"):
        make(record, other)
    assert other.read_bytes() == before
    for _ in range(2):
        make(record, back)
    import_files([tmp_path / "other.csv"], record)
    for out in (back, other, record):
        make(record, out)
    assert back.read_bytes() == other.read_bytes() == record.read_bytes()
