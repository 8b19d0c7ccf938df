"""What a round costs: sampling + compute + transfer + aggregate, in closed form; constants from a few measurements.

    n = ⌈C / chunk⌉ chunks, of which the busiest of W workers has b = ⌈n / W⌉, with c = min(b · chunk, C) clients
    sampling   = s C
    compute    = c (F / r + e) + k b         F: FLOP of one update; r, e, k: the machine's
    transfer   = m C + [W > 0] (p + q W + (down + up) / B)
    aggregate  = a + g c P + j n P           P parameters; a worker adds its clients, the server adds the chunks
    down = 4 P W bytes (θ, once per worker),  up = 4 P n bytes (a float32 sum per chunk)

Every term is linear in its constants, which are fitted stage by stage to what the event log says of the stages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.optimize import nnls

FLOAT = 4  # bytes
STAGES = ("sampling", "compute", "transfer", "aggregate")


@dataclass(frozen=True)
class Load:
    """One round.

    Args:
        clients: C.
        flops: F, of one client's update.
        parameters: P.
        workers: W; 0: in the server's own process.
        chunk: clients stacked at once.
    """

    clients: int
    flops: float
    parameters: int
    workers: int = 0
    chunk: int = 50

    @property
    def chunks(self) -> int:
        """n."""
        return math.ceil(self.clients / self.chunk)

    @property
    def busiest(self) -> int:
        """b: chunks of the worker that has most."""
        return math.ceil(self.chunks / max(1, self.workers))

    @property
    def own(self) -> int:
        """c: clients of the worker that has most."""
        return min(self.busiest * self.chunk, self.clients)

    @property
    def down(self) -> int:
        """Bytes to the workers."""
        return FLOAT * self.parameters * self.workers

    @property
    def up(self) -> int:
        """Bytes back."""
        return FLOAT * self.parameters * self.chunks if self.workers else 0


@dataclass(frozen=True)
class Machine:
    """The constants, as one coefficient per term (``terms``), seconds each: all ≥ 0."""

    sampling: tuple[float, ...]
    compute: tuple[float, ...]
    transfer: tuple[float, ...]
    aggregate: tuple[float, ...]

    def with_network(self, latency_s: float, bytes_per_s: float) -> Machine:
        """The same cores, with a network between server and workers in place of the loopback device.

        Args:
            latency_s: of one call, added for every worker.
            bytes_per_s: of the server's own link, in place of the measured rate where that is faster.
        """
        own, fixed, call, byte = self.transfer
        return replace(self, transfer=(own, fixed, call + latency_s, max(byte, 1 / bytes_per_s)))


def terms(load: Load) -> dict[str, tuple[float, ...]]:
    """By what each constant is multiplied, stage by stage."""
    remote = float(load.workers > 0)
    return {
        "sampling": (load.clients,),
        "compute": (load.own * load.flops, load.own, load.busiest),
        "transfer": (load.clients, remote, load.workers, load.down + load.up),
        "aggregate": (1.0, load.own * load.parameters, load.chunks * load.parameters),
    }


def predict(machine: Machine, load: Load) -> dict[str, float]:
    """Seconds of a round by stage."""
    return {stage: float(np.dot(getattr(machine, stage), found)) for stage, found in terms(load).items()}


def calibrate(measured: Sequence[tuple[Load, Mapping[str, float]]]) -> Machine:
    """The constants that fit best: least squares of relative errors, none below zero.

    Args:
        measured: rounds and their seconds by stage.
    """
    fitted = {}
    for stage in STAGES:
        matrix = np.array([terms(load)[stage] for load, _ in measured])
        seconds = np.array([max(spent[stage], 1e-9) for _, spent in measured])
        scale = np.maximum(np.abs(matrix).max(0), 1e-30)  # of columns that differ by fifteen orders of magnitude
        weighted = matrix / scale / seconds[:, None]
        fitted[stage] = tuple(float(x) for x in nnls(weighted, np.ones(len(seconds)))[0] / scale)
    return Machine(**fitted)


def mlp_flops(widths: Sequence[int], steps: int = 5, batch: int = 32) -> float:
    """FLOP of one client's update of a dense network.

    Forward and backward, without the gradient of the inputs: a weight and a sample meet in 2 products in the first
    layer and in 3 in the others, of 2 FLOP each.

    Args:
        widths: inputs, hidden layers, outputs.
        steps: of SGD.
        batch: samples of a step.
    """
    weights = [a * b for a, b in pairwise(widths)]
    return float(steps * batch * 2 * (3 * sum(weights) - weights[0]))


def mlp_parameters(widths: Sequence[int]) -> int:
    """Weights and biases of a dense network."""
    return sum((a + 1) * b for a, b in pairwise(widths))
