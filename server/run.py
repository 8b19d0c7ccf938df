"""The round loop: sample, send, aggregate, meta-test, checkpoint; from any round, to the same bits."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid
from torch import Tensor

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import to_json
from metapulse.client.wire import Instructions, decode, differ, encode, instruction
from metapulse.errors import RunError
from metapulse.global_generators import seeded
from metapulse.rng import generator
from metapulse.server.attempts import count_attempt
from metapulse.server.checkpoint import like_model
from metapulse.server.client_sampler import ClientSampler, SubsetGrid, over_selected
from metapulse.server.config import Config, resolved
from metapulse.server.directory import Directory
from metapulse.server.effect import check_data, notes
from metapulse.server.fingerprint import address, data_digest, fingerprint, refuse_changed
from metapulse.server.folder import RunFolder, Snapshot, digest
from metapulse.server.grid import Engine, GridWrapper
from metapulse.server.judging import Judging
from metapulse.server.lock import alone, only_copy
from metapulse.server.metatest import MetaTest, summarise
from metapulse.server.method import learner_constants
from metapulse.server.privacy import BEGUN, Budget, make_plan
from metapulse.server.progress import Progress, SilentProgress, round_stages
from metapulse.server.remarks import noting, remark
from metapulse.server.result import facts
from metapulse.server.scaler import ScalingQuestion, settle_transform
from metapulse.server.secure.aggregation import make_secure
from metapulse.server.verdict import no_reply, refuse_fruitless, warnings
from metapulse.strategies.registry import STRATEGIES, make_strategy
from metapulse.strategies.replies import LOGGED, Dropped
from metapulse.strategies.strategy import RunStrategy
from metapulse.trees import Params

PATIENCE = 10  # rounds in a row without a usable reply before a run is given up


class Run:
    """One run on one grid.

    Args:
        config: what to do.
        grid: where the clients are.
        directory: who they are.
        path: the run's folder.
        progress: told how it goes.
        inputs: the fingerprint of data and code; None where the data is on devices: of the code alone.
    """

    def __init__(
        self,
        config: Config,
        grid: Grid,
        directory: Directory,
        path: Path,
        progress: Progress | None = None,
        inputs: Mapping[str, str] | None = None,
    ) -> None:
        self.inputs = fingerprint(config) if inputs is None else inputs
        self.address = address(config, self.inputs)
        self.config, self.folder = config, RunFolder(path)
        self.grid: Engine = grid if isinstance(grid, Engine) else GridWrapper(grid)
        self.sampler = ClientSampler(directory, config)
        self.view = SubsetGrid(self.grid, [], directory)  # the clients of a round
        self.progress: Progress = progress or SilentProgress()
        self.judging = Judging(MetaTest(config, self.sampler, grid), self.folder, self.progress, self.drop)
        section = over_selected(config)
        self.cohort: int = STRATEGIES.make(section).cohort
        plan = make_plan(config, self.sampler)
        data, note = data_digest(self.inputs), self.folder.event
        self.budget = None if plan is None else Budget(plan, self.sampler, path, data, note)
        people = self.sampler.drawn_from if plan is None else plan.release.people  # of a private run: those published
        self.constants, said = learner_constants(config, self.cohort, people)
        self._said = notes(config) + said + ([] if self.budget else self.sampler.clamped(self.cohort))
        private = None if self.budget is None else (self.budget.plan, self.budget.secret)
        self.strategy: RunStrategy = make_strategy(
            section, config.run.rounds, config.run.seed, self.drop, private, noting(self.folder, self.progress)
        )
        self.secure = make_secure(config, grid, path) if config.secure_aggregation.on else None
        self.dropped = 0
        self.idle = 0  # rounds without a usable reply, up to now
        self.saved = 0  # round of the last checkpoint
        self.attempt = 0  # how often the run was begun or continued, where its devices are real
        self._work = to_json(config.client_config())

    def start(self) -> dict[str, Any]:
        """Begin a new run in an empty folder; returns its summary."""
        with self.opened() as (done, theta):
            return self.go_on(done, theta)

    def resume(self) -> dict[str, Any]:
        """Go on from the last checkpoint; returns the summary, the same as if nothing had happened.

        Raises:
            RunError: the folder belongs to another configuration, data or code, a checkpoint is damaged, or another
                process goes on with this run.
        """
        with self.opened(resume=True) as (done, theta):
            return self.go_on(done, theta)

    @contextmanager
    def opened(self, resume: bool = False) -> Iterator[tuple[int, Params]]:
        """Hold the run's folder, begun or made ready to go on; gives the rounds that are done, and θ after them."""
        with alone(self.folder.path):
            if resume:
                refuse_changed(self.folder.path, self.folder.inputs(), self.inputs)
                if self.folder.config()[1] != self.address:
                    raise RunError(f"{self.folder.path} was made with another configuration")
            else:
                self._check()
                self.folder.create(resolved(self.config), self.address, self.inputs)
            with only_copy(self.folder.identity, self.folder.path):
                yield self._again() if resume else self._fresh()

    def _fresh(self) -> tuple[int, Params]:
        remark(self.sampler.directory, self.folder, self.progress, True, self._said, self.budget is not None)
        self._settle_population(begun=False)
        theta = self._initial()
        if self.budget is not None:
            self.folder.event(0, "privacy", **self.budget.plan.facts())
        self._save(0, theta)
        return 0, theta

    def _again(self) -> tuple[int, Params]:
        self._check()
        begun = self.folder.log.largest(BEGUN, "begun")
        if self.budget is not None:
            self.budget.resume(begun)  # before the log is cut, which then knows of fewer rounds
        last = self.folder.last()
        if self.budget is not None:
            self.budget.resume(max(begun, int(last.privacy.get("rounds", last.round)) if last else 0))
        if last is None:
            return self._fresh()
        remark(self.sampler.directory, self.folder, self.progress, False, self._said)
        self._settle_population(begun=True)
        self.dropped, self.idle, self.saved = last.dropped, self._idle(), last.round
        self.folder.tidy(self.config.checkpoint.keep)
        self.strategy.state = dict(last.outer)
        self.grid.load_devices(self.folder.devices(last.round))
        fresh, best = self._initial(), last.best
        theta = like_model(self.folder.path, last.theta, fresh)
        self.judging.rows = last.rows
        self.judging.best = best and replace(best, theta={name: best.theta[name] for name in fresh})
        return last.round, theta

    def _initial(self) -> dict[str, Tensor]:
        """θ at round 0."""
        return ClientExecutor(self.config.client_config(), self.sampler.directory.task).init()

    def _settle_population(self, begun: bool) -> None:
        """From here on clients are told the numbers that the configuration leaves to the population."""
        parts = (self.config, self.grid, self.sampler, self.folder, self.progress, self.budget, self.secure)
        self.config, dropped = settle_transform(ScalingQuestion(*parts, self.grid.keeps), begun)
        self.drop(0, dropped)
        self.config = replace(self.config, learner={**self.config.learner, **self.constants})
        self.judging.settle(self.config)
        self._work = to_json(self.config.client_config())

    def _idle(self) -> int:
        rounds = [event for event in self.folder.events() if event["kind"] == "round"]
        return len(list(takewhile(lambda event: not event.get("clients", 1), reversed(rounds))))

    def _check(self) -> None:
        """Everything that can be refused before the first round: cohort size, scenarios, devices, model."""
        theta = self._initial()
        check_data(self.config, self.sampler.directory.task, self.sampler.directory.devices)
        asked = self.sampler.cohort(1, self.cohort) if self.budget is None else range(self.cohort)
        self.strategy.check_cohort(len(asked))
        if self.secure is not None:
            self.secure.check(len(asked), None if self.budget else theta)
        for scenario in self.config.evaluation.scenarios:
            self.sampler.targets(scenario)
        if self.config.evaluation.validation_every:
            for scenario in self.config.evaluation.held_out:
                self.sampler.targets(scenario, "validation")

    def go_on(self, done: int, theta: Params) -> dict[str, Any]:
        """All rounds after those that are done; the summary."""
        self.attempt = 0 if self.grid.keeps else count_attempt(self.folder.path)
        rounds = self.config.run.rounds
        if done == 0 and rounds == 0 and not self.judging.rows:
            self.judging.judge(0, theta)
        arrays = encode(theta)
        for round in range(done + 1, rounds + 1):
            if self.budget is not None and self.budget.exhausted:
                self._end(round - 1, decode(arrays), self.budget.begun)
                break
            arrays = self.round(round, arrays)
            if self.pauses(round):
                self.pause(round, decode(arrays))
        return self.finish(decode(arrays))

    def pauses(self, round: int) -> bool:
        """Whether people are judged after a round, or a checkpoint is written."""
        return round == self.config.run.rounds or round % self._every() == 0 or self.judging.due(round)

    def pause(self, round: int, theta: Params) -> None:
        """Judge θ of a round, and keep it, as far as that is due."""
        self.judging.judge(round, theta)
        if round == self.config.run.rounds or round % self._every() == 0:
            self._save(round, theta)

    def _end(self, round: int, theta: Params, begun: int) -> None:
        """The budget is spent: the last round that it paid for is judged, and kept."""
        reason = f"{begun} rounds have begun, and privacy.epsilon = {self.config.privacy.epsilon} allows no more"
        self.folder.event(round, "privacy-limit", reason=reason)
        self.judging.judge_last(round, theta)
        self._save(round, theta)

    def round(self, round: int, arrays: ArrayRecord) -> ArrayRecord:
        """Draw clients, instruct them, collect what they send, take the outer step, log; θ after it."""
        began = time.perf_counter()
        clients = (
            self.budget.begin(round, self.strategy.clip) if self.budget else self.sampler.cohort(round, self.cohort)
        )
        self.view.show(clients)
        with self._seeded(round) if self.strategy.draws else nullcontext():
            drawn = time.perf_counter()
            messages = self.strategy.configure_train(round, arrays, self._instruction(), self.view)
            replies = self._send(messages, clients)
            answered = time.perf_counter()
            after, metrics = self.strategy.aggregate_train(round, replies)
        ended = time.perf_counter()
        spent = round_stages(drawn - began, answered - drawn, ended - answered, self.grid.spent)
        moved = after is not None and differ(arrays, after)
        self.told(round, len(clients), metrics or {}, (after is not None, moved), ended - began, spent)
        return arrays if after is None else after

    def told(
        self,
        round: int,
        asked: int,
        metrics: Mapping[str, Any],
        step: tuple[bool, bool],
        seconds: float,
        spent: Mapping[str, float],
    ) -> None:
        """Log a round that is over, and show it.

        Args:
            asked: clients that were.
            metrics: numbers of the round.
            step: whether θ took one, and whether it moved θ.
            seconds: that the round took.
            spent: the same by stage.

        Raises:
            NoResultError: no client has answered in so many rounds that the run is given up.
        """
        numbers = {f"metrics/{k}" if k in LOGGED else k: v for k, v in metrics.items() if isinstance(v, (int, float))}
        if self.budget is None:
            shown = numbers["asked"] = asked
        else:  # how many take part is private
            shown = self.budget.plan.release.cohort
        self.folder.event(round, "round", moved=step[1], step=step[0], seconds=seconds, spent=spent, **numbers)
        self.progress.round(round, self.config.run.rounds, shown, spent)
        self.idle = 0 if numbers.get("clients", 1) else self.idle + 1
        if self.idle >= PATIENCE:
            raise no_reply(round, PATIENCE, self.folder.events(), self.folder.path / "events.jsonl")

    def _seeded(self, round: int) -> AbstractContextManager[None]:
        """The global generators at an address of the round."""
        return seeded(int(generator(self.config.run.seed, "stock", round).integers(2**32)))

    def _send(self, messages: Iterable[Message], clients: Sequence[int]) -> Iterable[Message]:
        """The replies; under secure aggregation, their sum."""
        if self.secure is not None:
            content = cast(Instructions, messages).content  # the strategies that it is for make nothing else
            nodes = self.sampler.directory.nodes_of(clients)
            return self.secure.collect(content, dict(zip(clients, nodes, strict=True)))
        return self.grid.send_and_receive(messages, timeout=self.config.engine.timeout_s)

    def _instruction(self) -> ConfigRecord:
        """What clients are told; strategies that only add updates up say so to engines that hold many."""
        return instruction(self._work, self.folder.identity, self.saved, self.attempt, self.strategy.sums)

    def drop(self, round: int, dropped: list[Dropped]) -> None:
        """Count and log clients that did not count."""
        self.dropped += len(dropped)
        for one in dropped:
            self.folder.event(round, "dropped", client=one.client, reason=one.reason)

    def _every(self) -> int:
        if self.secure is not None and self.secure.sessions.counted:
            return 1  # devices answer a round once: what one has brought is kept
        return self.config.checkpoint.every or max(1, self.config.run.rounds // 10)

    def _save(self, round: int, theta: Params) -> None:
        spent = self.budget.spent() if self.budget else {}
        if spent:
            self.folder.event(round, "privacy-spent", **spent)
        snapshot = Snapshot(
            round, theta, self.strategy.state, self.judging.rows, self.dropped, self.judging.best, spent
        )
        self.folder.save(snapshot, self.config.checkpoint.keep, self.grid.save_devices)
        self.saved = round

    def finish(self, theta: Params) -> dict[str, Any]:
        """Write the summary of a run that has come to its end, and return it."""
        events = self.folder.events()
        learner = ClientExecutor(self.config.client_config(), self.sampler.directory.task)
        downloads = bool(learner.learner.downloaded_parameters(learner.model, theta))
        refuse_fruitless(events, resolved(self.config), downloads)
        summary: dict[str, Any] = {
            "name": self.config.run.name,
            "seed": self.config.run.seed,
            "rounds": self.config.run.rounds,
            "config": self.address,
            "theta": digest(theta),
            "parameters": sum(p.numel() for p in theta.values()),
            "task": asdict(self.sampler.directory.task),
            "scores": summarise(self.judging.rows),
        }
        if self.budget is not None:
            summary["privacy"] = self.budget.spent()
        summary |= facts(events, self.judging.rows, resolved(self.config))
        if said := warnings(events, self.config.secure_aggregation):
            summary["warnings"] = said
            for line in said:
                self.progress.note(f"warning: {line}")
        return self.folder.finish(summary, self.judging.rows)
