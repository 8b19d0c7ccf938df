"""What a comparison compares: methods × data sets × seeds, read from one TOML file and checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from metapulse.errors import ConfigError
from metapulse.metrics.chosen import check_chosen, find_own
from metapulse.registry import LEARNERS
from metapulse.server.common import unreached
from metapulse.server.config import Config, load_config
from metapulse.server.method import method_of
from metapulse.settings import build, setting
from metapulse.sim.lab.seeds import SeedPlan
from metapulse.sim.lab.sharing import joined_spaces
from metapulse.sim.lab.space import Space, read_space
from metapulse.sim.lab.tuning import TuningSettings
from metapulse.sim.method_tables import (
    NAME,
    Layers,
    MethodTable,
    as_table,
    build_layers,
    check_names,
    lay,
    read_methods,
)


@dataclass(frozen=True)
class CompareSettings:
    """The comparison as a whole."""

    name: str = setting("comparison", "its name, used for its folder and in the report")
    seeds: tuple[int, ...] = setting((0, 1, 2, 3, 4), "training seeds, each for every method and data set", ge=0)
    folds: int = setting(
        0, "every person is tested once, in one of so many runs; pooled (0: split.test)", ge=0, le=1000
    )
    reference: str = setting("", "the method that verdicts are against ('': the first)")
    metric: str = setting(
        "", "evaluation.main_metric of every run: what methods are tuned and judged by ('': as each data set says)"
    )


@dataclass(frozen=True)
class ComparisonSpec:
    """A comparison, checked.

    Args:
        seeds: of training.
        reference: the method that verdicts are against.
        base: sections of a run's configuration, common to all.
        datasets: name → change laid over the base.
        methods: name → what it changes.
        tuning: how methods with a space are tuned.
        folds: parts of the people, each tested by runs of its own; 0: one part, as ``split`` says.
        metric: main metric of every run; "": what the tables say.
        growth: how many seeds there are to be, where the first decide; then ``seeds`` are those known by now.
    """

    name: str
    seeds: tuple[int, ...]
    reference: str
    base: Mapping[str, Any]
    datasets: Mapping[str, Mapping[str, Any]]
    methods: Mapping[str, MethodTable]
    tuning: TuningSettings
    folds: int = 0
    metric: str = ""
    growth: SeedPlan | None = None

    def grown(self, seeds: int) -> ComparisonSpec:
        """The same with the seeds from 0 on, so many."""
        return replace(self, seeds=tuple(range(seeds)))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every data set with every method that is run on it."""
        return [
            (dataset, name) for dataset in self.datasets for name, m in self.methods.items() if dataset not in m.without
        ]

    def config(
        self, dataset: str, method: str, seed: int, change: Mapping[str, Any] | None = None, fold: int = 0
    ) -> Config:
        """The configuration of one run.

        Args:
            seed: of training.
            change: laid over all the rest, as tuning chose it.
            fold: whose people are tested, where there are folds.

        Raises:
            ConfigError: names the key with its place in the file, the value and what is allowed.
        """
        last: Layers = [("compare.seeds", {"run": {"seed": seed}}), ("tuning", change or {})]
        folds: Layers = [("compare.folds", {"split": {"folds": self.folds, "fold": fold}})] if self.folds else []
        layers = [*self._layers(dataset, method), *last, *folds]
        return build_layers([*layers, *self._judged_by(lay(layers))], f"methods.{method}: ")

    def notes(self, dataset: str, method: str) -> list[str]:
        """Lines that people have to know of a method's configuration on a data set."""
        layers = self._layers(dataset, method)
        return unreached(lay(layers[:2]), lay(layers[2:]), self.config(dataset, method, self.seeds[0]))

    def space(self, dataset: str, method: str) -> Space:
        """What tuning may choose of a method on a data set: its own space, joined with those of its kind.

        Raises:
            ConfigError: a key that is none of the method's settings, or a value that one of them does not allow.
        """
        return self._spaces(dataset)[0][method]

    def untouched(self, dataset: str, method: str) -> tuple[str, ...]:
        """Settings that a tuned method leaves alone while others of the same kind tune them, "section.key"."""
        return self._spaces(dataset)[1][method]

    def _spaces(self, dataset: str) -> tuple[dict[str, Space], dict[str, tuple[str, ...]]]:
        """Of every method that is run on a data set, with what it leaves alone."""
        if dataset not in self._known_spaces:
            here = [method for d, method in self.pairs if d == dataset]
            tables = {method: lay(self._layers(dataset, method)) for method in here}
            own = {m: read_space(self.methods[m].space, tables[m], f"methods.{m}.space") for m in here}
            none: dict[str, tuple[str, ...]] = dict.fromkeys(here, ())
            self._known_spaces[dataset] = joined_spaces(own, tables) if self.tuning.shared else (own, none)
        return self._known_spaces[dataset]

    @cached_property
    def _known_spaces(self) -> dict[str, tuple[dict[str, Space], dict[str, tuple[str, ...]]]]:
        return {}

    @cached_property
    def baselines(self) -> tuple[str, ...]:
        """Methods whose learner is declared a baseline on every data set that they are run on."""
        on: dict[str, list[bool]] = {}
        for dataset, name in self.pairs:
            own = method_of(LEARNERS[self.config(dataset, name, self.seeds[0]).learner["name"]])
            on.setdefault(name, []).append(own is not None and own.baseline)
        return tuple(name for name, found in on.items() if all(found))

    @property
    def tuning_seeds(self) -> tuple[int, ...]:
        """Of the runs of trials: none that the comparison uses."""
        first = self.growth.most if self.growth else max(self.seeds) + 1
        return tuple(range(first, first + self.tuning.seeds))

    def main_metrics(self) -> dict[str, str]:
        """Data set → the metric that its methods are judged by; "": none was chosen."""
        return {d: self.config(d, self.reference, self.seeds[0]).evaluation.main_metric for d in self.datasets}

    def _judged_by(self, table: Mapping[str, Any]) -> Layers:
        """The metric of the comparison as a run has it, measured also where nothing else asks for it."""
        section = table.get("evaluation", {})
        named = section.get("metrics", []) if isinstance(section, Mapping) else []
        if not self.metric or not isinstance(named, list):
            return []
        metrics = named if self.metric in named else [*named, self.metric]
        return [("compare.metric", {"evaluation": {"metrics": metrics, "main_metric": self.metric}})]

    def _layers(self, dataset: str, method: str) -> Layers:
        table = self.methods[method]
        return [
            ("base", self.base),
            (f"datasets.{dataset}", self.datasets[dataset]),
            (f"methods.{method}", table.change),
            (f"methods.{method}.on.{dataset}", table.on.get(dataset, {})),
        ]


