"""A checkpoint: a folder that is whole or not there, and whose every file is known by its checksum.

state.json holds round, run and configuration, the length and digest of the event log and of the metrics up to there,
and the checksum of every other file; it is sealed itself (``metapulse.server.files``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from metapulse.errors import RunError
from metapulse.files import write_atomic
from metapulse.server.files import read_sealed
from metapulse.server.metatest import Row
from metapulse.trees import Params

STATE, THETA, OUTER, BEST, DEVICES = (
    "state.json",
    "theta.safetensors",
    "outer.safetensors",
    "best.safetensors",
    "devices",
)


@dataclass(frozen=True)
class BestRound:
    """θ of the best validation round so far.

    Args:
        round: which; the earliest of equals.
        merit: how good, larger is better.
        theta: θ after it.
    """

    round: int
    merit: float
    theta: Params


@dataclass(frozen=True)
class Snapshot:
    """Where a run stood after a round.

    Args:
        round: the last finished round.
        outer: state of the outer update.
        rows: meta-test rows so far.
        dropped: replies refused so far.
        best: θ of the best validation round; None before the first validation.
        privacy: what has been spent of the privacy budget; {} without one.
    """

    round: int
    theta: Params
    outer: Params
    rows: list[Row]
    dropped: int
    best: BestRound | None = None
    privacy: Mapping[str, Any] = field(default_factory=dict)


def write_arrays(folder: Path, snapshot: Snapshot) -> None:
    """θ, the outer state and the best θ, each in its file."""
    write_atomic(folder / THETA, save_tensors(_owned(snapshot.theta)))
    write_atomic(folder / OUTER, save_tensors(_owned(snapshot.outer)))
    if snapshot.best is not None:
        write_atomic(folder / BEST, save_tensors(_owned(snapshot.best.theta)))


def checksums(folder: Path) -> dict[str, str]:
    """Name → checksum of every file in a folder but its state.json."""
    files = sorted(p for p in folder.rglob("*") if not p.is_dir())
    names = [p.relative_to(folder).as_posix() for p in files]
    return {name: _checksum(p) for name, p in zip(names, files, strict=True) if name != STATE}


def read_state(folder: Path) -> dict[str, Any]:
    """What a checkpoint's state.json says, after every file has been compared with it.

    Raises:
        RunError: one of them is missing, damaged, or of another round; names it.
    """
    state = read_sealed(folder / STATE)
    try:
        now = checksums(folder)
    except OSError as error:
        raise RunError(f"checkpoint {folder} is damaged: {error}") from None
    for name in sorted({*state["files"], *now}):
        if name not in now:
            raise RunError(f"checkpoint {folder} is damaged: {name} is missing")
        if now[name] != state["files"].get(name):
            raise RunError(f"checkpoint {folder} is damaged: the checksum of {name} does not fit")
    if f"{state['round']:06d}" != folder.name:
        raise RunError(f"checkpoint {folder} is damaged: it is of round {state['round']}")
    return state


def read_arrays(path: Path) -> dict[str, Tensor]:
    """The tensors in a file.

    Raises:
        RunError: it is damaged.
    """
    try:
        return dict(load_tensors(path.read_bytes()))
    except (OSError, SafetensorError) as error:
        raise RunError(f"checkpoint {path.parent} is damaged: {path.name}: {error}") from None


def digest(theta: Params) -> str:
    """A name for the bits of θ."""
    return blake2b(save_tensors(_owned(theta)), digest_size=16).hexdigest()


def _owned(params: Params) -> dict[str, Tensor]:
    return {name: p.detach().contiguous().clone() for name, p in params.items()}


def _checksum(path: Path) -> str:
    with path.open("rb") as stream:
        return file_digest(stream, lambda: blake2b(digest_size=16)).hexdigest()


def like_model(path: Path, theta: Params, fresh: Params) -> dict[str, Tensor]:
    """θ of a checkpoint in the model's order; a file has one of its own.

    Args:
        path: the run's folder, for the message.
        fresh: θ at round 0.

    Raises:
        RunError: it has other arrays than the model; names the first that differs.
    """
    shapes, kept = ({k: tuple(p.shape) for k, p in tree.items()} for tree in (fresh, theta))
    if shapes != kept:
        name = min(k for k in {*shapes, *kept} if shapes.get(k) != kept.get(k))
        told = f"{name} was {kept.get(name, 'not there')} and is {shapes.get(name, 'not there')}"
        raise RunError(f"{path}: the checkpoint's θ has other arrays than the model ({told})")
    return {name: theta[name] for name in fresh}
