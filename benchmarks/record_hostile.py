"""What files made to hurt cost ``metapulse record import``: the most memory that it had, of every kind of them.

    python benchmarks/record_hostile.py [KIND ...] [--share 1]

Every kind is made in a temporary folder and imported by a process of its own; the table is that of docs/record.md,
"What it costs". ``--share 0.25`` makes each a quarter as large: what is bounded stays as it is. Without a KIND all are
made, in half an hour and 3 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

START = datetime(2023, 1, 2, tzinfo=UTC)
HEADER = "time,metric,value,unit,end,code,device,raw,file,row"
#: The command, and where it says how much memory it had: what a parent is told of a child counts its own memory too.
IMPORT = """
import sys
from pathlib import Path
from metapulse.sim.cli import main
try:
    sys.exit(main(["record", "import", *sys.argv[2:]]))
finally:
    Path(sys.argv[1]).write_text(Path("/proc/self/status").read_text())
"""


def moment(n: int) -> str:
    return (START + timedelta(seconds=n)).isoformat()


def csv(folder: Path, lines: Iterable[str]) -> Path:
    """Our own CSV."""
    with (folder / "own.csv").open("w") as stream:
        stream.write(HEADER + "\n")
        stream.writelines(f"{line}\n" for line in lines)
    return folder / "own.csv"


def quoted(folder: Path, size: float) -> Path:
    long = "x" * int(1e8 * size)
    return csv(folder, [f"{moment(0)},steps,1,", f'{moment(1)},steps,"{long}', f"{moment(2)},steps,1,"])


def equal(folder: Path, size: float) -> Path:
    return csv(folder, (f"{moment(0)},heart_rate,60,bpm" for _ in range(int(1e6 * size))))


def instant(folder: Path, size: float) -> Path:
    return csv(folder, (f"{moment(0)},heart_rate,{n},bpm" for n in range(int(1e6 * size))))


def devices(folder: Path, size: float) -> Path:
    return csv(folder, (f"{moment(n)},heart_rate,60,bpm,,,Band {n}" for n in range(int(4e5 * size))))


def rivals(folder: Path, size: float) -> Path:
    return csv(folder, (f"{moment(0)},heart_rate,60,bpm,,,Band {n}" for n in range(int(4e5 * size))))


def units(folder: Path, size: float) -> Path:
    return csv(folder, (f"{moment(n)},heart_rate,60,unit {n}" for n in range(int(1e6 * size))))


def codes(folder: Path, size: float) -> Path:
    return csv(folder, (f"{moment(n)},workout,60,min,,code {n}" for n in range(int(1e6 * size))))


def sources(folder: Path, size: float) -> Path:
    return csv(folder, (f"{moment(n)},heart_rate,60,bpm,,,,,file {n}.csv,1" for n in range(int(1e6 * size))))


def texts(folder: Path, size: float) -> Path:
    rows = (f"{moment(n)},heart_rate,60,bpm,,,,{n:08}{'x' * 10_000},," for n in range(int(6e4 * size)))
    return csv(folder, rows)


def coded(folder: Path, size: float) -> Path:
    return csv(folder, (f"{moment(n)},workout,60,min,,{n:08}{'x' * 10_000}" for n in range(int(6e4 * size))))


def named(folder: Path, size: float) -> Path:
    rows = (f"{moment(n)},heart_rate,60,bpm,,,{n:08}{'x' * 10_000}" for n in range(int(6e4 * size)))
    return csv(folder, rows)


def xml(folder: Path, size: float) -> Path:
    """Apple's records, each with a device of 200 kB."""
    with (folder / "export.xml").open("w") as stream:
        stream.write('<HealthData locale="en_US">\n')
        for n in range(int(3000 * size)):
            at = f"{START + timedelta(seconds=n):%Y-%m-%d %H:%M:%S} +0100"
            stream.write(
                f'<Record type="HKQuantityTypeIdentifierHeartRate" unit="count/min" startDate="{at}" endDate="{at}"'
                f' value="60" device="&lt;&lt;HKDevice: 0x1&gt;, name:{n:08}{"x" * 200_000}&gt;"/>\n'
            )
        stream.write("</HealthData>\n")
    return folder / "export.xml"


def item(part: Callable[[int], str]) -> Callable[[Path, float], Path]:
    """Fitbit's heart rates, and between them one item of 60 MB of such parts."""

    def make(folder: Path, size: float) -> Path:
        pulse = {"dateTime": "01/02/23 00:00:00", "value": {"bpm": 60, "confidence": 2}}
        with (folder / "heart_rate-2023-01-02.json").open("w") as stream:
            stream.write(f'[{json.dumps(pulse)}, {{"dateTime": "01/02/23 00:00:05", "value": [')
            left, n = int(6e7 * size), 0
            while left > 0:
                text = ", ".join(part(m) for m in range(n, n + 1000))
                stream.write((", " if n else "") + text)
                left, n = left - len(text), n + 1000
            stream.write(f"]}}, {json.dumps(pulse)}]")
        return folder / "heart_rate-2023-01-02.json"

    return make


