"""What records cost, and how often the check of clocks is wrong.

    python benchmarks/record.py apple [--gb 2] [--peer VENV/bin/healthkit-to-sqlite]
    python benchmarks/record.py takeout [--days 300]
    python benchmarks/record.py people [--people 10] [--days 30]
    python benchmarks/record.py out [--rows 1000000]
    python benchmarks/record.py clocks [--pairs 200] [--kinds heart_rate steps glucose]

The first three make inputs in a temporary folder and read them, each in a process of its own: CPU seconds, MB of input
a CPU second, and the most memory that the process had. ``out`` makes a record, exports it and makes its page.
``apple`` also reads the same file with ``xml.etree.iterparse`` alone, and with another program if one is named.
``clocks`` needs METAPULSE_DATA: pairs of people who have nothing to do with each other, and of one person with a second
device that is made of the first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from metapulse.record.align import DAY_S, TimeSeries, shift_windows  # noqa: E402
from metapulse.record.clock import US  # noqa: E402
from metapulse.record.clock_check import KINDS, WINDOW_P, clock_pieces  # noqa: E402
from metapulse.record.schema import Device, Row  # noqa: E402
from metapulse.record.store import write_rows  # noqa: E402
from metapulse.record.tally import FileTally  # noqa: E402

IMPORT = (
    "import sys; from pathlib import Path; from metapulse.record.store import import_files;"
    "print(import_files([Path(sys.argv[1])], Path(sys.argv[2])).records, 'records')"
)
MERGE = (
    "import sys; from pathlib import Path; from metapulse.record.merge import merge_records;"
    "print(sum(sum(r['rows'] for r in merge_records(sorted(p.iterdir()), p / 'person.parquet'))"
    " for p in sorted(Path(sys.argv[1]).iterdir())), 'records')"
)
BARE = (
    "import sys; from xml.etree.ElementTree import iterparse; n = 0; it = iterparse(sys.argv[1], ('start', 'end'));"
    "_, root = next(it)\nfor event, item in it:\n    if event == 'end':\n        n += 1; root.clear()\n"
    "print(n, 'elements')"
)
EXPORT = (
    "import sys; from pathlib import Path; from metapulse.record.writers import export_record; out = Path(sys.argv[3]);"
    "print(export_record(Path(sys.argv[2]), out, sys.argv[1]).written, 'rows,', out.stat().st_size // 10**6, 'MB')"
)
SHOW = (
    "import sys; from pathlib import Path; from metapulse.sim.report import write_record_page; out = Path(sys.argv[2]);"
    "write_record_page(Path(sys.argv[1]), out); print(out.stat().st_size / 1e6, 'MB')"
)
SEEN = ("heart_rate", "steps", "glucose")
START = datetime(2023, 1, 2, tzinfo=UTC)


def measured(what: str, words: list[str], size: float) -> None:
    """Run a program and print a row: CPU seconds, MB of input a CPU second, most memory in MB, what it said."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(words, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = status
        said.seek(0)
        last = (said.read().strip().splitlines() or [""])[-1][:60]
    cpu = used.ru_utime + used.ru_stime
    print(f"| {what} | {cpu:.1f} | {size / cpu:.1f} | {used.ru_maxrss / 1024:.0f} | {last} |", flush=True)


def head(size: float) -> None:
    print(f"{size:.0f} MB of input\n\n| | CPU s | MB/s | peak MB | |\n|---|---|---|---|---|", flush=True)


def apple_rows(count: int, seconds: int = 5) -> Iterator[str]:
    """Heart rates of a watch, as Apple writes them."""
    device = (
        "&lt;&lt;HKDevice: 0x{:x}&gt;, name:Apple Watch, manufacturer:Apple Inc., hardware:Watch6,1, software:10.1&gt;"
    )
    for n in range(count):
        at = f"{START + timedelta(seconds=seconds * n):%Y-%m-%d %H:%M:%S} +0100"
        yield (
            f' <Record type="HKQuantityTypeIdentifierHeartRate" sourceName="Watch" sourceVersion="10.1"'
            f' device="{device.format(n % 97)}" unit="count/min" creationDate="{at}" startDate="{at}" endDate="{at}"'
            f' value="{50 + n * 7 % 90}"/>\n'
        )


def write_apple(path: Path, rows: Iterator[str]) -> float:
    with path.open("w") as stream:
        stream.write('<?xml version="1.0" encoding="UTF-8"?>\n<HealthData locale="en_US">\n')
        stream.writelines(rows)
        stream.write("</HealthData>\n")
    return path.stat().st_size / 1e6


