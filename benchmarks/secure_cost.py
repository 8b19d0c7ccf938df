"""What secure aggregation costs a round, and how far its mean is from the exact one.

    python benchmarks/secure_cost.py

MAML on sine curves, one round of all clients, in this process: CPU seconds without secure aggregation, simulated, and
with every party's cryptography (not for a thousand); smallest of three, the last column of one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from flwr.app import ConfigRecord, RecordDict

sys.path[0] = str(Path(__file__).resolve().parents[1])  # not this folder, whose names are common ones

from metapulse.client.executor import ClientExecutor  # noqa: E402
from metapulse.client.spec import ClientConfig, to_json  # noqa: E402
from metapulse.client.wire import (  # noqa: E402
    ARRAYS,
    CONFIG,
    ROUND,
    RUN,
    SUM,
    WORK,
    Instructions,
    decode,
    encode,
)
from metapulse.server.secure.aggregation import SecureAggregation  # noqa: E402
from metapulse.sim.engines.cohort import FIRST_NODE, CohortGrid  # noqa: E402
from metapulse.strategies.replies import Replies  # noqa: E402
from metapulse.strategies.secure import SecureSettings  # noqa: E402
from metapulse.trees import norm, sub  # noqa: E402

CASES = [(10, 0), (50, 0), (50, 20), (200, 20), (1000, 0)]  # cohort, neighbours
LARGEST = 200  # cohort that masks
SHOTS = 5  # of support, and as many of query


def instruction(clients: int) -> RecordDict:
    """The instruction for all clients."""
    spec = ClientConfig(
        source={"name": "sine", "clients": clients, "points": 2 * SHOTS},
        model={"name": "sine", "hidden": [64, 64]},
        learner={"name": "maml", "inner_steps": 2},
    )
    told = ConfigRecord({ROUND: 1, WORK: to_json(spec), RUN: "cost", SUM: "samples"})
    return RecordDict({ARRAYS: encode(ClientExecutor(spec).init()), CONFIG: told})


def least(call: Callable[[], Any], times: int = 3) -> tuple[float, Replies]:
    """CPU seconds of the fastest call, and what it returned."""
    spent = []
    for _ in range(times):
        began = time.process_time()
        found = call()
        spent.append(time.process_time() - began)
    return min(spent), found


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print("| cohort | neighbours | error | plain | simulated | real |\n|---|---|---|---|---|---|")
    for clients, neighbours in CASES:
        content, nodes = instruction(clients), {c: c + FIRST_NODE for c in range(clients)}
        settings = SecureSettings(on=True, max_weight=SHOTS, neighbours=neighbours)
        grids = [CohortGrid(clients, masks=masks) for masks in (False, True)]
        orders = Instructions(content, list(nodes.values()), "train")
        plain, exact = least(lambda grid=grids[0], orders=orders: grid.send_and_receive(orders))
        cost = []
        for grid, times in zip(grids, (3, 1 if clients <= LARGEST else 0), strict=True):
            job = SecureAggregation(settings, "samples", 1, grid, 60.0)
            if times:
                seconds, found = least(lambda job=job, content=content, nodes=nodes: job.collect(content, nodes), times)
                cost.append(f"{seconds:.3f}")
        theta = decode(content.array_records[ARRAYS])
        means = [replies.total.mean(theta) for replies in (found, exact) if replies.total is not None]
        error = float(norm(sub(*means)) / norm(means[1]))
        print(f"| {clients} | {neighbours or 'all'} | {error:.1e} | {plain:.3f} | {' | '.join(cost)} |", flush=True)


if __name__ == "__main__":
    main()
