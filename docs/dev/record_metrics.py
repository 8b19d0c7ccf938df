"""Write the tables of docs/record_metrics.md from what the readers give: ``python docs/dev/record_metrics.py``.

The samples of the tests are always read. Cases and export files are read where METAPULSE_DATA names a folder that has
them; what was seen in them before stays in the tables otherwise.
"""

from __future__ import annotations

import csv
import json
import os
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from metapulse.record.clock import zone
from metapulse.record.containers import Inputs
from metapulse.record.metrics import metrics
from metapulse.record.readers import readers
from metapulse.record.readers.base import Options
from metapulse.record.reading import Read

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "record_metrics.md"
BEGIN = "<!-- from the readers, by python docs/dev/record_metrics.py -->"
END = "<!-- until here -->"
#: Where a metric was seen: the reader's table of types, samples of the tests, cases with traps, files of people's
#: devices, examples that vendors give.
TABLE, SAMPLE, CASE, FILE, EXAMPLE = LETTERS = "tscfe"
TABLES = {"codes": ("fhir", "hl7")}  # that are not named after their reader
#: Folders of export files that devices of people wrote; the others are examples.
PEOPLE = (
    *("dexcom_clarity", "empatica_e4", "fit_garmin", "garmin_whoop_paired", "google_fit_takeout"),
    *("medtronic_carelink", "nightscout"),
)
EVERY = ("own", "record")  # formats of our own, which hold any metric

#: (reader, metric or mark) → where it was seen.
Seen: TypeAlias = dict[tuple[str, str], set[str]]


def seen_in(paths: Iterable[Path], options: Options, letter: str, found: Seen) -> None:
    """Read files, and note every metric and mark of each reader's rows."""
    read = Read(options)
    with Inputs(list(paths)) as given:
        for context, batches in read.files(given):
            for row in (row for rows in batches for row in rows):
                for name in (row.metric, *row.quality):
                    found[context.tally.format, name].add(letter)


def without_data() -> Seen:
    """What the readers' tables name, and what the samples of the tests give."""
    sys.path.insert(0, str(ROOT))
    from tests.metapulse.record.samples import SAMPLES

    found: Seen = defaultdict(set)
    for table in (ROOT / "metapulse" / "record" / "readers").glob("*.csv"):
        with table.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                for reader in TABLES.get(table.stem, (table.stem,)) if row.get("metric") in metrics() else ():
                    found[reader, row["metric"]].add(TABLE)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in SAMPLES.items():  # each alone: a file beside another may be read with it
            place = Path(folder) / str(len(list(Path(folder).iterdir())))
            place.mkdir()
            (place / name).write_text(text, encoding="utf-8", newline="")
            seen_in([place / name], Options(zone("Europe/Berlin")), SAMPLE, found)
    return found


def in_data(data: Path) -> Seen:
    """What cases and export files give."""
    found: Seen = defaultdict(set)
    for case in sorted((data.parent / "cases" / "record").glob("*/expect.json")):
        told = json.loads(case.read_text(encoding="utf-8"))["options"]
        options = Options(zone(told["timezone"]) if "timezone" in told else None, told.get("date_order", ""))
        seen_in([path for path in case.parent.iterdir() if path != case], options, CASE, found)
    berlin = Options(zone("Europe/Berlin"))
    for folder in sorted(path for path in (data / "exports").iterdir() if path.is_dir()):
        seen_in([folder], berlin, FILE if folder.name in PEOPLE else EXAMPLE, found)
    seen_in([data / "samples"], berlin, FILE, found)
    return found


def page(text: str, found: Mapping[tuple[str, str], set[str]]) -> str:
    """The page with both tables made anew."""
    for part in (by_metric(found), by_format(found)):
        before, _, rest = text.partition(f"{BEGIN}\n")
        _, _, after = rest.partition(f"{END}\n")
        text = f"{before}<!-- BEGUN -->\n{part}\n<!-- ENDED -->\n{after}"
    return text.replace("<!-- BEGUN -->", BEGIN).replace("<!-- ENDED -->", END)


def by_metric(found: Mapping[tuple[str, str], set[str]]) -> str:
    """Metric → formats, and where it was seen in each."""
    rows = ["| metric | unit | formats that give it |", "|---|---|---|"]
    for name, metric in metrics().items():
        formats = [f"{reader} ({_letters(where)})" for (reader, what), where in sorted(found.items()) if what == name]
        shown = [text for text in formats if text.split()[0] not in EVERY]
        rows.append(f"| `{name}` | {metric.unit} | {', '.join(shown) or '–'} |")
    return "\n".join(rows)


def by_format(found: Mapping[tuple[str, str], set[str]]) -> str:
    """Format → how many metrics, and the marks that its reader puts on rows."""
    rows = ["| format | files | metrics | marks of its reader |", "|---|---|---|---|"]
    for reader in readers():
        own = {what: where for (name, what), where in found.items() if name == reader.name}
        number = "any" if reader.name in EVERY else str(sum(what in metrics() for what in own))
        marks = [f"`{what}` ({_letters(own[what])})" for what in sorted(own) if what not in metrics()]
        rows.append(f"| `{reader.name}` | {reader.title} | {number} | {', '.join(marks) or '–'} |")
    return "\n".join(rows)


def told(text: str) -> Seen:
    """What the tables of a page say."""
    found: Seen = defaultdict(set)
    for name, formats in re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|$", text, re.MULTILINE):
        for reader, letters in re.findall(r"(\w+) \((\w+)\)", formats):
            found[reader, name] |= set(letters)
    for reader, marks in re.findall(r"^\| `(\w+)` \| [^|]* \| \w+ \| ([^|]*) \|$", text, re.MULTILINE):
        for mark, letters in re.findall(r"`(\w+)` \((\w+)\)", marks):
            found[reader, mark] |= set(letters)
    return found


def joined(*several: Mapping[tuple[str, str], set[str]]) -> Seen:
    """What was seen here or there."""
    found: Seen = defaultdict(set)
    for one in several:
        for key, letters in one.items():
            found[key] |= letters
    return found


def of_data(text: str) -> Seen:
    """What a page tells of cases and files."""
    return {key: rest for key, letters in told(text).items() if (rest := letters - {TABLE, SAMPLE})}


def _letters(where: Iterable[str]) -> str:
    return "".join(letter for letter in LETTERS if letter in where)


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    data = os.environ.get("METAPULSE_DATA")
    others = in_data(Path(data)) if data else of_data(text)
    PAGE.write_text(page(text, joined(without_data(), others)), encoding="utf-8")
