"""What a configuration's data are: people, devices, samples, classes, gaps, what was left out, what an episode holds.

``metapulse data show`` prints it, a run's folder keeps it as data.json, and the report shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metapulse.client.executor import ClientExecutor
from metapulse.data import Samples, read_samples
from metapulse.errors import MetapulseError
from metapulse.server.client_sampler import ClientSampler
from metapulse.server.config import Config
from metapulse.server.files import write_sealed
from metapulse.server.metatest import MetaTest
from metapulse.sim.data_remarks import data_remarks
from metapulse.sim.engines.cohort import CohortGrid, SourceDirectory

FILE = "data.json"  # in a run's folder
MOST = 500  # clients looked at; of a larger population the first
SHOWN = 12  # names, classes or reasons in one line


def data_facts(config: Config) -> dict[str, Any]:
    """The facts, as plain data.

    Raises:
        MetapulseError: the source cannot be read at all.
    """
    work = ClientExecutor(config.client_config())
    source = work.source
    samples, unusable = _look(work, range(min(len(source), MOST)))
    who = {client: source.client(client) for client in samples}
    return {
        "people": source.users,
        "clients": len(source),
        "looked_at": len(samples) + len(unusable),
        "devices": dict(Counter(one.device for one in who.values())),
        "kind": source.task.kind,
        "shape": list(source.task.features),
        "inputs": list(source.task.names),
        "outputs": source.task.outputs,
        "unit": source.task.unit,
        "split": _split(work, config),
        "samples": _spread([len(one) for one in samples.values()]),
        "groups": _spread([len(np.unique(one.group)) for one in samples.values()]),
        "gap": _spread([gap for one in samples.values() if (gap := _gap(one)) is not None]),
        "classes": _classes(work, samples),
        "episode": _episode(work, config),
        "remarks": data_remarks(work, config),
        "unusable": [{"client": who_is(work, client), "reason": reason} for client, reason in unusable.items()],
    }


def keep(config: Config, path: Path) -> None:
    """Write the facts into a run's folder, for its report; facts that cannot be had are none.

    Of a private run nothing is written: exact counts of people tell what its noise hides.
    """
    if config.privacy.on:
        return
    try:
        write_sealed(path / FILE, data_facts(config))
    except MetapulseError:
        return


def fact_lines(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The facts in words: (name, text) of each."""
    looked, clients = facts["looked_at"], facts["clients"]
    some = "" if looked == clients else f" (what follows is of the first {looked})"
    size = "×".join(map(str, facts["shape"]))
    inputs = (
        f"{', '.join(facts['inputs'])} ({size} numbers a sample)" if facts["inputs"] else f"{size} numbers a sample"
    )
    out = [
        ("people", f"{facts['people']}; people with a device, which are the clients: {clients}{some}"),
        ("device models", ", ".join(f"{name} {n}" for name, n in sorted(facts["devices"].items()))),
        ("split", ", ".join(f"{name} {facts['split'][name]}" for name in ("training", "validation", "test"))),
        ("inputs", inputs),
        ("samples a device", _range(facts["samples"])),
        ("groups a device", _range(facts["groups"])),
    ]
    if facts["gap"]:
        out.append(("longest gap in time", f"{_range(facts['gap'])}, in the unit of the time column (dates: minutes)"))
    if facts["classes"]:
        each = [
            f"{one['name']}: {one['samples']} samples of {one['people']} people" for one in facts["classes"][:SHOWN]
        ]
        out.append(("classes", "; ".join(each) + _more(facts["classes"])))
        out.append(("people with one class only", str(sum(one["alone"] for one in facts["classes"]))))
    else:
        out.append(("target", f"{facts['outputs']} number(s) {facts['unit']}".strip()))
    out.append(("a test episode", facts["episode"]))
    out += [("note", text) for text in facts["remarks"]]
    out += [(f"unusable: {one['client']}", one["reason"]) for one in facts["unusable"][:SHOWN]]
    if len(facts["unusable"]) > SHOWN:
        out.append(("unusable", f"{len(facts['unusable'])} devices in all"))
    return out


def who_is(work: ClientExecutor, client: int) -> str:
    """A client by the names of its person and device."""
    one = work.source.client(client)
    return f"{one.label}, {one.device}"


def _look(work: ClientExecutor, clients: Sequence[int]) -> tuple[dict[int, Samples], dict[int, str]]:
    samples, unusable = {}, {}
    for client in clients:
        try:
            samples[client] = read_samples(work.source, client)
        except MetapulseError as error:
            unusable[client] = str(error)
    return samples, unusable


def _split(work: ClientExecutor, config: Config) -> dict[str, int]:
    """People in meta-training, meta-validation and meta-test."""
    split = ClientSampler(SourceDirectory(work.source), config).split
    if work.source.users > MOST:
        validation, test = split.shares
        return {"training": work.source.users - validation - test, "validation": validation, "test": test}
    phases = split.phases(np.arange(work.source.users))
    names = {"train": "training", "validation": "validation", "test": "test"}
    return {name: int((phases == phase).sum()) for phase, name in names.items()}


def _classes(work: ClientExecutor, samples: dict[int, Samples]) -> list[dict[str, Any]]:
    """Samples and people of each class; [] where numbers are predicted."""
    task = work.source.task
    if task.kind != "classification":
        return []
    counts = {client: np.bincount(one.y, minlength=task.outputs) for client, one in samples.items()}
    names = task.labels or tuple(map(str, range(task.outputs)))
    people = {client: work.source.client(client).user for client in samples}
    return [
        {
            "name": name,
            "samples": int(sum(count[k] for count in counts.values())),
            "people": len({people[client] for client, count in counts.items() if count[k]}),
            "alone": len({people[c] for c, count in counts.items() if count[k] and count[k] == count.sum()}),
        }
        for k, name in enumerate(names)
    ]


def _gap(samples: Samples) -> float | None:
    """The longest silence between two samples; None where no time is known."""
    if samples.time is None or len(samples) < 2:
        return None
    return float(np.diff(np.sort(samples.time)).max())


def _episode(work: ClientExecutor, config: Config) -> str:
    """What one test episode of the first person who can be asked holds."""
    sampler = ClientSampler(SourceDirectory(work.source), config)
    test = MetaTest(config, sampler, CohortGrid(len(work.source)))
    for scenario in config.evaluation.scenarios:
        trial = test.trial(scenario, max(config.evaluation.shots))
        try:
            clients = sampler.targets(scenario)
        except MetapulseError as error:
            return str(error)
        for client in clients[:MOST]:
            try:
                (support, labels), (query, _) = work.episodes(client, trial)[0]
            except MetapulseError:
                continue
            kinds = f" of {len(np.unique(labels))} classes" if work.task.kind == "classification" else ""
            asked_of = f"{who_is(work, client)} ({scenario}, {max(config.evaluation.shots)} shots)"
            return f"{asked_of}: {len(support)} support samples{kinds}, {len(query)} query samples"
    return "no person of the test can be asked"


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    low, middle, high = np.percentile(values, [0, 50, 100]).tolist()
    return {"min": low, "median": middle, "max": high}


def _range(spread: dict[str, float]) -> str:
    return "none" if not spread else "{min:g} to {max:g}, median {median:g}".format_map(spread)


def _more(items: Sequence[object]) -> str:
    return f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
