"""One configuration, one run or several: each ``[methods.NAME]`` table is a change laid over it, with its own folder.

runs/main-0/suite.json      the methods and their resolved configurations
runs/main-0/fedavg/         one run's folder, as ``metapulse.server.folder`` describes it
runs/main-0/report.html     all of them compared

A run with a summary is finished: continuing a suite runs what has none, from its last checkpoint or from the start.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from metapulse.errors import ConfigError, MetapulseError, NoResultError, RunError
from metapulse.server.common import dropped, unreached
from metapulse.server.config import Config, anchored, build_config, load, merge, resolved, together
from metapulse.server.files import read_json, read_sealed, write_sealed
from metapulse.server.fingerprint import known_inputs
from metapulse.server.folder import RunFolder
from metapulse.server.lock import alone
from metapulse.server.own_code import reach
from metapulse.server.result import failure
from metapulse.sim.crash import failed, one_line
from metapulse.sim.experiment import run
from metapulse.sim.progress import Watch

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Plan:
    """What a configuration asks for.

    Args:
        name: of the run or of the suite.
        seed: of the base configuration.
        configs: configuration of each method; one entry, named like the plan, where there are no methods.
        suite: whether there are ``[methods.NAME]`` tables.
        notes: method → what people have to know of its configuration.
    """

    name: str
    seed: int
    configs: dict[str, Config]
    suite: bool
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One run to be done.

    Args:
        name: of the method.
        config: what to do.
        path: the run's folder.
        notes: what people have to know of its configuration.
    """

    name: str
    config: Config
    path: Path
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Args:
        job: which one.
        summary: as in summary.json; None if it failed.
        error: one line; "" if it did not fail. A run that came to its end without a result has a summary and an error.
        code: exit code: 0; 2 for an error that names what to change; 1 for a run that came to nothing, for divergence,
            and for an error nobody foresaw.
    """

    job: Job
    summary: dict[str, Any] | None
    error: str = ""
    code: int = 0


def plan(path: Path, sets: Sequence[str] = (), options: Mapping[str, Mapping[str, Any]] | None = None) -> Plan:
    """Read a configuration file.

    Args:
        path: TOML.
        sets: ``section.key=value`` each, laid over every method.
        options: further changes, laid over those.

    Raises:
        ConfigError: names the key, the value and what is allowed.
    """
    table, methods = load(path)
    over, only = _changes(sets)
    if unknown := sorted(set(only) - set(methods)):
        raise ConfigError(
            "--set", f"methods.{unknown[0]}", f"no such method (there are: {', '.join(methods) or 'none'})"
        )

    def config(change: Mapping[str, Any], *later: Mapping[str, Any]) -> Config:
        laid = copy.deepcopy(table)
        for one in (change, over, *later, options or {}):
            merge(laid, copy.deepcopy(dict(one)))
        made = build_config(laid)
        if not made.evaluation.scenarios:
            raise ConfigError("evaluation.scenarios", [], "must name one at least: nobody would be judged")
        return made

    base = config({})
    if not methods:
        said = {base.run.name: dropped(table, over, base)}
        return Plan(base.run.name, base.run.seed, {base.run.name: base}, suite=False, notes=said)
    for name in methods:
        if not NAME.fullmatch(name):
            raise ConfigError("methods", name, "a method's name is a folder's: letters, digits, '_', '.', '-'")
    configs = {name: _named(name, config, change, only.get(name, {})) for name, change in methods.items()}
    notes = {
        name: unreached(table, change, configs[name])
        + dropped(merge(copy.deepcopy(table), change), merge(copy.deepcopy(over), only.get(name, {})), configs[name])
        for name, change in methods.items()
    }
    return Plan(base.run.name, base.run.seed, configs, suite=True, notes=notes)


def _changes(sets: Sequence[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """``--set`` as one change, and what is set for single methods (``methods.NAME.section.key``) apart."""
    over: dict[str, Any] = anchored(together(sets), Path())
    only = over.pop("methods", {})
    if not isinstance(only, dict) or not all(isinstance(change, dict) for change in only.values()):
        raise ConfigError("--set", "methods", "expected methods.NAME.section.key=value")
    return over, only


def _named(name: str, config: Callable[..., Config], change: Mapping[str, Any], only: Mapping[str, Any]) -> Config:
    """A method's configuration, called by its name; an error says which method it is in."""
    try:
        made = config(change, only)
    except ConfigError as error:
        raise ConfigError(f"methods.{name}.{error.key}", error.value, error.allowed) from None
    return made if "name" in change.get("run", {}) else replace(made, run=replace(made.run, name=name))


