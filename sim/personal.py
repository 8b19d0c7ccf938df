"""A trained model in use: θ as it is, or adapted to one person as the meta-test adapts it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, Shaped
from torch import Tensor

from metapulse.client.executor import ClientExecutor
from metapulse.client.spec import Trial
from metapulse.data import Samples, Task, check_samples
from metapulse.episodes import Cut, stack_batches
from metapulse.errors import RunError
from metapulse.losses import support_classes
from metapulse.models.draws import drawing
from metapulse.rng import Keys
from metapulse.server.config import Config
from metapulse.server.folder import RunFolder
from metapulse.server.metatest import question
from metapulse.server.scaler import learned, suited
from metapulse.sim.engines.device_states import DeviceStates
from metapulse.trees import Params, Stacked

#: Inputs as the data source gives them, before the transform; of a user, numbers of any type.
Inputs = Float32[np.ndarray, "n *features"]
Given = Shaped[np.ndarray, "n *features"]


@dataclass(frozen=True)
class PersonalModel:
    """A model that answers: ŷ = f(φ, x) after the run's own transform.

    Args:
        work: of the run: model, learner and transform.
        task: what is predicted from what, before the transform.
        trial: how people of the run are tested.
        params: φ, (1, *shape) per name.
        fitted: inputs that the transform is fitted on, (n, *features); None: those of each call.
        classes: which classes are answered with, (1, classes); None: all of them, or a regression.
    """

    work: ClientExecutor
    task: Task
    trial: Trial
    params: Stacked
    fitted: Inputs | None = None
    classes: Bool[Tensor, "1 classes"] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers; () where the source names none."""
        return self.task.labels

    def outputs(self, x: Given) -> Float32[np.ndarray, "n outputs"]:
        """Logits of every class, or predicted targets in the target's unit.

        Args:
            x: inputs as the source gives them, (n, *features), n ≥ 1.

        Raises:
            DataError: they are none, not finite, or of another shape than the run's.
        """
        x = np.asarray(x, np.float32)
        check_samples(_unlabelled(x, self.task), self.task, "x")
        inputs = self.work.transform.apply(x, x if self.fitted is None else self.fitted, None)
        with torch.no_grad():
            learner = self.work.adapted(self.trial)
            answer: np.ndarray = learner.predict(self.work.model, self.params, torch.from_numpy(inputs)[None])[
                0
            ].numpy()
        return answer

    def predict(self, x: Given) -> Int64[np.ndarray, " n"] | Float32[np.ndarray, "n outputs"]:
        """The most likely class of every sample, or its predicted targets.

        A model that was adapted answers with classes that its support had, where ``evaluation.restrict`` says so.

        Args:
            x: inputs as the source gives them, (n, *features), n ≥ 1.

        Returns:
            Numbers of classes (``labels`` has their names), or targets in their unit.

        Raises:
            DataError: they are none, not finite, or of another shape than the run's.
        """
        outputs = self.outputs(x)
        if self.task.kind == "regression":
            return outputs
        if self.classes is not None:
            outputs = np.where(self.classes.numpy(), outputs, -np.inf)
        numbers: np.ndarray = outputs.argmax(1)
        return numbers


