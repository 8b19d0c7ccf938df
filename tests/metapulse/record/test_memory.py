"""Memory is bounded: a process of its own reads 60 MB of export.xml, and others write its record."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import PATIENCE

ROWS = 150_000  # a file of 60 MB
BOUND = 300  # MB, of the whole process
PROGRAM = """
import re, sys
from pathlib import Path
from metapulse.record.store import import_files
from metapulse.record.writers import export_record
if len(sys.argv) == 3:
    done = import_files([Path(sys.argv[1])], Path(sys.argv[2])).records
else:
    done = export_record(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]).written
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(done, peak)
"""
DEVICE = (
    "&lt;&lt;HKDevice: 0x{n:x}&gt;, name:Apple Watch, manufacturer:Apple Inc., hardware:Watch6,1, software:10.1&gt;"
)
RECORD = (
    f' <Record type="HKQuantityTypeIdentifierHeartRate" sourceName="Uhr" sourceVersion="10.1" device="{DEVICE}"'
    ' unit="count/min" creationDate="2024-03-02 08:00:00 +0100" startDate="{day} {time} +0100"'
    ' endDate="{day} {time} +0100" value="{value}"/>\n'
)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_memory_is_bounded_whatever_the_size_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "export.xml"
    with path.open("w") as stream:
        stream.write('<HealthData locale="de_DE">\n')
        for n in range(ROWS):
            time, day = f"{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}", f"2023-{n // 86400 + 1:02}-03"
            stream.write(RECORD.format(n=n % 50, day=day, time=time, value=50 + n % 90))
        stream.write("</HealthData>\n")
    record = str(tmp_path / "person.parquet")
    for words in ([str(path), record], *([record, str(tmp_path / "out"), to] for to in ("csv", "fhir", "openmhealth"))):
        rows, peak = ran(*words)
        assert rows == ROWS
        assert peak < BOUND, words


def ran(*words: str) -> tuple[int, float]:
    """(rows, peak in MB) of an import, or of an export."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    records, kilobytes = map(int, done.stdout.split())
    return records, kilobytes / 1024
