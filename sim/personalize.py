"""``mp.personalize``: a finished run and one person's record → the person's model."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metapulse.errors import ConfigError, DataError, RunError
from metapulse.gaussian_head import GaussianHead
from metapulse.methods.alpaca import ALPaCA
from metapulse.methods.gaussian import ClosedForm, GaussianLearner
from metapulse.models.base import Model
from metapulse.personal.adapt import adapted
from metapulse.personal.features import FeatureMap
from metapulse.personal.learn import learn_start
from metapulse.personal.past import past_device, read_maps
from metapulse.personal.person import PersonModel, questions_of
from metapulse.personal.start import FILE, PopulationStart
from metapulse.record.metrics import metric
from metapulse.record.recipes.base import Questions, Recipe, device_rows
from metapulse.server.client_sampler import ClientSampler
from metapulse.server.folder import RunFolder
from metapulse.sim.engines.cohort import SourceDirectory
from metapulse.sim.personal import TrainedRun
from metapulse.sim.process import set_process_defaults
from metapulse.sim.sources.records import Records, find_records
from metapulse.trees import Params

if TYPE_CHECKING:
    from metapulse.migration.base import Map
    from metapulse.migration.prior import MapPrior
    from metapulse.sim.results import Result

MOST_TAUGHT, MOST_JUDGED = 300, 100  # people whom a start is learned from, and judged by

BESIDE = 256  # numbers of a window at most that the head reads beside the embedding

#: Told what is done, how much of it, and of how much.
Progress = Callable[[str, int, int], None]


def silent(what: str, now: int, all: int) -> None:
    """Progress that is shown to none."""


def personalize(
    run: str | Path | Result,
    record: str | Path,
    overlap: Any = None,
    *,
    maps: str | Path | Map | MapPrior | None = None,
    old: str = "",
    device: str = "",
    data: str | Path | None = None,
    progress: Progress = silent,
) -> PersonModel:
    """A trained federated start, adapted to one person's record.

    Args:
        run: folder of a finished run of one method that forecasts from records, or its result.
        record: "person.parquet".
        overlap: table of ``time``, ``old`` and ``new`` of moments, or days, at which both told of what is forecast;
            None: those in the record; False: none.
        maps: the map of what is forecast from the old device to the new, or a prior over maps, or the folder of one;
            None: published agreement, where there is some.
        old: device model whose history is taken along; "": the other one of the record, where there is one.
        device: the device model whose values are forecast; "": the one that was worn last.
        data: where the run's records lie now; None: where they lay. They are read once, for the population's start.
        progress: told what is done.

    Raises:
        RunError: the run is not finished, or its start of a population can neither be read nor made.
        ConfigError: the run did not learn from records, or forecasts no number; or the map is of another metric.
        DataError: the record cannot be read, or lacks what the recipe needs.
    """
    trained = trained_run(run, data)
    recipe = recipe_of(trained)
    features = features_of(trained)
    devices = device_rows(Path(record), recipe)[0]
    name, own = questions_of(Path(record), recipe, device, devices)  # before minutes are spent on the population
    maps = read_maps(Path(maps) if isinstance(maps, str) else maps) if maps is not None else None
    start = population_start(trained, features, progress)
    forecasts = int(own.time[0]), int(own.time[-1])
    pasts, why = past_device(devices, recipe, name, forecasts, old, overlap, maps)
    card = {
        "run": RunFolder(trained.path).identity,
        "method": trained.config.learner["name"],
        "metric": recipe.forecasts,
        "unit": metric(recipe.forecasts).unit,
        "device": name,
        "people": start.facts["people"],
        "no_history": why,
    }
    known = name in start.facts.get("devices", [name])
    return adapted(trained.config.source["recipe"], features, start, own, pasts, card, known_device=known)


def trained_run(run: str | Path | Result, data: str | Path | None) -> TrainedRun:
    """One finished run.

    Raises:
        RunError: there is none, or there are several.
    """
    set_process_defaults()
    from metapulse.sim.api import load
    from metapulse.sim.results import Result

    result = run if isinstance(run, Result) else load(run, data=data)
    if len(result.runs) != 1:
        raise RunError(f"{result.path}: holds {len(result.runs)} runs; name the folder of one: {', '.join(result)}")
    (name, (config, path)), *_ = result.runs.items()
    if name in result.failed:
        raise RunError(f"{path}: the run failed: {result.failed[name]}")
    return TrainedRun(path, config)


def recipe_of(trained: TrainedRun) -> Recipe:
    """What the run has learned to forecast.

    Raises:
        ConfigError: it did not learn from records, or to tell classes.
    """
    source = trained.work.source
    if not isinstance(source, Records):
        raise ConfigError("source.name", trained.config.source["name"], "a person's model takes a run on records")
    if source.task.kind != "regression":
        raise ConfigError(
            "source.recipe", source.recipe, "tells classes; a person's model takes one that forecasts a number"
        )
    return source.made


def features_of(trained: TrainedRun) -> FeatureMap:
    """What the head reads, after the last round.

    That is what the run's method says, or else the embedding and the window beside it: a window of a few numbers leaves
    the pooled linear model within reach of the head, which features that were trained for other people's steps may have
    lost. Where the model has no linear head, it is the method's own answer.
    """
    work, config, learner = trained.work, trained.config, trained.work.learner
    beside = math.prod(work.task.features) <= BESIDE
    if isinstance(learner, ClosedForm):
        reads: tuple[str, ...] = (learner.reads,)
    elif isinstance(learner, ALPaCA):
        reads = ("embedding", "inputs") if learner.inputs else ("embedding",)
    elif not has_linear_head(work.model, trained.theta):
        reads = ("answer",)
    else:
        reads = ("embedding", "inputs") if beside else ("embedding",)
    kept = trained.plain().params
    names = kept if reads == ("answer",) else work.model.init(np.random.default_rng(0))
    params = {name: kept[name][0].contiguous().clone() for name in names}
    sections = {
        "model": dict(config.model),
        "transform": dict(work.spec.transform),
        "learner": dict(config.learner),
    }
    return FeatureMap(trained.task, sections, params, np.empty((0, *trained.task.features), np.float32), reads)


def has_linear_head(model: Model, theta: Params) -> bool:
    """Whether answers are a linear head's on an embedding, both in θ under the model's own names."""
    try:
        return set(model.head_pair()) <= theta.keys() and type(model).embed is not Model.embed
    except ConfigError:
        return False


def prior_of(trained: TrainedRun) -> GaussianHead | None:
    """The run's own prior over heads, where its method has one."""
    learner = trained.work.learner
    return learner.prior(trained.theta) if isinstance(learner, GaussianLearner) else None


