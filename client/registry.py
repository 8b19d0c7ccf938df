"""Names for learners, models, sources and strategies; adding one is one file plus one line here or at its table.

An entry is a dotted reference ("package.module:Name"), imported when it is asked for, so a low layer can name what a
higher one holds without importing it. Anything not registered can be given by its dotted reference, where the one who
gives it may: in a process of one's own always, on a device only what the device itself allows (``only``).
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import is_dataclass
from typing import Any

from client.errors import ConfigError
from client.settings import build

_ALLOWED: ContextVar[Collection[str] | None] = ContextVar("allowed", default=None)


@contextmanager
def only(names: Collection[str] | None) -> Iterator[None]:
    """Inside, no other dotted references are imported than these (None: any); what is registered always is."""
    token = _ALLOWED.set(names)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def restricted() -> bool:
    """Whether somebody else's instruction is being followed, so that names and sizes are limited."""
    return _ALLOWED.get() is not None


def resolve(reference: str, where: str) -> Any:
    """Import "package.module:Name", where that is allowed.

    Raises:
        ConfigError: a malformed reference, one that is not allowed, no such module, or no such name in it.
    """
    module, _, name = reference.partition(":")
    if not module or not name:
        raise ConfigError(where, reference, "expected a dotted reference like package.module:Name")
    allowed = _ALLOWED.get()
    if allowed is not None and reference not in allowed:
        raise ConfigError(where, reference[:200], "this device's own configuration does not allow it (key allow)")
    return _load(reference, where)


def _load(reference: str, where: str) -> Any:
    module, _, name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever somebody's file raises, sys.exit() included
        raise ConfigError(where, reference, f"cannot be imported ({_reason(error, module)})") from None


def _reason(error: BaseException, module: str) -> str:
    """What went wrong while a module was imported, and in which line of which file."""
    said = " ".join(str(error).split())[:300]
    if isinstance(error, ModuleNotFoundError) and error.name and (module + ".").startswith(error.name + "."):
        return f"{said}; it is looked for in the current folder, in PYTHONPATH and among installed packages"
    if isinstance(error, SyntaxError):
        return f"{error.msg}, file {error.filename}, line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    if len(frames) < 2 or frames[-1].filename == importlib.__file__:  # only this file and the import machinery
        return said or type(error).__name__
    return f"{type(error).__name__}: {said}, file {frames[-1].filename}, line {frames[-1].lineno}"


