"""Lines in, forecasts out: after any kill the same output; what is wrong is counted, or refused in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from metapulse.errors import DataError, RunError
from metapulse.personal.follow import follow
from metapulse.personal.stream_input import LineCutter, LineReader
from metapulse.personal.stream_state import Reading, iso
from metapulse.record import Options, import_files
from tests.streams import glucose, made_up_model

ROOT = Path(__file__).parents[3]
HEAD = "time,metric,value,unit,device\n"


@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_processes_that_die_anywhere_leave_the_output_of_one_that_lives(tmp_path, kind):
    command = [sys.executable, "-m", "tests.killing", str(tmp_path), kind]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    died, lines = (int(word) for word in ended.stdout.replace(",", "").split() if word.isdigit())
    assert died >= 8
    assert lines == 90


@pytest.fixture
def me(tmp_path):
    return made_up_model().save(tmp_path / "me")


def line(reading, value=None):
    return f"{iso(reading.time)},glucose,{reading.value if value is None else value},mg/dL,{reading.device}\n"


def told(path):
    return [json.loads(one) for one in path.read_text().splitlines()]


def test_a_file_that_has_grown_goes_on_where_it_was(tmp_path, me):
    whole, growing = tmp_path / "whole.csv", tmp_path / "growing.csv"
    lines = [line(one) for one in glucose(60)]
    whole.write_text(HEAD + "".join(lines))
    follow(me, str(whole), tmp_path / "expected", grows=False)
    (me / "stream" / "state.safetensors").unlink()
    for upto in (0, 20, 45, 60):
        growing.write_text(HEAD + "".join(lines[:upto]))
        counts = follow(me, str(growing), tmp_path / "out", grows=False)
    assert (tmp_path / "out").read_bytes() == (tmp_path / "expected").read_bytes()
    assert counts["readings used"] == 60
    assert len(told(tmp_path / "out")) == 60
    growing.write_text(HEAD + "".join(lines[5:]))
    with pytest.raises(RunError, match="has changed since"):
        follow(me, str(growing), tmp_path / "out", grows=False)


def test_a_record_is_followed_as_the_lines_it_was_imported_from(tmp_path, me):
    table, record = tmp_path / "a.csv", tmp_path / "person.parquet"
    lines = [line(one) for one in glucose(70)]
    for upto in (40, 70):
        table.write_text(HEAD + "".join(lines[:upto]))
        import_files([table], record, Options())
        counts = follow(me, str(record), tmp_path / "of_record", grows=False)
    assert counts["readings used"] == 70
    (me / "stream" / "state.safetensors").unlink()
    follow(me, str(table), tmp_path / "of_lines", grows=False)
    assert told(tmp_path / "of_record") == told(tmp_path / "of_lines")


def test_what_is_not_as_it_was_is_refused_in_one_line(tmp_path, me):
    path, out = tmp_path / "a.csv", tmp_path / "out"
    path.write_text(HEAD + "".join(line(one) for one in glucose(5)))
    with pytest.raises(DataError, match="no such file"):
        follow(me, str(tmp_path / "none.csv"), out, grows=False)
    follow(me, str(path), out, grows=False)
    with pytest.raises(RunError, match="another source"):
        follow(me, str(tmp_path / "b.csv"), out, grows=False)
    out.write_text("")
    with pytest.raises(RunError, match="is shorter than what was written"):
        follow(me, str(path), out, grows=False)
    other = tmp_path / "other"
    other.write_text("mine")
    with pytest.raises(RunError, match="is there already"):
        follow(me, str(path), other, grows=False)
    assert other.read_text() == "mine"
    made_up_model(seed=1).save(me)
    with pytest.raises(RunError, match="another model"):
        follow(me, str(path), out, grows=False)
    (me / "stream" / "state.safetensors").write_bytes(b"cut")
    with pytest.raises(DataError, match="damaged"):
        follow(me, str(path), out, grows=False)


READER = LineReader("glucose", ("time", "metric", "value", "unit", "device"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-11-14T22:10:00Z,glucose,110,mg/dL,", Reading(1_699_999_800_000_000, 110.0)),
        ("2023-11-14T23:10:00+01:00,glucose,110,mg/dL,Acme", Reading(1_699_999_800_000_000, 110.0, "Acme")),
        ('{"time": 1699999800, "metric": "glucose", "value": 110}', Reading(1_699_999_800_000_000, 110.0)),
        (
            '{"time": "1699999800000", "metric": "glucose", "value": "110", "unit": null}',
            Reading(1_699_999_800_000_000, 110.0),
        ),
        ("", ""),
        ("time,metric,value,unit,device", ""),
        ("2023-11-14T22:10:00Z,steps,110,count,", "readings of other metrics"),
        ("2023-11-14T22:10:00Z,glucose,110,kg,", "units that are not known, or of something else"),
        ("2023-11-14T22:10:00,glucose,110,mg/dL,", "times without a zone"),
        ("04/05/2023 22:10,glucose,110,mg/dL,", "times that are neither ISO 8601 nor a number since 1970"),
        ("1970-01-01T00:00:00Z,glucose,110,mg/dL,", "times before 1995 or after 2100"),
        ("2023-11-14,glucose,110,mg/dL,", "times that are neither ISO 8601 nor a number since 1970"),
        ("glucose", "lines with too few cells"),
        ('{"time": 3', "lines that are no JSON"),
        ("{" * 10_000, "lines that are no JSON"),
    ],
)
def test_a_line_is_a_reading_or_says_why_not(text, expected):
    assert READER.read(text.encode()) == expected


def test_units_are_converted_and_values_that_are_no_numbers_stay_for_the_stream_to_count():
    found = READER.read(b"2023-11-14T22:10:00Z,glucose,6.1,mmol/L,")
    assert isinstance(found, Reading)
    assert found.value == pytest.approx(109.895, abs=1e-3)
    for text in (
        b"2023-11-14T22:10:00Z,glucose,Low,mg/dL,",
        b'{"time": 1699999800, "metric": "glucose", "value": true}',
    ):
        found = READER.read(text)
        assert isinstance(found, Reading)
        assert found.value != found.value


def test_lines_without_end_are_held_in_bounded_memory():
    cutter, found = LineCutter(), []
    for chunk in (b"a\nb", b"c\n" + b"x" * 50_000, b"x" * 50_000, b"x" * 50_000, b"\nd\n"):
        found += cutter.cut(chunk)
        assert len(cutter.rest) <= 2**16
    assert found == [(b"a", 2), (b"bc", 3), (None, 150_001), (b"d", 2)]
