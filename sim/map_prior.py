"""The prior over maps that a federated run of ``random_effects`` on pairs has learned."""

from __future__ import annotations

from pathlib import Path

from metapulse.errors import RunError
from metapulse.gaussian_head import GaussianHead
from metapulse.methods.random_effects import RandomEffects
from metapulse.migration.base import MapCard
from metapulse.migration.linear import Evidence
from metapulse.migration.prior import Choice, MapPrior
from metapulse.server.folder import RunFolder
from metapulse.sim.api import load
from metapulse.sim.personal import TrainedRun
from metapulse.sim.sources.pairs import PairsSource

EVERY_HOURS = 8.0  # that count as one reading of an overlap


def map_prior(run: str | Path, metric: str = "") -> MapPrior:
    """The population's prior over maps, as ``mp.migration.learn`` gives one, of a run with the source ``pairs``.

    There is one kind of map, the run's terms; its band is that of the model, since nobody's pairs were here to check.

    Args:
        run: its folder; of several methods, that of ``random_effects``.
        metric: its name, for the card.

    Raises:
        RunError: no finished run, or one of another source, learner or transform.
    """
    for config, path in load(run).runs.values():
        trained = TrainedRun(path, config)
        if config.learner.get("name") == "random_effects":
            return _prior(trained, metric)
    raise RunError(f"{run}: no run of random_effects, which is what learns a prior over maps")


def _prior(trained: TrainedRun, metric: str) -> MapPrior:
    work = trained.work
    if not isinstance(work.source, PairsSource) or not isinstance(work.learner, RandomEffects):
        raise RunError(f'{trained.path}: not learned from pairs; [source] must have name = "pairs"')
    if trained.config.transform.get("name") != "none":
        raise RunError(f'{trained.path}: transform {trained.config.transform.get("name")}: must be "none"')
    _, theta = RunFolder(trained.path).final()
    head, terms = work.learner.prior(theta), work.source.made
    order = [terms.width - 1, *range(terms.width - 1)]  # here the constant comes first, there last
    mean = head.mean[:, order] * terms.scale
    mean[:, 0] += terms.centre
    head = GaussianHead(mean, head.covariance[:, order][:, :, order], head.noise * terms.scale**2)
    people = int(work.learner.people)
    choice = Choice(0.0, terms, Evidence(EVERY_HOURS), head, compared=f"{'+'.join(terms.names) or 'line'}, by the run")
    notes = ("learned federated: the band is the model's, not checked on people held out",)
    return MapPrior((choice,), MapCard("", metric, people=people, notes=notes))
