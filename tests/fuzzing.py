"""A fuzzer of configurations: one setting at a time, and some at once, over every section that there is.

``python -m tests.fuzzing --help``. Each trial is refused in one line, is a failed run with a line, or has a result;
anything else is a find: a traceback, more than twenty seconds, no result without a reason, a resolved configuration
that is refused, and a setting of which no accepted value changes θ, a score, or what is said of them.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import json
import random
import resource
import signal
import sys
import tempfile
import time
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metapulse.errors import MetapulseError, NoResultError
from metapulse.registry import ENGINES
from metapulse.server.config import REGISTRIES, Config, build_config, resolved
from metapulse.server.result import failure
from metapulse.settings import is_setting, plain
from metapulse.sim.experiment import run_experiment
from metapulse.strategies.aggregators.registry import AGGREGATORS
from tests.fuzz_outcomes import Count, Listener, Outcome, SlowError
from tests.fuzz_worlds import PROCESSES, WORK, Table, World, reason, worlds

LIMIT_S, MEMORY = 20.0, 4 * 2**30
HUGE = (2**31, 2**32, 2**53 + 1, 2**63, 2**64, 10**400, -1, -(2**63))
TOLD = ("theta", "metrics", "scores", "dropped", "given_up", "reasons", "people", "privacy", "warnings", "parameters")


def attempt(table: Table) -> Outcome:
    """One run of a table in a new folder."""
    listener = Listener()
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        try:
            config = build_config(copy.deepcopy(table))
            if not config.evaluation.scenarios:  # the command line refuses it; Python may train without a test
                return Outcome("refused", "no scenario")
            if build_config(json.loads(json.dumps(resolved(config)))).digest() != config.digest():
                return Outcome("find", "the resolved configuration is another one")
            summary = run_experiment(config, Path(folder) / "run", listener)
        except NoResultError as error:
            return _line("failed", str(error))
        except (MetapulseError, OSError) as error:
            return _line("refused", str(error))
        except SlowError:
            return Outcome("find", f"more than {LIMIT_S:g} s")
        except Exception as error:
            frame = traceback_line(error)
            return Outcome("find", f"{type(error).__name__}: {str(error)[:200]} ({frame})")
    if why := failure(summary):
        return _line("failed", why)
    if not summary.get("scores"):
        return Outcome("find", "a success without scores")
    told = json.dumps({key: summary.get(key) for key in TOLD}, sort_keys=True)
    return Outcome("result", told=told, notes=" ".join(listener.said))


def traceback_line(error: BaseException) -> str:
    """Where it was raised, in our own files."""
    at, found = error.__traceback__, ""
    while at is not None:
        name = at.tb_frame.f_code.co_filename
        if ".venv" not in name:
            found = f"{Path(name).name}:{at.tb_lineno}"
        at = at.tb_next
    return found


def _line(kind: str, said: str) -> Outcome:
    if "\n" in said.strip() or not said.strip() or len(said) > 2000:
        return Outcome("find", f"not one line: {said[:200]!r}")
    return Outcome(kind, said)


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """``SlowError`` after so many seconds."""

    def stop(*_: object) -> None:
        raise SlowError

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def timed(table: Table, seconds: float = LIMIT_S) -> tuple[Outcome, float]:
    """A trial, and how long it took."""
    began = time.perf_counter()
    try:
        with limited(seconds):
            outcome = attempt(table)
    except SlowError:
        outcome = Outcome("find", f"more than {seconds:g} s")
    return outcome, time.perf_counter() - began


def fields_of(table: Table, walked: str) -> Iterator[tuple[str, Any, Any]]:
    """Key, type and field of every setting of a section, or of a table within one."""
    name, _, inner = walked.partition(".")
    section = table.get(name, {})
    if inner:
        cls = AGGREGATORS[section[inner]["name"]]
    elif name in REGISTRIES:
        cls = REGISTRIES[name][section.get("name", "none")]
    elif name == "engine":
        cls = ENGINES[section.get("name", "cohort")]
    else:
        cls = typing.get_type_hints(Config)[name]
    hints = typing.get_type_hints(cls)
    for one in dataclasses.fields(cls):
        if is_setting(one) and f"{walked}.{one.name}" not in PROCESSES:
            yield f"{walked}.{one.name}", hints[one.name], one


def values(hint: Any, one: Any) -> Iterator[Any]:
    """Values of a setting: the ends of its range, just outside, others of its type, and of other types."""
    meta = one.metadata
    ends = [meta[k] for k in ("ge", "gt", "le", "lt") if meta.get(k) is not None]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for option in args:
            yield from values(option, one)
    elif origin is typing.Literal:
        yield from (*args, "no such", "", 3, True, None)
    elif hint is bool:
        yield from (True, False, 1, "true", None)
    elif hint is int:
        yield from (*[e + d for e in ends for d in (-1, 0, 1)], 2, 3, 4, 7, *HUGE, 1.5, "2", True, float("nan"), [])
    elif hint is float:
        yield from (*ends, *[e + d for e in ends for d in (-1e-9, 1e-9, 0.03, 0.4)], 0.3, 0.7, 1.3, 2.5, 20.0)
        yield from (
            5e-324,
            1e-300,
            1e-6,
            1e30,
            1e300,
            float("nan"),
            float("inf"),
            -float("inf"),
            0,
            10**400,
            "0.1",
            True,
        )
    elif hint is str:
        yield from ("", "ü☃ 名", "a/b", "..", "x" * 3000, "label", "watch", "x1", "\x00", "two\nlines", 3, None, [])
    elif origin is tuple:
        inner = list(values(args[0], one)) if args else []
        yield from ([], [[]], "abc", {}, None)
        yield from ([v] for v in inner if not isinstance(v, list))
        yield from ([v, v] for v in inner[:4])
        yield from ([1, 2, 3], ["p01"], ["p01", "p01"], ["ring"], ["x0", "x1"], [1] * 2000)
    else:
        yield from ({}, {"x": 1}, {"name": "no such"}, {"inner_lr": 0.3}, {"watch": 0.1}, [], "x", None, 3)


def changed(table: Table, key: str, value: Any) -> Table:
    """The table with one setting changed."""
    after = copy.deepcopy(table)
    *path, last = key.split(".")
    at = after
    for name in path:
        at = at.setdefault(name, {})
    at[last] = value
    return after


def held(table: Table, key: str) -> Any:
    """The value of a setting in the resolved configuration, or its default where that leaves it out."""
    config = build_config(copy.deepcopy(table))
    section, *path = key.split(".")
    at: Any = {**plain(config)[section], **resolved(config).get(section, {})}
    for name in path:
        at = at[name]
    return at


def singles(world: World) -> Iterator[tuple[str, list[Any]]]:
    """Every setting that is walked in a world, with the values that are tried."""
    for walked in world.walked:
        for key, hint, one in fields_of(world.table, walked):
            seen: dict[str, Any] = {}
            for value in values(hint, one):
                seen.setdefault(repr(value), value)
            yield key, list(seen.values())


def walk(world: World, count: Count, most: int, rng: random.Random, until: float, moved: dict[str, bool]) -> None:
    """All single settings of a world, ``most`` values of each at random.

    A setting of a section without names is the same setting in every world: ``moved`` says whether it had an effect
    in one of them.
    """
    first, seconds = timed(world.table)
    if first.kind != "result":
        count.add(world.name, Outcome("find", f"the world itself: {first.said}"), seconds)
        return
    for key, tried in singles(world):
        if time.monotonic() > until:
            return
        now, accepted, effect = held(world.table, key), 0, False
        for value in rng.sample(tried, min(most, len(tried))):
            long = key in WORK and _large(value)
            outcome, seconds = timed(changed(world.table, key, value), 1.0 if long else LIMIT_S)
            if long and outcome.said.startswith("more than"):
                outcome = Outcome("failed", "asks for much work")
            count.add(f"[{world.name}] {key} = {str(value)[:60]!r}", outcome, seconds)
            if outcome.kind == "result" and held(changed(world.table, key, value), key) != now:
                accepted += 1
                effect = effect or outcome.told != first.told or key in outcome.notes
            effect = effect or outcome.kind == "failed"
        enough = 1 if len(tried) <= most else max(2, min(3, most))  # one value of many proves nothing
        idle = accepted >= enough and not effect and not reason(key)
        if key.split(".")[0] not in REGISTRIES:
            moved[key] = moved.get(key, False) or not idle
        elif idle:
            said = f"{accepted} accepted values, none with an effect"
            count.add(f"[{world.name}] {key}", Outcome("find", said), 0.0)


def _large(value: Any) -> bool:
    many = value if isinstance(value, list) else [value]
    return any(isinstance(v, int) and v > 1000 for v in many)


def combine(all_worlds: list[World], count: Count, trials: int, rng: random.Random, until: float) -> None:
    """Two or three settings at once, of any sections; most of them such as are taken one at a time."""
    everything = [(world, key, tried) for world in all_worlds for key, tried in singles(world)]
    for _ in range(trials):
        if time.monotonic() > until:
            return
        world = rng.choice(all_worlds)
        table, names = copy.deepcopy(world.table), [world.name]
        for other, key, tried in rng.sample(everything, rng.choice((2, 3))):
            section = key.split(".")[0]
            if section in other.table and section != "source":  # with what it belongs to
                table[section] = copy.deepcopy(other.table[section])
            elif section == "source" and other.table["source"]["name"] != table["source"]["name"]:
                continue
            value = _likely(other, key, tried, rng)
            table = changed(table, key, value)
            names.append(f"{key} = {str(value)[:40]!r}")
        outcome, seconds = timed(table)
        count.add("; ".join(names), outcome, seconds)


def _likely(world: World, key: str, tried: list[Any], rng: random.Random) -> Any:
    """A value that the setting's own world allows, if six draws find one."""
    value = None
    for value in rng.choices([v for v in tried if not _large(v)], k=6):
        with contextlib.suppress(Exception):
            build_config(changed(world.table, key, value))
            break
    return value


