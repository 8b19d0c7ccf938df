"""metapulse through its full path: configuration, run folder, a Flower Strategy on the cohort engine's Grid.

Options: settings of a variant, ``section.key=value``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.bench.experiment import experiment
from benchmarks.bench.harness import Job, Meter, read_job
from metapulse.client.executor import ClientExecutor
from metapulse.server.client_sampler import ClientSampler
from metapulse.server.folder import RunFolder
from metapulse.sim.engines.cohort import SourceDirectory
from metapulse.sim.experiment import run_experiment

ENDLESS = 10**7


class EnoughError(Exception):
    """Ends a run that has been measured."""


class First:
    """Told of the only round of the run that is checked."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def round(self, round: int, rounds: int, clients: int, spent: Mapping[str, float]) -> None:
        """The first round is over."""
        self._meter.first()

    def score(self, round: int, value: float | None) -> None:
        """Not counted."""

    def note(self, text: str) -> None:
        """Not shown."""


class Watch:
    """Measures from the end of a run's first round to the end of the round in which the time is up."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def round(self, round: int, rounds: int, clients: int, spent: Mapping[str, float]) -> None:
        """A round is over."""
        if round == 1:
            self._meter.start()
        elif self._meter.over(round - 1):
            self._meter.stop(round - 1)
            raise EnoughError

    def score(self, round: int, value: float | None) -> None:
        """Never: the run ends before its meta-test."""

    def note(self, text: str) -> None:
        """Not shown."""


def main() -> None:
    """Run as asked on the command line: once to be checked, once to be measured."""
    job = read_job()
    meter = Meter(job)
    with tempfile.TemporaryDirectory() as folder:
        _first(job, meter, Path(folder) / "first")
        try:
            run_experiment(experiment(job.load, job.options, ENDLESS), Path(folder) / "measured", Watch(meter))
        except EnoughError:
            meter.report()


def _first(job: Job, meter: Meter, folder: Path) -> None:
    config = experiment(job.load, job.options)
    run_experiment(config, folder, First(meter))
    last = RunFolder(folder).last()
    assert last is not None
    source = ClientExecutor(config.client_config()).source
    clients = ClientSampler(SourceDirectory(source), config).cohort(1, job.load.workload.cohort)
    theta: dict[str, np.ndarray] = {name: p.numpy() for name, p in last.theta.items()}
    meter.keep(theta, clients)


if __name__ == "__main__":
    main()