class Registry(Mapping[str, Any]):
    """One kind of thing by name: a read-only mapping from name to class.

    Args:
        kind: what is registered, for messages: "learner".
        entries: name → dotted reference.
    """

    def __init__(self, kind: str, entries: Mapping[str, str]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Any:
        if name in self._entries:
            return _load(self._entries[name], self.kind)
        if ":" in name:
            return resolve(name, self.kind)
        raise ConfigError(f"{self.kind}.name", name, f"must be one of {', '.join(self)}, or package.module:Name")

    def __contains__(self, name: object) -> bool:
        return name in self._entries  # without importing it, and without the error of an unknown name

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def make(self, section: Mapping[str, Any], where: str | None = None, **given: Any) -> Any:
        """Build an entry from its section of the configuration: ``name`` chooses, the other keys are its settings."""
        where = where or self.kind
        settings = dict(section)
        name = settings.pop("name", None)
        if not isinstance(name, str):
            raise ConfigError(f"{where}.name", name, f"must be one of {', '.join(self)}")
        found = self[name]
        if not (isinstance(found, type) and is_dataclass(found)):  # looked at before it is called
            raise ConfigError(f"{where}.name", name, f"is no dataclass of settings, as a {self.kind} must be")
        return build(found, settings, where, **given)


LEARNERS = Registry(
    "learner",
    {
        "majority": "client.learners.majority:Majority",
        "class_mean": "client.learners.class_mean:ClassMean",
        "local_only": "client.learners.local_only:LocalOnly",
        "fedavg": "client.learners.fedavg:FedAvg",
        "fedavg_ft": "client.learners.fedavg_finetune:FedAvgFineTune",
        "reptile": "client.learners.reptile:Reptile",
        "fomaml": "client.learners.fomaml:FOMAML",
        "maml": "client.learners.maml:MAML",
        "meta_sgd": "client.learners.meta_sgd:MetaSGD",
        "anil": "client.learners.anil:ANIL",
        "per_fedavg": "client.learners.per_fedavg:PerFedAvg",
        "fedprox": "client.learners.fedprox:FedProx",
        "ditto": "client.learners.ditto:Ditto",
        "pfedme": "client.learners.pfedme:PFedMe",
        "apfl": "client.learners.apfl:APFL",
        "fedrep": "client.learners.fedrep:FedRep",
        "fedper": "client.learners.fedper:FedPer",
        "fedbabu": "client.learners.fedbabu:FedBABU",
        "lg_fedavg": "client.learners.lg_fedavg:LGFedAvg",
        "scaffold": "client.learners.scaffold:Scaffold",
        "feddyn": "client.learners.feddyn:FedDyn",
        "fednova": "client.learners.fednova:FedNova",
        "qffl": "client.learners.qffl:QFFL",
        "ifca": "client.learners.ifca:IFCA",
        "fedem": "client.learners.fedem:FedEM",
        "local_norm": "client.learners.local_norm:LocalNorm",
        "r2d2": "client.learners.r2d2:R2D2",
        "protonet": "client.learners.prototypical:ProtoNet",
        "matching": "client.learners.matching:Matching",
        "relation": "client.learners.relation:Relation",
        "boil": "client.learners.boil:BOIL",
        "maml_pp": "client.learners.maml_pp:MAMLPlusPlus",
        "imaml": "client.learners.imaml:IMAML",
        "cavia": "client.learners.cavia:CAVIA",
        "meta_curvature": "client.learners.meta_curvature:MetaCurvature",
        "cnp": "client.learners.cnp:CNP",
        "recurrent": "client.learners.recurrent:Recurrent",
        "mann": "client.learners.mann:MANN",
        "snail": "client.learners.snail:SNAIL",
        "meta_lstm": "client.learners.meta_lstm:MetaLSTM",
    },
)

MODELS = Registry(
    "model",
    {
        "mlp": "client.models.mlp:MLP",
        "sine": "client.models.mlp:SineMLP",
        "cnn1d": "client.models.cnn1d:CNN1d",
        "cnn2d": "client.models.cnn2d:CNN2d",
        "encoder1d": "client.models.encoder1d:Encoder1d",
        "gru": "client.models.gru:GRU",
        "module": "client.models.module:TorchModule",
    },
)

TRANSFORMS = Registry(
    "transform",
    {
        "none": "client.transforms:Identity",
        "standardise": "client.transforms:Standardise",
        "fixed": "client.transforms:Fixed",
        "global": "client.transforms:Global",
        "auto": "client.transforms:Auto",
        "motion": "client.motion:Motion",
    },
)

SOURCES = Registry(
    "source",
    {
        "wearables": "sim.sources.wearables:Wearables",
        "sine": "sim.sources.sine:Sine",
        "synthetic": "sim.sources.synthetic:Synthetic",
        "mixture": "sim.sources.mixture:Mixture",
        "leaf": "sim.sources.leaf:Leaf",
        "gaussian_means": "sim.sources.gaussian_means:GaussianMeans",
        "low_rank": "sim.sources.low_rank:LowRank",
        "spsw_har": "sim.sources.recorded:SpswHar",
        "aw_fitbit": "sim.sources.recorded:AwFitbit",
        "uci_har": "sim.sources.recorded:UciHar",
        "omniglot": "sim.sources.recorded:Omniglot",
        "cgm_open": "sim.sources.recorded:CgmOpen",
        "own": "sim.sources.own:Own",
    },
)

ATTACKS = Registry(
    "attack",
    {
        "none": "client.attacks.base:Attack",
        "sign_flip": "client.attacks.forging:SignFlip",
        "scaling": "client.attacks.forging:Scaling",
        "nan": "client.attacks.forging:NotANumber",
        "free_rider": "client.attacks.forging:FreeRider",
        "alie": "client.attacks.colluding:ALIE",
        "ipm": "client.attacks.colluding:IPM",
        "label_flip": "client.attacks.poisoning:LabelFlip",
        "backdoor": "client.attacks.poisoning:Backdoor",
        "replacement": "client.attacks.poisoning:Replacement",
    },
)