@dataclass(frozen=True)
class _File:
    """A specification's top level; methods are apart."""

    compare: CompareSettings = setting(CompareSettings(), "")
    tuning: TuningSettings = setting(TuningSettings(), "")
    base: Mapping[str, Any] = setting({}, "")
    datasets: Mapping[str, Any] = setting({}, "")


def read_spec(path: Path) -> ComparisonSpec:
    """Read a specification and check every run it asks for.

    Args:
        path: TOML with [compare], [tuning], [base], [datasets.NAME] and [methods.NAME].

    Raises:
        ConfigError: names the key, the value and what is allowed.
    """
    table, tables = load_config(path)
    growth = _growth(table)
    file = build(_File, table)
    datasets = {name: as_table(f"datasets.{name}", change) for name, change in file.datasets.items()}
    for key, found in (("datasets", datasets), ("methods", tables)):
        if not found:
            raise ConfigError(key, {}, f"a comparison needs [{key}.NAME]")
    check_names("datasets", datasets)
    methods = read_methods(tables, datasets)
    spec = ComparisonSpec(
        name=file.compare.name,
        seeds=tuple(range(growth.first)) if growth else file.compare.seeds,
        reference=file.compare.reference or next(iter(methods)),
        base=file.base,
        datasets=datasets,
        methods=methods,
        tuning=file.tuning,
        folds=file.compare.folds,
        metric=file.compare.metric,
        growth=growth,
    )
    _check(spec)
    return spec


def _growth(table: dict[str, Any]) -> SeedPlan | None:
    """``compare.seeds`` as a table, which is taken out; None where it is a list."""
    section = table.get("compare", {})
    raw = section.get("seeds") if isinstance(section, dict) else None
    if not isinstance(raw, dict):
        return None
    table["compare"] = {key: value for key, value in section.items() if key != "seeds"}
    return build(SeedPlan, raw, "compare.seeds")


def _check(spec: ComparisonSpec) -> None:
    """What the tables say together."""
    if not NAME.fullmatch(spec.name):
        raise ConfigError("compare.name", spec.name, "names a folder: letters, digits, '_', '.', '-'")
    if not spec.seeds or len(set(spec.seeds)) < len(spec.seeds):
        raise ConfigError("compare.seeds", list(spec.seeds), "expected one or more, each once")
    if spec.folds and spec.tuning.trials:
        raise ConfigError(
            "tuning.trials", spec.tuning.trials, "must be 0 with compare.folds: its people are tested too"
        )
    if spec.metric:
        try:
            check_chosen([spec.metric])
            find_own([spec.metric])
        except ConfigError as error:
            raise ConfigError("compare.metric", spec.metric, error.allowed) from None
    if spec.reference not in spec.methods:
        raise ConfigError("compare.reference", spec.reference, f"must be among {', '.join(spec.methods)}")
    layers = {"base": spec.base} | {f"datasets.{name}": change for name, change in spec.datasets.items()}
    for name, method in spec.methods.items():
        layers |= {f"methods.{name}": method.change}
        layers |= {f"methods.{name}.on.{dataset}": change for dataset, change in method.on.items()}
    for where, layer in layers.items():
        if "seed" in as_table(f"{where}.run", layer.get("run", {})):
            raise ConfigError(f"{where}.run.seed", layer["run"]["seed"], "seeds are those of compare.seeds")
    if without := spec.methods[spec.reference].without:
        raise ConfigError(f"methods.{spec.reference}.on", min(without), "the reference is run on every data set")
    main = spec.main_metrics()
    configs = {
        pair: spec.config(*pair, spec.seeds[0]) for pair in spec.pairs
    }  # before spaces, which look at all of them
    for (dataset, name), config in configs.items():
        spec.space(dataset, name)
        if (own := config.evaluation.main_metric) != main[dataset]:
            told = f"must be {main[dataset]!r}, by which {spec.reference} is judged on {dataset}"
            raise ConfigError(f"methods.{name}.evaluation.main_metric", own, told)
        if spec.folds and "known_user" in config.evaluation.scenarios:
            raise ConfigError("evaluation.scenarios", "known_user", "compare.folds tests held-out people only")
        if config.evaluation.every:
            raise ConfigError(
                "evaluation.every",
                config.evaluation.every,
                "must be 0: a comparison asks test people when a run has ended; see evaluation.validation_every",
            )
        engine = config.engine
        if engine.name != "cohort" or engine.workers:
            given = engine.workers if engine.name == "cohort" else engine.name
            raise ConfigError("engine", given, "a run of a comparison has the cohort engine and no workers of its own")
