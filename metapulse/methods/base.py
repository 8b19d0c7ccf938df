"""What a learner is: a frozen dataclass of hyper-parameters with pure methods over a stack of clients.

θ ("meta") has no client axis; everything a client owns has it first. A learner reports its update as a
pseudo-gradient in the shape of θ: the server descends along it. What stays on the device travels in ``state``,
which is empty for most.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from metapulse.episodes import Batch, Episode, Inputs, Outputs, PerClient
from metapulse.models.base import Model
from metapulse.renamed import MEMBERS
from metapulse.rng import Keys
from metapulse.trees import Params, Stacked, stack, to_torch_device, without_subtree

NORM = "privacy/norm"  # metric under which clipped sums tell how long each update was


@dataclass(frozen=True)
class Paper:
    """Where a method comes from.

    Args:
        key: citation key.
        authors: surnames, "et al." allowed.
        year: of publication.
        title: of the paper.
        arxiv: arXiv identifier, "" if there is none.
        where: equation or algorithm that the code follows.
    """

    key: str
    authors: str
    year: int
    title: str
    arxiv: str
    where: str

    @property
    def bibtex(self) -> str:
        """A BibTeX entry."""
        eprint = f",\n  eprint = {{{self.arxiv}}},\n  archivePrefix = {{arXiv}}" if self.arxiv else ""
        return (
            f"@misc{{{self.key},\n  author = {{{self.authors}}},\n  title = {{{self.title}}},\n"
            f"  year = {{{self.year}}}{eprint}\n}}"
        )


@dataclass(frozen=True)
class Report:
    """What a stack of clients reports after a round.

    Args:
        update: pseudo-gradient, (clients, *shape) per name of θ.
        weight: samples it rests on, (clients,).
        state: what stays on each device, (clients, *shape) per name.
        metrics: numbers worth logging, (clients,) each.
    """

    update: Stacked
    weight: PerClient
    state: Stacked
    metrics: dict[str, PerClient]

    def kept(self, clients: list[int]) -> tuple[list[int], Stacked]:
        """Those of the stack's clients whose new state is finite, and these states; the others keep what they had."""
        if not self.state:
            return [], {}
        good = torch.stack([torch.isfinite(p.reshape(len(p), -1)).all(1) for p in self.state.values()]).all(0)
        return [c for c, ok in zip(clients, good.tolist(), strict=True) if ok], {
            n: p[good] for n, p in self.state.items()
        }

    def to(self, device: torch.device) -> Report:
        """The same report on another device."""
        metrics = {name: m.to(device) for name, m in self.metrics.items()}
        return Report(
            to_torch_device(self.update, device), self.weight.to(device), to_torch_device(self.state, device), metrics
        )


def update_shares(weight: PerClient, weighting: str) -> PerClient:
    """s, what each update counts in a sum: its weight ("samples"), or 1 ("uniform")."""
    return weight if weighting == "samples" else torch.ones_like(weight)


@dataclass(frozen=True)
class SumSpec:
    """How updates are added up: Σ_i s_i u_i.

    Args:
        weighting: what the shares s are, see ``update_shares``.
    """

    weighting: str


