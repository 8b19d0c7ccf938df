"""What people say of a run's θ: validation people, then test people; kept, logged and shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from metapulse.client.wire import encode
from metapulse.server.checkpoint import BestRound
from metapulse.server.config import Config
from metapulse.server.folder import RunFolder
from metapulse.server.merit import merit
from metapulse.server.metatest import MetaTest, Row, headline, left_out
from metapulse.server.progress import Progress
from metapulse.strategies.replies import Dropped
from metapulse.trees import Params


class Judging:
    """The meta-tests of one run.

    Args:
        metatest: asks them.
        folder: the run's.
        progress: told how they end.
        drop: told (round, clients) that gave no usable answer.
    """

    def __init__(
        self,
        metatest: MetaTest,
        folder: RunFolder,
        progress: Progress,
        drop: Callable[[int, list[Dropped]], None],
    ) -> None:
        self.metatest, self._folder, self._progress, self._drop = metatest, folder, progress, drop
        self.rows: list[Row] = []
        self.best: BestRound | None = None  # θ of the best validation round, up to now

    def settle(self, config: Config) -> None:
        """From here on people are asked with this configuration."""
        self.metatest = replace(self.metatest, config=config)

    def due(self, round: int) -> bool:
        """Whether anybody is asked after a round."""
        return self.metatest.looks(round) or self.metatest.due(round)

    def judge(self, round: int, theta: Params) -> None:
        """Ask the people who are to be asked after a round: validation people, then test people.

        At the end test people also judge θ of the best validation round; known people do not, because what their
        devices keep is of the last round.
        """
        e = self.metatest.config.evaluation
        if self.metatest.looks(round):
            self._look(round, theta)
        if round == self.metatest.config.run.rounds:
            self._ask_best(round)
        if self.metatest.due(round):
            self._ask(round, theta, e.phase, e.scenarios)

    def judge_last(self, round: int, theta: Params) -> None:
        """The same after a round that turned out to be the last one."""
        e = self.metatest.config.evaluation
        if e.validation_every and not self._asked(round, "validation"):
            self._look(round, theta)
        self._ask_best(round)
        if not self._asked(round, e.phase):
            self._ask(round, theta, e.phase, e.scenarios)

    def _asked(self, round: int, phase: str) -> bool:
        return any((row["round"], row["phase"]) == (round, phase) for row in self.rows)

    def _look(self, round: int, theta: Params) -> None:
        """Validation people say whether θ is the best so far."""
        e = self.metatest.config.evaluation
        value = merit(self._ask(round, theta, "validation", e.held_out), e.main_metric)
        if value is not None and (self.best is None or value > self.best.merit):
            self.best = BestRound(round, value, dict(theta))

    def _ask_best(self, last: int) -> None:
        """Test people judge θ of the best validation round, where it is not the last one."""
        e = self.metatest.config.evaluation
        if e.phase == "test" and self.best and self.best.round < last:
            self._ask(self.best.round, self.best.theta, "test", e.held_out)

    def _ask(self, round: int, theta: Params, phase: str, scenarios: Sequence[str]) -> list[Row]:
        """The rows of θ of a round, which are kept, logged and shown."""
        began = time.perf_counter()
        found = self.metatest.ask(round, encode(theta), self._folder.identity, phase, scenarios)
        seconds, asked = time.perf_counter() - began, [asdict(one) for one in found.people]
        told = {"apart": left_out(found.rows), "people": asked, "seconds": seconds}
        if found.dropped:
            self._drop(round, found.dropped)
        self.rows += found.rows
        value = headline(found.rows, self.metatest.config.evaluation.main_metric)
        self._folder.event(round, "meta-test", phase=phase, rows=len(found.rows), headline=value, **told)
        self._progress.score(round, value)
        return found.rows