def main() -> int:
    """Walk; 1 where anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600.0, help="stop after so long")
    parser.add_argument("--values", type=int, default=10**6, help="values of each setting at most")
    parser.add_argument("--combinations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", default="0/1", help="k/n: every n-th world, from the k-th")
    parser.add_argument("--only", default="", help="worlds whose name contains it")
    parser.add_argument("--commands", type=int, default=400, help="suites and comparisons at most")
    parser.add_argument("--engines", action="store_true", help="Flower's and Ray's processes too")
    given = parser.parse_args()
    import torch

    from tests.fuzz_commands import walk_commands

    torch.set_num_threads(1)
    if not given.engines:  # Ray maps more than it uses
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY + 2**33, resource.RLIM_INFINITY))
    rng, until, count = random.Random(given.seed), time.monotonic() + given.seconds, Count()
    moved = dict[str, bool]()
    k, n = map(int, given.part.split("/"))
    with tempfile.TemporaryDirectory() as folder:
        from tests.fuzz_worlds import write_people

        there = worlds(write_people(Path(folder) / "people.csv"))
        mine = [world for world in there[k::n] if given.only in world.name]
        for world in rng.sample(mine, len(mine)):
            if time.monotonic() < until:
                walk(world, count, given.values, rng, until, moved)
                print(f"{world.name}: {count.trials} trials, {dict(count.kinds)}", file=sys.stderr, flush=True)
        for key in sorted(key for key, effect in moved.items() if not effect):
            count.add(key, Outcome("find", "no accepted value has an effect in any world"), 0.0)
        single = count.trials
        combine(there, count, given.combinations, rng, until)
        combined = count.trials - single
        walk_commands(count, rng, given.commands, until, given.engines)
    commands = count.trials - single - combined
    print(
        json.dumps(
            {"single": single, "combined": combined, "commands": commands, **count.kinds, "slowest": count.slowest}
        )
    )
    return 1 if count.finds else 0


if __name__ == "__main__":
    sys.exit(main())