def apple(args: argparse.Namespace, folder: Path) -> None:
    path = folder / "export.xml"
    row = len(next(apple_rows(1)))
    size = write_apple(path, apple_rows(int(args.gb * 1e9 / row)))
    head(size)
    measured("xml.etree.iterparse, nothing kept", [sys.executable, "-c", BARE, str(path)], size)
    measured("record import", [sys.executable, "-c", IMPORT, str(path), str(folder / "p.parquet")], size)
    if args.peer:
        words = [args.peer, "--xml", str(path), str(folder / "peer.db")]
        measured(Path(args.peer).name, words, size)


def takeout(args: argparse.Namespace, folder: Path) -> None:
    """Fitbit's JSON: heart rate every 10 s, steps every minute."""
    top = folder / "Takeout" / "Fitbit" / "Global Export Data"
    top.mkdir(parents=True)
    for day in range(args.days):
        start = START + timedelta(days=day)
        beats = [(start + timedelta(seconds=10 * i), 55 + (i * 7 + day) % 70) for i in range(8640)]
        pulse = [{"dateTime": f"{t:%m/%d/%y %H:%M:%S}", "value": {"bpm": v, "confidence": 2}} for t, v in beats]
        (top / f"heart_rate-{start:%Y-%m-%d}.json").write_text(json.dumps(pulse, indent=2))
        minutes = [(start + timedelta(minutes=i), i * 13 % 90) for i in range(1440)]
        steps = [{"dateTime": f"{t:%m/%d/%y %H:%M:%S}", "value": str(v)} for t, v in minutes]
        (top / f"steps-{start:%Y-%m-%d}.json").write_text(json.dumps(steps, indent=2))
    size = sum(path.stat().st_size for path in top.iterdir()) / 1e6
    head(size)
    source = str(folder / "Takeout")
    measured(f"Takeout of {args.days} days", [sys.executable, "-c", IMPORT, source, str(folder / "p.parquet")], size)


