"""A client's work, for a stack of clients at once: cut episodes, run the learner, judge the adapted models.

The same code serves one device (a stack of one, called by the ClientApp) and a cohort (thousands, called by an
engine). A client that fails does not affect the others: it is named with its reason, and the rest of the stack goes on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metapulse.client.asked import AskedCache, AskedStack, trial_cuts
from metapulse.client.spec import ClientConfig, Trial
from metapulse.data import BulkSource, Samples, Source, Task, check_block, read_samples
from metapulse.episodes import NOTHING, Batch, Cut, Episode, Outputs, Part, empty_part, full_batch, stack_batches
from metapulse.errors import DataError, MetapulseError
from metapulse.history import apart
from metapulse.losses import offered_facts, offered_part, support_classes, task_metrics
from metapulse.methods.base import Learner, Report, SumSpec
from metapulse.metrics.chosen import ChosenMetrics, check_fit, choose, reads_values
from metapulse.models.base import Model
from metapulse.models.draws import drawing
from metapulse.outcome import Outcome, Scores, each
from metapulse.registry import LEARNERS, MODELS, SOURCES, TRANSFORMS
from metapulse.reserve import TrainableRows, reserved
from metapulse.rng import Keys, generator
from metapulse.sample_cache import SampleCache
from metapulse.settings import build, plain
from metapulse.transforms import Transform
from metapulse.trees import Params, Stacked, all_finite, to_torch_device

States: TypeAlias = Mapping[int, Params]  # what each device kept, by partition id
KNOWN = "known_user"  # the scenario whose people trained


class ClientExecutor:
    """Executes the clients' part of a run for any stack of clients: source, model and learner of one specification.

    Args:
        spec: the specification.
        task: what the source predicts, for a coordinator that has no data itself; otherwise the source is asked.
    """

    def __init__(self, spec: ClientConfig, task: Task | None = None) -> None:
        self.spec = spec
        self.source: Source = SOURCES.make(spec.source)
        self.transform: Transform = TRANSFORMS.make(spec.transform)
        self._recorded: Task = task or self.source.task  # before the transform
        self.task = self.transform.task(self._recorded)
        self.model: Model = MODELS.make(spec.model, task=self.task)
        self.learner: Learner = LEARNERS.make(spec.learner)
        self.device = torch.device("cpu")  # where stacks are computed; an engine may choose another
        self._keeps = type(self.learner).initial_state is not Learner.initial_state
        self._sample_cache, self._questions = SampleCache(), AskedCache()
        self._trainable_rows = TrainableRows(self.source, spec.reserve, spec.reserve_devices, self._samples)
        self._bulk = self.source if isinstance(self.source, BulkSource) else None  # asking a protocol is slow

    def init(self) -> dict[str, Tensor]:
        """θ at round 0."""
        return self.learner.init(self.model, generator(self.spec.seed, "init"))

    @cached_property
    def fresh(self) -> Mapping[str, Tensor]:
        """θ at round 0, to hold others against."""
        return self.init()

    def train(
        self,
        meta: Params,
        round: int,
        clients: Sequence[int],
        states: States | None = None,
        sum_spec: SumSpec | None = None,
    ) -> Outcome:
        """One round of every client given.

        Args:
            meta: θ, without client axis.
            round: federated round, ≥ 1; part of every address.
            clients: partition ids.
            states: what each device kept, by partition id; who is missing, or kept nothing, begins afresh.
            sum_spec: who only wants a sum says how it is made; None: the updates are wanted.
        """
        began = time.perf_counter()
        kept, episode, failures = self.round_episodes(Keys(self.spec.seed, round, clients))
        ready = time.perf_counter()
        if not kept:
            return Outcome([], None, failures, {"data": ready - began})
        state, keys = self.states_of(meta, kept, states or {}), Keys(self.spec.seed, round, kept)
        if self.device.type != "cpu":
            meta, state, episode = (
                *(to_torch_device(tree, self.device) for tree in (meta, state)),
                episode.to(self.device),
            )
        with drawing(keys) if self.model.draws else nullcontext():
            report, total = self._report(meta, state, episode, keys, sum_spec)
        seconds = {"data": ready - began, "inner": time.perf_counter() - ready}
        keepers, after = report.kept(kept) if report.state else ([], {})
        return Outcome(kept, replace(report, state={}), failures, seconds, total, keepers, after)

    def _report(
        self, meta: Params, state: Stacked, episode: Episode, keys: Keys, sum_spec: SumSpec | None
    ) -> tuple[Report, Params | None]:
        """The learner's updates; their sum where that is wanted, can be had, and is sound: they show who spoilt it."""
        if sum_spec and (summed := self.learner.update_sum(self.model, meta, state, episode, keys, sum_spec)):
            report, total = summed
            if float(report.weight.min()) > 0 and all_finite(total):
                return report, total
        return self.learner.update(self.model, meta, state, episode, keys), None

    def round_episodes(self, keys: Keys) -> tuple[list[int], Episode, dict[int, str]]:
        """Episodes of a round's stack: whose they are, the stack, and who failed and why."""
        return self.cut_together(keys) or self.training_episodes(keys.round, keys.clients)

    def training_episodes(
        self, round: int, clients: Sequence[int], seed: int | None = None
    ) -> tuple[list[int], Episode, dict[int, str]]:
        """The same, cut client by client; ``seed`` is a run's (None: the specification's)."""
        address = self.spec.seed if seed is None else seed
        cuts, failures = each(clients, lambda c: self._training(address, round, c), round, "episode")
        sides = (stack_batches([cut[side] for cut in cuts.values()]) if cuts else NOTHING for side in (0, 1))
        return list(cuts), Episode(*sides), failures

    def cut_together(self, keys: Keys) -> tuple[list[int], Episode, dict[int, str]] | None:
        """Episodes of a round's stack cut at once; None where that cannot be, or some client's samples are at fault.

        The same episodes as ``training_episodes``, which is also what names the one at fault.
        """
        plan = self.spec.episodes
        if self.transform.random or not (not self.learner.uses_query_set or self.transform.pointwise):
            return None
        try:
            batch = self._stack(keys.clients)
        except MetapulseError:
            return None
        if not self.learner.uses_query_set:
            return list(keys.clients), Episode(batch, batch.slice(0, 0)), {}
        if not batch.equal and batch.counts.min() < batch.mask.shape[1]:
            return None
        cut = plan.together(batch, self._recorded, lambda n: keys.uniforms("episode", n))
        return None if cut is None else (list(keys.clients), Episode(*cut), {})

    def _stack(self, clients: Sequence[int]) -> Batch:
        """All samples of a stack that it may train on, as the model reads them; good until the next call.

        Raises:
            DataError: some samples are unusable; of a block it is not said whose.
        """
        if self._bulk is None or not self.transform.pointwise or self.spec.reserve:
            return self._sample_cache.gather(clients, self.everything)
        x, y = self._bulk.block(clients)
        check_block(x, y, self._recorded)
        inputs = self.transform.apply(x.reshape(-1, *x.shape[2:]), x[0], None)
        return full_batch(inputs.reshape(*x.shape[:2], *inputs.shape[1:]), y)

    def everything(self, client: int) -> Part:
        """All samples a client may train on, as the model reads them: what does not change between rounds."""
        samples = self._own(client)
        return self._transformed(samples, self.spec.episodes.everything(samples), None)[0]

    def _samples(self, client: int) -> Samples:
        """Everything a client recorded; where samples are kept from training, they are its held-out ones."""
        samples = read_samples(self.source, client)
        if not self.spec.reserve:
            return samples
        user = self.source.client(client).user
        return replace(samples, held_out=reserved(samples, self.spec.reserve, self.spec.reserve_seed, user))

    def _own(self, client: int) -> Samples:
        """What a client may train on.

        Raises:
            DataError: the person's other devices keep the same moments, as far as is known.
        """
        samples = self._samples(client)
        if not self.spec.reserve:
            return samples
        rows = self._trainable_rows.rows(client)
        return samples.take(np.flatnonzero(~samples.held_out) if rows is None else rows)

    def states_of(self, meta: Params, clients: Sequence[int], states: States) -> Stacked:
        """What each client of a stack kept, or would have before its first round."""
        fresh = self.learner.initial_state(self.model, meta) if self._keeps else {}
        return {name: torch.stack([(states.get(c) or fresh)[name] for c in clients]) for name in fresh}

    def evaluate(
        self, meta: Params, round: int, clients: Sequence[int], trial: Trial, states: States | None = None
    ) -> Scores:
        """Adapt every client on its test episodes and judge it before and after each step.

        Args:
            meta: θ, without client axis.
            round: federated round, for error messages; the episodes do not depend on it.
            clients: partition ids.
            trial: the question.
            states: what each device kept, by partition id; people who never trained kept nothing.
        """
        learner = self.adapted(trial)
        check_fit(trial.metrics, self.task)
        asked = self._asked(clients, trial, round)
        if not asked.clients:
            return Scores([], {}, asked.failures)
        kept, support, query = asked.clients, asked.support.to(self.device), asked.query.to(self.device)
        rows = to_torch_device(self.states_of(meta, kept, states or {}), self.device)
        meta = to_torch_device(meta, self.device)
        keys = Keys(trial.seed, 0, kept).repeat(trial.episodes)
        state = {name: p.repeat_interleave(trial.episodes, 0) for name, p in rows.items()}
        start, facts, classes = None, {}, None
        if trial.history:
            old = asked.history.to(self.device)
            with drawing(keys):
                start = learner.adapt(self.model, meta, state, old, keys, trial.history_steps)
            facts = {"history": old.counts}
        if self.task.kind == "classification":
            classes = support_classes(support, self.task.outputs)
            facts |= offered_facts(classes, query)
        if classes is not None and trial.restrict and trial.not_offered == "apart":
            query = offered_part(classes, query)
        steps, x = sorted(set(trial.steps)), self._inputs(query)
        path = learner.answers_at(self.model, meta, state, support, keys, steps, x, start)
        allowed = classes if trial.restrict else None
        more = choose(trial.metrics, self.task, query, allowed, asked.base)
        with drawing(keys):
            judged = [self._judge(answers, query, allowed, more) for answers in path]
        shape = (len(kept), trial.episodes)
        metrics = {name: torch.stack([m[name].view(shape) for m in judged], 2).cpu() for name in judged[0]}
        metrics |= {name: m.view(*shape, 1).expand(-1, -1, len(judged)).cpu() for name, m in facts.items()}
        failed = {kept[row // trial.episodes]: why for row, why in more.failures.items()} if more else {}
        return Scores(kept, metrics, asked.failures).without(failed, round)

    def adapted(self, trial: Trial) -> Learner:
        """The learner with the settings that differ at test time.

        Raises:
            ConfigError: one of them is unknown, of the wrong type, or out of range.
        """
        if not trial.adapt:
            return self.learner
        return build(type(self.learner), plain(self.learner) | dict(trial.adapt), "trial.adapt")

    def _inputs(self, query: Batch) -> Float[Tensor, "clients samples *features"]:
        """What a stack is asked."""
        return query.x

    def _judge(
        self, answers: Outputs, query: Batch, classes: Bool[Tensor, "c k"] | None, more: ChosenMetrics | None = None
    ) -> dict[str, Tensor]:
        found = task_metrics(self.task, answers, query.y, query.mask, classes)
        return found | more(answers) if more else found

    def _training(self, seed: int, round: int, client: int) -> tuple[Part, Part]:
        samples = self._own(client)
        rng = generator(seed, "episode", round, client)
        plan = self.spec.episodes
        cut = (
            plan.everything(samples)
            if not self.learner.uses_query_set
            else plan.training(samples, self.source.task, rng)
        )
        return self._transformed(samples, cut, rng)

    def episodes(self, client: int, trial: Trial) -> list[tuple[Part, Part]]:
        """A client's test episodes, ready for the model: (x, y) of support and of query, each.

        Raises:
            DataError: no episode can be cut out of its samples.
        """
        samples, cuts = self.cuts(client, trial)
        return [self._transformed(samples, cut, None) for cut in cuts]

    def cuts(self, client: int, trial: Trial) -> tuple[Samples, list[Cut]]:
        """A client's samples, and which of them are support and query of each test episode.

        Raises:
            DataError: no episode can be cut out of them.
        """
        samples = self._samples(client)
        if self.spec.reserve and trial.name == KNOWN:
            self._trainable_rows.rows(client)  # who is left out is not asked
        return samples, trial_cuts(samples, self.source.task, client, trial)

    def _asked(self, clients: Sequence[int], trial: Trial, round: int) -> AskedStack:
        """What a trial asks of a stack; the same after every round, so it is cut once."""
        valued = reads_values(trial.metrics, self.task)
        question = (tuple(clients), trial.name, trial.plan, trial.history, trial.episodes, trial.seed, valued)
        if (known := self._questions.get(question)) is not None:
            return known
        cuts, failures = each(clients, lambda c: self._ask(c, trial, valued), round, "evaluate")
        support, query, old = (
            stack_batches([p for c in cuts for p in cuts[c][i]]) if cuts else NOTHING for i in range(3)
        )
        base = [part for c in cuts for part in cuts[c][3]]
        asked = AskedStack(list(cuts), support, query, old if trial.history else NOTHING, base, failures)
        if not failures:  # which are told with their round
            self._questions.put(question, asked)
        return asked

    def _ask(
        self, client: int, trial: Trial, valued: bool
    ) -> tuple[list[Part], list[Part], list[Part], list[np.ndarray]]:
        """Support and query of a client's test episodes; for each the history before it; the query's base if valued."""
        samples, cuts = self.cuts(client, trial)
        parts = [self._transformed(samples, cut, None) for cut in cuts]
        empty = [empty_part(self.task)] * len(cuts)
        histories = self._old_samples(client, trial, samples, cuts) if trial.history else empty
        if valued and samples.base is None:
            raise DataError(f"its samples have no base, the {self.task.value_unit} that a target of 0 stands for")
        base = [samples.base[cut.query] for cut in cuts] if valued and samples.base is not None else []
        return [support for support, _ in parts], [query for _, query in parts], histories, base

    def _old_samples(self, client: int, trial: Trial, new: Samples, cuts: Sequence[Cut]) -> list[Part]:
        """For each episode all that the person recorded with the old devices, but nothing from the query's moments."""
        worn = self.source.clients_of(self.source.client(client).user)
        others = [c for c in worn if c != client and self.source.client(c).device in trial.history]
        old = [self._samples(c) for c in others]
        histories = []
        for cut in cuts:
            sides = [empty_part(self.task)]
            for samples in (device.take(apart(device, new, cut.query)) for device in old):
                rows = trial.plan.usable(samples)
                if len(rows):
                    sides.append(self._transformed(samples, Cut(rows, rows[:0], rows), None)[0])
            histories.append((np.concatenate([x for x, _ in sides]), np.concatenate([y for _, y in sides])))
        return histories

    def _transformed(self, samples: Samples, cut: Cut, rng: np.random.Generator | None) -> tuple[Part, Part]:
        n, fitted = len(cut.support), cut.pool if self.transform.on == "pool" else cut.support
        windows = samples.x[np.concatenate([cut.support, cut.query])]
        same = fitted is cut.support and not len(cut.query)  # megabytes that need not be copied twice
        inputs = self.transform.apply(windows, windows if same else samples.x[fitted], rng)
        return (inputs[:n], samples.y[cut.support]), (inputs[n:], samples.y[cut.query])
