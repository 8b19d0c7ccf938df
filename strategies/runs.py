"""The outer half of several runs of one method at once: θ, moments and updates with the run as leading axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from metapulse.client.runs import RunsOutcome
from metapulse.methods.base import update_shares
from metapulse.outer import State, outer_rate
from metapulse.strategies.base import OuterSettings, OuterStrategy
from metapulse.strategies.replies import MAX_WEIGHT, reserved
from metapulse.trees import Params, Stacked, pick

COUNT = "t"  # steps taken, in the state of an outer update: one number for all runs


def takes_runs(strategy: object) -> bool:
    """Whether a strategy does no more than a weighted mean and an outer step."""
    return type(strategy) is OuterStrategy and strategy.linear


@dataclass(frozen=True)
class OuterRows:
    """Where the outer updates of some runs stand: (runs, *shape) per name."""

    thetas: Stacked
    states: State

    def theta(self, run: int) -> dict[str, Tensor]:
        """θ of one run."""
        return pick(self.thetas, run)

    def state(self, run: int) -> State:
        """The state of one run's outer update."""
        return {name: p if name == COUNT else p[run] for name, p in self.states.items()}


class OuterRuns:
    """The outer update of runs that have taken equally many steps.

    Args:
        strategies: of the runs, alike but for their seeds; their states are where they stand.
        thetas: θ of each run.
    """

    def __init__(self, strategies: Sequence[OuterStrategy], thetas: Sequence[Params]) -> None:
        self._strategy = strategies[0]
        self.theta: Stacked = joined([{name: p[None] for name, p in theta.items()} for theta in thetas])
        states = [s.state or s.update.init(theta) for s, theta in zip(strategies, thetas, strict=True)]
        moments = [{name: p[None] for name, p in state.items() if name != COUNT} for state in states]
        self._state: State = {**joined(moments), COUNT: states[0][COUNT]}

    @property
    def settings(self) -> OuterSettings:
        """What the runs have in common."""
        return self._strategy.settings

    def rows(self) -> OuterRows:
        """Where the runs stand; a later step does not change it."""
        return OuterRows(self.theta, self._state)

    def keep(self, runs: Sequence[int]) -> None:
        """Go on with these runs alone."""
        at = torch.tensor(list(runs), dtype=torch.int64)
        self.theta = {name: p[at] for name, p in self.theta.items()}
        self._state = {name: p if name == COUNT else p[at] for name, p in self._state.items()}

    def put(self, run: int, theta: Params, state: State) -> bool:
        """A run stands elsewhere from now on; False, and nothing is done, where it has taken fewer steps."""
        if not state or int(state[COUNT]) != int(self._state[COUNT]):
            return False
        self.theta = {name: _with(p, run, theta[name]) for name, p in self.theta.items()}
        self._state = {name: p if name == COUNT else _with(p, run, state[name]) for name, p in self._state.items()}
        return True

    def step(self, mean: Stacked, round: int) -> tuple[Bool[Tensor, " runs"], Bool[Tensor, " runs"]]:
        """One outer step of every run; whether it stays within the range of numbers, and whether it moves θ.

        Args:
            mean: of each run's updates, (runs, *shape) per name.
            round: from 1.
        """
        settings = self._strategy.settings
        lr = outer_rate(settings.lr, settings.schedule, round, self._strategy.rounds)
        theta, state = self._strategy.update.apply(self._state, self.theta, mean, lr)
        finite = _each_run([torch.isfinite(p) for p in (*theta.values(), *state.values()) if p.dim()])
        moved = ~_each_run([p == theta[name] for name, p in self.theta.items()])
        self.theta, self._state = theta, state
        return finite, moved


@dataclass(frozen=True)
class RunMeans:
    """What a round's clients come to, run by run.

    Args:
        update: weighted mean of the updates; no numbers where one of them is none.
        sound: whether a run's updates and weights are.
        metrics: numbers of each run's round.
    """

    update: Stacked
    sound: Bool[Tensor, " runs"]
    metrics: list[dict[str, float]]


def run_means(outcome: RunsOutcome, settings: OuterSettings, like: Stacked) -> RunMeans:
    """Σ_i w_i u_i / Σ_i w_i of every run, over its own clients.

    Args:
        settings: how updates are weighed, and how many a round needs.
        like: θ of the runs.
    """
    report, sizes = outcome.report, [len(clients) for clients in outcome.clients]
    if report is None:
        return RunMeans(dict(like), torch.zeros(len(sizes), dtype=torch.bool), [{} for _ in sizes])
    padded, there = _by_run(torch.stack([update_shares(report.weight, settings.weighting), report.weight], 1), sizes)
    shares, weight = padded.unbind(2)
    total = shares.double().sum(1)
    mean = {
        name: _sum_of_clients(_by_run(u.reshape(len(u), -1), sizes)[0], shares.to(u.dtype)).double()
        / total.unsqueeze(1)
        for name, u in report.update.items()
    }
    norm = torch.stack([p.square().sum(1) for p in mean.values()]).sum(0).sqrt()
    sane = ((weight > 0) & (weight <= MAX_WEIGHT)) | ~there  # false for what is not a number
    enough = (there.sum(1) >= max(settings.min_replies, 1)) & (not reserved(report.metrics))
    numbers = {
        name: _by_run(m.double().unsqueeze(1), sizes, torch.nan)[0].nanmean((1, 2)).tolist()
        for name, m in report.metrics.items()
    }
    metrics = [
        {"clients": size, "dropped": len(outcome.failures[run]), "update-norm": length}
        | {name: values[run] for name, values in numbers.items()}
        for run, (size, length) in enumerate(zip(sizes, norm.tolist(), strict=True))
    ]
    update = {name: p.to(like[name].dtype).view(like[name].shape) for name, p in mean.items()}
    return RunMeans(update, torch.isfinite(norm) & enough & sane.all(1), metrics)


def _sum_of_clients(table: Tensor, shares: Tensor) -> Tensor:
    """Σ_i w_i u_i of each run, (runs, numbers): client after client, so that no run's sum depends on the other runs."""
    total = table[:, 0] * shares[:, :1]
    for client in range(1, table.shape[1]):
        total.addcmul_(table[:, client], shares[:, client : client + 1])
    return total


def _by_run(rows: Tensor, sizes: Sequence[int], fill: float = 0.0) -> tuple[Tensor, Bool[Tensor, "runs clients"]]:
    """Rows of clients, run after run, as (runs, clients, numbers), and which of these are there."""
    if len(set(sizes)) == 1:
        table = rows.view(len(sizes), sizes[0], -1)
        return table, torch.ones(table.shape[:2], dtype=torch.bool)
    there = torch.arange(max(sizes)) < torch.tensor(sizes).unsqueeze(1)
    table = rows.new_full((*there.shape, rows.shape[1]), fill)
    table[there] = rows
    return table, there


def joined(parts: Sequence[Stacked]) -> dict[str, Tensor]:
    """The rows of several stacks, one below another."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _with(rows: Tensor, row: int, other: Tensor) -> Tensor:
    """The same rows but for one."""
    new = rows.clone()
    new[row] = other
    return new


def _each_run(flags: Sequence[Tensor]) -> Bool[Tensor, " runs"]:
    """Whether all flags of a run are set."""
    return torch.stack([flag.reshape(len(flag), -1).all(1) for flag in flags]).all(0)
