"""Replies of a round: checked one by one when they come as messages, or as one stack when the engine has one.

Every reply is checked before use: keys, shapes, dtypes, finite values, a sane weight, a sane size, and a sender that
was asked and has not answered before. An offender is dropped, named and counted; the round goes on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from flwr.app import ConfigRecord, Message, RecordDict
from jaxtyping import Bool, Float
from torch import Tensor

from metapulse.client.wire import (
    ARRAYS,
    CONFIG,
    EXAMPLES,
    METRICS,
    array_record,
    check_stamp,
    decode_like,
    metric_record,
    reply_stamp,
)
from metapulse.errors import ReplyError
from metapulse.rows import printable
from metapulse.strategies.on_demand import MessagesOnDemand
from metapulse.trees import Params, Stacked, tree_map, with_dtypes

T = TypeVar("T")
EXCEPTION = re.compile(r"<class '([^']*)'>:<'(.*)'>", re.DOTALL)  # Flower's form of a client's exception
CHAINED = "The above exception was the direct cause"  # between the parts of a Python traceback
CLIENT_FAILED = 0  # flwr's code for an unknown error
MAX_WEIGHT = 1e7  # samples one client may claim
MAX_METRIC = 1e30  # a larger number is not worth averaging
SECOND = "a second reply; the first one counts"
#: Names that the log of a run has for numbers of its own; clients' metrics have none of these, nor of a strategy's own.
LOGGED = frozenset({"self", "round", "kind", "time", "chain", "moved", "step", "seconds", "spent", "asked"})
RESERVED = LOGGED | {"clients", "dropped", "update-norm"}
MAX_METRICS, MAX_NAME = 64, 64  # numbers one client may report, and characters in the name of one


@dataclass(frozen=True)
class Dropped:
    """A client that did not count in a round, and why.

    Args:
        client: partition id; −1 where it is not known.
        reason: one line.
    """

    client: int
    reason: str


@dataclass(frozen=True)
class UpdateStack:
    """Updates of a round as one stack, ordered by partition id.

    Args:
        clients: partition ids, ascending.
        update: (clients, *shape) per name of θ.
        weight: samples behind each update, (clients,), > 0.
        metrics: (clients,) each; NaN where a client did not report it.
    """

    clients: list[int]
    update: Stacked
    weight: Float[Tensor, " clients"]
    metrics: Mapping[str, Float[Tensor, " clients"]]


def contents(stack: UpdateStack, told: Mapping[str, Any] | None = None) -> Callable[[int], RecordDict]:
    """What the message of one position of a stack carries, made of views when it is asked for.

    Args:
        told: what each repeats of its instruction (``metapulse.client.wire.reply_stamp``).
    """
    repeat = {CONFIG: ConfigRecord(dict(told))} if told else {}
    arrays = {name: u.detach().cpu().numpy() for name, u in stack.update.items()}
    weight, metrics = stack.weight.tolist(), {name: m.tolist() for name, m in stack.metrics.items()}

    def content(index: int) -> RecordDict:
        numbers = metric_record(weight[index], {name: values[index] for name, values in metrics.items()})
        row = {name: u[index, ...] for name, u in arrays.items()}  # the dots keep a scalar an array
        return RecordDict({ARRAYS: array_record(row), METRICS: numbers, **repeat})

    return content


@dataclass(frozen=True)
class UpdateSum:
    """A round's updates as their weighted sum, for strategies that need no more.

    Args:
        clients: partition ids that are in it, ascending; each was checked.
        total: Σ w_i u_i in the shape of θ, float64.
        shares: Σ w_i.
        weight: samples behind each update, (clients,), > 0; NaN where it is secret.
        metrics: (clients,) each.
    """

    clients: list[int]
    total: Params
    shares: float
    weight: Float[Tensor, " clients"]
    metrics: Mapping[str, Float[Tensor, " clients"]]

    def mean(self, like: Params) -> Params:
        """Σ w_i u_i / Σ w_i, in the dtypes of ``like``."""
        return with_dtypes(tree_map(lambda p: p / self.shares, self.total), like)


class Replies(MessagesOnDemand):
    """Replies of an engine that holds them stacked: single messages on demand, a stack for strategies that use it.

    Args:
        stack: the updates that arrived, before any check.
        failures: clients that failed by themselves.
        message: makes the ordinary message of one position: first the stack's clients, then the failures.
        total: instead of the stack, where its sum was asked for; then there are messages of failures only.
        given_up: why there is neither, where an engine or a protocol gave the round up.
    """

    def __init__(
        self,
        stack: UpdateStack | None,
        failures: Sequence[Dropped],
        message: Callable[[int], Message],
        total: UpdateSum | None = None,
        given_up: str = "",
    ) -> None:
        super().__init__((len(stack.clients) if stack else 0) + len(failures), message)
        self.stack, self.failures, self.total, self.given_up = stack, failures, total, given_up


@dataclass(frozen=True)
class CheckedReplies:
    """What is left of a round's replies after the checks."""

    stack: UpdateStack | UpdateSum | None
    dropped: list[Dropped] = field(default_factory=list)


