"""Fingerprints of what decides a run's numbers besides its settings: its data, and the user's own code.

A fingerprint is a small mapping, for example ``{"data source.path": "9f…", "code my_methods": "04…"}``. It is written
into the run's folder when that is made, is part of the run's address, and is compared before a run goes on: the same
settings over other data are another run. Where the data lies is no part of it.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib.util
import json
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

import numpy as np

from metapulse.data import FileSource, Source
from metapulse.errors import ConfigError, DataError, RunError
from metapulse.registry import SOURCES, resolve
from metapulse.server.config import REGISTRIES, Config, resolved
from metapulse.server.folder import RunFolder

DATA, CODE = "data ", "code "
ABSENT = ""  # digest of a file that is not there
PEOPLE = 1000  # clients of a source that names no files, evenly spaced, whose samples are looked at
REFERENCE = re.compile(r"[A-Za-z_]\w*(\.\w+)*:[A-Za-z_]\w*")
OURS = tuple(  # in a checkout the folders lie side by side; installed, all are in the first
    Path(__import__("metapulse").__file__ or "").resolve().parent.parent / name
    for name in ("metapulse", "client", "strategies", "server", "sim")
)
STANDARD = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
INSTALLED = ("site-packages", "dist-packages")


def fingerprint(config: Config, source: object = None) -> dict[str, str]:
    """Name → digest of everything outside the configuration that decides the numbers.

    Args:
        source: its data source; None where the data is on devices, of which a coordinator knows nothing.

    Returns:
        "data KEY" for files (streamed BLAKE2 of the content; of a folder all its files; "" if it is not there) and for
        the samples of a source that names no files; "code MODULE" for every module outside this package that the
        configuration names, and for those beside it that it imports.
    """
    found = {name: _content(path) for name, path in fingerprinted_files(config, source).items()}
    if ":" in config.source["name"] and isinstance(source, Source) and not isinstance(source, FileSource):
        found[f"{DATA}source"] = _samples(source)
    return dict(sorted(found.items()))


def fingerprinted_files(config: Config, source: object = None) -> dict[str, Path]:
    """Name → where it is, of the files that a fingerprint is of.

    Args:
        source: as for ``fingerprint``.
    """
    table = resolved(config)
    found = {f"{DATA}{key}": path for key, path in _named_files(table)}
    if isinstance(source, FileSource):
        try:
            found |= {f"{DATA}source.{key}": path.expanduser() for key, path in source.files().items()}
        except DataError:  # not imported, or unreadable: the source itself says how, when it is asked
            found[f"{DATA}source.path"] = Path(config.source.get("path") or config.source["name"])
    for key, reference in _references(table):
        found |= {f"{CODE}{name}": path for name, path in _modules(key, reference)}
    return found


def known_inputs(config: Config, resumed: Path | None = None) -> dict[str, str]:
    """The fingerprint where the data is here, before anything is loaded.

    Args:
        resumed: folder of the run that goes on; None for a new one.

    Raises:
        RunError: what was there when the run was made has changed or gone.
    """
    source = SOURCES.make(config.source)
    inputs = fingerprint(config, source)
    if resumed is not None:
        refuse_changed(resumed, RunFolder(resumed).inputs(), inputs, fingerprinted_files(config, source))
    return inputs


def address(config: Config, inputs: Mapping[str, str]) -> str:
    """The digest of a run: of its settings, with the content of files in the place of where they are.

    Args:
        inputs: its fingerprint; without one it is the configuration's own digest.
    """
    if not inputs:
        return config.digest()
    table = {k: v for k, v in resolved(config).items() if k not in ("engine", "checkpoint")}
    for name, found in inputs.items():
        if name.startswith(DATA) and found:
            _blank(table, name.removeprefix(DATA).split("."))
    return hashlib.sha256(json.dumps([table, dict(inputs)], sort_keys=True).encode()).hexdigest()


def data_digest(inputs: Mapping[str, str]) -> str:
    """One digest of all the data in a fingerprint; "" where there is none, or none that is known here."""
    data = {name: found for name, found in inputs.items() if name.startswith(DATA)}
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:32] if any(data.values()) else ""


def refuse_changed(
    folder: Path, before: Mapping[str, str], now: Mapping[str, str], where: Mapping[str, Path] | None = None
) -> None:
    """Refuse to resume with other data or other code.

    Args:
        folder: of the run, for the message.
        before: the fingerprint of when it was made.
        now: the present one.
        where: files by name, for the message.

    Raises:
        RunError: names what has changed, or is not there.
    """
    for name in sorted({*before, *now}):
        if before.get(name) == now.get(name):
            continue
        if name not in before:
            raise RunError(f"{folder}: {name} was no part of the run when it began; start a new run")
        what = f"{name} ({place})" if (place := (where or {}).get(name)) else name
        if not now.get(name):
            hint = f"; if it lies elsewhere: metapulse resume {folder} --data PATH" if name.startswith(DATA) else ""
            raise RunError(f"{folder}: {what} is not there any more{hint}")
        raise RunError(f"{folder}: {what} has changed since the run began; start a new run")


def _samples(source: Source) -> str:
    """Digest of what a source of one's own says of itself and gives."""
    told = _hash()
    try:
        told.update(repr((source.task, source.users, tuple(source.devices), len(source))).encode())
        count = len(source)
        for i in range(min(count, PEOPLE)):
            index = i * count // min(count, PEOPLE)
            try:
                told.update(repr(source.client(index)).encode())
                samples = source.samples(index)
                arrays = {field.name: getattr(samples, field.name) for field in dataclasses.fields(samples)}
                if arrays["base"] is None:
                    del arrays["base"]  # samples without it have the digest that they had before there was one
                for array in arrays.values():
                    told.update(np.ascontiguousarray(array).tobytes() if isinstance(array, np.ndarray) else b"-")
            except Exception as error:  # this client will be dropped and named when the run asks it
                told.update(type(error).__name__.encode())
    except Exception as error:
        told.update(type(error).__name__.encode())
    return str(told.hexdigest())


