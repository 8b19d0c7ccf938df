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

from metapulse.errors import ConfigError
from metapulse.renamed import new_name
from metapulse.settings import build, plain, settings_alone

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
    """Whether a coordinator's instruction is being followed, so that names and sizes are limited."""
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
    except BaseException as error:  # whatever a user's file raises, sys.exit() included
        raise ConfigError(where, reference, f"cannot be imported ({_reason(error, module)})") from None


def _reason(error: BaseException, module: str) -> str:
    """What went wrong while a module was imported, and in which line of which file."""
    said = " ".join(str(error).split())[:300]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    if new := new_name(error, module):
        return new
    if isinstance(error, ModuleNotFoundError) and error.name and (module + ".").startswith(error.name + "."):
        return f"{said}; it is looked for in the current folder, in PYTHONPATH and among installed packages"
    if isinstance(error, SyntaxError):
        return f"{error.msg}, file {error.filename}, line {error.lineno}"
    if len(frames) < 2 or frames[-1].filename == importlib.__file__:  # only this file and the import machinery
        return said or type(error).__name__
    return f"{type(error).__name__}: {said}, file {frames[-1].filename}, line {frames[-1].lineno}"


class Registry(Mapping[str, Any]):
    """One kind of thing by name: a read-only mapping from name to class.

    Args:
        kind: what is registered, for messages: "learner".
        entries: name → dotted reference.
        base: dotted reference of the class that every entry derives from; "": its methods are all that is asked.
    """

    def __init__(self, kind: str, entries: Mapping[str, str], base: str = "") -> None:
        self.kind = kind
        self._entries, self._base = dict(entries), base

    @property
    def references(self) -> Mapping[str, str]:
        """Name → dotted reference, sorted by name; nothing is imported."""
        return {name: self._entries[name] for name in self}

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

    def reference(self, name: str) -> str:
        """The dotted reference of a registered name."""
        return self._entries[name]

    def chosen(self, section: Mapping[str, Any], where: str | None = None) -> tuple[type, dict[str, Any]]:
        """The entry that ``name`` of a section chooses, and the other keys, which are its settings."""
        where = where or self.kind
        settings = dict(section)
        name = settings.pop("name", None)
        if not isinstance(name, str):
            raise ConfigError(f"{where}.name", name, f"must be one of {', '.join(self)}")
        found = self[name]
        if not (isinstance(found, type) and is_dataclass(found)):  # looked at before it is called
            raise ConfigError(f"{where}.name", name, f"is no dataclass of settings, as a {self.kind} must be")
        if self._base and not issubclass(found, _load(self._base, self.kind)):
            raise ConfigError(f"{where}.name", name, f"must derive from {self._base.replace(':', '.')}")
        return found, settings

    def make(self, section: Mapping[str, Any], where: str | None = None, **given: Any) -> Any:
        """Build an entry from its section of the configuration."""
        kind, settings = self.chosen(section, where)
        return build(kind, settings, where or self.kind, **given)

    def settings(self, section: Mapping[str, Any]) -> dict[str, Any]:
        """A section with every default, as plain data."""
        kind, settings = self.chosen(section)
        return {"name": section["name"], **plain(build(settings_alone(kind), settings, self.kind))}


LEARNERS = Registry(
    "learner",
    {
        "majority": "metapulse.methods.majority:Majority",
        "class_mean": "metapulse.methods.class_mean:ClassMean",
        "persistence": "metapulse.methods.persistence:Persistence",
        "local_only": "metapulse.methods.local_only:LocalOnly",
        "fedavg": "metapulse.methods.fedavg:FedAvg",
        "fedavg_ft": "metapulse.methods.fedavg_finetune:FedAvgFineTune",
        "reptile": "metapulse.methods.reptile:Reptile",
        "fomaml": "metapulse.methods.fomaml:FOMAML",
        "maml": "metapulse.methods.maml:MAML",
        "meta_sgd": "metapulse.methods.meta_sgd:MetaSGD",
        "anil": "metapulse.methods.anil:ANIL",
        "per_fedavg": "metapulse.methods.per_fedavg:PerFedAvg",
        "fedprox": "metapulse.methods.fedprox:FedProx",
        "ditto": "metapulse.methods.ditto:Ditto",
        "pfedme": "metapulse.methods.pfedme:PFedMe",
        "apfl": "metapulse.methods.apfl:APFL",
        "fedrep": "metapulse.methods.fedrep:FedRep",
        "fedper": "metapulse.methods.fedper:FedPer",
        "fedbabu": "metapulse.methods.fedbabu:FedBABU",
        "lg_fedavg": "metapulse.methods.lg_fedavg:LGFedAvg",
        "scaffold": "metapulse.methods.scaffold:Scaffold",
        "feddyn": "metapulse.methods.feddyn:FedDyn",
        "fednova": "metapulse.methods.fednova:FedNova",
        "qffl": "metapulse.methods.qffl:QFFL",
        "ifca": "metapulse.methods.ifca:IFCA",
        "fedem": "metapulse.methods.fedem:FedEM",
        "local_norm": "metapulse.methods.local_norm:LocalNorm",
        "r2d2": "metapulse.methods.r2d2:R2D2",
        "pooled_ridge": "metapulse.methods.pooled_ridge:PooledRidge",
        "random_effects": "metapulse.methods.random_effects:RandomEffects",
        "alpaca": "metapulse.methods.alpaca:ALPaCA",
        "protonet": "metapulse.methods.prototypical:ProtoNet",
        "matching": "metapulse.methods.matching:Matching",
        "relation": "metapulse.methods.relation:Relation",
        "boil": "metapulse.methods.boil:BOIL",
        "maml_pp": "metapulse.methods.maml_pp:MAMLPlusPlus",
        "imaml": "metapulse.methods.imaml:IMAML",
        "cavia": "metapulse.methods.cavia:CAVIA",
        "meta_curvature": "metapulse.methods.meta_curvature:MetaCurvature",
        "cnp": "metapulse.methods.cnp:CNP",
        "recurrent": "metapulse.methods.recurrent:Recurrent",
        "mann": "metapulse.methods.mann:MANN",
        "snail": "metapulse.methods.snail:SNAIL",
        "meta_lstm": "metapulse.methods.meta_lstm:MetaLSTM",
    },
)

