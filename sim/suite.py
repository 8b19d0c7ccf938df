"""One configuration, one run or several: each ``[methods.NAME]`` table is a change laid over it, with its own folder.

runs/main-0/suite.json      the methods and their resolved configurations
runs/main-0/fedavg/         one run's folder, as ``metapulse.server.folder`` describes it
runs/main-0/report.html     all of them compared

A run with a summary is finished: continuing a suite runs what has none, from its last checkpoint or from the start.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from metapulse.errors import ConfigError, RunError
from metapulse.server.common import dropped, unreached
from metapulse.server.config import Config, anchored, build_config, load_config, merge, resolved, together
from metapulse.server.files import read_json, read_sealed, write_sealed
from metapulse.server.folder import RunFolder
from metapulse.server.own_code import reach
from metapulse.sim.cells import Cell
from metapulse.sim.method_tables import NAME, build_layers, lay, read_methods


@dataclass(frozen=True)
class Suite:
    """What a configuration asks for: the methods of a file, on one data set, with one seed.

    Args:
        name: of the run or of the suite.
        seed: of the base configuration.
        configs: configuration of each method; one entry, named like the suite, where there are no methods.
        nested: whether there are ``[methods.NAME]`` tables, each with a folder of its own.
        notes: method → lines that people have to know of its configuration.
    """

    name: str
    seed: int
    configs: dict[str, Config]
    nested: bool
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)


def read_suite(path: Path, sets: Sequence[str] = (), options: Mapping[str, Mapping[str, Any]] | None = None) -> Suite:
    """Read a configuration file.

    Args:
        path: TOML.
        sets: ``section.key=value`` each, laid over every method; ``methods.NAME.section.key=value`` over one.
        options: further changes, laid over those.

    Raises:
        ConfigError: names the key, the value and what is allowed.
    """
    common, tables = load_config(path)
    methods = read_methods(tables)
    over, only = _changes(sets)
    if unknown := sorted(set(only) - set(methods)):
        allowed = f"no such method (there are: {', '.join(methods) or 'none'})"
        raise ConfigError("--set", f"methods.{unknown[0]}", allowed)
    last = [("", options or {})]
    base = build_layers([("", common), ("", over), *last])
    if not methods:
        told = {base.run.name: dropped(common, over, base)}
        return Suite(base.run.name, base.run.seed, {base.run.name: base}, nested=False, notes=told)
    configs, notes = {}, {}
    for name, method in methods.items():
        where, own = f"methods.{name}", only.get(name, {})
        mine = [("", common), (where, method.change), ("", over), (f"--set {where}", own), *last]
        config = build_layers(mine, f"{where}.")
        named = config.run.name if "name" in method.change.get("run", {}) else name
        configs[name] = replace(config, run=replace(config.run, name=named))
        left = dropped(lay(mine[:2]), lay(mine[2:4]), config)
        notes[name] = [*unreached(common, method.change, config), *left]
    return Suite(base.run.name, base.run.seed, configs, nested=True, notes=notes)


def _changes(sets: Sequence[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """``--set`` as one change, and what is set for single methods (``methods.NAME.section.key``) apart."""
    over: dict[str, Any] = anchored(together(sets), Path())
    only = over.pop("methods", {})
    if not isinstance(only, dict) or not all(isinstance(change, dict) for change in only.values()):
        raise ConfigError("--set", "methods", "expected methods.NAME.section.key=value")
    return over, only


def new_folder(suite: Suite) -> Path:
    """runs/NAME-SEED, or with the first number appended that is not taken."""
    slug = re.sub(r"[^\w.-]+", "-", suite.name).strip("-.") or "run"
    path = Path("runs") / f"{slug}-{suite.seed}"
    if not path.exists():
        return path
    return next(p for i in count(2) if not (p := path.with_name(f"{path.name}-{i}")).exists())


def new_cells(suite: Suite, path: Path) -> list[Cell]:
    """The suite's runs, in new folders under ``path``; the list of methods is written first.

    Raises:
        RunError: the folder holds a run or a suite already, or cannot be made.
    """
    if (path / "suite.json").exists() or (path / "config.json").exists():
        raise RunError(f"{path} holds a run already; choose another folder, or resume it")
    if not suite.nested:
        return [Cell(name, config, path, notes=suite.notes.get(name, ())) for name, config in suite.configs.items()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make {path}: {error.strerror or error}") from None
    tables = {name: resolved(config) for name, config in suite.configs.items()}
    write_sealed(path / "suite.json", {"name": suite.name, "order": list(tables), "methods": tables})
    return [Cell(name, config, path / name, notes=suite.notes.get(name, ())) for name, config in suite.configs.items()]


def saved_cells(path: Path, change: Mapping[str, Any] | None = None) -> list[Cell]:
    """The runs of a folder that is there already: a suite's methods in their order, or its one run.

    Args:
        change: laid over their configurations: where the data is now, how many workers there are.

    Raises:
        RunError: it holds neither.
    """
    reach(path)
    if (path / "suite.json").exists():
        saved = read_json(path / "suite.json")
        try:
            tables = {name: saved["methods"][name] for name in saved["order"]}
            if not all(NAME.fullmatch(name) for name in tables):
                raise KeyError
        except (KeyError, TypeError):
            raise RunError(f"{path / 'suite.json'} is not a suite's list of methods") from None
        read_sealed(path / "suite.json")
        return [Cell(name, build_config(merge(table, change or {})), path / name) for name, table in tables.items()]
    if (path / "config.json").exists():
        config = build_config(merge(RunFolder(path).config()[0], change or {}))
        return [Cell(config.run.name, config, path)]
    if not path.is_dir():
        raise RunError(f"{path} does not exist" if not path.exists() else f"{path} is not a folder")
    raise RunError(f"{path} holds no run: neither config.json nor suite.json")
