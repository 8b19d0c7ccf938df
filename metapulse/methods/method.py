"""A method as one object: what its paper has the clients do, and what it has the server do.

Each file of this package ends with its ``METHOD``. The client half is the learner. The server half is data, the name of
a registered strategy and its settings, so that a method can be read, printed and checked without Flower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from metapulse.methods.base import Learner, Paper

#: Settings that make the outer step θ ← θ − mean(u_i) itself, where an algorithm rests on just that.
STEP = ("outer", "lr", "schedule", "l2", "aggregator")
#: The same and what the mean is weighted by.
EXACTLY = ("weighting", *STEP)


@dataclass(frozen=True)
class Server:
    """The server half.

    Args:
        strategy: name of a registered strategy; its defaults are what ``settings`` do not say.
        settings: of the strategy, as the paper has them.
        fixed: settings that the algorithm rests on, "name" for the strategy's own: with other values than these it is
            another algorithm. All others are a user's to tune.
        step: what happens to θ, as a formula, where it is not the strategy's own.
    """

    strategy: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()
    step: str = ""


@dataclass(frozen=True)
class Method:
    """One paper, both halves.

    Args:
        name: under which it is registered, as learner and as method.
        sends: what a client sends for θ to descend along, as a formula.
        adapts: how a person's model comes about at test time.
        keeps: what stays on a device between rounds; "": nothing.
        head: whether the model must have a head of its own, with layers below it.
        computed: the learner's settings that follow from the clients of a round, |S|, and all N in meta-training.
        baseline: whether it learns nothing from others: what a method has to beat, and no competitor of one. A
            comparison tests baselines as a family of their own.
        notes: what is ours, or missing, compared with the paper.
    """

    name: str
    learner: type[Learner]
    server: Server
    sends: str
    adapts: str = "φ_{k+1} = φ_k − α ∇L_S(φ_k)"
    keeps: str = ""
    head: bool = False
    computed: Mapping[str, Callable[[int, int], float]] = field(default_factory=dict)
    baseline: bool = False
    notes: str = ""

    @property
    def paper(self) -> Paper:
        """Where it comes from."""
        return self.learner.paper

    @property
    def tasks(self) -> tuple[str, ...]:
        """Kinds of task that it can learn."""
        return self.learner.kinds

    @property
    def halves(self) -> dict[str, dict[str, Any]]:
        """The sections ``learner`` and ``strategy`` of a configuration that names the method and nothing else."""
        return {"learner": {"name": self.name}, "strategy": {"name": self.server.strategy, **self.server.settings}}


def participation(cohort: int, clients: int) -> float:
    """|S|/N, the share of all training clients that is in a round.

    Args:
        cohort: |S| ≥ 1; more than there are is all of them.
        clients: N ≥ 1.
    """
    return min(cohort, clients) / clients
