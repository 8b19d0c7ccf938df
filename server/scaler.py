"""The transform that instructions name: chosen by the task, with a scale that may be learnt from people.

Mean and sd of all people's samples are learnt before round 1 by one round of federated averaging whose "update" is a
person's mean and mean square per channel. So they take the way of every update: engines, checks, clipping, noise and
secure aggregation are those of a round. What came out is on disk, in transform.json, before anything is done with it; a
run that goes on reads it there and asks no client again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Error, Message, MessageType
from flwr.serverapp import Grid

from metapulse.client.scaling import COUNT, MEAN, SQUARE, empty_moments
from metapulse.client.spec import to_json
from metapulse.client.wire import (
    ARRAYS,
    ATTEMPT,
    CHECKPOINT,
    RUN,
    VERSION,
    WIRE,
    WORK,
    Instructions,
    decode,
    decode_like,
    encode,
)
from metapulse.data import Task
from metapulse.errors import ConfigError, NoResultError, ReplyError, RunError
from metapulse.registry import TRANSFORMS
from metapulse.server.attempts import count_attempt
from metapulse.server.client_sampler import ClientSampler, SubsetGrid
from metapulse.server.config import Config
from metapulse.server.files import read_sealed, write_sealed
from metapulse.server.folder import RunFolder
from metapulse.server.privacy import Budget
from metapulse.server.progress import Progress
from metapulse.server.secure.aggregation import SecureAggregation
from metapulse.strategies.registry import STRATEGIES, make_strategy
from metapulse.strategies.replies import CLIENT_FAILED, Dropped, Replies, UpdateStack
from metapulse.transforms import LEAST, Global
from metapulse.trees import Params

LEARNT = "transform.json"
SESSIONS = "scale-sessions.json"  # of secure aggregation: to devices the question is a run of its own
ROUND = 1  # of the question, which to devices is a run of its own
ASKED = 3  # times at most; secure aggregation gives a round up where too few are left
SURE = 3.0  # standard deviations of its noise that the number of people must be above
SLACK = 1e-9  # of sums in float64


@dataclass(frozen=True)
class ScalingQuestion:
    """Where and how people are asked for their moments.

    Args:
        config: of the run.
        grid: where the clients are.
        sampler: who they are.
        folder: of the run.
        progress: told what people have to know.
        budget: of privacy.
        secure: secure aggregation.
        kept_here: whether devices end with this process.
    """

    config: Config
    grid: Grid
    sampler: ClientSampler
    folder: RunFolder
    progress: Progress
    budget: Budget | None
    secure: SecureAggregation | None
    kept_here: bool


def settle_transform(at: ScalingQuestion, begun: bool) -> tuple[Config, list[Dropped]]:
    """The configuration that clients are told of, its transform with all its numbers; and who gave no usable answer.

    Args:
        at: where.
        begun: whether the run has had a round, or could have had.

    Raises:
        NoResultError: no client gave a usable answer.
        RunError: transform.json is gone, damaged, or another run's.
    """
    section, reason = suited(at.config, at.sampler.directory.task)
    if reason and not begun:
        at.folder.event(0, "transform", chosen=section["name"], reason=reason)
        if not reason.endswith("."):
            at.progress.note(reason)
    transform = TRANSFORMS.make(section)
    if not isinstance(transform, Global):
        return replace(at.config, transform=section), []
    transform.task(at.sampler.directory.task)
    path = at.folder.path / LEARNT
    dropped: list[Dropped] = []
    if path.exists():
        told = read_sealed(path)
        if told.get("run") != at.folder.identity:
            raise RunError(f"{path} is of another run")
        if at.budget is not None and not at.budget.scales:
            raise RunError(f"{path} is there, and the ledger does not know that people were asked; start a new run")
    elif begun:
        raise RunError(f"{path} is gone: the scale that this run learnt is not known; start a new run")
    else:
        found, refused = _learn(at, transform, section)
        lost = [[one.client, one.reason] for one in refused]
        told = write_sealed(path, {"run": at.folder.identity, **found, "dropped": lost})
    if not begun:
        dropped = [Dropped(client, reason) for client, reason in told["dropped"]]
        facts = {key: value for key, value in told.items() if key in ("centre", "scale", "floored", "noise", "people")}
        at.folder.event(0, "transform", learnt="global", **facts)
        if told["floored"]:
            at.progress.note(floor_line(told["floored"], len(told["scale"])))
    return replace(at.config, transform={"name": "fixed", "centre": told["centre"], "scale": told["scale"]}), dropped


def learned(config: Config, path: Path) -> Config:
    """The configuration of a run with the numbers that it has learnt, for those who use its model.

    Args:
        config: as in the run's folder.
        path: the folder.
    """
    if not (path / LEARNT).exists():
        return config
    told = read_sealed(path / LEARNT)
    return replace(config, transform={"name": "fixed", "centre": told["centre"], "scale": told["scale"]})


def suited(config: Config, task: Task) -> tuple[Mapping[str, Any], str]:
    """The transform of a configuration that leaves it open, and why; a reason with a full stop is for the log alone.

    Args:
        config: of a run.
        task: what is predicted.
    """
    if config.transform["name"] != "auto":
        return config.transform, ""
    if task.kind == "classification":
        return {"name": "standardise"}, ""
    if config.privacy.on or config.secure_aggregation.on:
        why = "transform: standardise, which takes each person's level away; to keep it under protection, state"
        return {"name": "standardise"}, f"{why} transform.name = global with transform.bound, or fixed"
    return {"name": "global"}, "regression: levels are kept."


def floor_line(floored: Sequence[int], channels: int) -> str:
    """What people are told of channels whose sd was not used."""
    which = ", ".join(map(str, floored[:8])) + (" …" if len(floored) > 8 else "")
    return f"transform.global: {len(floored)} of {channels} channels hardly move (from 0: {which}); floors are used"


def _learn(at: ScalingQuestion, transform: Global, section: Mapping[str, Any]) -> tuple[dict[str, Any], list[Dropped]]:
    """One round of averaging over people; what is told of it, and who was dropped."""
    channels = at.sampler.directory.task.features[0]
    zeros, dropped = empty_moments(channels), list[Dropped]()
    config = replace(at.config, transform=section)
    facts: dict[str, Any] = {
        WIRE: VERSION,
        WORK: to_json(config.client_config()),
        CHECKPOINT: 0,
        RUN: f"{at.folder.identity}scale",
    }
    for _ in range(ASKED):
        clients, strategy, noise = _asked(at, transform, channels, dropped)
        attempt = 0 if at.kept_here else count_attempt(at.folder.path)
        view = SubsetGrid(at.grid, clients, at.sampler.directory)
        messages = strategy.configure_train(ROUND, encode(zeros), ConfigRecord({**facts, ATTEMPT: attempt}), view)
        after, _ = strategy.aggregate_train(ROUND, _replies(at, transform, messages, clients, zeros))
        if after is not None:
            people = {"people": len(clients)} if at.budget is None else {}  # who was drawn is private
            return {**_numbers(decode(after), transform, noise), **people}, dropped
    reasons = sorted({one.reason for one in dropped})[:3]
    raise NoResultError(
        f"transform.name = 'global': no client gave a usable answer: {'; '.join(reasons) or 'no reply'}"
    )


def _asked(
    at: ScalingQuestion, transform: Global, channels: int, dropped: list[Dropped]
) -> tuple[list[int], Any, float]:
    """Who is asked, the strategy that averages them, and the noise on each number of that average."""
    mean = STRATEGIES.make(at.config.strategy).linear
    section: dict[str, Any] = {"name": "fedavg", "cohort": 0}
    section |= {"weighting": "uniform"} if mean else {"aggregator": {"name": "median"}}
    clip = math.sqrt(2 * channels + 1)  # of a 1 and 2 C numbers from −1 to 1
    note = lambda _, told: dropped.extend(told)  # noqa: E731
    if at.budget is not None:
        clients, plan, own = at.budget.begin_scale(clip)
        deviation = plan.release.sigma * clip / plan.release.cohort
        if plan.settings.mechanism == "local":
            deviation *= math.sqrt(plan.release.cohort)
        return clients, make_strategy(section, 1, at.config.run.seed, note, (plan, own)), deviation
    size = min(transform.people, at.sampler.people)
    clients = at.sampler.persons(at.config.run.seed, 0, size, "fixed")
    return clients, make_strategy(section, 1, at.config.run.seed, note), 0.0


def _replies(
    at: ScalingQuestion, transform: Global, messages: Instructions, clients: Sequence[int], zeros: Params
) -> Iterable[Message]:
    """The replies, those that no samples can have given made into failures; under secure aggregation, their sum."""
    if at.secure is not None:
        secure, node = at.secure, at.sampler.directory.node
        scaled = replace(secure.settings, range=1.0)
        own = SecureAggregation(
            scaled, "uniform", secure.seed, at.grid, at.config.engine.timeout_s, secure.sessions.beside(SESSIONS), 1.0
        )
        own.check(len(clients))
        return own.collect(messages.content, {c: node(c) for c in clients})
    replies = at.grid.send_and_receive(messages, timeout=at.config.engine.timeout_s)
    if at.budget is not None and at.budget.plan.settings.mechanism != "central":  # noise hides what is wrong
        return replies
    if isinstance(replies, Replies) and replies.stack is not None and _all_plausible(replies.stack, transform):
        return replies  # which are then checked as one stack
    return [_looked_at(reply, messages, transform, zeros) for reply in replies]


def _all_plausible(stack: UpdateStack, transform: Global) -> bool:
    return not implausible({name: -u.numpy() for name, u in stack.update.items()}, transform.bounded)


def _looked_at(reply: Message, messages: Instructions, transform: Global, zeros: Params) -> Message:
    node = reply.metadata.src_node_id
    if reply.has_error() or node not in set(messages.nodes) or list(reply.content.array_records) != [ARRAYS]:
        return reply
    try:
        update = decode_like(reply.content.array_records[ARRAYS], zeros)
    except ReplyError:
        return reply  # the strategy says what is wrong with it
    reason = implausible({name: -p.numpy() for name, p in update.items()}, transform.bounded)
    if not reason:
        return reply
    return Message(Error(CLIENT_FAILED, reason), reply_to=Message(messages.content, node, MessageType.TRAIN))


def implausible(moments: Mapping[str, np.ndarray], bounded: bool) -> str:
    """Why no samples have such moments; "": some may.

    Args:
        moments: count, mean and mean square; of one person, or of many, a row each.
        bounded: whether all values are from −1 to 1.
    """
    count, mean, square = moments[COUNT], moments[MEAN], moments[SQUARE]
    if not (count == 1.0).all():
        return "a person counts once"
    if (square < mean**2 * (1.0 - SLACK) - SLACK).any():
        return "a mean square is below the square of the mean"
    if bounded and not ((abs(mean) <= 1.0 + SLACK) & (square <= 1.0 + SLACK)).all():
        return "values are beyond transform.bound"
    return ""


def _numbers(theta: Params, transform: Global, noise: float) -> dict[str, Any]:
    """m and s of what came out, and the channels on which a floor was used."""
    told = {name: p.numpy() for name, p in theta.items()}
    count = float(told[COUNT][0])
    if not count > SURE * noise:
        raise ConfigError(
            "transform.name", "global", f"noise of {noise:.2g} leaves nothing of so few people; state fixed numbers"
        )
    return channel_scale(told[MEAN] / count, told[SQUARE] / count, transform, noise / count)


def channel_scale(mean: np.ndarray, square: np.ndarray, transform: Global, noise: float = 0.0) -> dict[str, Any]:
    """m = c + B z̄ and s = B √(q − z̄²), not below what noise alone makes, nor a thousandth of m; B of a still channel.

    Args:
        mean: z̄ of all people, per channel.
        square: q.
        transform: its centre c and bound B; 1 where there is none.
        noise: standard deviation of each number of z̄ and q.
    """
    bound = np.broadcast_to(transform.bound if transform.bounded else (1.0,), mean.shape)
    if transform.bounded:
        mean, square = np.clip(mean, -1.0, 1.0), np.clip(square, 0.0, 1.0)
    centre = np.array(transform.centre) + bound * mean
    variance = square - mean**2
    doubt = noise * np.sqrt(1.0 + 4.0 * mean**2)
    sd = bound * np.sqrt(np.maximum(variance, 0.0))
    least = np.maximum(bound * np.sqrt(doubt), LEAST * abs(centre))
    still = (sd <= 1e-6 * bound) & (doubt == 0.0)
    kept = np.where(still, bound, np.maximum(sd, least))
    if not (np.isfinite(centre).all() and np.isfinite(kept).all()):
        raise NoResultError("transform.name = 'global': the answers leave the range of numbers; state transform.bound")
    floored = np.flatnonzero(kept != sd).tolist()
    return {"centre": centre.tolist(), "scale": kept.tolist(), "floored": floored, "noise": noise}
