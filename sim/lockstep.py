"""Runs of one configuration that differ in their seed alone, as one: which may be, and how they are set up.

What each of them reports is what it reports when it is run alone, but for rounding: samples are padded to the longest
client of the whole stack.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from metapulse.client.executor import ClientExecutor
from metapulse.client.scaling import ScalingExecutor
from metapulse.client.spec import Trial, to_json
from metapulse.outcome import Scores
from metapulse.registry import LEARNERS
from metapulse.server.client_sampler import over_selected
from metapulse.server.config import Config, resolved
from metapulse.server.fingerprint import known_inputs
from metapulse.server.lockstep import Ended, Lockstep
from metapulse.server.progress import Progress
from metapulse.server.run import Run
from metapulse.sim.data_remarks import data_remarks, probed
from metapulse.sim.engines.chunks import largest
from metapulse.sim.engines.cohort import CohortGrid, SourceDirectory
from metapulse.sim.engines.settings import Cohort
from metapulse.sim.engines.workers import Chunks, LocalPool
from metapulse.sim.population import SOUND, ClientJob, Population, forget_jobs
from metapulse.strategies.registry import STRATEGIES
from metapulse.strategies.runs import COUNT, takes_runs
from metapulse.trees import Params

MOST = 16  # runs at once: their folders are open, and what their devices keep is in memory
COHORT = 64  # clients a round up to which runs are one: larger cohorts fill a stack by themselves


def companions(config: Config) -> str | None:
    """What runs have in common that may be one; None for a run that has to be alone.

    Alone are private and secure ones, those with attackers or faults, with workers or on another device, without
    rounds, with large cohorts, with a strategy that does more than a weighted mean and an outer step, and with a
    learner that does not take several runs (``Learner.takes_runs``). So is one whose learner or strategy cannot be
    made, which then says so itself.
    """
    try:
        return _in_common(config)
    except Exception:  # of a user's own code
        return None


def _in_common(config: Config) -> str | None:
    engine, table = config.engine, resolved(config)
    here = isinstance(engine, Cohort) and not engine.workers and engine.device == "cpu" and not engine.chunk
    apart = config.privacy.on or config.secure_aggregation.on or Population.of(config) != SOUND
    if not here or apart or not config.run.rounds or not LEARNERS[config.learner["name"]].takes_runs():
        return None
    settings = STRATEGIES.make(over_selected(config))
    if not 0 < settings.cohort <= COHORT or not takes_runs(settings.make(config.run.rounds, 0)):
        return None
    return json.dumps({**table, "run": {**table["run"], "seed": None, "name": None}}, sort_keys=True)


def batches(configs: Sequence[Config]) -> list[list[int]]:
    """Which runs are done together, by position: companions in groups as alike as can be, all others alone.

    Groups depend on the runs alone, not on how many workers there are, and come in the order of their first run.
    """
    groups: dict[str, list[int]] = {}
    for i, config in enumerate(configs):
        groups.setdefault(companions(config) or f"alone {i}", []).append(i)
    parts = []
    for members in groups.values():
        pieces = math.ceil(len(members) / MOST)
        size = math.ceil(len(members) / pieces)
        parts += [members[first : first + size] for first in range(0, len(members), size)]
    return sorted(parts)


class SharedPool(LocalPool):
    """A pool in which one executor answers for all runs where no answer depends on a run's seed.

    People are judged on episodes that have a seed of the question's own, and moments of samples have none.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seedless: dict[str, str] = {}  # what jobs are told, and the same without the seed

    def shared(self, job: ClientJob) -> ClientExecutor:
        """The executor of all jobs that differ from this one in their seed alone."""
        if job.text not in self._seedless:
            self._seedless[job.text] = without_seed(job.text)
        return super()._work(replace(job, text=self._seedless[job.text]))

    def evaluate(
        self, job: ClientJob, meta: Params, round: int, chunks: Chunks, trial: Trial, states: Mapping[int, Params]
    ) -> list[Scores]:
        """One trial of every chunk."""
        work = self.shared(job)
        return [work.evaluate(meta, round, chunk, trial, states) for chunk in chunks]

    def _work(self, job: ClientJob) -> ClientExecutor:
        common = self.shared(job)
        return common if isinstance(common, ScalingExecutor) else super()._work(job)


class SharedGrid(CohortGrid):
    """A grid beside others: none has data of its own in memory.

    Args:
        size: number of clients of the population.
        pool: of all these grids.
        folder: where what devices keep is put down.
    """

    def __init__(self, size: int, pool: SharedPool, folder: Path) -> None:
        super().__init__(size, pool, 0, folder)
        self._shared = pool

    def _executor(self, job: ClientJob) -> ClientExecutor:
        return self._shared.shared(job)


def run_together(
    configs: Sequence[Config], paths: Sequence[Path], progress: Sequence[Progress | None], resume: Sequence[bool]
) -> list[Ended]:
    """Run all to their ends, each from the start or from its last checkpoint; what each has come to, in order.

    Args:
        configs: which differ in their seed alone (``companions``).
        paths: of the runs' folders.
        progress: told how each goes.
        resume: go on where a folder's last checkpoint stands.
    """
    forget_jobs()
    pool = SharedPool()
    directory: SourceDirectory | None = None
    begun: dict[tuple[int, int, str], list[tuple[int, Run, Params]]] = {}
    ended: dict[int, Ended] = {}
    with ExitStack() as open_ones:
        for i, (config, path, told, again) in enumerate(zip(configs, paths, progress, resume, strict=True)):
            try:
                inputs = known_inputs(config, path if again else None)
                if directory is None:
                    work = ClientExecutor(config.client_config())
                    directory = SourceDirectory(work.source, [*data_remarks(work, config), *probed(work, config)])
                grid = SharedGrid(len(directory), pool, path)
                open_ones.callback(grid.close)
                run = Run(config, grid, directory, path, told, inputs)
                done, theta = open_ones.enter_context(run.opened(again))
            except Exception as error:
                ended[i] = error
                continue
            text = without_seed(to_json(run.config.client_config()))  # with numbers learnt from the population
            place = done, int(run.strategy.state.get(COUNT, 0)), text
            begun.setdefault(place, []).append((i, run, theta))
        for (done, _, text), members in begun.items():
            thetas = [theta for *_, theta in members]
            try:
                work = pool.shared(ClientJob(text))
                group = Lockstep([run for _, run, _ in members], done, thetas, work, largest(work.model, thetas[0]))
                found = group.finish()
            except Exception as error:  # before any of them has taken a round
                found = [error] * len(members)
            ended |= dict(zip((i for i, *_ in members), found, strict=True))
    return [ended[i] for i in range(len(configs))]


def without_seed(text: str) -> str:
    """What a run's clients are told, but for the seed."""
    return json.dumps(json.loads(text) | {"seed": 0}, sort_keys=True)
