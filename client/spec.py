"""Instructions to clients in the form in which they travel: the configuration of a run, and trials of the meta-test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from metapulse.episodes import EpisodePlan, Split
from metapulse.settings import build, plain, setting

MOST_METRICS = 10  # beside those that are always reported; a reply has at most 16


@dataclass(frozen=True)
class ClientConfig:
    """Configuration of a client's part of a run; travels as JSON in every instruction."""

    seed: int = setting(0, "seed of everything drawn during training", ge=0)
    source: Mapping[str, Any] = setting({}, "the data source")
    transform: Mapping[str, Any] = setting({"name": "none"}, "what a device does to its windows")
    model: Mapping[str, Any] = setting({}, "the model")
    learner: Mapping[str, Any] = setting({}, "the learner")
    episodes: EpisodePlan = setting(EpisodePlan(), "how training episodes are cut")
    reserve: Literal["", Split] = setting(
        "", "how samples for testing known people are kept from training (empty: none)"
    )
    reserve_seed: int = setting(0, "seed of what is kept", ge=0)
    reserve_devices: tuple[str, ...] = setting((), "device models that train, and so keep samples (empty: all)")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What [evaluation] says and every device is told: how a person of the meta-test is judged."""

    episodes: int = setting(4, "episodes per client", ge=1)
    steps: tuple[int, ...] = setting((0, 1, 5, 20), "judged after so many adaptation steps", ge=0)
    restrict: bool = setting(True, "answers are restricted to the classes that have support")
    not_offered: Literal["apart", "wrong"] = setting(
        "apart",
        "with restrict, query samples of a class without support: left out of the scores and reported as a share of"
        " their own, or wrong",
        used_if=("restrict",),
    )
    history_steps: int = setting(20, "adaptation steps on the old devices (new_device_history)", ge=0)
    adapt: Mapping[str, Any] = setting({}, "learner settings that differ at test time, for example inner_lr")
    seed: int = setting(0, "seed of the test episodes: the same for every method and every run seed", ge=0)
    metrics: tuple[str, ...] = setting(
        (),
        "reported besides loss, accuracy and balanced_accuracy, or mse and mae: macro_f1, auroc, ece; rmse, mard,"
        " clarke_a, clarke_ab, parkes_a, parkes_ab; or functions of one's own as package.module:function",
        longest=MOST_METRICS,
    )


@dataclass(frozen=True)
class Trial(Asked):
    """One question of the meta-test, asked of many clients; travels as JSON."""

    name: str = setting("new_user", "scenario, part of the address of its episodes")
    plan: EpisodePlan = setting(EpisodePlan(), "how test episodes are cut")
    history: tuple[str, ...] = setting((), "the person's old device models to adapt on first (empty: none)")


def to_json(spec: ClientConfig | Trial) -> str:
    """A specification as it travels; without ``metrics`` where none are chosen: a device may not know that key."""
    table = plain(spec)
    told = {key: value for key, value in table.items() if key != "metrics" or value}
    return json.dumps(told, sort_keys=True, allow_nan=False)


def client_config_from_json(table: Mapping[str, Any]) -> ClientConfig:
    """The work of an instruction as it was read from JSON.

    Raises:
        ConfigError: it is malformed.
    """
    return build(ClientConfig, table, "work")


def read_trial_json(table: Mapping[str, Any]) -> Trial:
    """The trial of a specification as it was read from JSON.

    Raises:
        ConfigError: it is malformed.
    """
    return build(Trial, table, "trial")


@lru_cache(maxsize=64)
def trial_from_json(text: str) -> Trial:
    """The trial of a specification of this process's own."""
    return read_trial_json(json.loads(text))