def population_start(trained: TrainedRun, features: FeatureMap, progress: Progress = silent) -> PopulationStart:
    """The run's ``population.safetensors``; made and kept there where it is not yet.

    Raises:
        RunError: it is of another run, or the people that it takes are not at hand.
    """
    folder, identity = trained.path, RunFolder(trained.path).identity
    if (folder / FILE).exists():
        start = PopulationStart.load(folder)
        if start.facts.get("run") != identity:
            raise RunError(f"{folder / FILE}: is of another run; delete it to have it made anew")
        return start
    try:
        taught, judged, devices = _people(trained, progress)
    except DataError as error:
        raise RunError(f"{folder / FILE} is missing and cannot be made from the run's people: {error}") from None
    start = learn_start(
        features,
        taught,
        judged,
        {"run": identity, "devices": devices},
        done=lambda now, all: progress("people judged", now, all),
    )
    start.save(folder)
    return start


def _people(trained: TrainedRun, progress: Progress) -> tuple[list[Questions], list[Questions], list[str]]:
    """Windows of training people, and of validation people; of test people, none. And which devices they wore."""
    source, recipe = trained.work.source, recipe_of(trained)
    assert isinstance(source, Records)
    split = ClientSampler(SourceDirectory(source), trained.config).split
    phases = split.phases(np.arange(source.users))
    if not (phases == "validation").any():
        raise DataError("there are no validation people to judge it by (split.validation = 0)")
    chosen = [np.flatnonzero(phases == name) for name in ("train", "validation")]
    chosen = [people[:most] for people, most in zip(chosen, (MOST_TAUGHT, MOST_JUDGED), strict=True)]
    paths = dict(find_records(source.files()["path"]))
    found: tuple[list[Questions], list[Questions]] = ([], [])
    devices = set()
    for number, person in enumerate(np.concatenate(chosen).tolist()):
        label = source.client(source.clients_of(person)[0]).label
        try:
            device, asked = questions_of(paths[label], recipe, source.device)
        except DataError:
            continue  # nothing to forecast from, as in the run itself
        found[phases[person] == "validation"].append(asked)
        devices.add(device)
        progress("records read", number + 1, sum(map(len, chosen)))
    return *found, sorted(devices)