def new_folder(asked: Plan) -> Path:
    """runs/NAME-SEED, or with the first number appended that is not taken."""
    slug = re.sub(r"[^\w.-]+", "-", asked.name).strip("-.") or "run"
    path = Path("runs") / f"{slug}-{asked.seed}"
    if not path.exists():
        return path
    return next(p for i in count(2) if not (p := path.with_name(f"{path.name}-{i}")).exists())


def jobs(asked: Plan, path: Path) -> list[Job]:
    """The plan's jobs, in new folders under ``path``; a suite's list of methods is written first.

    Raises:
        RunError: the folder holds a run or a suite already, or cannot be made.
    """
    if (path / "suite.json").exists() or (path / "config.json").exists():
        raise RunError(f"{path} holds a run already; choose another folder, or resume it")
    if not asked.suite:
        return [Job(name, config, path, asked.notes.get(name, ())) for name, config in asked.configs.items()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make {path}: {error.strerror or error}") from None
    tables = {name: resolved(config) for name, config in asked.configs.items()}
    write_sealed(path / "suite.json", {"name": asked.name, "order": list(tables), "methods": tables})
    return [Job(name, config, path / name, asked.notes.get(name, ())) for name, config in asked.configs.items()]


def held(path: Path, change: Mapping[str, Any] | None = None) -> list[Job]:
    """The jobs of a folder that is there already: a suite's methods in their order, or its one run.

    Args:
        path: the folder.
        change: laid over their configurations: where the data is now, how many workers there are.

    Raises:
        RunError: it holds neither.
    """
    reach(path)
    if (path / "suite.json").exists():
        saved = read_json(path / "suite.json")
        try:
            named = [(name, saved["methods"][name]) for name in saved["order"]]
            if not all(NAME.fullmatch(name) for name, _ in named):
                raise KeyError
        except (KeyError, TypeError):
            raise RunError(f"{path / 'suite.json'} is not a suite's list of methods") from None
        read_sealed(path / "suite.json")
        return [Job(name, build_config(merge(table, change or {})), path / name) for name, table in named]
    if (path / "config.json").exists():
        config = build_config(merge(RunFolder(path).config()[0], change or {}))
        return [Job(config.run.name, config, path)]
    if not path.is_dir():
        raise RunError(f"{path} does not exist" if not path.exists() else f"{path} is not a folder")
    raise RunError(f"{path} holds no run: neither config.json nor suite.json")


def perform(todo: Sequence[Job], watch: Callable[[str], Watch], wait: bool = False) -> Iterator[Outcome]:
    """Do jobs one after another; one that fails is reported and the rest go on.

    Where some are finished, none is done over other data or code than theirs: one table would show both.

    Args:
        todo: what to do; a job whose folder has a summary is not done again.
        watch: makes the progress display of a method.
        wait: for a process that works on a job already, instead of failing.
    """
    for job in todo:
        try:
            summary = _finished(job) or _do(job, todo, watch, wait)
            why = failure(summary)
            yield Outcome(job, summary, why, 1 if why else 0)
        except NoResultError as error:
            yield Outcome(job, None, one_line(error), 1)
        except (MetapulseError, OSError) as error:
            yield Outcome(job, None, one_line(error), 2)
        except Exception as error:
            yield Outcome(job, None, failed(error, job.path), 1)


def _finished(job: Job) -> dict[str, Any] | None:
    if not (job.path / "summary.json").exists():
        return None
    return RunFolder(job.path).summary()


def _do(job: Job, beside: Sequence[Job], watch: Callable[[str], Watch], wait: bool) -> dict[str, Any]:
    with alone(job.path, wait):
        if (done := _finished(job)) is not None:  # by another process, in the meantime
            return done
        for other in beside:
            if (other.path / "summary.json").exists() and (other.path / "config.json").exists():
                known_inputs(other.config, other.path)
        progress = watch(job.name)
        for line in job.notes:
            progress.note(line)
        try:
            return run(job.config, job.path, progress, resume=(job.path / "config.json").exists())
        finally:
            progress.close()
