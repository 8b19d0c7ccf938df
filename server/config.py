"""One TOML file, validated into typed objects; after this no code reads a raw table.

A setting is documented where it is declared; ``server/config_text.py: commented_default`` prints them all.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from metapulse.client.limits import model_size
from metapulse.client.spec import ClientConfig
from metapulse.episodes import EpisodePlan
from metapulse.errors import ConfigError
from metapulse.metrics.chosen import find_own
from metapulse.registry import ATTACKS, ENGINES, LEARNERS, MODELS, SOURCES, TRANSFORMS
from metapulse.server.effect import check_effect
from metapulse.server.evaluation import EvaluationSettings
from metapulse.server.method import MethodSettings, begin, check_method, fill
from metapulse.server.simulated import FaultSettings, check_population
from metapulse.server.split import SplitSettings
from metapulse.settings import build, default_of, is_setting, plain, setting
from metapulse.strategies import secure
from metapulse.strategies.privacy.settings import PrivacySettings, check_privacy_combination
from metapulse.strategies.registry import STRATEGIES


@dataclass(frozen=True)
class RunSettings:
    """What is run."""

    name: str = setting("run", "name of the run, used for its folder and in reports")
    seed: int = setting(0, "seed of everything that is drawn", ge=0)
    rounds: int = setting(50, "federated rounds", ge=0)


#: Sections whose ``name`` chooses an entry of a registry; elsewhere a name is only a name.
REGISTRIES = {
    "source": SOURCES,
    "transform": TRANSFORMS,
    "learner": LEARNERS,
    "strategy": STRATEGIES,
    "attack": ATTACKS,
    "model": MODELS,
}

PARAMETERS = 2**34  # 64 GiB of θ; before anything is built


@dataclass(frozen=True)
class EngineSettings:
    """Who calls the clients, as every engine has it; its entry in ``ENGINES`` adds what it alone has."""

    #: "module:function" that runs a configuration on it: (config, engine, path, progress, resume) → the summary.
    runner: ClassVar[str]

    name: str = ""
    workers: int = setting(0, "Ray actors of cohort (0: this process), cores of flower (0: all)", ge=0)
    address: str = setting("", "an existing Ray cluster ('' starts one on this machine)")
    timeout_s: float = setting(3600.0, "longest wait for the replies of a round, seconds", gt=0)

    @property
    def chunk(self) -> int:
        """Clients stacked at once where clients are stacked; 0: as many as are fast."""
        return 0


def make_engine(section: Mapping[str, Any]) -> EngineSettings:
    """The engine of a section; what another one alone has is refused where it is not the default.

    Raises:
        ConfigError: names the key, the value and what is allowed.
    """
    section = {"name": "cohort", **section}
    kind, own = ENGINES.chosen(section)
    known = {field.name for field in dataclasses.fields(kind)}
    for other in ENGINES:
        for field in dataclasses.fields(ENGINES[other]):
            if field.name in own and field.name not in known and (value := own.pop(field.name)) != default_of(field):
                why = f"has no effect with engine.name = {section['name']!r}; it is a setting of {other!r}"
                raise ConfigError(f"engine.{field.name}", value, why)
    made: EngineSettings = build(kind, own, "engine", name=section["name"])
    return made


@dataclass(frozen=True)
class CheckpointSettings:
    """What survives a kill."""

    every: int = setting(0, "rounds between checkpoints (0: ten over the run)", ge=0)
    keep: int = setting(2, "checkpoints kept", ge=1)


@dataclass(frozen=True)
class Config:
    """A whole run. Sections with a ``name`` choose an entry of a registry; their other keys are its settings."""

    run: RunSettings = setting(RunSettings(), "")
    source: Mapping[str, Any] = setting({"name": "wearables"}, "")
    split: SplitSettings = setting(SplitSettings(), "")
    transform: Mapping[str, Any] = setting({"name": "auto"}, "")
    model: Mapping[str, Any] = setting({"name": "cnn1d"}, "")
    method: MethodSettings = setting(MethodSettings(), "")
    learner: Mapping[str, Any] = setting({"name": "reptile"}, "")
    episodes: EpisodePlan = setting(EpisodePlan(), "")
    strategy: Mapping[str, Any] = setting({"name": "fedreptile"}, "")
    privacy: PrivacySettings = setting(PrivacySettings(), "")
    secure_aggregation: secure.SecureSettings = setting(secure.SecureSettings(), "")
    attack: Mapping[str, Any] = setting({"name": "none"}, "")
    faults: FaultSettings = setting(FaultSettings(), "")
    engine: EngineSettings = dataclasses.field(default_factory=lambda: make_engine({}), metadata={"doc": ""})
    evaluation: EvaluationSettings = setting(EvaluationSettings(), "")
    checkpoint: CheckpointSettings = setting(CheckpointSettings(), "")

    def __post_init__(self) -> None:
        SOURCES.make(self.source)
        protected = {"privacy.mechanism": self.privacy.on, "secure_aggregation.on": self.secure_aggregation.on}
        TRANSFORMS.make(self.transform).check_protected(protected)
        learner = LEARNERS.make(self.learner)
        strategy = STRATEGIES.make(self.strategy)
        self._check_protected(strategy)
        if model_size(model := MODELS.settings(self.model)) > PARAMETERS:
            raise ConfigError("model", model, f"its widths multiply to more than {PARAMETERS} parameters")
        own = {key: value for key, value in self.learner.items() if key != "name"}
        build(type(learner), own | dict(self.evaluation.adapt), "evaluation.adapt")
        check_method(self)
        check_effect(self)
        find_own(self.evaluation.metrics)

    def _check_protected(self, strategy: Any) -> None:
        try:
            if self.privacy.on:
                check_privacy_combination(strategy, self.evaluation.scenarios)
            if self.secure_aggregation.on:
                secure.check_secure_combination(self.secure_aggregation, strategy, self.privacy.mechanism)
            check_population(self.attack, self.faults, self.privacy.on, self.secure_aggregation.on)
        except ConfigError as error:  # what is refused by its class is shown as it was written
            section, _, key = error.key.partition(".")
            written = getattr(self, section)["name"] if key == "name" else error.value
            raise ConfigError(error.key, written, error.allowed) from None

    @cached_property
    def table(self) -> dict[str, Any]:
        """What ``resolved`` gives copies of: worked out once."""
        table: dict[str, Any] = plain(self)
        table |= {key: registry.settings(getattr(self, key)) for key, registry in REGISTRIES.items()}
        table["engine"] = {"name": self.engine.name, **table["engine"]}
        if self.method == MethodSettings():
            del table["method"]
        for key in ("metrics", "main_metric"):  # a run that chooses none is addressed as it was before one could
            if not table["evaluation"][key]:
                del table["evaluation"][key]
        return table

    def client_config(self) -> ClientConfig:
        """What the clients must know of it."""
        known = "known_user" in self.evaluation.scenarios and self.episodes.split != "held_out"
        return ClientConfig(
            seed=self.run.seed,
            source=self.source,
            transform=self.transform,
            model=self.model,
            learner=self.learner,
            episodes=self.episodes,
            reserve=self.evaluation.split if known else "",  # what known people are tested on
            reserve_seed=self.evaluation.seed,
            reserve_devices=self.split.train_devices if known else (),
        )

    def digest(self) -> str:
        """A name for what decides the numbers: every setting with its value, without engine and checkpoints.

        By which name a learner and a strategy were chosen decides nothing; that they are free decides constants.
        """
        parts = {k: v for k, v in resolved(self).items() if k not in ("engine", "checkpoint", "method")}
        parts |= {"method": {"free": True}} if self.method.free else {}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def parse(text: str, overrides: Iterable[str] = ()) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """TOML text and ``key=value`` overrides as a raw table, and its ``[methods.NAME]`` tables apart.

    Raises:
        ConfigError: the text is no TOML, or an override is malformed.
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # the former of numbers with thousands of digits too
        raise ConfigError("configuration", text[:40], f"is not valid TOML: {error}") from None
    methods = table.pop("methods", {})
    if not isinstance(methods, dict) or not all(isinstance(m, dict) for m in methods.values()):
        raise ConfigError("methods", methods, "expected tables [methods.NAME]")
    merge(table, together(overrides))
    return table, methods


