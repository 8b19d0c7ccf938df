"""A finished run to be audited: its people, and how to repeat it with canaries among them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from metapulse.client.executor import ClientExecutor
from metapulse.client.privacy import lengths
from metapulse.errors import RunError
from metapulse.server.client_sampler import ClientSampler, over_selected
from metapulse.server.config import Config, build_config, merge, resolved
from metapulse.server.folder import RunFolder
from metapulse.server.own_code import reach
from metapulse.server.privacy import make_plan
from metapulse.server.run import Run
from metapulse.server.scaler import learned
from metapulse.sim.audit.canaries import Canaries, CanaryPool, CrowdDirectory
from metapulse.sim.engines.cohort import CohortGrid, SourceDirectory
from metapulse.strategies.privacy.plan import PrivacyPlan
from metapulse.strategies.registry import STRATEGIES
from metapulse.trees import Params, sub

LOUD = 10.0  # a canary's update over C: what clipping leaves of it is C, what it does not leave is seen
CLAIMED = 1000.0  # samples that a canary claims to have where that must not count
TYPICAL = 16  # people whose updates tell how long one is


@dataclass(frozen=True)
class AuditedRun:
    """A finished run, read from its folder.

    Args:
        round: the last finished one.
        theta: θ after it.
        spent: ε, δ and rounds as its summary states them; {} without privacy.
    """

    path: Path
    config: Config
    round: int
    theta: Params
    spent: Mapping[str, Any] = field(default_factory=dict)

    @property
    def claimed(self) -> float | None:
        """ε that the run states; None: nothing, as without privacy, or with noise that others can draw again."""
        epsilon = self.spent.get("epsilon")
        return float(epsilon) if isinstance(epsilon, (int, float)) and math.isfinite(epsilon) else None

    @cached_property
    def work(self) -> ClientExecutor:
        """What its clients do."""
        return ClientExecutor(self.config.client_config())

    @cached_property
    def sampler(self) -> ClientSampler:
        """Who its people are."""
        return ClientSampler(SourceDirectory(self.work.source), self.config)

    @cached_property
    def cohort(self) -> int:
        """People in a round."""
        asked: int = STRATEGIES.make(over_selected(self.config)).cohort
        return asked or self.sampler.people

    @cached_property
    def plan(self) -> PrivacyPlan | None:
        """What it claims; None without privacy."""
        return make_plan(self.config, self.sampler)

    def people(self, seed: int, most: int) -> list[int]:
        """At most so many people of the training, each with one device, by partition id."""
        return self.sampler.persons(seed, 0, min(most, self.sampler.people), "fixed")

    def canaries(self, signs: Any, seed: int) -> Canaries:
        """Canaries that are heard: far above C; without privacy, as long and as heavy as people's updates are."""
        count = len(signs)
        if self.plan is not None:
            loud, weight = LOUD * self.plan.settings.clip, np.linspace(CLAIMED / count, CLAIMED, count)
        else:
            loud, typical = self._typical
            weight = np.full(count, typical)
        return Canaries(len(self.sampler.directory), np.asarray(signs, np.int64), loud, weight, seed)

    @cached_property
    def _typical(self) -> tuple[float, float]:
        """Median length and weight of some people's updates in the first round."""
        report = self.work.train(self.work.init(), 1, self.people(0, TYPICAL)).report
        if report is None:
            raise RunError(f"{self.path}: none of {TYPICAL} people can train")
        return float(lengths(report.update).median()), float(report.weight.median())

    def again(
        self, canaries: Canaries, people: list[int], cohort: int, folder: Path, change: Mapping[str, Any]
    ) -> tuple[Params, dict[str, Any]]:
        """The run once more, some people and canaries instead of its own people: θ_0 − θ_T, and its summary.

        Noise and draws have the canaries' seed as their address, so that the same audit finds the same.
        The first of the people is judged instead of training, because a run must have one who is.

        Args:
            people: partition ids, at least one.
            cohort: people in a round.
            change: laid over the configuration.
        """
        table = merge(resolved(self.config), _quiet(people[0], cohort))
        table["evaluation"]["adapt"] = {}  # there is no adaptation
        if self.plan is not None:
            again = {"noise_multiplier": self.plan.release.sigma, "epsilon": 0.0, "noise_seed": canaries.seed}
            merge(table, {"privacy": again})
        config = build_config(merge(table, change))
        crowd = CrowdDirectory(self.sampler.directory, people, len(canaries))
        grid = CohortGrid(canaries.first + len(canaries), CanaryPool(canaries), config.engine.chunk, folder)
        try:
            summary = Run(config, grid, crowd, folder).start()
        finally:
            grid.close()
        return sub(self.work.init(), _last(folder)[1]), summary


def read_audited_run(path: Path) -> AuditedRun:
    """The finished run in a folder, which is only read.

    Raises:
        RunError: there is none, or it is not finished.
    """
    reach(path)
    config = build_config(RunFolder(path).config()[0])
    if not (path / "summary.json").exists():
        raise RunError(f"{path} holds no finished run; finish it with: metapulse resume {path}")
    round, theta = _last(path)
    config = learned(config, path)
    ordered = {name: theta[name] for name in ClientExecutor(config.client_config()).fresh}
    return AuditedRun(path, config, round, ordered, RunFolder(path).summary().get("privacy", {}))


def _last(path: Path) -> tuple[int, Params]:
    """The last round that a run kept, and θ after it."""
    return RunFolder(path).final()


def _quiet(judge: int, cohort: int) -> dict[str, Any]:
    """A configuration's change: trained by all but one person, judged once and shortly."""
    return {
        "split": {"validation": 0.0, "test": 0.0, "validation_users": (), "test_users": (str(judge),)},
        "strategy": {"cohort": cohort},
        "evaluation": {
            **{"every": 0, "validation_every": 0, "phase": "test", "scenarios": ("new_user",)},
            **{"episodes": 1, "steps": (0,), "clients": 1},
        },
        "checkpoint": {"every": 0, "keep": 1},
    }
