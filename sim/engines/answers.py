"""What an engine that runs clients as stacks makes of their outcomes: replies, from which messages can be made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from flwr.app import ConfigRecord, Error, Message, RecordDict

from metapulse.client.wire import METRICS, metric_record
from metapulse.methods.base import Report
from metapulse.outcome import Outcome, Scores
from metapulse.strategies.replies import CLIENT_FAILED, Dropped, Replies, UpdateStack, contents
from metapulse.trees import Params, sub


def join_outcomes(parts: Sequence[Outcome]) -> Outcome:
    """The outcomes of several chunks as one."""
    failures = {c: reason for part in parts for c, reason in part.failures.items()}
    good = [(part.clients, part.report) for part in parts if part.report is not None]
    if not good:
        return Outcome([], None, failures)
    reports = [report for _, report in good]
    joined = Report(
        {name: torch.cat([r.update[name] for r in reports]) for name in reports[0].update},
        torch.cat([r.weight for r in reports]),
        {},
        {name: torch.cat([r.metrics[name] for r in reports]) for name in reports[0].metrics},
    )
    return Outcome([c for clients, _ in good for c in clients], joined, failures)


def failed_reply(asked: Callable[[int], Message], failed: Dropped) -> Message:
    """The error reply of a client that failed by itself; ``asked`` gives the message that a client got."""
    return Message(Error(CLIENT_FAILED, failed.reason), reply_to=asked(failed.client))


def replies_of(
    asked: Callable[[int], Message], outcome: Outcome, meta: Params | None, told: Mapping[str, Any]
) -> Replies:
    """The stack, and how any one of its messages is made; with ``meta``, they carry weights θ − update."""
    failures = [Dropped(client, reason) for client, reason in sorted(outcome.failures.items())]
    report = outcome.report
    if report is None:
        return Replies(None, failures, lambda i: failed_reply(asked, failures[i]))
    sent = report.update if meta is None else sub(meta, report.update)
    stack = UpdateStack(outcome.clients, sent, report.weight, report.metrics)
    content = contents(stack, told)

    def message(index: int) -> Message:
        if index >= len(stack.clients):
            return failed_reply(asked, failures[index - len(stack.clients)])
        return Message(content(index), reply_to=asked(stack.clients[index]))

    return Replies(stack, failures, message)


def score_message(
    asked: Callable[[int], Message], scores: Scores, index: int, told: Mapping[str, ConfigRecord]
) -> Message:
    """The message of one position of the scores: first the clients that were judged, then the failures."""
    if index >= len(scores.clients):
        client, reason = sorted(scores.failures.items())[index - len(scores.clients)]
        return failed_reply(asked, Dropped(client, reason))
    numbers: dict[str, float | list[float]] = {n: m[index].flatten().tolist() for n, m in scores.metrics.items()}
    episodes = next(iter(scores.metrics.values())).shape[1]
    content = RecordDict({METRICS: metric_record(float(episodes), numbers), **told})
    return Message(content, reply_to=asked(scores.clients[index]))
