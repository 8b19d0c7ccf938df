"""Small worlds for the fuzzer: tables in which a section's settings decide numbers, in a run of a fifth of a second."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metapulse.registry import ATTACKS, LEARNERS, METHODS
from metapulse.server.config import merge
from metapulse.strategies.aggregators.registry import AGGREGATORS

Table = dict[str, Any]

#: Settings that decide no number, by the end of their name, with the reason.
SILENT = {
    "run.name": "a name",
    "source.path": "where the data is; its content decides",
    "source.unit": "a word beside the scores",
    "engine": "who computes, not what (docs/engines.md)",
    "checkpoint": "what survives a kill",
    "secure_aggregation.security": "who shares secrets with whom; the sum is the same",
    "secure_aggregation.corrupt": "as security",
    "secure_aggregation.drop_out": "as security",
    "secure_aggregation.neighbours": "as security",
    "secure_aggregation.threshold": "as security",
    "learner.inner_steps": "at most, of fednova and of fedprox with epochs",
    "learner.personal_steps": "what devices keep between rounds; the worlds ask people who never trained",
    "evaluation.every": "a period; one that is longer than the run ends with it",
    "attack.everywhere": "a reply with one NaN is refused as one of nothing else",
    "privacy.accountant": "whose ε is told; with a noise_seed ε is infinite",
    "privacy.delta": "as accountant",
    "privacy.epsilon": "a limit; a run that stays within it is the same run, and another is refused",
    "source.drop_nan": "the worlds have no gaps",
    "source.alpha": "moves all logits of a client alike, in the generator as it was published",
    "source.day": "where time says which group; the worlds name groups",
    "attack.last": "a round; one after the run's last is that",
    "evaluation.validation_devices": "those of the training, of which the worlds have one",
    "evaluation.clients": "at most; the worlds have few people",
    "strategy.min_replies": "at least; in the worlds all reply",
}
#: Settings that start processes, which a walk of thousands of runs leaves out; ``--engines`` has some.
PROCESSES = ("engine.name", "engine.workers", "engine.address")
#: Settings of which a large value honestly asks for much work.
WORK = (
    "run.rounds",
    "evaluation.episodes",
    "source.clients",
    "source.users",
    "source.tasks",
    "source.points",
    "source.windows",
    "source.executions",
    "evaluation.steps",
)


@dataclass(frozen=True)
class World:
    """A table, and the sections of it that are walked here.

    Args:
        name: for messages.
        table: of a run.
        walked: "section" or "section.key" (a table within a section).
    """

    name: str
    table: Table
    walked: tuple[str, ...]


def write_people(path: Path) -> Path:
    """Ten people with two devices, three days and three classes, eight numbers a row; the same at every call."""
    rng = np.random.default_rng(7)
    lines = ["who,device,day,minute,late,label,target," + ",".join(f"x{k}" for k in range(8))]
    centre = rng.normal(size=(3, 8))
    for person in range(10):
        shift = rng.normal(size=8)
        for device in ("watch", "ring"):
            for day in range(3):
                for sample in range(6):
                    x = centre[sample % 3] + 0.5 * shift + rng.normal(size=8)
                    said = [f"p{person:02d}", device, f"d{day}", str(1440 * day + 5 * sample), str(int(day == 2))]
                    label = "ab"[sample % 2] if day == person % 3 else "abc"[sample % 3]  # a day without c
                    said += [label, f"{x.sum():.4f}"]
                    lines.append(",".join(said + [f"{v:.4f}" for v in x]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def base(data: Path) -> Table:
    """People of a file, a perceptron of four hidden units, two rounds of three."""
    source = {"name": "own", "path": str(data), "y": "label", "user": "who", "group": "day", "time": "minute"}
    return {
        "run": {"rounds": 2},
        "source": source | {"x": [f"x{k}" for k in range(8)], "held_out": "late", "shape": [2, 4]},
        "split": {"test": 0.2, "validation": 0.2},
        "transform": {"name": "standardise"},
        "model": {"name": "mlp", "hidden": [4]},
        "learner": {"name": "fomaml", "inner_lr": 0.1},
        "episodes": {"split": "groups", "shots": 2},
        "strategy": {"name": "fedmaml", "cohort": 5, "lr": 0.1},
        "evaluation": {"shots": [2], "steps": [0, 1, 3], "episodes": 2},
    }


SINE: Table = {
    "source": {"name": "sine", "clients": 12},
    "transform": {"name": "none"},
    "episodes": {"split": "samples", "shots": 3},
    "evaluation": {"split": "samples"},
}
WINDOWS: Table = {
    "source": {"name": "wearables", "users": 8, "executions": 2, "windows": 3},
    "model": {"name": "cnn1d", "channels": [3], "kernel": 3},
}
POOL = ("run", "split", "transform", "model", "learner", "episodes", "strategy", "engine", "evaluation", "checkpoint")
ON = {"sampling": "fixed", "noise_multiplier": 1.0, "noise_seed": 3}
UNIFORM: Table = {"strategy": {"name": "fedreptile", "cohort": 5}, "learner": {"name": "reptile"}}
AROUND: Table = {
    "split": {"train_devices": ["watch"]},
    "evaluation": {"scenarios": ["known_user", "new_user", "new_device", "new_device_history"], "validation_every": 1},
}


NAMED: Table = {"test": 0.0, "validation": 0.0, "test_users": ["p01", "p02"], "validation_users": ["p03"]}


def changes() -> Iterator[tuple[str, Table, tuple[str, ...]]]:
    """Name, change of the base, and what is walked, of every world."""
    yield "main", {}, (*POOL, "privacy", "secure_aggregation", "attack", "faults", "source")
    yield "all scenarios", AROUND, ("evaluation", "split")
    yield "known", {"evaluation": {"scenarios": ["known_user"]}}, ("evaluation", "episodes", "split")
    yield "folds", {"split": {"folds": 3}}, ("split",)
    yield "named people", {"split": NAMED}, ("split",)
    for name in LEARNERS:
        world = SINE if name in ("cnp", "persistence") else {}
        held = METHODS[name].halves["strategy"] if METHODS[name].server.fixed else {"name": "fedavg"}
        strategy = {**held, "cohort": 5}
        batches = {"batch_size": 3} if not LEARNERS[name].uses_query_set else {}
        yield f"learner {name}", {**world, "learner": {"name": name, **batches}, "strategy": strategy}, ("learner",)
    for name in ("r2d2", "protonet", "recurrent", "snail", "mann", "maml_pp", "majority"):
        if name != "protonet":
            yield f"learner {name}, curves", {**SINE, "learner": {"name": name}}, ("learner", "evaluation")
    for name in ("fedavg", "fedreptile", "median", "krum", "fednova"):
        under = {"learner": {"name": "fednova", "batch_size": 3}} if name == "fednova" else {}
        yield f"strategy {name}", {**under, "strategy": {"name": name, "cohort": 5}}, ("strategy",)
    for outer in ("momentum", "yogi", "adagrad"):
        yield f"outer {outer}", {"strategy": {"name": "fedavg", "cohort": 5, "outer": outer}}, ("strategy",)
    for method in ("FedAdam", "FedTrimmedAvg"):
        reference = f"flwr.serverapp.strategy:{method}"
        yield f"stock {method}", {"strategy": {"name": "stock", "cohort": 5, "reference": reference}}, ("strategy",)
    for name in AGGREGATORS:
        aggregator = {"name": name} | ({"radius": 0.01} if name == "centred_clipping" else {})  # so that it clips
        yield (
            f"aggregator {name}",
            {"strategy": {"name": "fedavg", "cohort": 7, "aggregator": aggregator}},
            ("strategy", "strategy.aggregator"),
        )
    for name in ATTACKS:
        bad = {"name": name, **({} if name == "none" else {"fraction": 0.5})}
        yield f"attack {name}", {**UNIFORM, "attack": bad}, ("attack",)
    yield "central", {**UNIFORM, "privacy": {"mechanism": "central", **ON}}, ("privacy", "strategy", "evaluation")
    poisson = {"mechanism": "central", **ON, "sampling": "poisson"}
    yield "poisson", {**UNIFORM, "privacy": poisson}, ("privacy",)
    adaptive = {"mechanism": "central", "adaptive": True, "count_noise": 1.0, **ON}
    yield "adaptive", {**UNIFORM, "privacy": adaptive}, ("privacy",)
    yield "local", {**UNIFORM, "privacy": {"mechanism": "local", **ON}}, ("privacy",)
    secure = {"on": True, "dropout": [0.0, 0.1, 0.1, 0.0]}
    both = {**UNIFORM, "privacy": {"mechanism": "client", **ON}, "secure_aggregation": {"on": True}}
    yield "secure", {"strategy": {"name": "fedavg", "cohort": 6}, "secure_aggregation": secure}, ("secure_aggregation",)
    yield "secure and private", both, ("secure_aggregation", "privacy")
    for fault in (
        {"hours_per_round": 5.0},
        {"outage": 0.4},
        {"deadline_s": 0.05},
        {"partial": 0.6},
        {"duplicate": 0.5, "over_selection": 0.3},
    ):
        yield f"faults {', '.join(fault)}", {"faults": fault, "run": {"rounds": 4}}, ("faults",)
    yield "curves", SINE, ("source", "model", "episodes", "evaluation")
    for source in ("synthetic", "mixture", "leaf", "gaussian_means", "low_rank"):
        own: Table = {"name": source, "clients": 12}
        own |= {"synthetic": {"variant": "lazy"}, "mixture": {"test": 20}, "gaussian_means": {"coordinates": 3}}.get(
            source, {}
        )
        yield f"source {source}", {**copy.deepcopy(SINE), "source": own}, ("source",)
    yield "windows", WINDOWS, ("source", "model", "transform")
    for model in ("encoder1d", "gru"):
        yield f"model {model}", {**WINDOWS, "model": {"name": model}}, ("model",)
    yield "model sine", {**SINE, "model": {"name": "sine"}}, ("model",)
    yield "transform motion", {**WINDOWS, "transform": {"name": "motion"}}, ("transform",)
    yield "transform fixed", {"transform": {"name": "fixed", "scale": [2.0]}}, ("transform",)
    yield "targets", {"source": {"kind": "regression", "y": "target"}}, ("source", "evaluation", "learner")
    yield (
        "forecasting",
        {
            "source": {
                "kind": "forecasting",
                "y": "target",
                "x": [],
                "held_out": "",
                "shape": [],
                "group": "",
                "history": 2,
                "horizon": 5.0,
            },
        },
        ("source",),
    )


def worlds(data: Path) -> list[World]:
    """All of them."""
    found = []
    for name, change, walked in changes():
        found.append(World(name, merge(base(data), copy.deepcopy(change)), walked))
    return found


def reason(key: str, known: Mapping[str, str] = SILENT) -> str:
    """Why a setting decides no number; "" where it is to decide one."""
    return next((why for name, why in known.items() if key == name or key.startswith(name + ".")), "")