def long_text(folder: Path, size: float) -> Path:
    pulse = {"dateTime": "01/02/23 00:00:00", "value": {"bpm": 60, "confidence": 2}}
    whole = [pulse, {"dateTime": "x" * int(6e7 * size)}, pulse]
    (folder / "heart_rate-2023-01-02.json").write_text(json.dumps(whole))
    return folder / "heart_rate-2023-01-02.json"


def series(folder: Path, size: float) -> Path:
    """An Observation of FHIR whose series has two million values."""
    data = " ".join(str(n % 200) for n in range(int(2e6 * size)))
    code = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
    sampled = {"origin": {"value": 0, "code": "/min"}, "period": 1000, "dimensions": 1, "data": data}
    one = {"resourceType": "Observation", "status": "final", "code": code, "effectiveDateTime": moment(0)}
    whole = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": one | {"valueSampledData": sampled}}],
    }
    (folder / "bundle.json").write_text(json.dumps(whole))
    return folder / "bundle.json"


def members(known: int, count: int) -> Callable[[Path, float], Path]:
    """A zip of very many small files, of which a reader knows the first ones."""

    def make(folder: Path, size: float) -> Path:
        with zipfile.ZipFile(folder / "many.zip", "w") as archive:
            for n in range(known):
                archive.writestr(f"known {n}.csv", f"{HEADER}\n{moment(n)},heart_rate,60,bpm\n")
            for n in range(int(count * size)):
                archive.writestr(f"folder {n % 100}/file number {n}.txt", f"nothing {n}")
        return folder / "many.zip"

    return make


KINDS: dict[str, tuple[str, Callable[[Path, float], Path]]] = {
    "quoted": ("a quoted line of 100 MB", quoted),
    "equal": ("a million equal rows", equal),
    "instant": ("a million different rows of one instant", instant),
    "devices": ("400,000 devices in one file", devices),
    "rivals": ("400,000 devices that say the same at one instant", rivals),
    "units": ("a million different units", units),
    "codes": ("a million different codes", codes),
    "sources": ("a million source files", sources),
    "texts": ("60,000 rows with a `raw` of 10 kB each", texts),
    "coded": ("60,000 rows with a code of 10 kB each", coded),
    "named": ("60,000 rows with a device of 10 kB each", named),
    "xml": ("XML, 3,000 records with an attribute of 200 kB each", xml),
    "text": ("JSON, one item of 60 MB that is one text", long_text),
    "whole": ("JSON, one item of 60 MB of whole numbers", item(lambda n: str(n))),
    "fractions": ("JSON, one item of 60 MB of fractions", item(lambda n: f"{n}.5")),
    "objects": ("JSON, one item of 60 MB of objects", item(lambda n: '{"a": 1}')),
    "lists": ("JSON, one item of 60 MB of lists", item(lambda n: "[1]")),
    "empties": ("JSON, one item of 60 MB of empty objects", item(lambda n: "{}")),
    "deep": ("JSON, one item of 60 MB of opening brackets", item(lambda n: "[" * 20)),
    "series": ("FHIR, a series of two million values", series),
    "unknown": ("a zip of 100,000 files, all unknown", members(0, 100_000)),
    "zip": ("a zip of 100,000 files, one known", members(1, 100_000)),
    "zips": ("a zip of 199,000 files, one known", members(1, 199_000)),
}


def peak(path: Path, out: Path) -> tuple[float, float, str]:
    """(MB, CPU seconds, the last line that was said) of an import."""
    status = out.with_name("status")
    words = [sys.executable, "-c", IMPORT, str(status), str(path), "--out", str(out)]
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen(words, stdout=said, stderr=subprocess.STDOUT)
        _, process.returncode, used = os.wait4(process.pid, 0)
        said.seek(0)
        lines = said.read().strip().splitlines() or [""]
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text() if status.exists() else "")
    megabytes = int(found[1]) / 1024 if found else float("nan")
    return megabytes, used.ru_utime + used.ru_stime, lines[-1].removeprefix(f"{out}: ")[:70]


def measured(kinds: Iterable[str], size: float) -> Iterator[str]:
    """The table, row by row."""
    yield "| | peak MB | CPU s | |\n|---|---:|---:|---|"
    for kind in kinds:
        what, make = KINDS[kind]
        with tempfile.TemporaryDirectory(prefix="metapulse-bench-") as name:
            folder = Path(name)
            path = make(folder, size)
            megabytes, seconds, said = peak(path, folder / "person.parquet")
        yield f"| {what} | {megabytes:.0f} | {seconds:.1f} | {said} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--share", type=float, default=1)
    args = parser.parse_args()
    if unknown := set(args.kinds) - set(KINDS):
        parser.error(f"{', '.join(sorted(unknown))}: allowed are {', '.join(KINDS)}")
    for line in measured(args.kinds or KINDS, args.share):
        print(line, flush=True)


if __name__ == "__main__":
    main()
