"""Results of a stack of clients: of its training, and of its meta-test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from metapulse.errors import ClientError, MetapulseError
from metapulse.methods.base import Report
from metapulse.trees import Params, Stacked, to_torch_device


@dataclass(frozen=True)
class Outcome:
    """Training of a stack: who reported what, who failed and why, and the seconds it took by stage.

    ``total`` stands for the report's updates where only their sum was asked for; ``state`` is that of ``keepers``.
    """

    clients: list[int]
    report: Report | None
    failures: dict[int, str]
    seconds: dict[str, float] = field(default_factory=dict)
    total: Params | None = None
    keepers: list[int] = field(default_factory=list)
    state: Stacked = field(default_factory=dict)

    def cpu(self) -> Outcome:
        """The same in the processor's memory."""
        cpu = torch.device("cpu")
        report = None if self.report is None else self.report.to(cpu)
        total = None if self.total is None else to_torch_device(self.total, cpu)
        return replace(self, report=report, total=total, state=to_torch_device(self.state, cpu))


@dataclass(frozen=True)
class Scores:
    """Meta-test of a stack: per metric an array (clients, episodes, steps), and who failed and why."""

    clients: list[int]
    metrics: dict[str, Float[Tensor, "clients episodes steps"]]
    failures: dict[int, str]

    def without(self, failed: Mapping[int, str], round: int) -> Scores:
        """The same without clients that could not be judged, who are among the failures then."""
        if not failed:
            return self
        rows = [row for row, client in enumerate(self.clients) if client not in failed]
        told = {client: str(ClientError(round, client, "evaluate", why)) for client, why in failed.items()}
        metrics = {name: m[rows] for name, m in self.metrics.items()} if rows else {}
        return Scores([self.clients[row] for row in rows], metrics, self.failures | told)


def each(
    clients: Iterable[int], build_one: Callable[[int], Any], round: int, stage: str
) -> tuple[dict[int, Any], dict[int, str]]:
    """Run ``build_one`` per client; a client whose data cannot be used is named, the others go on."""
    built: dict[int, Any] = {}
    failures: dict[int, str] = {}
    for client in clients:
        try:
            built[client] = build_one(client)
        except MetapulseError as error:
            failures[client] = str(ClientError(round, client, stage, str(error)))
    return built, failures