@dataclass(frozen=True)
class TrainedRun:
    """What a finished run has learnt, with all that it takes to use it."""

    path: Path
    config: Config

    @cached_property
    def task(self) -> Task:
        """What is predicted from what: as the summary says, or the source of a run whose summary does not."""
        answer = RunFolder(self.path).summary().get("task")
        if answer is None:
            return ClientExecutor(replace(self.config.client_config(), transform={"name": "none"})).source.task
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in answer.items()}
        return Task(**given)

    @cached_property
    def work(self) -> ClientExecutor:
        """Model, learner, source, and the transform with the numbers that the run has learnt."""
        config = learned(self.config, self.path)
        return ClientExecutor(replace(config.client_config(), transform=suited(config, self.task)[0]), self.task)

    @cached_property
    def _final(self) -> tuple[int, Params]:
        round, theta = RunFolder(self.path).final()
        return round, {name: theta[name] for name in self.work.fresh}

    @property
    def theta(self) -> Params:
        """θ after the last round."""
        return self._final[1]

    def plain(self) -> PersonalModel:
        """θ as it is. A transform that is fitted on a person's samples is fitted on those of each call."""
        trial, nothing = self._trial(None, None), _unlabelled(np.zeros((0, *self.task.features), np.float32), self.task)
        return PersonalModel(self.work, self.task, trial, self._walk(trial, nothing, nothing.x, 0, {}, 0))

    def person(
        self, person: str | int, device: str | None, scenario: str | None, shots: int | None, steps: int | None
    ) -> PersonalModel:
        """θ adapted to the support of a person's first test episode, as in the meta-test."""
        client, trial = self._client(person, device), self._trial(scenario, shots)
        samples, cuts = self.work.cuts(client, trial)
        return self._adapted(trial, samples, cuts[0], client, steps)

    def support(self, x: Given, y: np.ndarray, steps: int | None) -> PersonalModel:
        """θ adapted to samples that are given.

        Raises:
            DataError: they are not what the task asks for.
        """
        task = self.task
        labels = np.asarray(y, np.int64 if task.kind == "classification" else np.float32)
        labels = labels if task.kind == "classification" else labels.reshape(len(labels), -1)
        free = np.zeros(len(labels), np.bool_)
        samples = Samples(np.asarray(x, np.float32), labels, np.arange(len(labels)), free)
        check_samples(samples, task, "support")
        rows = np.arange(len(samples))
        return self._adapted(self._trial(None, None), samples, Cut(rows, rows[:0], rows), 0, steps, known=False)

    def _adapted(
        self, trial: Trial, samples: Samples, cut: Cut, client: int, steps: int | None, known: bool = True
    ) -> PersonalModel:
        fitted = samples.x[cut.pool if self.work.transform.on == "pool" else cut.support]
        support = samples.take(cut.support)
        state = self._kept(client) if known else {}
        count = max(trial.steps) if steps is None else steps
        phi = self._walk(trial, support, fitted, client, state, count)
        classes = None
        if self.work.task.kind == "classification" and trial.restrict:
            classes = support_classes(stack_batches([(support.x, support.y)]), self.work.task.outputs)
        return PersonalModel(self.work, self.task, trial, phi, fitted, classes)

    def _walk(self, trial: Trial, support: Samples, fitted: Inputs, client: int, kept: Params, steps: int) -> Stacked:
        """φ after so many adaptation steps, for a stack of one: the way that ``ClientExecutor.evaluate`` goes."""
        work, theta = self.work, self._final[1]
        inputs = np.zeros((0, *work.task.features), np.float32)
        if len(support):
            inputs = work.transform.apply(support.x, fitted, None)
        batch = stack_batches([(inputs, support.y)])
        fresh = work.learner.initial_state(work.model, theta)
        state = {name: (kept or fresh)[name].unsqueeze(0) for name in fresh}
        keys = Keys(trial.seed, 0, [client])
        with drawing(keys):
            return work.adapted(trial).adapt(work.model, theta, state, batch, keys, steps)

    def _kept(self, client: int) -> Params:
        """What the client's device kept at the end of a run of the cohort engine; {}: nothing, or not known here."""
        with closing(DeviceStates()) as devices:
            devices.load(RunFolder(self.path).devices(self._final[0]))
            return devices.of([client]).get(client, {})

    def _trial(self, scenario: str | None, shots: int | None) -> Trial:
        """The question that people are asked.

        Raises:
            RunError: a scenario that adapts on old devices first.
        """
        asked = scenario or self.config.evaluation.scenarios[0]
        if asked.endswith("_history"):
            if scenario:
                raise RunError(f"scenario = {scenario!r}: adapts on a person's old devices first; choose another one")
            asked = asked.removesuffix("_history")
        return question(self.config, asked, self.config.evaluation.shots[-1] if shots is None else shots)

    def _client(self, person: str | int, device: str | None) -> int:
        """Partition id of a person's device.

        Raises:
            RunError: no such person or device, or the person has several and none is named.
        """
        source = self.work.source
        if isinstance(person, int):
            found = source.clients_of(person) if 0 <= person < source.users else ()
            allowed = f"a number from 0 to {source.users - 1}"
        else:
            users = (user for user in range(source.users) if source.client(source.clients_of(user)[0]).label == person)
            user = next(users, None)
            found = () if user is None else source.clients_of(user)
            allowed = "as in column user of the metrics"
        if not found:
            raise RunError(f"person = {person!r}: there is none in the run's data; must be {allowed}")
        worn = {source.client(client).device: client for client in found}
        if device is None and len(worn) == 1:
            return next(iter(worn.values()))
        if device not in worn:
            raise RunError(f"device = {device!r}: must be one of {', '.join(sorted(worn))}")
        return worn[device]


def _unlabelled(x: Inputs, task: Task) -> Samples:
    """Inputs as samples, with a label that every task allows."""
    y = np.zeros(len(x), np.int64) if task.kind == "classification" else np.zeros((len(x), task.outputs), np.float32)
    return Samples(x, y, np.arange(len(x)), np.zeros(len(x), np.bool_))