def check_replies(
    replies: Iterable[Message], theta: Params, asked: Mapping[int, int], told: Mapping[str, Any] | None = None
) -> CheckedReplies:
    """Separate the replies that may count from those that may not.

    Args:
        replies: as an engine returned them.
        theta: θ; every update must have its names, shapes and dtypes.
        asked: node id → partition id of those who were asked.
        told: the instruction, whose ``metapulse.client.wire.reply_stamp`` each reply must repeat.

    Returns:
        The accepted updates in order of partition id, and who was dropped and why; a node that was asked and is not
        heard of is dropped as "no reply".
    """
    if isinstance(replies, Replies):
        return _check_stack(replies, theta)
    repeated = reply_stamp(told or {})
    accepted, dropped = sift(replies, asked, lambda client, message: read_reply(message, theta, repeated))
    if not accepted:
        return CheckedReplies(None, dropped)
    parts = list(accepted.values())
    update = {name: torch.stack([p.update[name] for p in parts]) for name in theta}
    names = sorted({name for p in parts for name in p.metrics})
    metrics = {
        name: torch.tensor([p.metrics.get(name, math.nan) for p in parts], dtype=torch.float64) for name in names
    }
    weight = torch.tensor([p.weight for p in parts], dtype=torch.float64)
    return CheckedReplies(UpdateStack(list(accepted), update, weight, metrics), dropped)


@dataclass(frozen=True)
class Reply:
    """What one message says, once it has passed.

    Args:
        update: in the shape of θ.
        weight: samples behind it, > 0.
        metrics: finite numbers by name.
    """

    update: dict[str, Tensor]
    weight: float
    metrics: dict[str, float]


def sift(
    replies: Iterable[Message], asked: Mapping[int, int], read: Callable[[int, Message], T]
) -> tuple[dict[int, T], list[Dropped]]:
    """The replies that may count, by partition id in ascending order, and who was dropped and why.

    Args:
        replies: in any order; the outcome depends on it only where one client replies more than once.
        asked: node id → partition id of those who were asked.
        read: what a client's message says; raises ReplyError where it may not count.
    """
    accepted: dict[int, T] = {}
    dropped: list[Dropped] = []
    heard: set[int] = set()
    for message in replies:
        client = asked.get(message.metadata.src_node_id, -1)
        try:
            if client < 0:
                told = f": {first_line(message.error.reason)}" if message.has_error() else ""
                raise ReplyError(f"node {message.metadata.src_node_id} was not asked{told}")
            if client in heard:
                raise ReplyError(SECOND)
            heard.add(client)
            if message.has_error():
                raise ReplyError(first_line(message.error.reason))
            accepted[client] = read(client, message)
        except ReplyError as error:
            dropped.append(Dropped(client, str(error)))
    dropped += [Dropped(client, "no reply") for client in asked.values() if client not in heard]
    dropped.sort(key=lambda one: (one.client, one.reason))
    return {client: accepted[client] for client in sorted(accepted)}, dropped