#: The same names as methods: the file of a learner ends with its ``METHOD``, both halves of the paper.
METHODS = Registry("method", {name: f"{LEARNERS.reference(name).partition(':')[0]}:METHOD" for name in LEARNERS})

MODELS = Registry(
    "model",
    {
        "mlp": "metapulse.models.mlp:MLP",
        "sine": "metapulse.models.mlp:SineMLP",
        "cnn1d": "metapulse.models.cnn1d:CNN1d",
        "cnn2d": "metapulse.models.cnn2d:CNN2d",
        "encoder1d": "metapulse.models.encoder1d:Encoder1d",
        "gru": "metapulse.models.gru:GRU",
        "module": "metapulse.models.module:TorchModule",
    },
)

TRANSFORMS = Registry(
    "transform",
    {
        "none": "metapulse.transforms:Identity",
        "standardise": "metapulse.transforms:Standardise",
        "fixed": "metapulse.transforms:Fixed",
        "global": "metapulse.transforms:Global",
        "auto": "metapulse.transforms:Auto",
        "motion": "metapulse.motion:Motion",
    },
)

SOURCES = Registry(
    "source",
    {
        "wearables": "metapulse.sim.sources.wearables:Wearables",
        "sine": "metapulse.sim.sources.sine:Sine",
        "synthetic": "metapulse.sim.sources.synthetic:Synthetic",
        "mixture": "metapulse.sim.sources.mixture:Mixture",
        "leaf": "metapulse.sim.sources.leaf:Leaf",
        "gaussian_means": "metapulse.sim.sources.gaussian_means:GaussianMeans",
        "low_rank": "metapulse.sim.sources.low_rank:LowRank",
        "spsw_har": "metapulse.sim.datasets.spsw_har:SpswHar",
        "aw_fitbit": "metapulse.sim.datasets.aw_fitbit:AwFitbit",
        "uci_har": "metapulse.sim.datasets.uci_har:UciHar",
        "omniglot": "metapulse.sim.datasets.omniglot:Omniglot",
        "cgm_open": "metapulse.sim.datasets.cgm_open:CgmOpen",
        "own": "metapulse.sim.sources.own:Own",
        "records": "metapulse.sim.sources.records:Records",
        "pairs": "metapulse.sim.sources.pairs:PairsSource",
    },
)

#: What is learned from people's records.
RECIPES = Registry(
    "recipe",
    {
        "glucose_30min": "metapulse.record.recipes.glucose:Glucose30",
        "glucose_60min": "metapulse.record.recipes.glucose:Glucose60",
        "resting_heart_rate_tomorrow": "metapulse.record.recipes.tomorrow:RestingHeartRateTomorrow",
        "sleep_tonight": "metapulse.record.recipes.tomorrow:SleepTonight",
        "steps_tomorrow": "metapulse.record.recipes.tomorrow:StepsTomorrow",
        "activity": "metapulse.record.recipes.activity:MotionActivity",
        "sleep_wake": "metapulse.record.recipes.sleep_wake:SleepWake",
    },
    base="metapulse.record.recipes.base:Recipe",
)

ENGINES = Registry(
    "engine",
    {"cohort": "metapulse.sim.engines.settings:Cohort", "flower": "metapulse.sim.engines.settings:Flower"},
)

ATTACKS = Registry(
    "attack",
    {
        "none": "metapulse.sim.attacks.base:Attack",
        "sign_flip": "metapulse.sim.attacks.forging:SignFlip",
        "scaling": "metapulse.sim.attacks.forging:ScalingAttack",
        "nan": "metapulse.sim.attacks.forging:NotANumber",
        "free_rider": "metapulse.sim.attacks.forging:FreeRider",
        "alie": "metapulse.sim.attacks.colluding:ALIE",
        "ipm": "metapulse.sim.attacks.colluding:IPM",
        "label_flip": "metapulse.sim.attacks.poisoning:LabelFlip",
        "backdoor": "metapulse.sim.attacks.poisoning:Backdoor",
        "replacement": "metapulse.sim.attacks.poisoning:Replacement",
    },
)