@dataclass(frozen=True)
class Learner(ABC):
    """The contract. A learner declares its settings itself, or takes them with a part of ``metapulse.methods.loop``."""

    paper: ClassVar[Paper]
    #: True: trains on all of its samples, in minibatches; False: on support, judged on query.
    uses_query_set: ClassVar[bool] = True
    #: Kinds of task that it can learn.
    kinds: ClassVar[tuple[str, ...]] = ("classification", "regression")
    #: Whether its update is per local step, and how many there were is among its metrics, as ``steps``.
    per_step: ClassVar[bool] = False
    #: Settings that only rounds read: other values at test time (evaluation.adapt) are refused.
    rounds_only: ClassVar[frozenset[str]] = frozenset({"inner_steps"})
    #: False where it looks at θ without a client axis, and so at one run's at a time (see ``takes_runs``).
    many_runs: ClassVar[bool] = True
    #: Prefix of the names under which θ holds what is learned beside the model; "": nothing is.
    beside: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        """Refuse a member under the name it had in 0.1.0: nothing would call it."""
        super().__init_subclass__()
        for old in sorted(MEMBERS.keys() & vars(cls).keys()):
            raise TypeError(f"{cls.__name__}.{old} is now {MEMBERS[old]}")

    @classmethod
    def takes_runs(cls) -> bool:
        """Whether ``update`` serves clients of several runs at once, each with its own run's θ (``trees.stacked``).

        The methods that come along do unless they say that they do not, by a law of the conformance suite; a class from
        elsewhere does if it says ``many_runs = True`` itself, and nothing that it inherits says it in its place.
        """
        ours = cls.__module__.startswith("metapulse.methods.") and cls.many_runs
        return bool(vars(cls).get("many_runs", ours))

    @property
    def inner_steps(self) -> int:
        """Adaptation steps that ``adapt`` takes unless it is told; a setting of those that train by so many."""
        return 1

    def init(self, model: Model, rng: np.random.Generator) -> dict[str, Tensor]:
        """Fresh θ: the model's parameters, and whatever else the learner learns."""
        return model.init(rng)

    def initial_state(self, model: Model, meta: Params) -> Params:
        """What a device keeps before its first round, without client axis; {} for learners that keep nothing."""
        return {}

    def downloaded_parameters(self, model: Model, meta: Params) -> frozenset[str]:
        """Names of θ that a device must be sent: all, unless it has its own in their place, or never looks at them."""
        return frozenset(meta)

    def start(self, meta: Params, clients: int) -> Stacked:
        """φ₀, where adaptation begins: θ for every client, without what is learned ``beside`` the model."""
        return stack(without_subtree(meta, self.beside) if self.beside else meta, clients)

    @abstractmethod
    def adaptation_trajectory(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, start: Stacked | None = None
    ) -> Iterator[Stacked]:
        """φ₀, φ₁, φ₂, …: personal parameters after every adaptation step, without end.

        Args:
            model: the oracle.
            meta: θ.
            state: what the devices kept; {}: no client has kept anything yet.
            support: samples to adapt on.
            keys: addresses, for learners that draw minibatches.
            start: where to begin instead of ``self.start`` (a person's old device, for example).
        """

    def adapted_at(
        self,
        model: Model,
        meta: Params,
        state: Stacked,
        support: Batch,
        keys: Keys,
        steps: Sequence[int],
        start: Stacked | None = None,
    ) -> Iterator[Stacked]:
        """φ_k of ``adaptation_trajectory`` for the steps k asked for.

        Args:
            steps: k ≥ 0, ascending.
            start: where to begin instead of ``self.start``.
        """
        path = self.adaptation_trajectory(model, meta, state, support, keys, start)
        return (phi for k, phi in enumerate(islice(path, max(steps) + 1)) if k in steps)

    def adapt(
        self, model: Model, meta: Params, state: Stacked, support: Batch, keys: Keys, steps: int | None = None
    ) -> Stacked:
        """Personal parameters after ``steps`` (default: ``inner_steps``) adaptation steps."""
        count = self.inner_steps if steps is None else steps
        return next(iter(self.adapted_at(model, meta, state, support, keys, (count,))))

    def predict(self, model: Model, phi: Stacked, x: Inputs) -> Outputs:
        """Logits or predicted targets under personal parameters: what the meta-test judges.

        A learner that must look at its support again, or whose φ is more than the model's parameters, keeps what it
        needs in φ and answers here; all others answer with the model.

        Args:
            model: the oracle.
            phi: a point of ``adaptation_trajectory``.
            x: inputs of each client.
        """
        return model.predict(phi, x)

    def answers_at(
        self,
        model: Model,
        meta: Params,
        state: Stacked,
        support: Batch,
        keys: Keys,
        steps: Sequence[int],
        x: Inputs,
        start: Stacked | None = None,
    ) -> Iterator[Outputs]:
        """What ``predict`` answers at each point of ``adapted_at``: (clients, samples, outputs) for each of the steps.

        Args:
            steps: k ≥ 0, ascending.
            x: inputs of each client.
            start: where to begin instead of ``self.start``.
        """
        for phi in self.adapted_at(model, meta, state, support, keys, steps, start):
            with torch.no_grad():
                answers = self.predict(model, phi, x)
            yield answers

    def predictive(self, model: Model, phi: Stacked, x: Inputs) -> tuple[Outputs, Outputs] | None:
        """Mean and variance of one reading at each input, in the target's unit and its square; None: it tells none.

        The mean is what ``predict`` answers.

        Args:
            model: the oracle.
            phi: a point of ``adaptation_trajectory``.
            x: inputs of each client.
        """
        return None

    @abstractmethod
    def update(self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys) -> Report:
        """One round's work of a stack of clients.

        Args:
            model: the oracle.
            meta: θ, not changed.
            state: what the devices kept from their last round; {} in the first round.
            episode: support and query; learners without ``uses_query_set`` get all samples as support and an empty
                query.
            keys: addresses, for learners that draw minibatches.
        """

    def update_sum(
        self, model: Model, meta: Params, state: Stacked, episode: Episode, keys: Keys, sum_spec: SumSpec
    ) -> tuple[Report, Params] | None:
        """``update`` where only the sum of the updates is needed: a report without them, and their sum.

        Args:
            model: the oracle.
            meta: θ, not changed.
            state: what the devices kept from their last round.
            episode: as for ``update``.
            keys: as for ``update``.
            sum_spec: how.

        Returns:
            None, from most learners, where adding up what ``update`` reports is no slower.
        """
        return None