def people(args: argparse.Namespace, folder: Path) -> None:
    """Each: a watch in Apple's export, a later export of the same, and a phone's CSV of steps and pulse."""
    top, size, count = folder / "people", 0.0, args.days * 1440
    for person in range(args.people):
        own = top / f"person-{person}"
        own.mkdir(parents=True)
        size += write_apple(own / "export.xml", apple_rows(count * 9 // 10, 60))
        size += write_apple(own / "export 2.xml", apple_rows(count, 60))
        lines = ["time,metric,value,unit,end,code,device"]
        for n in range(count):
            start = START + timedelta(minutes=n)
            lines.append(f"{start.isoformat()},steps,{(n * 7 + person) % 80},,{start + timedelta(minutes=1)},,Phone")
            lines.append(f"{start.isoformat()},heart_rate,{50 + (n * 3 + person) % 90},,,,Band")
        (own / "phone.csv").write_text("\n".join(lines))
        size += (own / "phone.csv").stat().st_size / 1e6
    head(size)
    measured(f"record merge of {args.people} people", [sys.executable, "-c", MERGE, str(top)], size)


def out(args: argparse.Namespace, folder: Path) -> None:
    """A record of two devices, a value of each every ten seconds, one after the other and together for a tenth."""
    devices, first = (Device("Acme", "Band 1"), Device("Acme", "Watch 2", app="Acme")), int(START.timestamp()) * US
    rows = (
        Row("heart_rate", first + 10 * US * (n if n % 2 else n + args.rows // 10), 50.0 + n * 7 % 90, "bpm", n)
        for n in range(args.rows)
    )
    rows = (row._replace(offset_min=60, device=devices[row.row % 2]) for row in rows)
    record = folder / "person.parquet"
    write_rows(rows, record, FileTally("made.csv", "own"))
    size = record.stat().st_size / 1e6
    head(size)
    for to in ("csv", "fhir", "openmhealth"):
        measured(f"export, {to}", [sys.executable, "-c", EXPORT, to, str(record), str(folder / f"out.{to}")], size)
    measured("page", [sys.executable, "-c", SHOW, str(record), str(folder / "page.html")], size)


def recorded(kind: str) -> list[TimeSeries]:
    """People's series, moved by whole days so that they lie on each other."""
    data = Path(os.environ["METAPULSE_DATA"])
    if kind == "glucose":
        found = np.load(data / "cgm_open" / "cgm_open.npz", allow_pickle=False)
        who = np.char.add(found["dataset"].astype(str), np.char.add("/", found["user"].astype(str)))
        value = found["mg_dl"]
    else:
        found = np.load(data / "fitbit_33" / "minute.npz", allow_pickle=False)
        who, value = found["user"], np.log1p(found["steps"]) if kind == "steps" else found["hr"]
    series = []
    for one in np.unique(who):
        rows = (who == one) & np.isfinite(value)
        time = np.asarray(found["t_min"][rows], float) * 60
        order = np.argsort(time, kind="stable")
        if len(time) > 2000 and time.max() - time.min() > 14 * DAY_S:
            time = time - time.min() // DAY_S * DAY_S
            series.append(TimeSeries(time[order], np.asarray(value[rows], float)[order]))
    return series


def second(of: TimeSeries, noise: float, seed: int) -> TimeSeries:
    """Another device on the same person: moments of its own, noise of its own, without a tenth of them."""
    draw = np.random.default_rng(seed)
    step = float(np.median(np.diff(of.time)))
    time = of.time[1:] - draw.uniform(0, step)
    known = (np.diff(of.time) <= 3 * step) & (draw.random(len(time)) > 0.1)
    value = np.interp(time, of.time, of.value) + draw.normal(0, noise, len(time))
    return TimeSeries(time[known], value[known])


def clocks(args: argparse.Namespace, _: Path) -> None:
    noise = {"heart_rate": 4.0, "steps": 0.5, "glucose": 8.0}
    plants: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "none": lambda t: 0 * t,
        "90 s": lambda t: 0 * t + 90,
        "240 min": lambda t: 0 * t + 240 * 60,
        "2 s a day": lambda t: 2 * t / DAY_S,
        "60 min, days 7 to 14": lambda t: 3600.0 * ((t > 7 * DAY_S) & (t < 14 * DAY_S)),
    }
    print("| kind | pair | pairs | windows | p < 1e-3 | told | said off | median error s |\n" + "|---" * 8 + "|")
    for kind in args.kinds:
        likeness = KINDS[kind]
        series = recorded(kind)
        draw = np.random.default_rng(0)
        pairs = [(i, j) for i in range(len(series)) for j in range(len(series)) if i != j]
        chosen = [pairs[k] for k in draw.permutation(len(pairs))[: args.pairs]]
        found = [w.p for i, j in chosen for w in shift_windows(series[i], series[j], likeness)]
        told = [clock_pieces(series[i], series[j], likeness) for i, j in chosen]
        low = sum(p < WINDOW_P for p in found)
        print(f"| {kind} | strangers | {len(chosen)} | {len(found)} | {low} | {sum(map(bool, told))} | | |", flush=True)
        some = series[:8]
        for name, plant in plants.items():
            made = [second(one, noise[kind], seed) for seed, one in enumerate(some)]
            late = [TimeSeries(one.time + plant(one.time), one.value) for one in made]
            late = [TimeSeries(one.time[o := np.argsort(one.time, kind="stable")], one.value[o]) for one in late]
            pieces = [clock_pieces(one, other, likeness) for one, other in zip(some, late, strict=True)]
            off = sum(any(not piece.agrees for piece in parts) for parts in pieces)
            errors = [
                abs(p.shift_s + p.drift_s * (t - p.first) / DAY_S - plant(np.array([t]))[0])
                for parts in pieces for p in parts for t in [(p.first + p.last) / 2]
            ]  # fmt: skip
            middle = f"{np.median(errors):.0f}" if errors else "–"
            print(f"| {kind} | {name} | {len(some)} | | | {sum(map(bool, pieces))} | {off} | {middle} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    known = {"apple": apple, "takeout": takeout, "people": people, "out": out, "clocks": clocks}
    for name, run in known.items():
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--gb", type=float, default=2)
        command.add_argument("--days", type=int, default=30 if name == "people" else 300)
        command.add_argument("--rows", type=int, default=1_000_000)
        command.add_argument("--people", type=int, default=10)
        command.add_argument("--pairs", type=int, default=200)
        command.add_argument("--peer", default="")
        command.add_argument("--kinds", nargs="+", choices=SEEN, default=SEEN)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="metapulse-bench-") as folder:
        args.run(args, Path(folder))


if __name__ == "__main__":
    main()