def _named_files(table: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """Files that settings of one's own code name; our own entries say themselves what they read (``FileSource``)."""
    for section in REGISTRIES:
        for key, text in _own_texts(table[section], section):
            path = Path(text).expanduser()
            if ("/" in text or path.suffix) and path.exists():
                yield key, path


def _own_texts(settings: Mapping[str, Any], key: str) -> Iterator[tuple[str, str]]:
    """Every text in the settings of one's own code, which may stand inside an entry of ours, as an aggregator does."""
    own = ":" in str(settings.get("name", ""))
    for name, inner in settings.items():
        if name != "name" and (own or name == "options"):
            yield from _texts(inner, f"{key}.{name}")
        elif isinstance(inner, Mapping):
            yield from _own_texts(inner, f"{key}.{name}")


def _texts(value: object, key: str) -> Iterator[tuple[str, str]]:
    """Every text in nested settings, by its dotted key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}")
    elif isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            yield from _texts(inner, f"{key}.{i}")


def _blank(table: Any, parts: list[str]) -> None:
    """Empty the text at a key, where there is one."""
    for part in parts[:-1]:
        table = table[int(part)] if isinstance(table, list) else table.get(part, {})
    last = parts[-1]
    if isinstance(table, list):
        table[int(last)] = ""
    elif isinstance(table.get(last), str):
        table[last] = ""


def _references(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Settings that read like package.module:Name."""
    sections = {name: table[name] for name in REGISTRIES} | {"evaluation.metrics": table["evaluation"].get("metrics")}
    for name, section in sections.items():
        yield from ((key, text) for key, text in _texts(section, name) if REFERENCE.fullmatch(text))


def _modules(key: str, reference: str) -> list[tuple[str, Path]]:
    """The module of a reference and all that it imports from beside it, by name, with their files."""
    try:
        resolve(reference, key)
    except ConfigError:
        return []  # a text that only reads like one; a real one is refused where it is used
    first = reference.partition(":")[0]
    found: dict[str, Path] = {}
    waiting = [first]
    while waiting:
        name = waiting.pop()
        spec = _spec(name)
        path = None if spec is None or name in found else _place(spec)
        if spec is None or path is None:
            continue
        found[name] = path
        if not _installed(path) and path.suffix == ".py":
            waiting += [name.rpartition(".")[0], *_imported(spec.parent or "", path)]
    return [(name, path) for name, path in found.items() if name == first or not _installed(path)]


def _spec(name: str) -> ModuleSpec | None:
    """How a module is, or would be, loaded; nothing is imported to find out."""
    parent = name.rpartition(".")[0]
    if name in sys.modules or not name:
        return getattr(sys.modules.get(name), "__spec__", None)
    try:
        if not parent or parent in sys.modules:
            return importlib.util.find_spec(name)
        package = _spec(parent)  # that an import within a function has still to bring in
        places = None if package is None else package.submodule_search_locations
        return None if places is None else PathFinder.find_spec(name, list(places))
    except (ImportError, AttributeError, ValueError):
        return None


def _place(spec: ModuleSpec) -> Path | None:
    """The file of a module; None for ours, Python's own, and those without a file."""
    if not spec.has_location or not spec.origin:
        return None
    path = Path(spec.origin).resolve()
    if any(path.is_relative_to(folder) for folder in OURS):
        return None
    standard = any(path.is_relative_to(folder) for folder in STANDARD)
    return None if standard and not _installed(path) else path


def _installed(path: Path) -> bool:
    return any(part in INSTALLED for part in path.parts)


def _imported(package: str, path: Path) -> list[str]:
    """Names of modules that a file's import statements may mean, wherever in it they stand."""
    names: list[str] = []
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return names
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                try:
                    base = importlib.util.resolve_name("." * node.level + base, package)
                except ImportError:
                    continue
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names


def _content(path: Path) -> str:
    """Digest of a file, or of a folder's files with their names; "" where there is neither."""
    path = path.expanduser()
    try:
        if path.is_dir():
            told = _hash()
            for file in sorted(p for p in path.rglob("*") if p.is_file()):
                told.update(f"{file.relative_to(path).as_posix()}\0{_content(file)}\0".encode())
            return str(told.hexdigest())
        stat = path.stat()
        return _read(path.resolve(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    except OSError:
        return ABSENT


@lru_cache(maxsize=4096)
def _read(path: Path, size: int, written: int, changed: int, inode: int) -> str:
    """Digest of a file that was so when it was looked at: once per process, however many runs read it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, _hash).hexdigest()


def _hash() -> Any:
    return hashlib.blake2b(digest_size=16)
