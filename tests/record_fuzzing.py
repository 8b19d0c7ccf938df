"""A fuzzer of readers: ``python -m tests.record_fuzzing --inputs 10000 [--only apple] [--guided]``.

Seeds are the samples of every format, exports of made-up rows, and the real ones beside the data where there are any.
An input is a seed that was changed in its bytes, in its text or by its grammar: a cell of a CSV, a value of a JSON, an
attribute, a field of HL7 takes a value that its place does not expect. It is read by the reader that knows it. A find
is an exception, an account in which rows are missing, more than a second of CPU for a small file, or memory without
bound; it is written to ``--keep`` as a file, and the seed of a find that was mended becomes a test. ``--guided`` lets
atheris choose the changes by what they reach (``pip install atheris``).
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import random
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

from metapulse.record.clock import zone
from metapulse.record.columns import Tables
from metapulse.record.readers import readers
from metapulse.record.readers.base import Context, Options, Reader, Sample
from metapulse.record.schema import Row
from metapulse.record.tally import FileTally, fault
from metapulse.sim.fake.formats import formats
from metapulse.sim.fake.formats.base import Making
from tests.metapulse.record.samples import SAMPLES
from tests.metapulse.record.test_readers import memory_file
from tests.sim.fake.test_formats import grid

SMALL = 20_000  # bytes of a seed, at most
LIMIT_S, MEMORY = 1.0, 3 * 2**30
#: What no place expects.
VALUES: tuple[Any, ...] = (
    *(
        "",
        " ",
        "null",
        "NaN",
        "-",
        "--",
        "1e400",
        "-1e308",
        "1e308",
        "1e-308",
        "7e301",
        "9" * 40,
        "0x1F",
        "½",
        "\u0661\u0662",
        "Low",
        "12:61",
    ),
    *("2024-13-45", "0000-00-00", "9999-12-31T23:59:60Z", "1969-12-31T23:59:59Z", "31.12.2024 24:00", "04/05/06"),
    *(
        None,
        True,
        -1,
        0,
        1e308,
        -1e308,
        1e302,
        1e-308,
        2**63,
        2**200,
        1e-320,
        float("inf"),
        float("nan"),
        [],
        {},
        [[]],
        {"": None},
        "\ud800",
        "\0",
    ),
)
BYTES = (
    b"\0",
    b"\xff",
    b'"',
    b"'",
    b"\r\n",
    b"\n\n",
    b"<",
    b">",
    b"&#0;",
    b"]]>",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\xef\xbb\xbf",
)


def made_up(folder: Path) -> Iterator[Path]:
    """Exports of rows of every shape, in every format, with traps and without."""
    for name, format in formats().items():
        rows = [row for row in grid(format) if format.says(row)]
        for traps in (False, True):
            place = folder / f"{name}-{traps}"
            place.mkdir()
            format.write(rows[:: max(1, len(rows) // 40)], Making(place, "Europe/Berlin", traps))
            yield from sorted(path for path in place.rglob("*") if path.is_file())[:5]


def seeds(only: str, folder: str) -> list[tuple[str, str, bytes]]:
    """(reader's name, name of the file, content): the samples, made-up exports, the beginnings of the real files."""
    found = [(name, text.encode()) for name, text in SAMPLES.items()]
    if data := os.environ.get("METAPULSE_DATA"):
        for top in (Path(data) / "exports", Path(data).parent / "cases" / "record"):
            for path in sorted(path for path in top.rglob("*") if path.is_file()):
                with path.open("rb") as stream:
                    found.append((path.name, stream.read(SMALL)))
    found += [(path.name, path.read_bytes()[:SMALL]) for path in made_up(Path(folder))]
    known = {reader.name: reader for reader in readers() if reader.name != "record" and only in reader.name}
    return [
        (reader.name, name, content)
        for reader in known.values()
        for name, content in found
        if reader.sniff(Sample(content, name))
    ]


def values(node: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every value of a JSON."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield node, key
        yield from values(value)


def by_json(content: bytes, draw: random.Random) -> bytes:
    """One to three values of the JSON become others, go, are doubled or change places."""
    root = [json.loads(content)]
    for _ in range(draw.randint(1, 3)):
        places = list(values(root))
        node, key = draw.choice(places)
        how = draw.randrange(5)
        if how == 0 and isinstance(node, dict):
            node[f"{key}x"] = node.pop(key)
        elif how == 1 and isinstance(node, list):
            node.append(node[key])
        elif how == 2:
            other, its = draw.choice(places)
            node[key] = json.loads(json.dumps(other[its]))
        elif how == 3 and isinstance(node[key], str | int | float):
            node[key] = str(node[key]) if not isinstance(node[key], str) else number_of(node[key])
        else:
            node[key] = draw.choice(VALUES)
    return json.dumps(root[0]).encode(errors="surrogatepass")


def number_of(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return len(text)


def by_cells(content: bytes, draw: random.Random) -> bytes:
    """A cell, field or attribute becomes another value; a line goes, is doubled or changes places."""
    text = content.decode("utf-8", errors="surrogateescape")
    lines = text.splitlines(keepends=True)
    for _ in range(draw.randint(1, 4)):
        at, how = draw.randrange(len(lines)), draw.randrange(6)
        if how == 0:
            lines.insert(at, draw.choice(lines))
        elif how == 1 and len(lines) > 1:
            del lines[at]
        elif how == 2:
            lines[at] = lines[at].rstrip("\r\n") + draw.choice(["", "\r", "\n\n", ";;;\n", ",,\n", '"\n'])
        else:
            parts = re.split(r'([,;|^\t"=<>])', lines[at])
            parts[draw.randrange(len(parts))] = str(draw.choice(VALUES))
            lines[at] = "".join(parts)
    return "".join(lines).encode("utf-8", errors="surrogatepass")


def by_bytes(content: bytes, draw: random.Random) -> bytes:
    """Bytes change, go, come or are repeated; the end is cut off."""
    for _ in range(draw.randint(1, 4)):
        at, length, how = draw.randrange(len(content) + 1), draw.randint(1, 64), draw.randrange(5)
        if how == 0:
            content = content[:at]
        elif how == 1:
            content = content[:at] + content[at + length :]
        elif how == 2:
            content = content[:at] + content[max(0, at - length) : at] * draw.randint(2, 50) + content[at:]
        elif how == 3:
            content = content[:at] + draw.choice(BYTES) + content[at:]
        else:
            content = content[:at] + bytes(draw.randrange(256) for _ in range(min(length, 4))) + content[at + 4 :]
    return content


def changed(content: bytes, draw: random.Random) -> bytes:
    """An input of a seed."""
    how: Callable[[bytes, random.Random], bytes] = draw.choice((by_json, by_json, by_cells, by_cells, by_bytes))
    try:
        return how(content, draw)
    except (ValueError, IndexError, RecursionError):  # no JSON, or an empty one
        return by_bytes(content, draw)


def find(reader: Reader, name: str, content: bytes) -> str:
    """What is wrong with how the reader reads this; "" for nothing."""
    began, tally = time.process_time(), FileTally(name)
    context = Context(memory_file(content, name), Options(zone("Europe/Berlin")), tally)
    rows: list[Row] = []
    last = None
    try:
        for row in reader.read(context):
            if (row.file, row.row) != last:
                last, tally.used = (row.file, row.row), tally.used + 1
            rows.append(row)
        Tables().block(rows, name, tally)
    except Exception as error:
        return fault(error)
    if tally.unexplained:
        return f"{tally.unexplained} of {tally.seen} rows are unexplained"
    spent = time.process_time() - began
    return f"{spent:.1f} s" if spent > LIMIT_S and len(content) < 10 * SMALL else ""


def guided(known: list[tuple[str, str, bytes]], inputs: int, keep: Path) -> None:
    """atheris chooses: the first byte says which reader."""
    import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

    by_name = {reader.name: reader for reader in readers()}
    names = sorted({name for name, _, _ in known})
    corpus = keep / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for reader, _, content in known:
        (corpus / hashlib.sha256(content).hexdigest()[:16]).write_bytes(bytes([names.index(reader)]) + content)

    def one(data: bytes) -> None:
        if data:
            name = names[data[0] % len(names)]
            if wrong := find(by_name[name], "file", data[1:]):
                (keep / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data[1:])
                print(f"{name}: {wrong}", flush=True)

    for function in [each for each in gc.get_objects() if isinstance(each, FunctionType)]:
        if (function.__module__ or "").startswith("metapulse.record"):
            atheris.instrument_func(function)
    atheris.Setup([sys.argv[0], f"-runs={inputs}", f"-max_len={SMALL}", str(corpus)], one)
    atheris.Fuzz()


def main() -> int:
    """Inputs; 1 where anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--only", default="", help="readers whose name contains it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("finds"))
    parser.add_argument("--guided", action="store_true")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    with tempfile.TemporaryDirectory() as folder:
        known = seeds(given.only, folder)
    by_name = {reader.name: reader for reader in readers()}
    given.keep.mkdir(parents=True, exist_ok=True)
    if given.guided:
        guided(known, given.inputs, given.keep)
        return 0
    of = {name: [seed for seed in known if seed[0] == name] for name, _, _ in known}
    names = list(of)
    tried, finds = Counter[str](), dict[tuple[str, str], str]()
    for i in range(given.inputs):
        draw = random.Random(f"{given.seed}/{i}")
        name, file, content = draw.choice(of[names[i % len(names)]])
        content = changed(content, draw)
        tried[name] += 1
        if (wrong := find(by_name[name], file, content)) and (name, wrong) not in finds:
            finds[name, wrong] = f"{name}-{given.seed}-{i}"
            (given.keep / finds[name, wrong]).write_bytes(content)
            print(f"{finds[name, wrong]}: {wrong}", flush=True)
    print(json.dumps({"inputs": tried.total(), "finds": len(finds), "by reader": dict(sorted(tried.items()))}))
    return 1 if finds else 0


if __name__ == "__main__":
    sys.exit(main())
