"""Remarks on the data before round 1, where they are at hand: on every simulating engine."""

from __future__ import annotations

from collections import Counter

import numpy as np

from metapulse.client.executor import ClientExecutor
from metapulse.client.probe import probe_module
from metapulse.data import RemarkingSource, read_samples
from metapulse.errors import MetapulseError
from metapulse.registry import TRANSFORMS
from metapulse.server.config import Config
from metapulse.server.scaler import suited
from metapulse.transforms import Transform

LOOKED_AT = 50  # clients whose inputs are looked at
SHOWN = 8  # inputs that are named


def probed(work: ClientExecutor, config: Config) -> list[str]:
    """A module of one's own called once: what of it gets no gradient, a line; [] for other models.

    Raises:
        ConfigError: the module cannot serve, see ``metapulse.client.probe``.
    """
    noisy = "[privacy]" if config.privacy.on else "[secure_aggregation]" if config.secure_aggregation.on else ""
    return probe_module(work, range(len(work.source)), noisy)


def data_remarks(work: ClientExecutor, config: Config) -> list[str]:
    """What the source says of its data, and which inputs hardly move."""
    said = list(work.source.remarks()) if isinstance(work.source, RemarkingSource) else []
    return said + still_inputs(work, TRANSFORMS.make(suited(config, work.source.task)[0]))


def still_inputs(work: ClientExecutor, transform: Transform) -> list[str]:
    """One line on inputs that spread so little that the transform uses a floor for it; [] if there are none."""
    looked, channels, still = 0, 0, Counter[int]()
    for client in range(min(len(work.source), LOOKED_AT)):
        try:
            floored = transform.floored(read_samples(work.source, client).x)
        except MetapulseError:
            continue  # its own line is told when it is asked
        looked, channels = looked + 1, len(floored)
        still.update(np.flatnonzero(floored).tolist())
    if not still:
        return []
    names = work.source.task.names if len(work.source.task.names) == channels else ()
    first = [f"{names[i] if names else i} ({still[i]})" for i in sorted(still)[:SHOWN]]
    more = " …" if len(still) > SHOWN else ""
    counted = "" if names else ", counted from 0"
    return [
        f"transform: {len(still)} inputs hardly move, so that a floor is used for their spread; which{counted} "
        f"(on how many of {looked} devices): {', '.join(first)}{more}"
    ]
