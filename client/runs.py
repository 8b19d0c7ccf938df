"""A round of several runs as one stack: their clients side by side, each beginning at its own run's θ.

What a learner computes for a client depends on that client, on its addresses and on its θ alone. So clients of runs
that share data, model and learner may stand in one stack; each draws at the addresses of its own run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch

from metapulse.client.executor import ClientExecutor, States
from metapulse.episodes import Batch, Episode
from metapulse.methods.base import Report
from metapulse.models.draws import drawing
from metapulse.rng import Keys, RunKeys
from metapulse.trees import Stacked, pick, stacked


@dataclass(frozen=True)
class RunsOutcome:
    """A round of several runs.

    Args:
        clients: of each run who reported.
        report: theirs, run after run; None where none did.
        failures: of each run who failed, and why.
    """

    clients: list[list[int]]
    report: Report | None
    failures: list[dict[int, str]]

    @property
    def rows(self) -> list[slice]:
        """Where each run's clients are in the report."""
        ends = accumulate(map(len, self.clients), initial=0)
        return [slice(first, end) for first, end in pairwise(ends)]

    def kept(self, run: int) -> tuple[list[int], Stacked]:
        """Those of a run's clients whose new state is finite, and these states."""
        if self.report is None or not self.report.state or not self.clients[run]:
            return [], {}
        rows = self.rows[run]
        state = {name: p[rows] for name, p in self.report.state.items()}
        return Report({}, self.report.weight[rows], state, {}).kept(self.clients[run])


def train_runs(work: ClientExecutor, thetas: Stacked, keys: Sequence[Keys], states: Sequence[States]) -> RunsOutcome:
    """One round of the clients of several runs.

    Args:
        work: of any of the runs: source, transform, model and learner are those of all.
        thetas: θ of each run, (runs, *shape) per name.
        keys: seed, round and clients of each run.
        states: what the devices of each run kept, by partition id.
    """
    clients, episode, failures = _episodes(work, keys)
    if not any(clients):
        return RunsOutcome(clients, None, failures)
    own = RunKeys([Keys(k.seed, k.round, c) for k, c in zip(keys, clients, strict=True)])
    begun = [
        work.states_of(pick(thetas, run), c, kept)
        for run, (c, kept) in enumerate(zip(clients, states, strict=True))
        if c
    ]
    state = {name: torch.cat([one[name] for one in begun]) for name in begun[0]}
    sizes = torch.tensor([len(c) for c in clients])
    meta = stacked({name: p.repeat_interleave(sizes, 0) for name, p in thetas.items()})
    with drawing(own):
        report = work.learner.update(work.model, meta, state, episode, own)
    return RunsOutcome(clients, report, failures)


def _episodes(work: ClientExecutor, keys: Sequence[Keys]) -> tuple[list[list[int]], Episode, list[dict[int, str]]]:
    """Whose episodes could be cut, the stack of them, and who failed and why."""
    if (together := work.cut_together(RunKeys(keys))) is not None:
        return [list(k.clients) for k in keys], together[1], [{} for _ in keys]
    parts = [work.training_episodes(k.round, k.clients, k.seed) for k in keys]
    cut = [episode for kept, episode, _ in parts if kept]
    sides = [_one_below_another(side) for side in zip(*((e.support, e.query) for e in cut), strict=True)]
    return [kept for kept, _, _ in parts], Episode(*sides) if cut else parts[0][1], [why for _, _, why in parts]


def _one_below_another(parts: Sequence[Batch]) -> Batch:
    """The clients of several stacks in one, as long as the longest of them."""
    longest = max(part.mask.shape[1] for part in parts)

    def filled(part: torch.Tensor) -> torch.Tensor:
        room = longest - part.shape[1]
        return torch.cat([part, part.new_zeros((len(part), room, *part.shape[2:]))], 1) if room else part

    return Batch(
        *(torch.cat([filled(p) for p in side]) for side in zip(*((b.x, b.y, b.mask) for b in parts), strict=True))
    )
