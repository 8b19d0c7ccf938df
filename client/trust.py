"""What a device accepts: its own configuration in full, an instruction only as far as that configuration allows.

On a device an instruction may choose among registered names, generated data and sizes within limits. Dotted names are
imported only where the device's own configuration lists them (``allow``), and data of its own is named by it alone
(``source``). In a simulation the one who wrote the configuration owns the machine, and everything is allowed: the
process is then an actor of Ray, which no instruction can bring about.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flwr.app import ConfigRecord

from metapulse.client.executor import ClientExecutor
from metapulse.client.limits import Limits, check_client_config, check_trial, read_untrusted_json
from metapulse.client.make import make_executor
from metapulse.client.spec import Trial, client_config_from_json, read_trial_json
from metapulse.client.wire import ATTEMPT, CHECKPOINT, GUARD, REPLY, ROUND, RUN, TRIAL, VERSION, WIRE, WORK, read_text
from metapulse.errors import ConfigError, InstructionError
from metapulse.registry import only
from metapulse.settings import build

#: Sources that an instruction may name: what they hold is drawn from a seed and is no person's data.
GENERATED = ("gaussian_means", "leaf", "low_rank", "mixture", "sine", "synthetic", "wearables")
OWN = "metapulse.client.one_client_source:OneClientSource"
LARGEST = 2**31  # of a round, an attempt, a checkpoint
LONGEST = 64  # characters of a run's identity; it becomes a path
KEYS = 64  # settings of one instruction


@dataclass(frozen=True)
class Policy:
    """What a device allows.

    Args:
        allow: dotted references; None: it is simulated, and everything is allowed.
        limits: of what an instruction may ask for.
        source: its own source as JSON ("": the instruction names generated data).
    """

    allow: tuple[str, ...] | None
    limits: Limits
    source: str

    @property
    def names(self) -> tuple[str, ...] | None:
        """Dotted references that may be imported while an instruction is followed: the own source's too."""
        if self.allow is None or not self.source:
            return self.allow
        return (*self.allow, OWN, *_dotted(json.loads(self.source)))


def simulated() -> bool:
    """Whether this process is an actor of Ray, as Flower's Simulation Runtime makes them."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None


def read_policy(node: Mapping[str, Any], partition: int) -> Policy:
    """What a node's configuration says.

    Args:
        partition: its partition id.

    Raises:
        ConfigError: ``allow``, ``limits`` or ``source`` is malformed.
    """
    allow = str(node.get("allow", "")).split()
    for name in allow:
        if len(name.split(":")) != 2 or not all(name.split(":")):
            raise ConfigError("allow", name, "expected dotted references like package.module:Name, with spaces between")
    limits = build(Limits, _table(node, "limits"), "limits")
    return Policy(None if simulated() else tuple(allow), limits, _own_source(node, partition))


def _own_source(node: Mapping[str, Any], partition: int) -> str:
    if "source" not in node:
        return ""
    given = {key: node[key] for key in ("user", "device", "label") if key in node}
    inner = _table(node, "source")
    own = {"name": OWN, "inner": inner, "index": partition, "which": node.get("client", 0), **given}
    return json.dumps(own, sort_keys=True)


def _table(node: Mapping[str, Any], key: str) -> Any:
    try:
        found = json.loads(str(node.get(key, "{}")))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigError(key, node[key], "the node's configuration must give a JSON table")
    return found


def _dotted(source: Mapping[str, Any]) -> tuple[str, ...]:
    """Dotted names in a device's own source, at any depth."""
    inner = [name for value in source.values() if isinstance(value, dict) for name in _dotted(value)]
    own = [source.get(key) for key in ("name", "recipe")]  # a recipe may be given by its name alone
    return (*inner, *(name for name in own if isinstance(name, str) and ":" in name and name != OWN))


def read_client_config(config: ConfigRecord, policy: Policy) -> ClientExecutor:
    """The work of an instruction, with the device's own source in the place of the one it names."""
    return _work(read_text(config, WORK), policy)


def read_trial(config: ConfigRecord, policy: Policy) -> Trial:
    """The question of an instruction."""
    return _trial(read_text(config, TRIAL), read_text(config, WORK), policy)


@lru_cache(maxsize=8)
def _work(text: str, policy: Policy) -> ClientExecutor:
    spec = _read(text, policy, WORK)
    if policy.source:
        spec["source"] = json.loads(policy.source)
    elif policy.allow is not None:
        source = spec.get("source")
        name = source.get("name") if isinstance(source, dict) else source
        if name not in GENERATED and name not in policy.allow:
            told = f"source.name = {str(name)[:60]!r}: this device's own configuration names its data (key source);"
            raise InstructionError(f"{told} without one, an instruction may name {', '.join(GENERATED)}")
    if policy.allow is not None:
        check_client_config({**spec, "source": {} if policy.source else spec.get("source")}, policy.limits)
    with only(policy.names):
        return make_executor(client_config_from_json(spec))


@lru_cache(maxsize=64)
def _trial(text: str, work: str, policy: Policy) -> Trial:
    trial = _read(text, policy, TRIAL)
    if policy.allow is not None:
        check_trial(trial, _read(work, policy, WORK), policy.limits)
    return read_trial_json(trial)


def _read(text: str, policy: Policy, where: str) -> dict[str, Any]:
    found: dict[str, Any] = (
        json.loads(text) if policy.allow is None else read_untrusted_json(text, policy.limits, where)
    )
    return found


def check_head(config: ConfigRecord, policy: Policy) -> None:
    """Refuse an instruction of another version, or whose head is malformed, before anything of it is read.

    Raises:
        InstructionError: what is wrong, in one line.
    """
    version = config.get(WIRE)
    if type(version) is not int or version != VERSION:
        raise InstructionError(f"{WIRE} = {str(version)[:40]!r}: this device speaks version {VERSION}")
    if len(config) > KEYS:
        raise InstructionError(f"{len(config)} settings; at most {KEYS} are allowed")
    for key in (ROUND, CHECKPOINT, ATTEMPT):
        value = config.get(key, 0)
        if type(value) is not int or not 0 <= value < LARGEST:
            raise InstructionError(f"{key} = {str(value)[:40]!r}: expected an integer from 0 to {LARGEST - 1}")
    run = config.get(RUN, "none")
    if not isinstance(run, str) or not run.isalnum() or not run.isascii() or len(run) > LONGEST:
        raise InstructionError(f"{RUN} = {str(run)[:40]!r}: the identity of a run is letters and digits, at most 64")
    if config.get(REPLY, "update") not in ("update", "weights"):
        raise InstructionError(f"{REPLY} = {str(config[REPLY])[:40]!r}: must be one of update, weights")
    if GUARD in config:
        read_untrusted_json(read_text(config, GUARD), policy.limits, GUARD)