def read_reply(reply: Message, theta: Params, told: Mapping[str, Any]) -> Reply:
    """Update, weight and metrics of one message that is no error, and of the version, run and round it was asked in.

    Raises:
        ReplyError: what is wrong with it, in one line.
    """
    records = reply.content
    check_stamp(records, told)
    if list(records.array_records) != [ARRAYS] or list(records.metric_records) != [METRICS]:
        raise ReplyError("a reply has one array record 'arrays' and one metric record 'metrics'")
    numbers = records.metric_records[METRICS]
    if len(numbers) > MAX_METRICS or any(len(name) > MAX_NAME for name in numbers):
        raise ReplyError(f"{len(numbers)} metrics; at most {MAX_METRICS} are allowed, names of at most {MAX_NAME}")
    weight = numbers.get(EXAMPLES)
    if not isinstance(weight, (int, float)) or not 0 < weight <= MAX_WEIGHT:  # not a number is neither
        raise ReplyError(f"{EXAMPLES} = {str(weight)[:40]}; allowed are numbers > 0 and ≤ {MAX_WEIGHT:.0e}")
    update = decode_like(records.array_records[ARRAYS], theta)
    if taken := reserved(numbers):
        raise ReplyError(taken)
    metrics = {k: float(v) for k, v in numbers.items() if isinstance(v, (int, float)) and abs(v) < MAX_METRIC}
    metrics.pop(EXAMPLES)
    return Reply(update, float(weight), metrics)


def reserved(names: Iterable[str]) -> str:
    """Why clients cannot report metrics of these names, some of which the log of a run has itself; "": they can."""
    taken = sorted(RESERVED.intersection(names))
    return f"metric {taken[0]!r}: the name is one of the server's own" if taken else ""


def _check_stack(replies: Replies, theta: Params) -> CheckedReplies:
    """The same checks on a whole stack; its names and shapes come from our own engine, its values from clients."""
    dropped = list(replies.failures)
    if replies.given_up:
        return CheckedReplies(None, [*dropped, Dropped(-1, replies.given_up)])
    total, stack = replies.total, replies.stack
    asked = total or stack
    if asked is not None and (taken := reserved(asked.metrics)):
        return CheckedReplies(None, dropped + [Dropped(client, taken) for client in asked.clients])
    if total is not None:
        return CheckedReplies(total if total.clients else None, dropped)
    if stack is None:
        return CheckedReplies(None, dropped)
    good, refused = sound(stack)
    dropped = sorted(dropped + refused, key=lambda one: (one.client, one.reason))
    return CheckedReplies(good, dropped)


def sound(stack: UpdateStack) -> tuple[UpdateStack | None, list[Dropped]]:
    """The clients of a stack whose update is finite and whose weight is sane, and why the others are not."""
    dropped = []
    finite = torch.stack([torch.isfinite(u.reshape(len(u), -1)).all(1) for u in stack.update.values()]).all(0)
    sane = torch.isfinite(stack.weight) & (stack.weight > 0) & (stack.weight <= MAX_WEIGHT)
    good: Bool[Tensor, " clients"] = finite & sane
    for i in torch.nonzero(~good).flatten().tolist():
        reason = (
            "update holds NaN or infinity"
            if not finite[i]
            else f"{EXAMPLES} = {stack.weight[i].item()!r}; allowed are numbers > 0 and ≤ {MAX_WEIGHT:.0e}"
        )
        dropped.append(Dropped(stack.clients[i], reason))
    if good.all():
        return stack, dropped
    keep = torch.nonzero(good).flatten()
    if len(keep) == 0:
        return None, dropped
    kept = UpdateStack(
        [stack.clients[i] for i in keep.tolist()],
        {name: u[keep] for name, u in stack.update.items()},
        stack.weight[keep],
        {name: m[keep] for name, m in stack.metrics.items()},
    )
    return kept, dropped


def first_line(text: str | None) -> str:
    """The most telling line of an error reply: of a traceback, the last one about the client's own exception.

    Args:
        text: as Flower writes an exception of a client, <class 'KIND'>:<'TEXT'>, TEXT being a traceback in simulations;
            or any other words.
    """
    kind, text = "", text or ""
    if wrapped := EXCEPTION.fullmatch(text.strip()):
        own, chained, last = wrapped[2].rpartition(CHAINED)  # in simulations Flower chains an exception to the client's
        kind, text = ("", own) if chained else (wrapped[1].rpartition(".")[2], last)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return printable(": ".join([kind] * bool(kind) + lines[-1:]))[:500] or "the client failed without saying why"