def load_config(
    path: Path, overrides: Iterable[str] = (), anchor: bool = True
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """``parse`` a file.

    Args:
        path: of the file.
        overrides: ``key=value`` each.
        anchor: ``source.path`` is relative to the file that names it, or to the current folder in an override; not so
            where the data is on devices.

    Raises:
        ConfigError: as ``parse``, or the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("configuration", str(path), f"cannot be read: {error}") from None
    table, methods = parse(text)
    if anchor:
        anchored([table, methods], path.parent)
    change = together(overrides)
    merge(table, anchored(change, Path()) if anchor else change)
    return table, methods


def together(overrides: Iterable[str]) -> dict[str, Any]:
    """``key=value`` overrides as one change, in which their order does not matter unless two name the same key.

    Raises:
        ConfigError: one is malformed.
    """
    change: dict[str, Any] = {}
    for override in overrides:
        merge(change, _override(override), restart=False)
    return change


def anchored(table: Any, folder: Path) -> Any:
    """Nested tables, in place, with every relative ``source.path`` taken from a folder."""
    if isinstance(table, Mapping):
        source = table.get("source")
        if isinstance(source, dict) and isinstance(path := source.get("path"), str) and path:
            source["path"] = str((folder / Path(path).expanduser()).absolute())
    for inner in table.values() if isinstance(table, Mapping) else table if isinstance(table, list) else ():
        anchored(inner, folder)
    return table


def build_config(table: Mapping[str, Any]) -> Config:
    """The typed configuration of a raw table.

    Raises:
        ConfigError: names the key, the value and what is allowed.
    """
    named: dict[str, Any] = {}
    table = fill(dict(table))
    for field in dataclasses.fields(Config):
        section = table.get(field.name)
        if field.name in REGISTRIES and isinstance(section, Mapping) and "name" not in section:
            named[field.name] = {**field.default_factory(), **section}  # type: ignore[operator]
    if isinstance(engine := table.get("engine"), Mapping):
        named["engine"] = make_engine(engine)
    try:
        return build(Config, {**table, **named})
    except ConfigError as error:
        raise _placed(error, {**table, **named}) from None


def _placed(error: ConfigError, table: Mapping[str, Any]) -> ConfigError:
    """An unknown key by the name of a setting of another section says which."""
    last, start = error.key.rpartition(".")[2], "unknown key"
    if not error.allowed.startswith(start):
        return error
    places = [f"{section}.{last}" for section, names in _names(table) if last in names]
    allowed = error.allowed[error.allowed.index(" (") :] if places else ""
    hint = f"{start}; did you mean {' or '.join(places)}?{allowed}"
    return ConfigError(error.key, error.value, hint) if places else error


def _names(table: Mapping[str, Any]) -> Iterator[tuple[str, set[str]]]:
    """Every section and its settings' names; of one that cannot be made of the table, those of its default."""
    usual = Config()
    for field in dataclasses.fields(Config):
        section, default = table.get(field.name), getattr(usual, field.name)
        kind = type(default)
        if registry := REGISTRIES.get(field.name):
            try:
                kind = registry.chosen(section if isinstance(section, Mapping) else default)[0]
            except ConfigError:
                kind = registry.chosen(default)[0]
        yield field.name, {f.name for f in dataclasses.fields(kind) if is_setting(f)}


def merge(table: dict[str, Any], change: Mapping[str, Any], restart: bool = True) -> dict[str, Any]:
    """``change`` laid over ``table``, in place.

    Args:
        table: what is changed.
        change: what is laid over it.
        restart: where another entry is chosen, a section starts from its defaults; where another method, learner and
            strategy do.
    """
    if restart:
        begin(table, change)
    for key, value in change.items():
        held = table.get(key)
        if not (isinstance(value, Mapping) and isinstance(held, dict)):
            table[key] = dict(value) if isinstance(value, Mapping) else value
        elif restart and key in REGISTRIES and "name" in value and value["name"] != held.get("name"):
            table[key] = dict(value)
        else:
            merge(held, value, restart)
    return table


def resolved(config: Config) -> dict[str, Any]:
    """Every setting with its value, defaults included, as plain data of the caller's own."""
    return copy.deepcopy(config.table)


def _override(text: str) -> dict[str, Any]:
    key, eq, value = text.partition("=")
    parts = key.strip().split(".")
    if not eq or not all(parts):
        raise ConfigError("--set", text, "expected section.key=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except ValueError:
        parsed = value.strip()  # a bare word is a string
    if parts[-1] == "name" and not isinstance(parsed, (str, dict)):
        parsed = value.strip()  # and so is a name, if TOML has another meaning for the word: nan, true, 2024
    for part in reversed(parts):
        parsed = {part: parsed}
    return dict(parsed)
