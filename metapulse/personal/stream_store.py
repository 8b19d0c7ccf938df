"""The state of a stream as one file: what a killed process left is whole, and goes on to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metapulse.errors import DataError
from metapulse.files import write_atomic
from metapulse.personal.conformal import pack, unpack
from metapulse.personal.drift import Bucket
from metapulse.personal.online import OnlineHead
from metapulse.personal.stream_state import Block, Lately, Pending, Reading, StreamState
from metapulse.sealed import sealed_tensors, unsealed_tensors

VERSION = 2
PLAIN = ("outcomes", "lately", "since", "asked", "held", "device", "firmware", "short", "long")


def save_state(path: Path, state: StreamState, beside: dict[str, Any]) -> None:
    """Write the state, and plain values beside it, in one step.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    facts = {name: getattr(state, name) for name in PLAIN}
    facts |= {
        "version": VERSION,
        "beside": beside,
        "counts": dict(state.counts),
        "adwin": state.adwin.buckets,
        "page": [state.page.count, state.page.mean, state.page.square, state.page.rise],
        "pending": [[one.time, one.gap, one.means, one.scale] for one in state.pending],
    }
    tensors = {name: tensor.contiguous().clone() for name, tensor in _tensors(state).items()}
    write_atomic(path, sealed_tensors(tensors, facts))


def load_state(path: Path, start: StreamState) -> tuple[StreamState, dict[str, Any]]:
    """What ``save_state`` wrote.

    Args:
        path: of the file.
        start: the state before the first reading, for what does not change.

    Raises:
        DataError: it is missing, damaged, or of another version.
    """
    tensors, facts = unsealed_tensors(path)
    try:
        if facts["version"] != VERSION:
            raise ValueError(f"version {facts['version']!r}; this one reads {VERSION}")
        rows = zip(facts["pending"], tensors["pending.x"], tensors["pending.promised"].tolist(), strict=True)
        count, mean, square, rise = facts["page"]
        state = StreamState(
            time=tensors["time"].numpy(),
            value=tensors["value"].numpy(),
            pending=tuple(Pending(at, gap, x[None], tuple(means), scale, r) for (at, gap, means, scale), x, r in rows),
            head=OnlineHead(tensors["head.precision"], tensors["head.moment"]),
            good=OnlineHead(tensors["good.precision"], tensors["good.moment"]),
            interval=unpack({part: tensors[f"interval.{part}"].numpy() for part in ("numbers", "population", "own")}),
            outcomes=facts["outcomes"],
            lately=Lately(*facts["lately"]),
            since=facts["since"],
            asked=facts["asked"],
            held=Reading(*facts["held"]) if facts["held"] else None,
            device=facts["device"],
            firmware=facts["firmware"],
            short=Block(*facts["short"]),
            long=Block(*facts["long"]),
            adwin=replace(start.adwin, buckets=tuple(Bucket(*bucket) for bucket in facts["adwin"])),
            page=replace(start.page, count=count, mean=mean, square=square, rise=rise),
            counts=facts["counts"],
        )
        return state, facts["beside"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: damaged, or of another version ({type(error).__name__}: {error})") from None


def _tensors(state: StreamState) -> dict[str, Tensor]:
    width = state.pending[0].x.shape[1] if state.pending else 0
    tensors = {
        "time": torch.from_numpy(state.time),
        "value": torch.from_numpy(state.value),
        "pending.x": torch.cat([one.x for one in state.pending]) if state.pending else torch.empty(0, width),
        # In a tensor because a promise may be infinite, which JSON cannot say.
        "pending.promised": torch.tensor([one.promised for one in state.pending], dtype=torch.float64),
    }
    for name, head in (("head", state.head), ("good", state.good)):
        tensors |= {f"{name}.precision": head.precision, f"{name}.moment": head.moment}
    return tensors | {f"interval.{name}": torch.from_numpy(array) for name, array in pack(state.interval).items()}
